"""Runs a command in a process group of its own and ends the group when standard input closes.

Whoever starts this script holds the other end of that pipe: when it closes it, or disappears for whatever
reason, the kernel closes the pipe and no process of the command stays behind.

Usage: python supervisor.py GRACE_SECONDS COMMAND...
"""

import contextlib
import os
import select
import signal
import subprocess
import sys
import time

_POLL_SECONDS = 0.1
_HURRIED_GRACE_SECONDS = 1.5
"""After SIGTERM: whoever did not end in the seconds after Ctrl-C hardly will."""


def main(grace_seconds: float, command: list[str]) -> int:
    """Run `command`.

    Returns:
        Its exit code, 128 + n after signal n.
    """
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # a background shell hands SIGINT down ignored
    child = subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True)
    while child.poll() is None:
        ready, _, _ = select.select([sys.stdin], [], [], _POLL_SECONDS)
        if ready and not os.read(sys.stdin.fileno(), 1):
            _end(child, grace_seconds)
    return child.returncode if child.returncode >= 0 else 128 - child.returncode


def _end(child: subprocess.Popen[bytes], grace_seconds: float) -> None:
    """End the child's group: as Ctrl-C would, which lets a stage save and DVC release its locks; then with force."""
    hurried_seconds = min(grace_seconds, _HURRIED_GRACE_SECONDS)
    for attempt, patience in ((signal.SIGINT, grace_seconds), (signal.SIGTERM, hurried_seconds), (signal.SIGKILL, 1)):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, attempt)
        deadline = time.monotonic() + patience
        while time.monotonic() < deadline and _group_lives(child):
            time.sleep(_POLL_SECONDS)
    child.wait()


def _group_lives(child: subprocess.Popen[bytes]) -> bool:
    child.poll()  # a group lives on in a zombie
    try:
        os.killpg(child.pid, 0)
    except ProcessLookupError:
        return False
    return True


if __name__ == "__main__":
    sys.exit(main(float(sys.argv[1]), sys.argv[2:]))
