"""A move of several tables: what a resumed one does first, what is refused of it, and what it says to run next."""

import threading
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from ddb_export import move, run
from ddb_export.capture import following
from ddb_export.options import NewExport, ResumedExport, ResumedMove
from ddb_export.start import Export
from ddb_shared.aws.clients import AwsOptions
from ddb_shared.command.invocation import Invocation
from ddb_shared.command.options import Common
from ddb_shared.errors import StateError, UsageError
from ddb_shared.format import changes as log
from ddb_shared.format import manifest as manifests
from ddb_shared.format import moves
from ddb_shared.format.changes import Closed, StreamRecord
from ddb_shared.format.moves import FOLLOW_FORMAT, Move, MovedTable, MoveFormat
from ddb_shared.runtime import lease
from ddb_shared.runtime.display import ProgressOptions, Style
from ddb_shared.runtime.stop import Stop
from support.memory import MemoryFolder

MOVE = "s3://bucket/moves/01715685260608-c488b4e0.json"
TABLES = ("aaa", "bbb", "ccc", "ddd")


class Lab:
    """A move that follows its tables, the folders of its exports in memory, and a run of it whose exports do nothing."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folders = {
            f"s3://bucket/{prefix}/": MemoryFolder(prefix)
            for prefix in (f"AWSDynamoDB/01715685260608-c488b4e{n}" for n in range(len(TABLES)))
        }
        self.move = Move(
            format=FOLLOW_FORMAT,
            move_id="01715685260608-c488b4e0",
            tool_version="1",
            started_at="2026-01-01T00:00:00Z",
            given=["*"],
            options=MoveFormat(),
            exports=[
                MovedTable(table=table, table_arn=f"arn:{table}", address=table, export=url)
                for table, url in zip(TABLES, self.folders, strict=True)
            ],
            follow=True,
        )
        root = MemoryFolder("", {"moves/01715685260608-c488b4e0.json": msgspec.json.encode(self.move)})
        self.options = ResumedMove(
            common=Common(
                aws=AwsOptions(),
                processes=None,
                progress=ProgressOptions(style=Style.NONE),
                as_json=False,
                invocation=Invocation("ddb-export", (("tables_at_once", ("--tables-at-once", "2")),)),
            ),
            move=MOVE,
        )
        self.aws: Any = SimpleNamespace(s3=None)
        monkeypatch.setattr(moves, "root_of", lambda *_: root)
        monkeypatch.setattr(move, "require", lambda _: None)
        monkeypatch.setattr(move, "bucket_checks", lambda *_: {})
        monkeypatch.setattr(manifests, "export_storage", lambda _, url: self.folders[url])
        monkeypatch.setattr(move, "_lease_folder", lambda *_: MemoryFolder("lease"))
        monkeypatch.setattr(move, "_refuse_another_table", lambda *_: None)
        monkeypatch.setattr(move, "publish_move", lambda *_, **__: None)

    def begin(self, *numbers: int) -> None:
        """An earlier run has begun these exports."""
        for folder in [list(self.folders.values())[number] for number in numbers]:
            folder.files[manifests.STARTED] = b"{}"

    def run(self, export: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> list[str]:
        """Runs the move; the states of its tables."""
        monkeypatch.setattr(move, "run_export", export)
        result, _ = move.run_move(self.options, self.aws, Stop())
        return [one.status for one in result.exports]


@pytest.fixture
def lab(monkeypatch: pytest.MonkeyPatch) -> Lab:
    return Lab(monkeypatch)


def exported(status: str = "complete") -> Any:
    return SimpleNamespace(
        status=status, items=0, bytes=0, shards=0, seconds=0.0, consumed_rcu=0.0, throttled=0, changes=0
    )


def test_a_resumed_move_captures_all_that_had_begun_before_it_scans(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stream forgets after 24 hours, and the scan of a table before may take longer. The others begin in their turn."""
    lab.begin(0, 3)
    captured, scanned = list[str](), list[str]()
    both = threading.Event()

    def export(
        options: NewExport | ResumedExport, *_: Any, on_base: Any, before_scan: Callable[[], None]
    ) -> Any:
        table = next(one.table for one in lab.move.exports if manifests.id_in(one.export) in name_of(options))
        captured.append(table)
        if len(captured) == 2:
            both.set()
        before_scan()
        assert both.wait(10)
        scanned.append(table)
        on_base(table)
        return exported()

    assert ["complete"] * 4 == lab.run(export, monkeypatch)
    assert ({"aaa", "ddd"}, ["bbb", "ccc"]) == (set(captured[:2]), captured[2:])
    assert set(TABLES) == set(scanned)


def name_of(options: NewExport | ResumedExport) -> str:
    return options.export if isinstance(options, ResumedExport) else str(options.export_id)


