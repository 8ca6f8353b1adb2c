"""The file of a move: written once, read wherever it was copied to, and refused where it is damaged."""

import msgspec
import pytest

from ddb_shared.errors import ExportError
from ddb_shared.format import moves
from ddb_shared.format.moves import FOLLOW_FORMAT, FORMAT, Move, MovedTable, MoveFormat
from support.memory import MemoryFolder

ID = "01732000000000-00000000"
NAME = f"moves/{ID}.json"
EXPORT = f"AWSDynamoDB/{ID}/"
MOVE = Move(
    format=FORMAT,
    move_id=ID,
    tool_version="0",
    started_at="2026-01-01T10:00:00.000Z",
    given=["Ord*"],
    options=MoveFormat(compression="zstd"),
    exports=[
        MovedTable(
            table="Orders",
            table_arn="arn:aws:dynamodb:eu-west-1:111111111111:table/Orders",
            address="Orders",
            export=f"s3://old/data/{EXPORT}",
        )
    ],
)


def test_a_copy_is_of_the_exports_beside_it() -> None:
    """What stands in the file cannot point elsewhere."""
    root = MemoryFolder("copy")
    url = moves.write(root, MOVE)
    assert f"s3://bucket/copy/{NAME}" == url
    found = moves.read(root, url)
    assert [f"s3://bucket/copy/{EXPORT}"] == [one.export for one in found.exports]
    assert MOVE.options == found.options


def test_a_move_that_is_not_there() -> None:
    """The message says how to find the others."""
    root = MemoryFolder("data")
    with pytest.raises(ExportError, match="ddb-export --list"):
        moves.read(root, root.url + NAME)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{",
        b'{"format": "\xff"}',
        b'{"format": "ddb-transfer-move/1"}',
        msgspec.json.encode(MOVE).replace(EXPORT.encode(), b"Orders/"),
    ],
)
def test_a_damaged_file_is_an_error_with_a_way_out(data: bytes) -> None:
    """Text that is not UTF-8 as well; the exports can still be used one by one."""
    root = MemoryFolder("data", {NAME: data})
    with pytest.raises(ExportError, match="is damaged") as caught:
        moves.read(root, root.url + NAME)
    assert "ddb-export --list" in caught.value.remedy


def test_an_earlier_version_refuses_a_move_that_follows() -> None:
    """It would export the tables that are left without their changes."""
    root = MemoryFolder("data")
    url = moves.write(root, msgspec.structs.replace(MOVE, format=FOLLOW_FORMAT, follow=True))
    assert (True, "ddb-transfer-move/2") == (moves.read(root, url).follow, FOLLOW_FORMAT)


def test_a_later_format_is_not_called_damaged() -> None:
    """The version that wrote it can read it."""
    root = MemoryFolder("data", {NAME: b'{"format": "ddb-transfer-move/3", "exports": 7}'})
    with pytest.raises(ExportError, match="does not know"):
        moves.read(root, root.url + NAME)
