"""A real PostgreSQL of the system's packages, with its data in a folder of its own."""

import os
import pwd
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

from tests.tracking.mlflow_server import free_port

_FOLDERS = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
_USER = "postgres"


def _why_not() -> str:
    if not _FOLDERS:
        return "no PostgreSQL: apt-get install -y postgresql"
    if os.getuid() == 0 and _USER not in {entry.pw_name for entry in pwd.getpwall()}:
        return f"PostgreSQL does not run as root, and there is no user {_USER}"
    return ""


needs_postgres = pytest.mark.skipif(bool(_why_not()), reason=_why_not())


class Postgres:
    """A database server that anybody on this machine may use, with one empty database, `mlflow`."""

    def __init__(self) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="postgres-"))  # pytest's own folders are for one user alone
        self._as = {"user": _USER, "group": _USER} if os.getuid() == 0 else {}
        if self._as:
            shutil.chown(self._folder, _USER, _USER)
        self._port = free_port()
        self.uri = f"postgresql+psycopg2://hicmae@127.0.0.1:{self._port}/mlflow"
        self._run("initdb", "--auth", "trust", "--username", "hicmae", "--no-sync", "--pgdata", "data")
        self.start()
        self._run("createdb", "--host", "127.0.0.1", "--port", str(self._port), "--username", "hicmae", "mlflow")

    def start(self) -> None:
        options = f"-c listen_addresses=127.0.0.1 -c port={self._port} -c unix_socket_directories={self._folder}"
        self._run("pg_ctl", "start", "--wait", "--pgdata", "data", "--log", "log", "--options", options)

    def kill(self) -> None:
        self._run("pg_ctl", "stop", "--wait", "--mode", "immediate", "--pgdata", "data")

    def remove(self) -> None:
        self.kill()
        shutil.rmtree(self._folder)

    def _run(self, program: str, *arguments: str) -> None:
        with open(self._folder / "commands.log", "a", encoding="utf-8") as log:
            command = [str(_FOLDERS[-1] / program), *arguments]
            subprocess.run(command, cwd=self._folder, stdout=log, stderr=log, check=True, **self._as)
