"""Commands without their start-up: a process that has loaded what they load forks for each run.

An interpreter and its imports are half of the CPU time of a short command, and the tests run more than a thousand. The fork
executes the installed script, in a process of its own, as the interpreter does that a user starts.
"""

import gc
import json
import os
import runpy
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import IO

from support.environment import ROOT, clean_environment

# What every run loads, part of it only when it is first used.
_PRELOADED = (
    "ddb_export.cli",
    "ddb_export.finish",
    "ddb_export.report",
    "ddb_export.routes",
    "ddb_export.run",
    "ddb_import.cli",
    "ddb_import.dry_run",
    "ddb_import.report",
    "ddb_import.run",
    "ddb_import.verify.cli",
    "ddb_import.verify.report",
    "ddb_import.verify.run",
    "ddb_import.verify_after",
    "ddb_shared.policy.cli",
    "boto3.s3.inject",
    "botocore.client",
    "httptools",
    "jinja2",
    "pygal",
    "s3transfer.manager",
    "smart_open.s3",
    "uvloop",
)


class Forks:
    """The process that forks; it ends with this one. Any thread may use it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._control, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "support.forks", str(theirs.fileno())],
                env=clean_environment() | {"PYTHONPATH": str(ROOT / "tests")},
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                start_new_session=True,  # Ctrl-C is for the tests
            )

    def run(
        self,
        words: Sequence[str],
        environment: Mapping[str, str],
        output: IO[bytes],
        errors: IO[bytes],
        seconds: float,
    ) -> int:
        """Run a command to its end; the exit code is negative for a signal. Raises subprocess.TimeoutExpired."""
        ours, theirs = socket.socketpair()
        with ours:
            with theirs, self._lock:
                descriptors = [stream.fileno() for stream in (theirs, output, errors)]
                socket.send_fds(self._control, [b"."], descriptors)
            ours.sendall(json.dumps([words, dict(environment)]).encode() + b"\n")
            process = int(_line(ours))
            ours.settimeout(seconds)
            try:
                return int(_line(ours))
            except TimeoutError:
                with suppress(ProcessLookupError):
                    os.killpg(process, signal.SIGKILL)
                raise subprocess.TimeoutExpired(list(words), seconds) from None


@cache
def forks() -> Forks:
    """The one of this process; the first call starts it."""
    return Forks()


def _line(connection: socket.socket) -> str:
    received = b""
    while not received.endswith(b"\n"):
        more = connection.recv(65_536)
        assert more, f"the process that forks is gone: {received!r}"
        received += more
    return received.decode()


def _serve(control: socket.socket) -> Path:
    """Forks until the other end is closed; returns in the fork that is to be a command, with the script to execute."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for those that watch
    while True:
        received, descriptors, _, _ = socket.recv_fds(control, 1, 3)
        if not received:
            sys.exit()
        if os.fork() == 0:
            control.close()
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            return _watch(socket.socket(fileno=descriptors[0]), *descriptors[1:])
        for descriptor in descriptors:
            os.close(descriptor)


def _watch(connection: socket.socket, output: int, errors: int) -> Path:
    """Forks once more, tells the fork's number and at last its exit code; returns in that fork."""
    words, environment = json.loads(_line(connection))
    process = os.fork()
    if process == 0:
        connection.close()
        _prepare(words, environment, output, errors)
        return Path(words[0])
    connection.sendall(b"%d\n" % process)
    _, status = os.waitpid(process, 0)
    with suppress(OSError):  # nobody waits any more
        connection.sendall(b"%d\n" % os.waitstatus_to_exitcode(status))
    os._exit(0)


def _prepare(words: list[str], environment: dict[str, str], output: int, errors: int) -> None:
    """Makes this process what a new interpreter would be."""
    os.setsid()
    for descriptor, number in ((output, 1), (errors, 2)):
        os.dup2(descriptor, number)
        os.close(descriptor)
    os.environ.clear()
    os.environ.update(environment)
    time.tzset()
    sys.argv[:] = words
    own = {str(ROOT / "tests"), str(Path.cwd())}
    sys.path[:] = [str(Path(words[0]).parent), *(path for path in sys.path if path not in own)]


if __name__ == "__main__":
    for module in _PRELOADED:
        import_module(module)
    gc.freeze()
    runpy.run_path(str(_serve(socket.socket(fileno=int(sys.argv[1])))), run_name="__main__")
