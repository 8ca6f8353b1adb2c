"""The tables that the stub serves."""

import json
import random
import zlib

import pytest

from bench.shapes import SHAPES, Pages, item
from bench.stub_http import unchunked


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("segments", [1, 16])
def test_a_scan_gives_every_item_of_the_table(shape: str, segments: int) -> None:
    """The pages of all segments have as many items as the table, no more than fit, and their crc32."""
    pages = Pages(shape)
    table = 3 * pages.items + 5
    counted = 0
    for segment in range(segments):
        share = table * (segment + 1) // segments - table * segment // segments
        start = 0
        while start < share:
            count, begun, crc = pages.take(segment, start, share, share)
            assert 0 < count <= pages.items
            assert count == len(json.loads(begun + b"]}")["Items"])
            assert zlib.crc32(begun) == crc
            start += count
        counted += start
    assert table == counted


@pytest.mark.parametrize(
    ("shape", "size"), [("small", 100), ("typical", 500), ("large", 10_000), ("huge", 400_000)]
)
def test_shapes_have_the_size_of_their_name(shape: str, size: int) -> None:
    """On the wire, within a tenth."""
    assert pytest.approx(size, rel=0.1) == Pages(shape).item_bytes


def test_a_typical_item_has_ten_attributes() -> None:
    """With a nested one and a set among them."""
    made = item("typical", 1, random.Random(1))
    assert len(made) == 10
    assert {"S", "N", "M", "SS"} == {kind for value in made.values() for kind in value}


def test_a_body_in_chunks_is_put_together() -> None:
    """As HTTP has them and, inside of that, S3 with a checksum at the end; None until all has arrived."""
    coded = b"5\r\nhello\r\n6\r\n\r\n0\r\n\r\r\n0\r\nx-amz-checksum-crc32:AAAAAA==\r\n\r\n"
    sent = b"%x\r\n%b\r\n0\r\n\r\n" % (len(coded), coded)
    assert unchunked(sent) == coded
    assert unchunked(coded) == b"hello\r\n0\r\n\r"
    assert unchunked(sent[: len(coded) // 2]) is None
