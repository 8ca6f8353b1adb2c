"""Real servers on free loopback ports: MiniStack and DynamoDB Local, started by the scripts that a user starts too."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from support.environment import ISOLATION, ROOT

INSTALL_SECONDS = 900
"""A first run downloads some 60 MB."""
START_SECONDS = 60
STOP_SECONDS = 15
MISSING = 3
"""Exit code of the scripts where Java or Maven is missing."""


class ServiceError(Exception):
    """A server did not install, start or answer; the message holds its log."""


class ServiceMissingError(ServiceError):
    """The machine lacks the program that the server runs on."""


@dataclass(frozen=True)
class Endpoint:
    """Where a server answers: `name` is `ministack` or `dynamodb-local`; only MiniStack has S3, STS and IAM."""

    name: str
    url: str


@contextlib.contextmanager
def local_aws(environment: Mapping[str, str] | None = None) -> Iterator[Endpoint]:
    """Serve MiniStack while the context lasts; `environment` adds settings such as `AUTH=true`.

    Raises ServiceError.
    """
    settings = {"LOG_LEVEL": "WARNING", **(environment or {})}
    with _service("ministack", "local-aws", "/_ministack/health", settings) as endpoint:
        yield endpoint


@contextlib.contextmanager
def dynamodb_local() -> Iterator[Endpoint]:
    """Serve DynamoDB Local while the context lasts. Raises ServiceMissingError without Java or Maven, ServiceError."""
    with _service("dynamodb-local", "dynamodb-local", "/", {}) as endpoint:
        yield endpoint


@contextlib.contextmanager
def _service(name: str, script: str, health: str, settings: Mapping[str, str]) -> Iterator[Endpoint]:
    command = [sys.executable, str(ROOT / "scripts" / script)]
    variables = {k: v for k, v in os.environ.items() if not k.startswith("AWS_")} | ISOLATION | dict(settings)
    _install(command, variables)
    port = free_port()
    with tempfile.TemporaryFile() as log:
        server = subprocess.Popen(
            [*command, "--port", str(port), "--until-eof"],
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=subprocess.STDOUT,
            env=variables,
            start_new_session=True,  # Ctrl-C reaches the tests first, which end the server in their own order
        )
        try:
            url = f"http://127.0.0.1:{port}"
            _await_health(server, url + health, log)
            yield Endpoint(name, url)
        finally:
            _stop(server)


def _install(command: list[str], variables: Mapping[str, str]) -> None:
    done = subprocess.run(
        [*command, "--install-only"],
        env=variables,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=INSTALL_SECONDS,
        check=False,
    )
    if done.returncode == MISSING:
        raise ServiceMissingError(done.stdout.strip())
    if done.returncode:
        raise ServiceError(
            f"{Path(command[-1]).name} --install-only: exit code {done.returncode}\n{done.stdout}"
        )


def _await_health(server: subprocess.Popen[bytes], url: str, log: IO[bytes]) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and server.poll() is None:
        if _answers(url):
            return
        time.sleep(0.1)
    log.seek(0)
    text = log.read().decode(errors="replace")
    raise ServiceError(f"{url} does not answer (exit code {server.poll()}); the server's log:\n{text}")


def _answers(url: str) -> bool:
    """Whether an HTTP server is there: DynamoDB Local answers 400 to a request without a signature."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=5):
            return True
    except urllib.error.HTTPError as error:
        error.close()
        return error.code < 500
    except OSError:
        return False


def _stop(server: subprocess.Popen[bytes]) -> None:
    if server.stdin:
        server.stdin.close()
    server.terminate()
    try:
        server.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        pass
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(server.pid, signal.SIGKILL)
        server.wait()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
