"""The tables of a move, one after another: what stops one of them, and what stops all."""

from collections.abc import Callable

import botocore.exceptions as boto
import pytest

from ddb_shared.command.move import run_each
from ddb_shared.errors import Interrupted, TableError, TransferError
from ddb_shared.runtime.stop import Stop

NAMES = ("a", "b", "c", "d")


def client_error(code: str) -> boto.ClientError:
    return boto.ClientError({"Error": {"Code": code, "Message": "no"}}, "Scan")


def failing(error: Exception, tried: list[int]) -> Callable[[int, Stop], int]:
    """The second table raises the error."""

    def run_one(index: int, _: Stop) -> int:
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

    def run_one(index: int, _: Stop) -> int:
        tried.append(index)
        stop.request(15)
        return index

    with pytest.raises(Interrupted):
        run_each(NAMES, run_one, stop)
    assert [0] == tried
