"""How a table is cut into segments and dealt to workers."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ddb_export.plan import LEAST_SEGMENTS, MOST_SEGMENTS, SEGMENT_BYTES, choose_segments, deal
from ddb_shared.table import Table, from_description


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
        (0, LEAST_SEGMENTS),
        (LEAST_SEGMENTS * SEGMENT_BYTES, LEAST_SEGMENTS),
        (LEAST_SEGMENTS * SEGMENT_BYTES + 1, LEAST_SEGMENTS + 1),
        (10**15, MOST_SEGMENTS),
    ],
)
def test_segments_grow_with_the_table_between_bounds(size_bytes: int, segments: int) -> None:
    """Enough to interleave an import, few enough to keep below the 50,000 objects of ImportTable."""
    assert segments == choose_segments(table_of(size_bytes))


@given(segments=st.sets(st.integers(0, 9_999), max_size=200), workers=st.integers(1, 64))
def test_every_segment_is_dealt_once_and_evenly(segments: set[int], workers: int) -> None:
    """No worker has two more than another, none has an empty hand, and each has its share of the whole range."""
    ordered = sorted(segments)
    hands = deal(ordered, workers)
    assert ordered == sorted(segment for hand in hands for segment in hand)
    assert len(hands) == min(workers, len(segments))
    assert not hands or max(map(len, hands)) - min(map(len, hands)) <= 1
