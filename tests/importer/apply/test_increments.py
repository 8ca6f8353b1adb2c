"""The lines of an increment become puts and deletes; what is refused keeps its place, and later changes supersede rejects."""

import asyncio
import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from ddb_import.apply.increments import IncrementWriter
from ddb_import.apply.keys import KeyReader
from ddb_import.apply.standing_rejects import StandingRejects
from ddb_import.batch_write import Outcome, WriteRequests
from ddb_import.state import read_superseded, write_rejects
from ddb_shared.dynamodb.messages import BatchWriteResponse
from ddb_shared.dynamodb.rate import RateLimiter
from ddb_shared.errors import RequestError
from ddb_shared.format.increment import NEW_AND_OLD_IMAGES, NEW_IMAGE
from ddb_shared.format.lines import RejectLine, reject_line
from ddb_shared.storage.base import Storage
from ddb_shared.storage.local import LocalStorage
from ddb_shared.table.description import KeyAttribute
from support.aws_exports import change_line

KEY = (KeyAttribute("pk", "S", "HASH"),)
ERROR = {"code": "ValidationException", "message": "the old reason"}


class Table:
    """Takes puts and deletes as DynamoDB does: none of one key twice, and no item with the attribute `bad`."""

    def __init__(self, **items: Any) -> None:
        self.items = items
        self.requests: list[int] = []
        self.rate_limiter = RateLimiter()

    async def batch_write(self, request: bytes, items: int) -> BatchWriteResponse:
        requests = json.loads(request)["RequestItems"]["T"]
        assert len(requests) == items
        self.requests.append(items)
        contents = [(one.get("PutRequest") or one["DeleteRequest"]) for one in requests]
        keys = [(one.get("Item") or one["Key"])["pk"]["S"] for one in contents]
        if len(set(keys)) < len(keys) or any("bad" in one.get("Item", ()) for one in contents):
            raise RequestError("ValidationException", "one of them is invalid", 400)
        for key, content in zip(keys, contents, strict=True):
            if "Item" in content:
                self.items[key] = content["Item"]
            else:
                assert {"pk"} == content["Key"].keys()
                self.items.pop(key, None)
        return BatchWriteResponse()


def item(key: str, **more: Any) -> dict[str, Any]:
    return {"pk": {"S": key}} | more


def change(key: str, *, old: Any = None, new: Any = None, view: str = NEW_AND_OLD_IMAGES) -> bytes:
    return change_line(item(key), new, old if view == NEW_AND_OLD_IMAGES else None).rstrip()


def write(
    table: Table, lines: list[bytes], *, view: str = NEW_AND_OLD_IMAGES, earlier: tuple[Storage, ...] = ()
) -> Outcome:
    client: Any = table
    key_of = KeyReader(KEY)
    standing = StandingRejects(key_of, earlier)
    writer = IncrementWriter(WriteRequests(client, "T", ["pk"]), view, key_of, standing)
    outcome = asyncio.run(writer.write(lines))
    writer.save()
    return outcome


@pytest.mark.parametrize("view", [NEW_IMAGE, NEW_AND_OLD_IMAGES])
def test_puts_and_deletes_share_a_request(view: str) -> None:
    """An insert, an update, a delete, and a delete of what is not there."""
    table = Table(b=item("b"), c=item("c"))
    new = item("b", v={"N": "2"})
    lines = [
        change("a", new=item("a"), view=view),
        change("b", old=item("b"), new=new, view=view),
        change("c", old=item("c"), view=view),
        change("d", old=item("d"), view=view),
    ]
    outcome = write(table, lines, view=view)
    assert {"a": item("a"), "b": new} == table.items
    assert ([4], 4, 0, []) == (table.requests, outcome.written, outcome.skipped, outcome.rejects)


def test_what_is_refused_keeps_its_place() -> None:
    """By the service, by its form, or because the view does not allow it; the others are written."""
    bad, malformed = change("b", new=item("b", bad={"BOOL": True})), b"no change"
    keys_alone = change("c", view=NEW_IMAGE)
    outcome = write(
        Table(), [change("a", new=item("a")), bad, malformed, keys_alone, change("d", old=item("d"))]
    )
    assert 2 == outcome.written
    found = sorted((reject.index, reject.code) for reject in outcome.rejects)
    assert [(1, "ValidationException"), (2, "NotAChange"), (3, "NotAChange")] == found


def test_of_two_lines_with_one_key_the_last_wins() -> None:
    """AWS writes one line for each item; should there be two in one request, they do not fail it."""
    table = Table()
    outcome = write(
        table, [change("a", new=item("a")), change("a", old=item("a")), change("b", new=item("b"))]
    )
    assert {"b": item("b")} == table.items
    assert (2, 1) == (outcome.written, outcome.skipped)


def test_rejects_are_kept_so_that_they_can_be_loaded() -> None:
    """An item to put, the key of a delete, or the text of a line that is neither."""
    put, delete = b'{"Item":{"pk":{"S":"a"}}}', b'{"Key":{"pk":{"S":"a"}}}'
    kept = [reject_line(line, ERROR, shard="s", number=1) for line in (put, delete, change("c"), b"\xff")]
    assert ["Item", "Key", "Text", "Text"] == [
        next(name for name in ("Item", "Key", "Text") if name in json.loads(msgspec.json.encode(line)))
        for line in kept
    ]


def test_a_change_supersedes_the_rejects_of_its_key(tmp_path: Path) -> None:
    """Of every export before, whether the change is written or rejected itself; others stand."""
    states = [LocalStorage(tmp_path / name) for name in ("full", "first")]
    for storage in states:
        rejects = [_reject("a", 1), _reject("b", 2), _reject("c", 3)]
        write_rejects(
            storage, "rejects/s.jsonl", [*rejects, RejectLine(text="no json", error=ERROR, shard="s", line=4)]
        )
    lines = [change("a", new=item("a")), change("c", new=item("c", bad={"BOOL": True}))]
    write(Table(), lines, earlier=tuple(states))
    assert [{"s": {1, 3}}] * 2 == [read_superseded(storage) for storage in states]
    write(Table(), [change("b", old=item("b"))], earlier=tuple(states))
    assert [{"s": {1, 2, 3}}] * 2 == [read_superseded(storage) for storage in states]


def _reject(key: str, line: int) -> RejectLine:
    return RejectLine(item=item(key), error=ERROR, shard="s", line=line)
