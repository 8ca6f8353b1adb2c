"""Exit codes and error output of a command."""

import gc

import click
import pytest

from ddb_shared.errors import Interrupted, StateError, TableError, UsageError
from support.help import outcome


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (UsageError("Bad.", "Do so."), 2, "Error: Bad.\nDo so.\n"),
        (TableError("Gone.", "Look."), 1, "Error: Gone.\nLook.\n"),
        (StateError("Held."), 1, "Error: Held.\n"),
        (Interrupted("Interrupted by SIGINT.", "Resume.", 2), 130, "Resume."),
        (Interrupted("Interrupted by SIGTERM.", "Resume.", 15), 143, "Resume."),
        (click.UsageError("No such thing."), 2, "No such thing."),
        (click.Abort(), 130, ""),
        (ConnectionRefusedError("refused"), 1, "refused"),
        (OSError(28, "No space left on device"), 1, "No space left on device"),
    ],
)
def test_each_error_ends_the_command_with_its_code(
    error: Exception, code: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """An expected error shows its message and no traceback, on stderr."""

    @click.command()
    def command() -> None:
        raise error

    assert code == outcome(command)
    streams = capsys.readouterr()
    assert said in streams.err
    assert "Traceback" not in streams.err
    assert streams.out == ""


def test_garbage_is_collected_less_often() -> None:
    """A sixth of the CPU of a command on a small table was spent on it."""
    threshold = gc.get_threshold()
    try:
        assert outcome(click.Command("idle", callback=lambda: None)) == 0
        assert gc.get_threshold()[0] == 50_000
        assert gc.isenabled()
        assert gc.get_freeze_count() > 0
    finally:
        gc.unfreeze()
        gc.set_threshold(*threshold)


def test_a_bug_keeps_its_traceback() -> None:
    """It is not made to look like the user's mistake."""

    @click.command()
    def command() -> None:
        raise KeyError("bug")

    with pytest.raises(KeyError, match="bug"):
        outcome(command)
