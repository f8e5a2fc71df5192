"""A private PostgreSQL server: a cluster in a folder of its own, which a test may stop and start."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg

from tests.conftest import HANG

PASSWORD = "s3cret-p4ssw0rd"
"""Of the superuser, over TCP; connections through the socket need none."""

_HBA = """
local all all trust
host all all 127.0.0.1/32 scram-sha-256
"""


def programs() -> Path | None:
    """The folder of initdb and postgres, where PostgreSQL is installed."""
    found = shutil.which("initdb")
    if found is not None:
        return Path(found).parent
    return next((path.parent for path in sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))), None)


class Postgres:
    """A running server. ``dsn()`` addresses a database of it."""

    def __init__(self, folder: Path, binaries: Path) -> None:
        self._folder = folder
        self._binaries = binaries
        # initdb and postgres refuse root.
        other = {"user": 65534, "group": 65534}
        self._user: dict[str, Any] = other if os.geteuid() == 0 else {}
        self._process: subprocess.Popen[bytes] | None = None
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]

    def create(self) -> None:
        """Make the cluster."""
        if self._user:
            shutil.chown(self._folder, **self._user)
        password = self._folder / "password"
        password.write_text(PASSWORD, "ascii")
        password.chmod(0o644)
        subprocess.run(
            [
                self._binaries / "initdb",
                *("-D", self._folder / "data", "-U", "admin", "-A", "scram-sha-256"),
                *("--pwfile", password, "--no-sync", "-E", "UTF8", "--no-locale"),
            ],
            check=True,
            capture_output=True,
            cwd=self._folder,
            **self._user,
        )
        (self._folder / "data" / "pg_hba.conf").write_text(_HBA, "ascii")

    def start(self) -> None:
        """Start the server, and wait until it answers."""
        settings = {
            "unix_socket_directories": str(self._folder),
            "listen_addresses": "127.0.0.1",
            "port": str(self.port),
            "fsync": "off",
            "max_connections": "60",
            "shared_buffers": "16MB",
        }
        options = [f"--{name}={value}" for name, value in settings.items()]
        log = (self._folder / "log").open("ab")
        with log:
            self._process = subprocess.Popen(
                [self._binaries / "postgres", "-D", self._folder / "data", *options],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self._folder,
                **self._user,
            )
        deadline, pause = time.monotonic() + HANG, threading.Event()
        while not self._answers() and time.monotonic() < deadline:
            pause.wait(0.01)
        assert self._process.poll() is None, (self._folder / "log").read_text("utf-8")

    def stop(self, *, fast: bool = True) -> None:
        """Stop the server. Its sessions are ended; with `fast` false, as if it had crashed."""
        if self._process is not None:
            self._process.send_signal(signal.SIGINT if fast else signal.SIGQUIT)
            self._process.wait(HANG)
            self._process = None

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Suspend all processes of the server in the block."""
        assert self._process is not None
        pid = self._process.pid
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text("ascii").split()
        processes = [pid, *map(int, children)]
        for process in processes:
            os.kill(process, signal.SIGSTOP)
        try:
            yield
        finally:
            for process in processes:
                os.kill(process, signal.SIGCONT)

    def dsn(self, database: str = "postgres", user: str = "admin") -> str:
        """Return the address through the socket, without a password."""
        return f"host={self._folder} port={self.port} dbname={database} user={user}"

    def url(self, database: str = "postgres", password: str = PASSWORD, user: str = "admin") -> str:
        """Return the address through TCP."""
        return f"postgresql://{user}:{password}@127.0.0.1:{self.port}/{database}"

    @contextmanager
    def database(self) -> Iterator[str]:
        """Yield the name of an empty database."""
        name = f"test_{uuid4().hex[:12]}"
        self.run(f"CREATE DATABASE {name}")
        try:
            yield name
        finally:
            self.run(f"DROP DATABASE {name} WITH (FORCE)")

    def run(self, statement: str, database: str = "postgres") -> list[tuple[Any, ...]]:
        """Run one statement as the superuser, and return its rows."""
        with psycopg.connect(self.dsn(database), autocommit=True) as connection:
            cursor = connection.execute(statement)  # type: ignore[call-overload]
            return list(cursor.fetchall()) if cursor.description else []

    def _answers(self) -> bool:
        assert self._process is not None
        try:
            self.run("SELECT 1")
        except psycopg.OperationalError:
            return self._process.poll() is not None
        return True


@contextmanager
def running() -> Iterator[Postgres]:
    """Run a server. Its folder has a short path, for the sake of the socket's."""
    binaries = programs()
    assert binaries is not None
    with tempfile.TemporaryDirectory(prefix="pg-") as folder:
        server = Postgres(Path(folder), binaries)
        server.create()
        server.start()
        try:
            yield server
        finally:
            server.stop()
