"""Signals end a run in order, and the terminal is left as it was."""

import os
import pty
import signal
import subprocess
import sys

import pytest

from ddb_shared.errors import Interrupted
from ddb_shared.runtime.runner import Serial, ignore
from ddb_shared.runtime.stop import Stop

TWICE = """
import os, signal
from ddb_shared.runtime.stop import stop_on_signals
with stop_on_signals() as stop:
    os.kill(os.getpid(), signal.SIGINT)
    os.kill(os.getpid(), signal.SIGINT)
    stop.wait(30)
"""
SHOW_CURSOR = b"\x1b[?25h"


def test_a_second_ctrl_c_shows_the_cursor_again() -> None:
    """A bar has hidden it; nothing of the bar runs any more."""
    ours, theirs = pty.openpty()
    process = subprocess.run([sys.executable, "-c", TWICE], stderr=theirs, timeout=60, check=False)
    os.close(theirs)
    written = b""
    try:
        while data := os.read(ours, 65536):
            written += data
    except OSError:  # the other side is closed
        pass
    os.close(ours)
    assert process.returncode == 130
    assert written.count(SHOW_CURSOR) == 1
    assert written.index(SHOW_CURSOR) < written.index(b"Interrupted by SIGINT")


def test_what_is_no_terminal_gets_no_control_characters() -> None:
    """A log file stays text."""
    process = subprocess.run([sys.executable, "-c", TWICE], capture_output=True, timeout=60, check=False)
    assert (process.returncode, SHOW_CURSOR in process.stderr) == (130, False)


def test_a_task_that_a_signal_has_forestalled_is_interrupted() -> None:
    """It has no result."""
    stop = Stop()
    stop.request(signal.SIGINT)
    with pytest.raises(Interrupted):
        Serial().alone(lambda task, _: task, 1, ignore, stop)
