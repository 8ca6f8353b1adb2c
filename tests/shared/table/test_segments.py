"""How a table is cut into segments and dealt to workers."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ddb_shared.table.description import Table, from_description
from ddb_shared.table.segments import (
    MAX_SEGMENTS,
    MIN_SEGMENTS,
    SEGMENT_BYTES,
    choose_segments,
    split_round_robin,
)


def table_of(size_bytes: int) -> Table:
    return from_description(
        {
            "TableName": "T",
            "TableArn": "arn:aws:dynamodb:eu-west-1:111111111111:table/T",
            "TableStatus": "ACTIVE",
            "TableSizeBytes": size_bytes,
            "KeySchema": [{"AttributeName": "pk", "KeyType": "HASH"}],
            "AttributeDefinitions": [{"AttributeName": "pk", "AttributeType": "S"}],
        }
    )


@pytest.mark.parametrize(
    ("size_bytes", "segments"),
    [
        (0, MIN_SEGMENTS),
        (MIN_SEGMENTS * SEGMENT_BYTES, MIN_SEGMENTS),
        (MIN_SEGMENTS * SEGMENT_BYTES + 1, MIN_SEGMENTS + 1),
        (10**15, MAX_SEGMENTS),
    ],
)
def test_segments_grow_with_the_table_between_bounds(size_bytes: int, segments: int) -> None:
    """Enough to interleave an import, few enough to keep below the 50,000 objects of ImportTable."""
    assert segments == choose_segments(table_of(size_bytes))


def test_a_table_of_a_page_is_one_segment() -> None:
    """If its size is known, not only described."""
    assert 1 == choose_segments(table_of(500), fits_page=True)


@given(segments=st.sets(st.integers(0, 9_999), max_size=200), workers=st.integers(1, 64))
def test_every_segment_is_assigned_once_and_evenly(segments: set[int], workers: int) -> None:
    """No worker has two more than another, and each has its share of the whole range."""
    ordered = sorted(segments)
    shares = [share for share in split_round_robin(ordered, workers) if share]
    assert ordered == sorted(segment for share in shares for segment in share)
    assert len(shares) == min(workers, len(segments))
    assert not shares or max(map(len, shares)) - min(map(len, shares)) <= 1
