"""Let the environment's commands work wherever its folder is moved or copied to.

pip and venv write absolute paths: after a move a command starts a Python that is gone, and in a copy the original's.
"""

from __future__ import annotations

import re
import sys
import sysconfig
from pathlib import Path

from hicmae.command import run

_LAUNCHER = re.compile(rb"#!(?:[^\n]*/python[\d.]*|/bin/sh\n'''exec' [^\n]*\n' ''')\n")
"""How pip begins a command; the second is for paths with spaces, and is both shell and Python."""
_PORTABLE = b'#!/bin/sh\n\'\'\'exec\' "$(dirname -- "$(realpath -- "$0")")/python" "$0" "$@"\n\' \'\'\'\n'
_ACTIVATE = re.compile(r"^( *(?:export )?VIRTUAL_ENV=(?!\$).*)$", re.MULTILINE)
_WHERE_IT_IS = (
    '[ -z "${BASH_VERSION:-}${ZSH_VERSION:-}" ] || VIRTUAL_ENV="$(cd "$(dirname "${BASH_SOURCE:-$0}")/.." && pwd)"'
)


def make_portable(environment: Path, packages: Path) -> None:
    """Let commands, and ``activate`` of bash and zsh, use the environment that they are in, and it the project around.

    Args:
        environment: The folder of a virtual environment, in the project's folder.
        packages: Its ``site-packages``, in which the project is installed as editable.
    """
    for command in (environment / "bin").iterdir():
        if command.is_file() and not command.is_symlink():
            content = command.read_bytes()
            portable = _LAUNCHER.sub(lambda _: _PORTABLE, content, count=1) if content.startswith(b"#!") else content
            _replace(command, content, portable)
    activate = environment / "bin" / "activate"
    script = activate.read_text(encoding="utf-8")
    if _WHERE_IT_IS not in script:
        moved = _ACTIVATE.sub(lambda match: f"{match[1]}; {_WHERE_IT_IS}", script)
        _replace(activate, script.encode(), moved.encode())
    to_project = Path(*[".."] * len(packages.relative_to(environment.parent).parts))
    for link in packages.glob("__editable__.hicmae-*.pth"):
        _replace(link, link.read_bytes(), f"{to_project}\n".encode())


def _replace(path: Path, content: bytes, wanted: bytes) -> None:
    if wanted != content:
        path.write_bytes(wanted)


def main() -> None:
    """Let the commands of the environment that this runs in work after a move."""
    make_portable(Path(sys.prefix), Path(sysconfig.get_path("purelib")))


if __name__ == "__main__":
    run(main, "python -m pipelines.project.launchers")
