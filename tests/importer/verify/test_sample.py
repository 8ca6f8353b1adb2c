"""How a sample is chosen."""

import random
from array import array
from dataclasses import replace
from typing import Any

import pytest

from ddb_import.verify.inputs import ExportInput, TableInput
from ddb_import.verify.overlay import LastLines
from ddb_import.verify.sample import subsamples
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
@pytest.mark.parametrize(
    ("parts", "percent", "read", "share"),
    [(16, 10, 16, 0.1), (1000, 1, 64, 10 / 64), (1000, 50, 500, 1), (0, 5, 0, None)],
)
def test_a_sample_takes_its_share(
    make: Any, parts: int, percent: float, read: int, share: float | None
) -> None:
    """The parts that are read times the share of their items make up the percentage."""
    ((input_, of_those),) = subsamples(make(parts), percent, random.Random(1))
    taken = input_.shards if isinstance(input_, ExportInput) else input_.segments
    assert len(set(taken)) == len(taken) == read
    if share is not None:
        assert share == pytest.approx(of_those)


def test_changes_do_not_crowd_out_the_base() -> None:
    """However many records of changes there are: each shard that a sample of the base alone reads is read with changes as well."""
    images = tuple(LastLines(number, array("I", [1])) for number in range(5_000))
    (base, of_base), (changes, of_changes) = subsamples(
        replace(export_side(16), images=images), 1, random.Random(1)
    )
    assert isinstance(base, ExportInput)
    assert isinstance(changes, ExportInput)
    assert (16, 0) == (len(set(base.shards)), len(base.images))
    assert (0, 64) == (len(changes.shards), len({one.record for one in changes.images}))
    assert [0.01, 50 / 64] == pytest.approx([of_base, of_changes])
