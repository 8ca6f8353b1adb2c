"""Run an installed command in a terminal of its own, whose keys and screen a test has."""

import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import termios
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from support.commands import command_line
from support.environment import clean_environment, credentials
from support.services import Endpoint

CTRL_C: Final = b"\x03"
_DEADLINE_SECONDS: Final = 60.0
_CONTROL: Final = re.compile(rb"\x1b\[[0-9;?]*[A-Za-z]|\r")


class Terminal:
    """The command's process, and what it has written so far."""

    def __init__(self, process: subprocess.Popen[bytes], ours: int) -> None:
        self.process = process
        self._ours = ours
        self._written = b""

    @property
    def screen(self) -> str:
        """All that was written, without control sequences."""
        return _CONTROL.sub(b"", self._written).decode(errors="replace")

    def press(self, key: bytes) -> None:
        """Types a key: Ctrl-C goes to the command and to all of its workers."""
        os.write(self._ours, key)

    def wait_for(self, pattern: str) -> None:
        """Reads until what matches was written; fails where the command ends without it."""
        deadline = time.monotonic() + _DEADLINE_SECONDS
        while not re.search(pattern, self.screen):
            assert time.monotonic() < deadline, self.screen
            assert self._read(0.1) or re.search(pattern, self.screen), self.screen

    def wait_for_end(self) -> int:
        """Reads to the end; returns the exit code."""
        deadline = time.monotonic() + _DEADLINE_SECONDS
        while self._read(0.1):
            assert time.monotonic() < deadline, self.screen
        return self.process.wait(_DEADLINE_SECONDS)

    def _read(self, seconds: float) -> bool:
        """What has come meanwhile; False once nobody has the terminal open any more."""
        if select.select([self._ours], [], [], seconds)[0]:
            try:
                data = os.read(self._ours, 65_536)
            except OSError:  # EIO: the other side is closed
                return False
            self._written += data
            return bool(data)
        return True


@contextmanager
def in_terminal(command: str, *arguments: object, account: str, endpoint: Endpoint) -> Iterator[Terminal]:
    """The running command, in a session whose terminal has 100 columns."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 100, 0, 0))
    process = subprocess.Popen(
        command_line(command, *arguments, endpoint=endpoint),
        env=clean_environment() | credentials(account) | {"TERM": "xterm-256color"},
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),  # noqa: PLW1509 - no thread has a lock here
    )
    os.close(theirs)
    try:
        yield Terminal(process, ours)
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()
        os.close(ours)
