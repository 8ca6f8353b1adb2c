"""The tables of a move: what stops one of them, what stops all, and how many have their turn at the same time."""

import threading
from collections.abc import Callable

import botocore.exceptions as boto
import pytest

from ddb_shared.command.tables import Turn, run_each
from ddb_shared.errors import Interrupted, TableError, TransferError
from ddb_shared.runtime.events import announce
from ddb_shared.runtime.stop import Stop

NAMES = ("a", "b", "c", "d")


def client_error(code: str) -> boto.ClientError:
    return boto.ClientError({"Error": {"Code": code, "Message": "no"}}, "Scan")


def failing(error: Exception, tried: list[int]) -> Callable[[int, Stop, Turn], int]:
    """The second table raises the error."""

    def run_one(index: int, _: Stop, __: Turn) -> int:
        tried.append(index)
        if index == 1:
            raise error
        return index

    return run_one


@pytest.mark.parametrize(
    "error", [TableError("gone"), client_error("AccessDenied"), client_error("SlowDown")]
)
def test_an_error_of_one_table_stops_no_other(error: Exception) -> None:
    """A permission may be missing for this table alone."""
    tried: list[int] = []
    outcomes = run_each(NAMES, failing(error, tried), Stop())
    assert [0, 1, 2, 3] == tried
    assert [0, 2, 3] == [one for one in outcomes if not isinstance(one, TransferError)]


@pytest.mark.parametrize(
    "error", [client_error("ExpiredToken"), client_error("InvalidClientTokenId"), boto.NoCredentialsError()]
)
def test_without_credentials_no_other_table_is_tried(
    error: Exception, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each table that is left would fail the same way; its outcome says that it was not tried."""
    tried: list[int] = []
    outcomes = run_each(NAMES, failing(error, tried), Stop())
    assert [0, 1] == tried
    assert 4 == len(outcomes)
    assert all(isinstance(one, TransferError) and "not tried" in one.message for one in outcomes[2:])
    assert "2 more tables were not tried" in capsys.readouterr().err


def test_a_bug_is_not_an_outcome() -> None:
    """It keeps its traceback."""
    with pytest.raises(KeyError):
        run_each(NAMES, failing(KeyError("x"), []), Stop())


def test_a_signal_ends_the_whole() -> None:
    """Before the next table is tried."""
    stop, tried = Stop(), list[int]()

    def run_one(index: int, _: Stop, __: Turn) -> int:
        tried.append(index)
        stop.request(15)
        return index

    with pytest.raises(Interrupted):
        run_each(NAMES, run_one, stop)
    assert [0] == tried


@pytest.mark.parametrize("at_once", [1, 2])
def test_at_most_so_many_tables_have_their_turn(at_once: int) -> None:
    """In their order; the next one begins when one gives up its turn, though that one's work continues."""
    begun, all_begun = list[int](), threading.Event()
    copying, most = set[int](), list[int]()
    lock = threading.Lock()

    def run_one(index: int, _: Stop, turn: Turn) -> int:
        with lock:
            begun.append(index)
            copying.add(index)
            most.append(len(copying))
            if len(begun) == len(NAMES):
                all_begun.set()
            copying.remove(index)
        turn.give_up()
        assert all_begun.wait(10)
        turn.take()
        return index

    assert [0, 1, 2, 3] == run_each(NAMES, run_one, Stop(), at_once=at_once)
    assert [0, 1, 2, 3] == sorted(begun)
    assert max(most) <= at_once


def test_tables_that_wait_for_something_else_begin_without_a_turn() -> None:
    """And take it when they are ready, in any order."""
    ready = [threading.Event() for _ in NAMES]
    taken = list[int]()

    def run_one(index: int, _: Stop, turn: Turn) -> int:
        if index + 1 < len(NAMES):
            assert ready[index + 1].wait(10)
        turn.take()
        taken.append(index)
        ready[index].set()
        return index

    assert [0, 1, 2, 3] == run_each(NAMES, run_one, Stop(), begins_at_once=range(len(NAMES)))
    assert [3, 2, 1, 0] == taken


def test_what_is_told_of_several_tables_has_their_names(capsys: pytest.CaptureFixture[str]) -> None:
    """So that it is clear which one a warning is about."""

    def run_one(index: int, _: Stop, __: Turn) -> int:
        announce("Hello.")
        return index

    run_each(NAMES, run_one, Stop(), names_tables=True)
    told = capsys.readouterr().err.splitlines()
    assert [f"{name}: Hello." for name in NAMES] == sorted(line for line in told if "Hello" in line)


def test_tables_that_begin_at_once_wait_for_no_other() -> None:
    """They begin before those that wait for their turn, and the outcomes keep the order of the tables."""
    begun, both = list[int](), threading.Event()

    def run_one(index: int, _: Stop, turn: Turn) -> int:
        begun.append(index)
        if {1, 3} <= set(begun):
            both.set()
        turn.take()
        assert both.wait(10)
        return index

    assert [0, 1, 2, 3] == run_each(NAMES, run_one, Stop(), begins_at_once={1, 3})
    assert ({1, 3}, [0, 2]) == (set(begun[:2]), begun[2:])


def test_after_a_bug_no_other_table_is_tried() -> None:
    """It would be stopped in the middle once the bug is raised."""
    tried: list[int] = []
    with pytest.raises(KeyError):
        run_each(NAMES, failing(KeyError("x"), tried), Stop())
    assert [0, 1] == tried


def test_a_bug_interrupts_the_other_tables() -> None:
    """Work that is stopped for no reason that it knows may take what it has read for all there is."""
    both, results = threading.Barrier(2), list[int]()

    def run_one(index: int, part: Stop, _: Turn) -> int:
        both.wait(10)
        if index == 0:
            raise KeyError(index)
        assert part.wait(10)
        part.check()
        results.append(index)
        return index

    with pytest.raises(KeyError):
        run_each(NAMES[:2], run_one, Stop(), at_once=2)
    assert [] == results


def test_a_table_whose_run_ends_waits_for_no_turn() -> None:
    """Such as one whose capture has failed: that is told at once, not when the others are copied."""
    stop, turns = Stop(), threading.Semaphore(0)
    stop.request()
    Turn(turns, stop).take()
