"""Run the installed commands as a user does: as processes, with an environment of their own."""

import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Any

from support.environment import SOURCE, clean_environment, credentials
from support.forks import forks
from support.services import Endpoint

TIMEOUT_SECONDS = 180


@dataclass(frozen=True)
class Result:
    """What a command left: its exit code and its two streams."""

    command: tuple[str, ...]
    exit_code: int
    stdout: str
    stderr: str

    def json(self) -> dict[str, Any]:
        """Return the one JSON object on standard output."""
        document = json.loads(self.stdout)
        assert isinstance(document, dict), self.stdout
        return document

    def __str__(self) -> str:
        return f"{' '.join(self.command)}: exit code {self.exit_code}\n{self.stdout}\n{self.stderr}"


class Running(subprocess.Popen[str]):
    """A command that runs. A test that fails in its block kills it; Popen would wait for its end."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            self.kill()
        super().__exit__(kind, error, trace)


def run(
    command: str,
    *arguments: object,
    account: str = SOURCE,
    endpoint: Endpoint | str | None = None,
    s3_endpoint: Endpoint | str | None = None,
    check: bool = True,
    env: Mapping[str, str] | None = None,
    timeout: float = TIMEOUT_SECONDS,
) -> Result:
    """Run an installed command to its end; with `check`, an exit code other than 0 fails the test with both streams."""
    line = command_line(command, *arguments, endpoint=endpoint, s3_endpoint=s3_endpoint)
    variables = clean_environment() | credentials(account) | dict(env or {})
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
        exit_code = forks().run(line, variables, output, errors, timeout)
        result = Result(tuple(line), exit_code, _text(output), _text(errors))
    assert not check or result.exit_code == 0, str(result)
    return result


def _text(stream: IO[bytes]) -> str:
    stream.seek(0)
    return stream.read().decode().replace("\r\n", "\n")


def start(
    command: str,
    *arguments: object,
    account: str = SOURCE,
    endpoint: Endpoint | str | None = None,
    s3_endpoint: Endpoint | str | None = None,
    env: Mapping[str, str] | None = None,
) -> Running:
    """Start an installed command in a process group of its own, for tests that interrupt it. Use it in `with`."""
    return Running(
        command_line(command, *arguments, endpoint=endpoint, s3_endpoint=s3_endpoint),
        env=clean_environment() | credentials(account) | dict(env or {}),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def command_line(
    command: str,
    *arguments: object,
    endpoint: Endpoint | str | None = None,
    s3_endpoint: Endpoint | str | None = None,
) -> list[str]:
    """Return the words of the command line; the command lies beside the interpreter that runs the tests."""
    words = [str(Path(sys.executable).with_name(command)), *map(str, arguments)]
    for option, value in (("--endpoint-url", endpoint), ("--s3-endpoint-url", s3_endpoint)):
        if value is not None:
            words += [option, value.url if isinstance(value, Endpoint) else value]
    return words