def test_a_cancelled_table_is_not_complete_on_resume(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not even if its base is: the changes since are missing."""
    lab.begin(0, 1, 2, 3)
    folder = next(iter(lab.folders.values()))
    folder.files[manifests.MANIFEST] = b"{}"
    closed = Closed(closed_at="now", last_number=0, changes=0, expired=0, cancelled=True)
    log.write_new(folder, log.CLOSED, closed)
    found = lab.run(lambda *_, **__: exported(), monkeypatch)
    assert ["failed", "complete", "complete", "complete"] == found


def test_an_export_that_was_cancelled_as_it_began_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """It would copy the table without its changes, and call that complete."""
    folder = MemoryFolder()
    common: Any = None
    options = NewExport(common=common, table="aaa", destination="s3://bucket", follow=True)
    monkeypatch.setattr(run, "_open", lambda *_: (options, None, SimpleNamespace(storage=folder)))
    monkeypatch.setattr(run, "_warn_of_expiry", lambda *_: None)
    monkeypatch.setattr(run, "resume_command", lambda *_: "")
    aws: Any = None
    with pytest.raises(StateError, match="cancelled"):
        run.run_export(options, aws, Stop())


def test_an_export_that_is_cancelled_while_it_takes_its_lease_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same, a moment later: it knows already that it follows."""
    folder: Any = MemoryFolder()
    common: Any = None
    options = NewExport(common=common, table="aaa", destination="s3://bucket", follow=True)
    table: Any = SimpleNamespace(address="aaa")
    export = Export(folder, table, table, done_items=0)
    aws: Any = SimpleNamespace(lease_s3=None, s3=None)
    aws.under = lambda _: aws
    held: Any = SimpleNamespace(guard=None)
    monkeypatch.setattr(run, "_open", lambda *_: (options, aws, export))
    monkeypatch.setattr(run, "_warn_of_expiry", lambda *_: None)
    monkeypatch.setattr(run, "resume_command", lambda *_: "")
    monkeypatch.setattr(run, "open_storage", lambda *_: None)
    monkeypatch.setattr(run, "S3Storage", lambda *_: folder)
    monkeypatch.setattr(run, "hold", lambda *_, **__: nullcontext(held))
    monkeypatch.setattr(run, "is_following", lambda _: True)
    monkeypatch.setattr(run, "following", lambda *_, **__: nullcontext(None))
    with pytest.raises(StateError, match="cancelled"):
        run.run_export(options, aws, Stop())


def test_the_resume_of_one_export_takes_no_option_of_the_move(lab: Lab) -> None:
    """It is refused with --tables-at-once."""
    export: Any = SimpleNamespace(storage=MemoryFolder())
    options: Any = SimpleNamespace(common=lab.options.common)
    assert f"ddb-export --resume {export.storage.url}" == run.resume_command(export, options)


def test_a_move_that_follows_has_no_metrics_on_resume(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file is about one table."""
    progress = replace(lab.options.common.progress, metrics=Path("x.prom"))
    lab.options = replace(lab.options, common=replace(lab.options.common, progress=progress))
    with pytest.raises(UsageError, match="--metrics does not apply"):
        lab.run(lambda *_, **__: exported(), monkeypatch)


def test_a_move_whose_lease_is_lost_tells_so_at_once_and_keeps_its_results(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What is being exported goes on, no further table begins, and the message of those names the command that resumes the move."""
    root = MemoryFolder("lease")
    monkeypatch.setattr(move, "_lease_folder", lambda *_: root)
    monkeypatch.setattr(lease, "RENEW_SECONDS", 0.05)
    told = list[str]()

    def export(*_: Any, **__: Any) -> Any:
        root.write(lease.FILE, b"{}")  # another run takes it
        deadline = time.monotonic() + 10
        while not any(map(is_about_loss, told)) and time.monotonic() < deadline:
            time.sleep(0.05)
            told.extend(capsys.readouterr().err.split("\n"))
        return exported()

    def is_about_loss(line: str) -> bool:
        return "lease.json was lost" in line

    lab.options = replace(lab.options, common=replace(lab.options.common, tables_at_once=1))
    monkeypatch.setattr(move, "run_export", export)
    result, _ = move.run_move(lab.options, lab.aws, Stop())
    assert ["complete", *["failed"] * 3] == [one.status for one in result.exports]
    assert any(map(is_about_loss, told))
    assert f"ddb-export --resume {MOVE}" in str(result.exports[1].remedy)


def test_a_capture_ends_with_whoever_waits_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where what is done as it begins fails."""
    ended = []

    class Capture:
        def __init__(self, *_: Any, **__: Any) -> None:
            pass

        def start(self) -> None:
            pass

        def end(self) -> None:
            ended.append(True)

        def check(self) -> None:
            pass

    record = StreamRecord(
        table_arn="arn", table_id="id", stream_arn="stream", view="NEW_IMAGE", ours=True, intended_at="now"
    )
    folder = MemoryFolder()
    log.write_new(folder, log.STREAM, record)
    monkeypatch.setattr(following, "Capture", Capture)
    monkeypatch.setattr(following, "ensure", lambda *_: record)

    def fail(_: str) -> None:
        raise BrokenPipeError

    aws: Any = None
    with pytest.raises(BrokenPipeError), following.following(folder, "aaa", aws, Stop(), on_begun=fail):
        pass
    assert [True] == ended
