"""Where the tables of a move stand, and what to run next."""

from types import SimpleNamespace
from typing import Any, cast

import pytest
from botocore.exceptions import ClientError

from ddb_import.move_status import MovedStatus, MoveStatus, move_status
from ddb_import.move_tables import Pair, SelectedMove
from ddb_import.status import ImportStatus
from ddb_shared.aws.clients import Aws
from ddb_shared.format.moves import FORMAT, Move, MoveFormat

ID = "01732000000000-00000000"
MOVE = f"s3://bucket/moves/{ID}.json"
EXPORT = f"s3://bucket/AWSDynamoDB/{ID}/"
ARN = "arn:aws:dynamodb:eu-west-1:222222222222:table/NewOrders"
GIVEN = f"ddb-import {MOVE}"


def interrupted(command: str) -> MovedStatus:
    found = ImportStatus(
        status="interrupted",
        table=ARN,
        export=EXPORT,
        items_done=1,
        items_total=2,
        shards_done=1,
        shards_total=2,
        items_rejected=0,
        holder=None,
        command=command,
    )
    return MovedStatus(source="Orders", table="NewOrders", export=EXPORT, status="interrupted", import_=found)


@pytest.mark.parametrize(
    ("recorded", "expected"),
    [
        ([f"ddb-import {EXPORT} NewOrders", f"{GIVEN} --max-wcu 5"], f"{GIVEN} --max-wcu 5"),
        ([f"ddb-import {EXPORT} NewOrders"], GIVEN),
        ([f"{GIVEN} --only Orders --create-table"], GIVEN),
        ([], GIVEN),
    ],
)
def test_the_next_command_is_that_of_the_whole_move(recorded: list[str], expected: str) -> None:
    """Not that of one table, which was imported alone meanwhile, or of some."""
    tables = [interrupted(command) for command in recorded]
    status = MoveStatus(status="interrupted", move=MOVE, tables=tables)
    assert f"next: {expected}" == status.text(GIVEN).splitlines()[-1]


def test_a_table_is_named_by_its_arn_once_it_is_known() -> None:
    """Its account and Region tell which table of the name it is."""
    assert ARN in MoveStatus(status="interrupted", move=MOVE, tables=[interrupted(GIVEN)]).text(GIVEN)


@pytest.mark.parametrize(
    ("code", "expected"),
    [("NoSuchKey", "not exported"), ("AccessDenied", "unknown"), ("ExpiredToken", "unknown")],
)
def test_what_cannot_be_read_is_unknown(code: str, expected: str) -> None:
    """Only an export that has no manifest is not complete."""

    def get_object(**_: Any) -> Any:
        raise ClientError({"Error": {"Code": code, "Message": "no"}}, "GetObject")

    aws = cast("Aws", SimpleNamespace(s3=SimpleNamespace(get_object=get_object)))
    move = Move(
        format=FORMAT, move_id=ID, tool_version="0", started_at="", given=[], options=MoveFormat(), exports=[]
    )
    selected = SelectedMove(MOVE, move, (Pair("Orders", "NewOrders", EXPORT, ARN),))
    (found,) = move_status(aws, selected, None).tables
    assert expected == found.status
    assert found.problem
