"""When a comparison leaves a proof that a rollback may stand on."""

from typing import Any

import pytest

from ddb_import.proof import read_proof, record_proof
from ddb_shared.format.manifest import FORMAT, FormatOptions, Manifest, Source
from ddb_shared.table.description import Table
from support.memory import MemoryFolder

TABLE = Table(
    name="New",
    arn="arn:aws:dynamodb:eu-west-1:222222222222:table/New",
    id="new",
    account="222222222222",
    region="eu-west-1",
    status="ACTIVE",
    key=(),
    item_count=0,
    size_bytes=0,
    on_demand=True,
    read_units=0,
    write_units=0,
    definition={},
)


def manifest_of(method: str) -> Manifest:
    return Manifest(
        format=FORMAT, export_id="01715685260608-c488b4e1", tool_version="0", method=method,
        started_at="2026-01-01T10:00:00.000Z", finished_at="2026-01-01T11:00:00.000Z",
        source=Source(table_name="Old", table_arn="old", table_id="old", account="111111111111", region="eu-west-1"),
        table={}, options=FormatOptions(
            format="jsonl", compression="gzip", segments=1, shard_size=1, consistent_read=False,
        ), consumed_rcu=1.0, items=0, bytes=0, shards=[],
    )  # fmt: skip


@pytest.mark.parametrize(("method", "proves"), [("scan", True), ("pitr", False), ("aws-export", False)])
def test_an_export_of_a_moment_in_the_past_proves_nothing(method: str, proves: bool) -> None:
    """The old table may have been written to between that moment and the cut-over."""
    state, export = MemoryFolder(), MemoryFolder()
    folder: Any = export
    recorded = record_proof(
        state, folder, manifest_of(method), TABLE, times=("noon", "later"), log_number=None
    )
    assert (proves, proves) == (recorded, read_proof(state) is not None)
