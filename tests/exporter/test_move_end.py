"""The one cut-over of all tables of a move: what forbids it comes first, and what it leaves behind is told."""

import signal
from types import SimpleNamespace
from typing import Any

import pytest

from ddb_export import move_end
from ddb_export.capture import gate
from ddb_export.capture.result import CancelResult
from ddb_export.move_end import MovedEnd, MoveEnd, cancel_move, finish_move
from ddb_shared.command.invocation import Invocation
from ddb_shared.errors import Interrupted, StateError, TableError
from ddb_shared.format import changes as log
from ddb_shared.format import manifest as manifests
from ddb_shared.format.changes import StreamRecord
from ddb_shared.format.moves import FOLLOW_FORMAT, Move, MovedTable, MoveFormat
from ddb_shared.runtime.stop import Stop
from support.memory import MemoryFolder

URL = "s3://bucket/moves/01715685260608-c488b4e0.json"
CALLER = Invocation("ddb-export", (("finish", ("--finish", URL)), ("profile", ("--profile", "old"))))
TABLES = ("aaa", "bbb")
RECORD = StreamRecord(
    table_arn="arn", table_id="id", stream_arn="stream", view="NEW_IMAGE", ours=False, intended_at="now"
)


class FakeGate:
    """Goes through the steps; `bbb` is a global table, unless there are none."""

    steps: list[tuple[str, str]]
    has_global: bool
    stop: Stop

    def __init__(self, _: Any, url: str, stop: Stop, __: Invocation) -> None:
        self.table = url
        self.own_stop = stop

    def __enter__(self) -> "FakeGate":
        return self

    def __exit__(self, *_: object) -> None:
        self.steps.append(("end", self.table))

    def check(self, *, block_writes: bool) -> None:
        if block_writes and self.has_global and self.table == "bbb":
            raise TableError("a global table")

    def wait_for_silence(self, *, block_writes: bool) -> None:
        self.steps.append(("block" if block_writes else "wait", self.table))

    def is_silent(self) -> bool:
        return True

    def close(self) -> None:
        self.steps.append(("close", self.table))
        self.stop.request(signal.SIGINT)
        self.own_stop.check()


@pytest.fixture
def stop(monkeypatch: pytest.MonkeyPatch) -> Stop:
    move = Move(
        format=FOLLOW_FORMAT,
        move_id="01715685260608-c488b4e0",
        tool_version="1",
        started_at="now",
        given=["*"],
        options=MoveFormat(),
        exports=[MovedTable(table=table, table_arn=table, address=table, export=table) for table in TABLES],
        follow=True,
    )
    FakeGate.steps, FakeGate.stop, FakeGate.has_global = [], Stop(), False
    monkeypatch.setattr(move_end, "_following", lambda *_: move)
    monkeypatch.setattr(move_end, "_require_begun", lambda *_: None)
    monkeypatch.setattr(move_end, "Gate", FakeGate)
    return FakeGate.stop


def test_no_table_is_blocked_where_one_cannot_be(stop: Stop) -> None:
    """Its writers would fail for nothing."""
    FakeGate.has_global = True
    aws: Any = None
    with pytest.raises(StateError, match="bbb: a global table"):
        finish_move(aws, URL, stop, block_writes=True, caller=CALLER)
    assert [] == FakeGate.steps


def test_an_interruption_tells_that_writes_are_denied(stop: Stop) -> None:
    """Whatever had been closed by then."""
    aws: Any = None
    with pytest.raises(Interrupted) as raised:
        finish_move(aws, URL, stop, block_writes=True, caller=CALLER)
    assert "run the same command again" in raised.value.remedy
    assert f"ddb-export --unblock {URL} --profile old" in raised.value.remedy
    assert {("block", "aaa"), ("block", "bbb"), ("end", "aaa"), ("end", "bbb")} < set(FakeGate.steps)


def test_writes_to_a_global_table_cannot_be_blocked(monkeypatch: pytest.MonkeyPatch) -> None:
    """The check says so before anything is done; without --block-writes it passes."""
    table = SimpleNamespace(name="aaa", id="id", definition={"Replicas": [{"RegionName": "eu-west-1"}]})
    aws: Any = SimpleNamespace(dynamodb=None)
    monkeypatch.setattr(gate, "_following", lambda *_: (MemoryFolder(), RECORD))
    monkeypatch.setattr(gate, "address_of", lambda *_: "aaa")
    monkeypatch.setattr(gate, "describe", lambda *_: table)
    monkeypatch.setattr(gate.Gate, "_require_base", lambda _: None)
    one = gate.Gate(aws, "s3://bucket/export", Stop(), CALLER)
    one.check(block_writes=False)
    with pytest.raises(TableError, match="is a global table"):
        one.check(block_writes=True)


def test_an_export_that_begins_while_it_is_cancelled_does_not_go_on(
    stop: Stop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever comes first, one of the two sides sees the other: here, the stream is declared as the log is closed."""
    folders, cancelled = {table: MemoryFolder(table) for table in TABLES}, list[str]()

    def close(storage: MemoryFolder) -> None:
        log.write_new(storage, log.STREAM, RECORD)

    def cancel(_: Any, url: str, __: Stop) -> CancelResult:
        cancelled.append(url)
        return CancelResult(export=url, stream_disabled=True, writes_blocked=False, seconds=0.0)

    monkeypatch.setattr(manifests, "export_storage", lambda _, url: folders[url])
    monkeypatch.setattr(gate, "close_cancelled", close)
    monkeypatch.setattr(gate, "cancel", cancel)
    aws: Any = SimpleNamespace(s3=None)
    assert "cancelled" == cancel_move(aws, URL, stop).status
    assert set(TABLES) == set(cancelled)


def test_where_all_tables_failed_none_is_called_done() -> None:
    """Where some did, the others are."""
    failed, done = (
        MovedEnd(table=table, export=table, status=status, error=error)
        for table, status, error in (("aaa", "failed", "denied"), ("bbb", "cancelled", None))
    )
    for exports, told in (([failed], False), ([failed, done], True)):
        text = MoveEnd(status="incomplete", move=URL, exports=exports).text(CALLER)
        assert f"ddb-export --finish {URL} --profile old" in text
        assert ("The other tables are done." in text) is told


def test_an_unexpected_error_of_one_table_hides_no_other(
    stop: Stop, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The others are cancelled and in the result, and the traceback is told."""

    def cancel(_: Any, url: str, __: Stop) -> CancelResult:
        if url == "aaa":
            raise ZeroDivisionError("by zero")
        return CancelResult(export=url, stream_disabled=True, writes_blocked=False, seconds=0.0)

    monkeypatch.setattr(manifests, "export_storage", lambda *_: MemoryFolder())
    monkeypatch.setattr(gate, "close_cancelled", lambda _: None)
    monkeypatch.setattr(log, "read_stream", lambda _: RECORD)
    monkeypatch.setattr(gate, "cancel", cancel)
    aws: Any = SimpleNamespace(s3=None)
    result = cancel_move(aws, URL, stop)
    assert (1, ["failed", "cancelled"]) == (result.exit_code, [one.status for one in result.exports])
    assert "ZeroDivisionError: by zero" == result.exports[0].error
    assert "Traceback" in capsys.readouterr().err
