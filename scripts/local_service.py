"""What `local-aws` and `dynamodb-local` have in common: install once, serve in the foreground, leave nothing behind."""

import argparse
import fcntl
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NoReturn

CACHE = Path(os.environ.get("DDB_TRANSFER_CACHE") or Path(__file__).resolve().parent.parent / ".cache")
MISSING = 3
"""Exit code: a program that has to be installed by hand is missing."""
STOP_SECONDS = 10


class Arguments(argparse.Namespace):
    """The options that both scripts take."""

    port: int
    install_only: bool
    until_eof: bool


def parse(description: str) -> Arguments:
    """Read the command line; without `--port`, a free loopback port is chosen."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--port", type=int, default=0, help="loopback port (default: a free one)")
    parser.add_argument("--install-only", action="store_true", help="install into the cache and stop")
    parser.add_argument(
        "--until-eof", action="store_true", help="stop when standard input closes, so with the parent process"
    )
    arguments = parser.parse_args(namespace=Arguments())
    arguments.port = arguments.port or free_port()
    return arguments


def free_port() -> int:
    """Return a loopback port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def installed(name: str, install: Callable[[Path], None]) -> Path:
    """Return the folder `name` of the cache, filled by `install` if it is not there yet.

    One installer works at a time, in a folder that gets its name only when it is whole.
    """
    CACHE.mkdir(parents=True, exist_ok=True)
    storage = CACHE / name
    with (CACHE / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not storage.exists():
            print(f"installing {name} into {CACHE} (once)", file=sys.stderr)
            draft = CACHE / f"{name}.draft"
            shutil.rmtree(draft, ignore_errors=True)
            draft.mkdir()
            install(draft)
            draft.rename(storage)
    return storage


def quietly(*command: str | Path, cwd: Path | None = None) -> None:
    """Run an install step; its output is shown only if it fails."""
    done = subprocess.run(
        command, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    if done.returncode:
        fail(f"{done.stdout}\n{' '.join(map(str, command))}: exit code {done.returncode}", code=1)


def fail(message: str, *, code: int) -> NoReturn:
    """End the script with a message on standard error."""
    print(message, file=sys.stderr)
    raise SystemExit(code)


def serve(command: Sequence[str | Path], environment: Mapping[str, str], *, until_eof: bool) -> int:
    """Run the server in a temporary folder until it ends or we are told to stop; remove the folder.

    The server's working and temporary folder is that one, so nothing that it writes outlives it.
    """
    with tempfile.TemporaryDirectory(prefix="ddb-transfer-", ignore_cleanup_errors=True) as storage:
        variables = {**environment, "TMPDIR": storage}
        server = subprocess.Popen(command, cwd=storage, env=variables, stdin=subprocess.DEVNULL)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, lambda *_: server.terminate())
        if until_eof:
            threading.Thread(target=_stop_at_eof, args=(server,), daemon=True).start()
        try:
            return server.wait()
        finally:
            server.kill()


def _stop_at_eof(server: subprocess.Popen[bytes]) -> None:
    while os.read(0, 4096):
        pass
    server.terminate()
    try:
        server.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        server.kill()
