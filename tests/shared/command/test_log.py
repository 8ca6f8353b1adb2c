"""Events and logs go where the options say: sentences on the screen, time-stamped or JSON lines in a file, and no secret."""

import json
import logging
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from ddb_shared.command.log import LogOptions, set_up_logging
from ddb_shared.errors import UsageError
from ddb_shared.runtime.display import ProgressOptions, Style, display
from ddb_shared.runtime.events import HANDLER, LOGGER, announce, record
from ddb_shared.runtime.progress import Progress, ProgressEvent

STAMP = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    """The loggers as they were."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    for handler in [handler for handler in LOGGER.handlers if handler.name == HANDLER]:
        LOGGER.removeHandler(handler)
        handler.close()
    root.handlers[:] = handlers
    root.setLevel(level)


def test_a_library_logs_from_warnings_on(capsys: pytest.CaptureFixture[str]) -> None:
    """Botocore's debug log holds the response of AssumeRole."""
    set_up_logging(LogOptions(level=logging.DEBUG))
    logging.getLogger("botocore.parsers").debug("SecretAccessKey")
    logging.getLogger("botocore.hooks").info("SecretAccessKey")
    logging.getLogger("botocore.x").warning("a warning")
    logging.getLogger("ddb_shared.x").debug("an event of ours")
    lines = capsys.readouterr().err.splitlines()
    assert [line.partition(" ")[2] for line in lines] == ["WARNING a warning", "DEBUG an event of ours"]
    assert all(re.match(f"{STAMP} ", line) for line in lines)


def test_control_characters_are_escaped(capsys: pytest.CaptureFixture[str]) -> None:
    """The name of a table or a service's message may hold any."""
    set_up_logging(LogOptions())
    logging.getLogger("ddb_shared.x").warning("%s", "\x1b[2J")
    announce("\x1b[2J")
    first, second = capsys.readouterr().err.splitlines()
    assert first.endswith("WARNING \\u001b[2J")
    assert second == "\\u001b[2J"


def test_events_are_sentences_on_the_screen_and_quiet_hides_them(capsys: pytest.CaptureFixture[str]) -> None:
    """Warnings remain."""
    set_up_logging(LogOptions())
    announce("As alice.", event="identity")
    record("of the file alone", event="progress")
    assert capsys.readouterr().err == "As alice.\n"
    set_up_logging(LogOptions(quiet=True))
    announce("As alice.", event="identity")
    announce("Warning: soon over.", level=logging.WARNING)
    assert capsys.readouterr().err == "Warning: soon over.\n"


@pytest.mark.parametrize("level", [logging.DEBUG, logging.INFO])
def test_events_have_their_time_among_log_records(level: int, capsys: pytest.CaptureFixture[str]) -> None:
    """With -v and --log-level debug: what happened between two records can be told."""
    set_up_logging(LogOptions(level=level))
    announce("As alice.", event="identity")
    logging.getLogger("ddb_shared.x").info("an info")
    announce("Warning: soon over.", level=logging.WARNING)
    record("of the file alone", event="progress")
    lines = capsys.readouterr().err.splitlines()
    assert all(re.match(f"{STAMP} ", line) for line in lines)
    assert ["As alice.", "INFO an info", "Warning: soon over."] == [line.split(" ", 1)[1] for line in lines]


def test_the_log_file_has_events_progress_and_logs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With time stamps, also what --quiet hides; a second command appends."""
    path = tmp_path / "run.log"
    set_up_logging(LogOptions(quiet=True, file=path))
    announce("As alice.", event="identity")
    logging.getLogger("ddb_shared.x").info("an info")
    logging.getLogger("ddb_shared.x").debug("a detail")
    with display(ProgressOptions(style=Style.NONE), Progress("export", 3)) as add:
        add(ProgressEvent(items=3))
    set_up_logging(LogOptions(quiet=True, file=path))
    announce("Once more.")
    lines = path.read_text().splitlines()
    assert all(re.match(f"{STAMP} [A-Z]+ ", line) for line in lines)
    texts = [line.split(" ", 1)[1] for line in lines]
    assert ["NOTICE As alice.", "INFO an info"] == texts[:2]
    assert texts[2].startswith("INFO export 100%: 3 of 3 items")
    assert texts[3] == "NOTICE Once more."
    assert capsys.readouterr().err == ""


def test_json_lines_have_stable_names(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`at level event message` and what belongs to the event; on stderr and in the file alike."""
    path = tmp_path / "run.jsonl"
    set_up_logging(LogOptions(file=path, as_json=True))
    announce("As alice.", event="identity", account="111111111111")
    logging.getLogger("ddb_shared.x").warning("careful")
    screen, file = capsys.readouterr().err, path.read_text()
    assert screen == file
    event, log = map(json.loads, file.splitlines())
    assert ("identity", "notice", "As alice.", "111111111111") == (
        event["event"], event["level"], event["message"], event["account"],
    )  # fmt: skip
    assert ("log", "warning", "careful", "ddb_shared.x") == (
        log["event"],
        log["level"],
        log["message"],
        log["logger"],
    )
    assert re.fullmatch(STAMP, log["at"])


def test_progress_for_programs_is_one_object_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    """With numbers, and null for what is unknown."""
    set_up_logging(LogOptions(stderr_as_json=True))
    with display(ProgressOptions(style=Style.JSONL), Progress("export", None, units_name="RCU")) as add:
        add(ProgressEvent(items=3, units=1.5, reasons=(("Throttling", 2),)))
    last = json.loads(capsys.readouterr().err.splitlines()[-1])
    assert ("progress", 3, None, None, {"Throttling": 2}, 1.5) == (
        last["event"], last["items_done"], last["items_total"], last["percent"], last["throttle_reasons"], last["units"],
    )  # fmt: skip


def test_a_log_file_that_cannot_be_written_is_a_usage_error(tmp_path: Path) -> None:
    """Before anything is done."""
    with pytest.raises(UsageError, match=r"--log-file .* cannot be written: No such file"):
        set_up_logging(LogOptions(file=tmp_path / "absent" / "run.log"))
