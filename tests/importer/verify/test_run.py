"""A whole verification: what it finds, what it leaves in the state, and what it may not say."""

import contextlib
import itertools
import json
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from ddb_import.proof import PROOF, read_proof
from ddb_import.verify import passes
from ddb_import.verify.earlier import VERIFIED
from ddb_import.verify.options import Repair
from ddb_import.verify.result import Verdict, VerifyResult
from ddb_shared.errors import ExportError, Interrupted, ServiceError, ShardError, StateError, TableError
from ddb_shared.format import changes as log
from ddb_shared.format.manifest import DATA
from ddb_shared.runtime.stop import Stop
from ddb_shared.table.settings import Setting
from support.change_log import Change
from support.fake.store import Store
from support.memory import MemoryFolder, data_of
from support.verification import NEW, OLD, VerifyWorld, item, key

ITEMS = 60
SEGMENTS = 16  # of a table of this size
MakeWorld = Callable[..., VerifyWorld]


@pytest.fixture
def make_world(tmp_path: Path) -> MakeWorld:
    return lambda count=ITEMS: VerifyWorld(tmp_path, map(item, range(count)))


def of(result: VerifyResult, *names: str) -> list[Any]:
    return [getattr(result, name) for name in names]


def change(number: int, version: int | None) -> Change:
    return Change(key(number), None if version is None else item(number, version))


@pytest.mark.parametrize("tables", [False, True])
def test_equal_sides(make_world: MakeWorld, tables: bool) -> None:
    """One pass, the counts and digests of both, and no report."""
    result = make_world().verify(tables=tables)
    assert [Verdict.IDENTICAL, ITEMS, ITEMS, 1, None] == of(
        result, "verdict", "items_export", "items_table", "passes", "report"
    )
    assert result.digest_export == result.digest_table != ""


@pytest.mark.parametrize("tables", [False, True])
def test_empty_sides(make_world: MakeWorld, tables: bool) -> None:
    """They are equal; an item of the table is extra."""
    world = make_world(0)
    assert [Verdict.IDENTICAL, 0, 0] == of(
        world.verify(tables=tables), "verdict", "items_export", "items_table"
    )
    world.put(item(1))
    result = world.verify(tables=tables)
    assert (Verdict.DIFFERENT, {1: "extra"}) == (result.verdict, world.reported(result))


