"""Reads a change log as a stranger would: by listing and gzip, and replays it."""

import base64
import gzip
import hashlib
import json
from typing import Any

from ddb_shared.storage.base import Storage
from support.memory import data_of
from support.tables import KeySpec, Table, canonical

LOG = "changes/log/"


def records(storage: Storage) -> list[dict[str, Any]]:
    """The records in order; their numbers have no gaps."""
    names = sorted(entry.name for entry in storage.list(LOG))
    found = [json.loads(data_of(storage, name)) for name in names]
    assert list(range(1, len(found) + 1)) == [record["number"] for record in found]
    return found


def changes(storage: Storage) -> list[dict[str, Any]]:
    """Every committed change in order, with the files' sizes and checksums, and the records' sums, checked."""
    found: list[dict[str, Any]] = []
    for record in records(storage):
        lines = []
        if record["file"]:
            data = data_of(storage, f"changes/{record['file']}")
            assert (len(data), hashlib.sha256(data).hexdigest()) == (record["stored_bytes"], record["sha256"])
            lines = [json.loads(line) for line in gzip.decompress(data).splitlines()]
        found += lines
        assert (len(lines), len(found)) == (record["changes"], record["total_changes"])
        assert sum("UserIdentity" in line["Metadata"] for line in lines) == record["expired"]
    return found


def replay(storage: Storage, key: KeySpec, start: Table | None = None) -> Table:
    """The table that `start` becomes by the changes; a key's changes must come in the order of their numbers."""
    table = dict(start or {})
    last: dict[Any, int] = {}
    for change in changes(storage):
        identity = key.of(_item(change["Keys"]))
        number = int(change["Metadata"]["SequenceNumber"]["S"])
        assert last.get(identity, 0) < number, f"key {identity!r}: change {number} after {last[identity]}"
        last[identity] = number
        if "NewImage" in change:
            table[identity] = {name: canonical(value) for name, value in _item(change["NewImage"]).items()}
        else:
            table.pop(identity, None)
    return table


def base(storage: Storage, key: KeySpec) -> Table:
    """The items of an export's JSON-lines shards."""
    lines = [
        line
        for entry in storage.list("data/")
        for line in gzip.decompress(data_of(storage, entry.name)).splitlines()
    ]
    return as_table([json.loads(line)["Item"] for line in lines], key)


def as_table(items: list[dict[str, Any]], key: KeySpec) -> Table:
    """Items of DynamoDB JSON by their key, canonical."""
    table: Table = {}
    for item in map(_item, items):
        table[key.of(item)] = {name: canonical(value) for name, value in item.items()}
    return table


def _item(attributes: dict[str, Any]) -> dict[str, Any]:
    """DynamoDB JSON of the wire as boto3 gives it: binary as bytes."""
    return {name: _value(value) for name, value in attributes.items()}


def _value(value: dict[str, Any]) -> dict[str, Any]:
    ((tag, content),) = value.items()
    match tag:
        case "B":
            return {tag: base64.b64decode(content)}
        case "BS":
            return {tag: [base64.b64decode(one) for one in content]}
        case "L":
            return {tag: [_value(one) for one in content]}
        case "M":
            return {tag: _item(content)}
    return value
