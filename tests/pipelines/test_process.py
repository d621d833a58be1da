import os
import sys
import textwrap
import threading
import time
from pathlib import Path

import pytest

from pipelines.flows.process import CommandFailed, Processes


def script(text: str) -> list[str]:
    return ["python", "-uc", textwrap.dedent(text)]


def wait_until(condition, seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.05)


def lives(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def test_lines_come_while_the_command_runs(tmp_path: Path) -> None:
    """The command waits for a file that only the callback of its first line makes."""
    command = script("""
        import pathlib, sys, time
        print("first")
        while not pathlib.Path("seen").exists():
            time.sleep(0.01)
        print("second", file=sys.stderr)
    """)
    lines: list[str] = []

    def on_line(line: str) -> None:
        lines.append(line)
        (tmp_path / "seen").touch()

    Processes().run(command, on_line, tmp_path)
    assert lines == ["first", "second"]


def test_a_progress_bar_is_one_line(tmp_path: Path) -> None:
    lines: list[str] = []
    bar = script("""
        for step in range(100):
            print(f"\\r{step + 1} %", end="")
        print()
        print("done", end="")
    """)
    Processes().run(bar, lines.append, tmp_path)
    assert lines == ["100 %", "done"]


def test_a_failure_carries_command_code_and_last_lines(tmp_path: Path) -> None:
    command = script("for line in range(100): print(line)\nraise SystemExit('the reason')")
    with pytest.raises(CommandFailed, match="the reason") as failure:
        Processes().run(command, lambda line: None, tmp_path)
    assert failure.value.exit_code == 1
    assert failure.value.last_lines[0] == "71"
    assert len(failure.value.last_lines) == 30
    assert failure.value.command.startswith("python -uc ")


def test_python_is_the_interpreter_that_runs_us(tmp_path: Path) -> None:
    lines: list[str] = []
    Processes().run(script("import sys; print(sys.prefix)"), lines.append, tmp_path)
    assert lines == [sys.prefix]


STUBBORN = """
    import os, pathlib, signal, subprocess, sys, time
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    print(os.getpid(), child.pid)
    time.sleep(600)
"""


def test_an_error_in_the_callback_ends_the_whole_group(tmp_path: Path) -> None:
    pids: list[int] = []

    def on_line(line: str) -> None:
        pids.extend(map(int, line.split()))
        raise KeyError("callback")

    with pytest.raises(KeyError):
        Processes(grace_seconds=0.3).run(script(STUBBORN), on_line, tmp_path)
    assert len(pids) == 2
    assert not any(lives(pid) for pid in pids)


def test_ending_all_reaches_commands_of_other_threads_and_those_to_come(tmp_path: Path) -> None:
    processes = Processes(grace_seconds=0.3)
    pids: list[int] = []
    failures: list[CommandFailed] = []

    def run_it() -> None:
        try:
            processes.run(script(STUBBORN), lambda line: pids.extend(map(int, line.split())), tmp_path)
        except CommandFailed as error:
            failures.append(error)

    threads = [threading.Thread(target=run_it) for _ in range(2)]
    for thread in threads:
        thread.start()
    wait_until(lambda: len(pids) == 4)
    processes.end_all()
    for thread in threads:
        thread.join(20)
    assert len(failures) == 2
    assert not any(lives(pid) for pid in pids)
    with pytest.raises(CommandFailed, match="interrupted"):
        processes.run(["true"], lambda line: None, tmp_path)


def test_a_killed_parent_leaves_nobody_behind(tmp_path: Path) -> None:
    parent = f"""
        import os, signal
        from pathlib import Path
        from pipelines.flows.process import Processes

        def on_line(line):
            Path("pids.txt").write_text(line)
            os.kill(os.getpid(), signal.SIGKILL)

        Processes(grace_seconds=0.3).run(["python", "-uc", {textwrap.dedent(STUBBORN)!r}], on_line, Path())
    """
    root = Path(__file__).resolve().parents[2]
    command = ["env", f"PYTHONPATH={root}", *script(parent)]
    with pytest.raises(CommandFailed):
        Processes().run(command, lambda line: None, tmp_path)
    pids = [int(pid) for pid in (tmp_path / "pids.txt").read_text().split()]
    wait_until(lambda: not any(lives(pid) for pid in pids))
    assert os.getpid() not in pids