@pytest.mark.parametrize("tables", [False, True])
@pytest.mark.parametrize("third_pass", [False, True])
def test_every_difference_is_named(
    make_world: MakeWorld, tables: bool, third_pass: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In two passes where the items fit in memory, and in three where they do not."""
    if third_pass:
        monkeypatch.setattr(passes, "MAX_BYTES", 0)
    world = make_world()
    world.delete(3)
    world.delete(4)
    world.put(item(5, 1), item(6, 1), item(7, 1), item(100))
    result = world.verify(tables=tables)
    assert [Verdict.DIFFERENT, ITEMS, ITEMS - 1, 2, 1, 3, 0] == of(
        result, "verdict", "items_export", "items_table", "missing", "extra", "different", "unnamed"
    )
    assert {
        3: "missing", 4: "missing", 5: "different", 6: "different", 7: "different", 100: "extra",
    } == world.reported(result)  # fmt: skip
    assert result.passes == 2 + third_pass
    assert result.digest_export != result.digest_table


@pytest.mark.parametrize("kind", ["missing", "extra", "different"])
@pytest.mark.parametrize("tables", [False, True])
@pytest.mark.parametrize("third_pass", [False, True])
def test_one_difference_is_named(
    make_world: MakeWorld, kind: str, tables: bool, third_pass: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of each kind alone: only the side that can tell its key is read again."""
    if third_pass:
        monkeypatch.setattr(passes, "MAX_BYTES", 0)
    world = make_world()
    {
        "missing": lambda: world.delete(3),
        "extra": lambda: world.put(item(100)),
        "different": lambda: world.put(item(3, 1)),
    }[kind]()
    result = world.verify(tables=tables)
    assert (Verdict.DIFFERENT, {100 if kind == "extra" else 3: kind}) == (
        result.verdict,
        world.reported(result),
    )


def test_another_spelling_is_no_difference(tmp_path: Path) -> None:
    """Also where the first look has not seen it; both digests are of the same form then."""
    spelled = key(399) | {"v": {"N": "0.0"}}
    world = VerifyWorld(tmp_path, [*map(item, range(399)), spelled])
    result = world.verify()
    assert [Verdict.IDENTICAL, 400, 400, 2, 0] == of(
        result, "verdict", "items_export", "items_table", "passes", "settled"
    )
    assert result.digest_export == result.digest_table
    assert result.report is None


@pytest.mark.parametrize("tables", [False, True])
def test_what_it_costs(make_world: MakeWorld, tables: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """All that was read: by the first look, in all passes, and again."""
    monkeypatch.setattr(passes, "MAX_BYTES", 0)
    world = make_world()
    world.put(item(3, 1), item(100))
    result = world.verify(tables=tables)
    assert result.passes == 3
    assert world.dynamodb.consumed() == result.consumed_rcu


def test_what_differs_beyond_the_limit_is_counted(make_world: MakeWorld) -> None:
    """It is not named, and yet no pass."""
    world = make_world()
    for number in range(5):
        world.delete(number)
    result = world.verify(max_differences=2)
    assert [Verdict.DIFFERENT, 5, 3] == of(result, "verdict", "missing", "unnamed")
    assert len(world.reported(result)) == 2


def test_more_differences_than_can_be_told_apart(make_world: MakeWorld) -> None:
    """Those that were seen first are named."""
    world = make_world(400)
    world.put(*(item(number, 1) for number in range(400)))
    result = world.verify(max_differences=1)
    assert result.verdict is Verdict.DIFFERENT
    assert [None, True, None] == of(result, "unnamed", "estimated", "reason")
    assert set(world.reported(result).values()) == {"different"}


def test_an_item_that_was_on_its_way_is_no_difference(make_world: MakeWorld) -> None:
    """It differed in the passes, and is equal when it is read again; the others remain."""
    world = make_world()
    world.put(item(3, 1), item(4, 1))

    def arrives(operation: str, request: dict[str, Any]) -> None:
        if operation == "BatchGetItem" and len(request["RequestItems"][NEW]["Keys"]) == 2:
            world.put(item(3))

    world.dynamodb.before = arrives
    result = world.verify()
    assert [Verdict.DIFFERENT, 1, 1, {4: "different"}] == [
        *of(result, "verdict", "different", "settled"), world.reported(result),
    ]  # fmt: skip
    world.put(item(4))
    world.dynamodb.before = lambda _, __: None
    assert world.verify().verdict is Verdict.IDENTICAL


@pytest.mark.parametrize("version", [0, 1, 2])
def test_a_key_that_the_export_holds_twice(tmp_path: Path, version: int) -> None:
    """The table has one of the two, or neither."""
    world = VerifyWorld(tmp_path, [*map(item, range(ITEMS)), item(0, 1)])
    world.put(item(0, version))
    result = world.verify()
    expected = [Verdict.IDENTICAL, 0] if version < 2 else [Verdict.DIFFERENT, 1]
    assert expected == of(result, "verdict", "different")
    assert (result.missing, result.extra) == (0, 0)


@pytest.mark.parametrize("holds", [0, 1])
def test_another_table(make_world: MakeWorld, holds: int) -> None:
    """No pass is made where everything that was looked at is missing; of an empty table everything is."""
    world = make_world()
    for number in range(ITEMS):
        world.delete(number)
    world.put(*(item(1_000 + number) for number in range(holds)))
    result = world.verify(max_differences=ITEMS - 1)
    assert [Verdict.DIFFERENT, 0, ITEMS] == of(result, "verdict", "passes", "missing")
    assert "No pass was made" in (result.reason or "")
    assert [None, None, None] if holds else [0, 0, 0] == of(result, "items_table", "extra", "different")
    assert bool(holds) == result.estimated
    assert (None if holds else 0) == result.unnamed


def test_a_table_without_items_is_compared_where_all_of_them_may_be_named(make_world: MakeWorld) -> None:
    """As a repair needs it."""
    world = make_world()
    for number in range(ITEMS):
        world.delete(number)
    result = world.verify(max_differences=ITEMS)
    assert [Verdict.DIFFERENT, 2, ITEMS, 0] == of(result, "verdict", "passes", "missing", "unnamed")
    assert dict.fromkeys(range(ITEMS), "missing") == world.reported(result)


def test_a_table_that_holds_one_item_is_compared(make_world: MakeWorld) -> None:
    """And one with few differences, however few may be named."""
    world = make_world(30)
    for number in range(29):
        world.delete(number)
    result = world.verify(max_differences=1)
    assert result.passes >= 2
    assert [Verdict.DIFFERENT, 30, 1] == of(result, "verdict", "items_export", "items_table")


TTL = {"time_to_live": Setting({"TimeToLiveStatus": "ENABLED", "AttributeName": "v"})}


def test_an_expired_item_is_no_loss_where_time_to_live_is_on(tmp_path: Path) -> None:
    """On the table; where it is on in the source alone, the table should still hold it."""
    world = VerifyWorld(tmp_path, [*map(item, range(9)), item(9, int(time.time()) - 60)], settings=TTL)
    world.delete(9)
    result = world.verify()
    assert [Verdict.DIFFERENT, 0, 1] == of(result, "verdict", "missing", "expired")
    world.dynamodb.control(
        "UpdateTimeToLive", TableName=NEW, TimeToLiveSpecification={"Enabled": True, "AttributeName": "v"}
    )
    result = world.verify()
    assert [Verdict.IDENTICAL, 0, 1] == of(result, "verdict", "missing", "expired")


@pytest.mark.parametrize("signal_number", [None, signal.SIGINT])
@pytest.mark.parametrize(
    ("operation", "call"), [("Scan", 0), ("Scan", SEGMENTS), ("BatchGetItem", 0), ("BatchGetItem", 2)]
)
def test_a_stopped_verification_has_no_verdict(
    make_world: MakeWorld, operation: str, call: int, signal_number: int | None
) -> None:
    """In the first look, in either pass, and while items are read again; also where no signal has stopped it, but a lost lease."""
    world, stop, calls = make_world(), Stop(), itertools.count()
    world.put(item(3, 1))

    def interrupt(called: str, _: object) -> None:
        if called == operation and next(calls) == call:
            stop.request(signal_number)

    world.dynamodb.before = interrupt
    with pytest.raises(Interrupted if signal_number else ServiceError) as caught:
        world.verify(stop=stop)
    assert "cannot be resumed" in caught.value.remedy
    assert world.state.read(PROOF) is None


def test_a_stop_before_a_repair(make_world: MakeWorld) -> None:
    """Such as Ctrl-C at the question: nothing is written."""
    world, stop = make_world(), Stop()
    world.delete(3)

    def interrupt(_: str) -> bool:
        stop.request(signal.SIGINT)
        return True

    with pytest.raises(Interrupted):
        world.verify(stop=stop, ask=interrupt, repair=Repair(delete_extra=False, confirmed=False))
    assert len(world.dynamodb.items(NEW)) == ITEMS - 1


def test_a_shard_that_was_altered_is_no_export(make_world: MakeWorld) -> None:
    """Nor is one that is missing."""
    world = make_world()
    name = f"{DATA}0001-000000.json.gz"
    data = world.export.files[name]
    world.export.files[name] = data[:-9] + bytes([data[-9] ^ 1]) + data[-8:]
    with pytest.raises(ShardError):
        world.verify()
    del world.export.files[name]
    with pytest.raises(ShardError, match="missing"):
        world.verify()


def test_a_table_with_another_key_is_refused(make_world: MakeWorld) -> None:
    """Whatever it is compared with; and so is a table with itself."""
    for tables in (False, True):
        world = make_world()
        world.dynamodb.control("DeleteTable", TableName=NEW)
        world.dynamodb.create(NEW, {"pk": "S", "sk": "S"})
        with pytest.raises(TableError, match="key schema"):
            world.verify(tables=tables)


def test_a_table_proves_nothing_of_itself(make_world: MakeWorld) -> None:
    """Nor is the exported table taken back to the time of its export."""
    world = make_world()
    with pytest.raises(TableError, match="same table"):
        world.verify(tables=True, table=OLD)
    with pytest.raises(TableError, match="exported table itself"):
        world.verify(table=OLD, repair=Repair(delete_extra=True, confirmed=True))
    assert world.verify(table=OLD).verdict is Verdict.IDENTICAL
    with pytest.raises(TableError, match="does not exist"):
        world.verify(table="Other")


def test_expired_items_are_missing_where_time_to_live_cannot_be_read(
    make_world: MakeWorld, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """And a warning says so."""
    world = make_world()

    def refuse(*_: object) -> Any:
        denied = {"Error": {"Code": "AccessDeniedException", "Message": "no"}}
        raise ClientError(denied, "DescribeTimeToLive")

    monkeypatch.setattr(Store, "describe_time_to_live", refuse)
    assert world.verify().verdict is Verdict.IDENTICAL
    assert "time to live" in capsys.readouterr().err


@pytest.mark.parametrize("confirmed", [True, False, None])
def test_a_repair(make_world: MakeWorld, confirmed: bool | None) -> None:
    """The result is of the table as it is afterwards, where that was confirmed, and says what was before; extra items remain."""
    world = make_world()
    world.delete(3)
    world.put(item(100))
    questions = []

    def ask(question: str) -> bool:
        questions.append(question)
        return bool(confirmed)

    result = world.verify(ask=ask, repair=Repair(delete_extra=False, confirmed=confirmed is None))
    assert len(questions) == (confirmed is not None)
    if confirmed is False:
        assert [Verdict.DIFFERENT, 1, 1, 0, ITEMS, None] == of(
            result, "verdict", "missing", "extra", "repaired", "items_table", "before"
        )
        return
    assert [Verdict.DIFFERENT, 0, 1, 1, ITEMS + 1] == of(
        result, "verdict", "missing", "extra", "repaired", "items_table"
    )
    assert result.before is not None
    assert (1, ITEMS) == (result.before.missing, result.before.items_table)
    world.delete(100)
    assert world.verify().verdict is Verdict.IDENTICAL
    world.delete(3)
    result = world.verify(repair=Repair(delete_extra=False, confirmed=True))
    assert [Verdict.IDENTICAL, 0, 1, ITEMS] == of(result, "verdict", "missing", "repaired", "items_table")


def test_a_sample(make_world: MakeWorld) -> None:
    """All of it finds every item of the source that differs; of nothing it proves nothing."""
    world = make_world()
    world.delete(3)
    world.put(item(4, 1))
    result = world.verify(sample=100.0)
    assert [Verdict.DIFFERENT, 1, 1, 0, ITEMS, ITEMS - 1, None] == of(
        result, "verdict", "missing", "different", "unnamed", "items_export", "items_table", "extra"
    )
    assert {3: "missing", 4: "different"} == world.reported(result)
    assert world.verify(sample=1e-9).verdict is Verdict.INCOMPLETE
    assert world.state.read(PROOF) is None


# exports that followed their table


@pytest.fixture
def make_followed(make_world: MakeWorld) -> MakeWorld:
    """Three records: 1 and 2 are put again, 3 is deleted, 100 is new; the table has these changes."""

    def make(*, applied: int | None = 3, close: bool = True) -> VerifyWorld:
        world = make_world()
        written = world.begin_log()
        written.append([change(1, 1), change(2, 1)])
        written.append([change(2, 2), change(3, None)])
        written.append([change(100, 1)])
        if close:
            written.close()
        world.put(item(1, 1), item(2, 2), item(100, 1))
        world.delete(3)
        if applied is not None:
            world.import_has_applied(applied)
        return world

    return make


@pytest.mark.parametrize("max_keys", [1, 1_000])
def test_changes_count_as_the_export(
    make_followed: MakeWorld, max_keys: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many parts that takes; the proof names the last record."""
    monkeypatch.setattr(passes, "MAX_KEYS", max_keys)
    world = make_followed()
    result = world.verify()
    assert [Verdict.IDENTICAL, ITEMS, ITEMS, 5, 3, 3] == of(
        result, "verdict", "items_export", "items_table", "changes", "log_number", "log_applied"
    )
    proof = read_proof(world.state)
    assert proof is not None
    assert (3, []) == (proof.log_number, proof.earlier)


@pytest.mark.parametrize("max_keys", [1, 1_000])
@pytest.mark.parametrize("third_pass", [False, True])
def test_a_change_that_was_lost_is_found(
    make_followed: MakeWorld, max_keys: int, third_pass: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A put, a deletion and a new item; and the item of the base that nobody changed."""
    monkeypatch.setattr(passes, "MAX_KEYS", max_keys)
    if third_pass:
        monkeypatch.setattr(passes, "MAX_BYTES", 0)
    world = make_followed()
    world.put(item(2, 1), item(3), item(9, 9))
    world.delete(100)
    result = world.verify()
    expected = {2: "different", 3: "extra", 9: "different", 100: "missing"}
    assert (Verdict.DIFFERENT, expected) == (result.verdict, world.reported(result))
    assert world.state.read(PROOF) is None


def test_an_import_that_has_still_to_apply_changes_is_incomplete(make_followed: MakeWorld) -> None:
    """Even if all items are equal: it would apply them over what is written later."""
    world = make_followed(applied=2)
    assert [Verdict.INCOMPLETE, 2, 3] == of(world.verify(), "verdict", "log_applied", "log_number")
    assert world.state.read(PROOF) is None
    with pytest.raises(StateError, match="--repair"):
        world.verify(repair=Repair(delete_extra=True, confirmed=True))
    world.put(item(9, 9))
    assert [Verdict.DIFFERENT, None] == of(world.verify(), "verdict", "reason")


def test_a_table_that_another_tool_has_loaded(make_followed: MakeWorld) -> None:
    """It is not known what is applied: that is compared, and not repaired."""
    world = make_followed(applied=None)
    with pytest.raises(StateError, match="--repair"):
        world.verify(repair=Repair(delete_extra=True, confirmed=True))
    assert world.verify().verdict is Verdict.IDENTICAL


def test_what_an_open_capture_may_be_compared_with(make_followed: MakeWorld) -> None:
    """Nothing without --so-far; with it, only where an import has loaded the base into this table."""
    world = make_followed(applied=None, close=False)
    with pytest.raises(ExportError, match="not closed"):
        world.verify()
    with pytest.raises(StateError, match="no import"):
        world.verify(so_far=True)
    world.import_has_applied(3, completed=False)
    with pytest.raises(StateError, match="whole base"):
        world.verify(so_far=True)
    world.import_has_applied(3)
    assert [Verdict.IDENTICAL, True] == of(world.verify(so_far=True), "verdict", "so_far")
    world.log.close(cancelled=True)
    with pytest.raises(ExportError, match="cancel"):
        world.verify()


def test_a_capture_without_changes_by_now(make_world: MakeWorld) -> None:
    """The base is all there is; and once something changed, all but that."""
    world = make_world()
    world.begin_log()
    world.import_has_applied(0)
    result = world.verify(so_far=True)
    assert [Verdict.IDENTICAL, ITEMS, 0, 0] == of(
        result, "verdict", "items_export", "log_number", "log_newest"
    )
    assert [(None, 0, ITEMS)] == steps(world)
    world.log.append([change(5, 1)])
    world.put(item(5, 1), item(6, 9))
    assert [Verdict.IDENTICAL, 0, 0] == of(world.verify(so_far=True), "verdict", "log_from", "items_compared")
    result = world.verify(so_far=True, full=True)
    assert (Verdict.DIFFERENT, {6: "different"}) == (result.verdict, world.reported(result))


def test_so_far_leaves_out_what_is_on_its_way(make_followed: MakeWorld) -> None:
    """Items that later records change; all others are compared."""
    world = make_followed(close=False)
    world.log.append([change(5, 1), change(6, None), change(200, 1)])
    world.put(item(5, 1))  # written, and not yet recorded as applied
    result = world.verify(so_far=True)
    assert [Verdict.IDENTICAL, 3, 4, None] == of(
        result, "verdict", "log_number", "log_newest", "digest_table"
    )
    world.put(item(7, 9), item(6, 9))
    result = world.verify(so_far=True, full=True)
    assert (Verdict.DIFFERENT, {7: "different"}) == (result.verdict, world.reported(result))
    assert world.state.read(PROOF) is None


def test_more_changes_than_can_be_told_apart(make_followed: MakeWorld) -> None:
    """Those that came during the second pass look like differences: it proves nothing."""
    world = make_followed(close=False)

    scans = itertools.count()

    def change_all(operation: str, _: object) -> None:
        if operation != "Scan":
            return
        number = next(scans)
        if number == 0:  # in the first pass
            world.put(*(item(number, 5) for number in range(10, 50)))
        elif number == SEGMENTS:  # in the second one, after it was asked what has changed
            world.log.append([change(number, 5) for number in range(10, 50)])

    world.dynamodb.before = change_all
    result = world.verify(so_far=True, max_differences=1)
    assert [Verdict.INCOMPLETE, 3, 4, None] == of(result, "verdict", "log_number", "log_newest", "unnamed")
    assert "can be told apart" in (result.reason or "")
    assert [] == steps(world)
    world.import_has_applied(4)
    assert world.verify(so_far=True, max_differences=1).verdict is Verdict.IDENTICAL


def test_what_changes_during_the_comparison_is_no_difference(make_followed: MakeWorld) -> None:
    """Unless there are too many, they are told apart: what differs for another reason is."""
    world = make_followed(close=False)

    def change_some(operation: str, _: object) -> None:
        if operation == "Scan" and world.log.number == 3:
            world.log.append([change(number, 5) for number in range(10, 20)])
            world.put(*(item(number, 5) for number in range(10, 20)))

    world.put(item(9, 9))
    world.dynamodb.before = change_some
    result = world.verify(so_far=True)
    assert (Verdict.DIFFERENT, {9: "different"}) == (result.verdict, world.reported(result))


def test_a_stop_while_the_log_is_read(make_followed: MakeWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was read of it by then is not taken for all."""
    world = make_followed(close=False)
    world.log.append([change(5, 1)])
    world.put(item(5, 1), item(6, 9))
    reads, read = 0, MemoryFolder.read

    def verify(at: int) -> None:
        nonlocal reads
        reads, stop = 0, Stop()

        def counted(folder: MemoryFolder, name: str, **options: Any) -> Any:
            nonlocal reads
            if name == log.record_file(4):
                reads += 1
                if reads == at:
                    stop.request()
            return read(folder, name, **options)

        monkeypatch.setattr(MemoryFolder, "read", counted)
        result = world.verify(so_far=True, stop=stop)
        assert (Verdict.DIFFERENT, {6: "different"}) == (result.verdict, world.reported(result))

    verify(0)
    assert reads > 2
    for at in range(1, reads + 1):  # the last one is after the end
        with contextlib.suppress(ServiceError):
            verify(at)


def steps(world: VerifyWorld) -> list[tuple[int | None, int, int]]:
    if world.state.read(VERIFIED) is None:
        return []
    found = json.loads(data_of(world.state, VERIFIED))["steps"]
    return [(step["log_from"], step["log_number"], step["items"]) for step in found]


def test_a_second_comparison_reads_what_changed_since(make_followed: MakeWorld) -> None:
    """Each step continues the one before; a difference elsewhere is not seen, unless all items are compared."""
    world = make_followed(close=False)
    world.verify(so_far=True)
    assert [(None, 3, ITEMS)] == steps(world)
    world.log.append([change(5, 1), change(6, None)])
    world.put(item(5, 1))
    world.delete(6)
    world.import_has_applied(4)
    result = world.verify(so_far=True)
    assert [Verdict.IDENTICAL, 3, 2, 0] == of(
        result, "verdict", "log_from", "items_compared", "passes"
    ) or result.passes
    assert [(None, 3, ITEMS), (3, 4, 2)] == steps(world)
    world.log.append([change(5, 2)])
    world.log.close()
    world.put(item(5, 2))
    world.import_has_applied(5)
    result = world.verify()
    assert [Verdict.IDENTICAL, 4, 1] == of(result, "verdict", "log_from", "items_compared")
    proof = read_proof(world.state)
    assert proof is not None
    assert (5, [3, 4]) == (proof.log_number, [step.log_number for step in proof.earlier])
    assert world.verify(full=True).log_from is None


def test_a_second_comparison_of_all_items_replaces_what_was_shown(make_followed: MakeWorld) -> None:
    """The steps are a chain from the last one of all items."""
    world = make_followed(close=False)
    world.verify(so_far=True)
    world.verify(so_far=True)
    assert [(None, 3, ITEMS), (3, 3, 0)] == steps(world)
    world.verify(so_far=True, full=True)
    assert [(None, 3, ITEMS)] == steps(world)


@pytest.mark.parametrize("max_keys", [1, 1_000])
def test_a_difference_in_what_changed_since(
    make_followed: MakeWorld, max_keys: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A change that was lost, a deletion that was, and one that is on its way, which is left out."""
    monkeypatch.setattr(passes, "MAX_KEYS", max_keys)
    world = make_followed(close=False)
    world.verify(so_far=True)
    world.log.append([change(5, 1), change(6, None), change(7, 1), change(8, 1), change(300, 1)])
    world.put(item(8, 1))
    world.import_has_applied(4)
    world.log.append([change(7, 2)])
    result = world.verify(so_far=True)
    assert (Verdict.DIFFERENT, {5: "different", 6: "extra", 300: "missing"}) == (
        result.verdict,
        world.reported(result),
    )
    assert [1, 1, 1, 0] == of(result, "missing", "extra", "different", "unnamed")
    assert [(None, 3, ITEMS)] == steps(world)  # what was shown of the others stays true


def test_differences_beyond_the_limit_in_what_changed_since(make_followed: MakeWorld) -> None:
    """They are counted, and no pass."""
    world = make_followed(close=False)
    world.verify(so_far=True)
    world.log.append([change(number, 1) for number in range(10, 15)])
    world.import_has_applied(4)
    result = world.verify(so_far=True, max_differences=2)
    assert [Verdict.DIFFERENT, 5, 3] == of(result, "verdict", "different", "unnamed")


def test_a_difference_in_all_items_ends_what_was_shown(make_followed: MakeWorld) -> None:
    """The next comparison is of all items again."""
    world = make_followed(close=False)
    world.verify(so_far=True)
    world.put(item(9, 9))
    assert world.verify(so_far=True, full=True).verdict is Verdict.DIFFERENT
    assert [] == steps(world)
    assert [Verdict.DIFFERENT, None] == of(world.verify(so_far=True), "verdict", "log_from")


def test_what_was_shown_of_another_run_of_the_import_does_not_count(make_followed: MakeWorld) -> None:
    """A --restart loads everything again; also one that comes during the comparison."""
    world = make_followed(close=False)
    world.verify(so_far=True)
    world.import_has_applied(3, run=2)
    assert world.verify(so_far=True).log_from is None
    assert [(None, 3, ITEMS)] == steps(world)
    world.import_has_applied(3, run=3)
    world.dynamodb.before = lambda _, __: world.import_has_applied(3, run=4)
    assert world.verify(so_far=True).verdict is Verdict.IDENTICAL
    world.dynamodb.before = lambda _, __: None
    assert world.verify(so_far=True).log_from is None


def test_the_base_alone(make_followed: MakeWorld) -> None:
    """Only where no change is applied yet, and never for a repair."""
    world = make_followed()
    with pytest.raises(StateError, match="--base-only"):
        world.verify(base_only=True)
    world.import_has_applied(0)
    with pytest.raises(StateError, match="--base-only"):
        world.verify(base_only=True, repair=Repair(delete_extra=True, confirmed=True))
    world.put(item(1), item(2), item(3))
    world.delete(100)
    assert [Verdict.IDENTICAL, None] == of(world.verify(base_only=True), "verdict", "log_number")
    assert world.state.read(PROOF) is None  # the changes were not compared
