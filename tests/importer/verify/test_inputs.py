"""How the inputs of a comparison are divided among the workers."""

from typing import Any

import pytest

from ddb_import.verify.inputs import ExportInput, TableInput
from ddb_shared.aws.clients import AwsOptions
from ddb_shared.format.manifest import Shard


def export_side(count: int) -> ExportInput:
    shards = tuple(
        Shard(key=f"x/{i:04d}-000000.json", segment=i, items=1, bytes=1, stored_bytes=1, md5="")
        for i in range(count)
    )
    return ExportInput(aws=AwsOptions(), bucket="b", prefix="p", shards=shards)


def table_side(count: int) -> TableInput:
    return TableInput(
        aws=AwsOptions(), table="T", segments=tuple(range(count)), total_segments=count, max_rcu=90.0
    )


@pytest.mark.parametrize("make", [export_side, table_side])
def test_shares_are_dealt_whole(make: Any) -> None:
    """Every part to one worker; the rate is that of all of them."""
    input_ = make(10)
    dealt = input_.split(3)
    taken = [
        part
        for share in dealt
        for part in (share.shards if isinstance(input_, ExportInput) else share.segments)
    ]
    assert set(taken) == set(input_.shards if isinstance(input_, ExportInput) else input_.segments)
    assert len(taken) == 10
    if isinstance(input_, TableInput):
        assert [90.0] * 3 == [share.max_rcu for share in dealt]
