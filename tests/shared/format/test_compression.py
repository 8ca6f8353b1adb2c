"""Compressed streams come back whole or not at all."""

import gzip
import zlib
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ddb_shared.format.compression import SUFFIXES, DecompressionError, compressor, decompress

PIECES = st.lists(st.binary(max_size=3_000), max_size=8)
TEXT = b"".join(b'{"Item":{"pk":{"S":"%06d"}}}\n' % number for number in range(5_000))
MAX_BYTES = 4_096


def compressed(compression: str, pieces: list[bytes]) -> bytes:
    made = compressor(compression)
    return b"".join([*map(made.compress, pieces), made.flush()])


def chopped(data: bytes, size: int) -> Iterator[bytes]:
    return (data[start : start + size] for start in range(0, len(data), size))


def plain(compression: str, stored: bytes, *, piece: int = 1_000, max_bytes: int = MAX_BYTES) -> bytes:
    return b"".join(decompress("x" + SUFFIXES[compression], chopped(stored, piece), max_bytes))


@pytest.mark.parametrize("compression", list(SUFFIXES))
@given(pieces=PIECES, piece=st.integers(1, 5_000), max_bytes=st.integers(16, 5_000))
def test_any_chunking_round_trips(compression: str, pieces: list[bytes], piece: int, max_bytes: int) -> None:
    """However the bytes are cut on their way in, on their way back and on their way out."""
    stored = compressed(compression, pieces)
    assert b"".join(pieces) == plain(compression, stored, piece=piece, max_bytes=max_bytes)


@pytest.mark.parametrize("compression", ["gzip", "zstd"])
def test_no_piece_is_larger_than_asked_for(compression: str) -> None:
    """A few stored bytes that decompress to a thousand times as many do not land in memory at once."""
    stored = compressed(compression, [bytes(5_000_000)])
    sizes = [len(piece) for piece in decompress("x" + SUFFIXES[compression], [stored], MAX_BYTES)]
    assert sum(sizes) == 5_000_000
    assert max(sizes) <= MAX_BYTES


def test_the_standard_library_reads_our_gzip() -> None:
    """And its header carries no time, as AWS's has none: equal items make equal bytes."""
    stored = compressed("gzip", list(chopped(TEXT, 777)))
    assert gzip.decompress(stored) == TEXT
    assert stored[4:8] == bytes(4)
    assert stored == compressed("gzip", list(chopped(TEXT, 777)))


@pytest.mark.parametrize("piece", [1, 7, 100_000])
def test_gzip_files_of_several_members_and_with_names_are_read(piece: int) -> None:
    """A gzip file may have members behind one another; `cat a.gz b.gz` makes them, and other tools store a file name."""
    named = zlib.compressobj(wbits=-15)
    body = named.compress(TEXT) + named.flush()
    trailer = zlib.crc32(TEXT).to_bytes(4, "little") + len(TEXT).to_bytes(4, "little")
    with_name = b"\x1f\x8b\x08\x08\0\0\0\0\0\xffname.json\0" + body + trailer
    stored = gzip.compress(TEXT) + gzip.compress(b"") + with_name
    assert TEXT * 2 == plain("gzip", stored, piece=piece)


@pytest.mark.parametrize("compression", ["gzip", "zstd"])
@given(data=st.data())
def test_a_truncated_file_never_passes(compression: str, data: st.DataObject) -> None:
    """Cut anywhere, down to a byte before its end, it raises."""
    stored = compressed(compression, [TEXT])
    length = data.draw(st.integers(1, len(stored) - 1))
    with pytest.raises(DecompressionError, match="corrupt or truncated"):
        plain(compression, stored[:length])


@given(data=st.data())
def test_altered_gzip_raises_or_says_the_same(data: st.DataObject) -> None:
    """Any flipped bit but those of the header's descriptive fields is found by gzip's own checksum."""
    stored = bytearray(compressed("gzip", [TEXT]))
    stored[data.draw(st.integers(10, len(stored) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    try:
        assert TEXT == plain("gzip", bytes(stored))
    except DecompressionError:
        return


def test_a_damaged_zstd_file_raises() -> None:
    """The error of pyarrow does not come through."""
    stored = bytearray(compressed("zstd", [TEXT]))
    stored[len(stored) // 2] ^= 0xFF
    stored[0] ^= 0xFF
    with pytest.raises(DecompressionError, match="corrupt or truncated zstd"):
        plain("zstd", bytes(stored))


@pytest.mark.parametrize("compression", ["gzip", "zstd"])
def test_a_file_that_is_not_compressed_at_all_raises(compression: str) -> None:
    """A suffix that lies is found at the first bytes."""
    with pytest.raises(DecompressionError):
        plain(compression, TEXT)


@pytest.mark.parametrize("compression", list(SUFFIXES))
def test_a_connection_that_breaks_is_no_damage(compression: str) -> None:
    """What the source of the bytes raises comes through: a network error must not be told as a damaged shard."""

    def broken() -> Iterator[bytes]:
        yield compressed(compression, [TEXT])[:50]
        raise OSError("the network is gone")

    with pytest.raises(OSError, match="the network is gone"):
        list(decompress("x" + SUFFIXES[compression], broken(), MAX_BYTES))
