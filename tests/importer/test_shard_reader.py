"""A shard is read whole and proven, or it is an error."""

import base64
import gzip
import hashlib
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ddb_import.shard_reader import CHUNK_BYTES, ShardReader
from ddb_shared.errors import ShardError
from ddb_shared.format import manifest as manifests
from ddb_shared.format.compression import SUFFIXES, compressor
from ddb_shared.format.manifest import Shard
from support.memory import MemoryFolder

DATA = Path(__file__).parents[1] / "data"
LINES = [b'{"Item":{"pk":{"S":"%d"}}}' % number for number in range(200)]


def stored_shard(text: bytes, compression: str = "gzip", **changes: Any) -> tuple[MemoryFolder, Shard]:
    made = compressor(compression)
    data = made.compress(text) + made.flush()
    storage = MemoryFolder()
    name = f"0000-000000{SUFFIXES[compression]}"
    storage.files[f"data/{name}"] = data
    shard = Shard(
        key=storage.key(f"data/{name}"),
        segment=0,
        items=sum(1 for line in text.split(b"\n") if line.strip()),
        bytes=len(text),
        stored_bytes=len(data),
        md5=base64.b64encode(hashlib.md5(data).digest()).decode(),
        sha256=hashlib.sha256(data).hexdigest(),
    )
    return storage, msgspec.structs.replace(shard, **changes)


def lines_of(storage: MemoryFolder, shard: Shard) -> list[bytes]:
    reader, lines = ShardReader(storage, shard), []
    while (chunk := reader.read()) is not None:
        lines += chunk
    return lines


@pytest.mark.parametrize("compression", list(SUFFIXES))
@given(
    lines=st.lists(st.binary(min_size=1, max_size=80).filter(lambda one: b"\n" not in one and one.strip()))
)
def test_lines_come_back_in_order(compression: str, lines: list[bytes]) -> None:
    """Whatever is in them, with and without a newline at the end."""
    text = b"\n".join(lines)
    assert lines == lines_of(*stored_shard(text, compression))
    assert lines == lines_of(*stored_shard(text + b"\n", compression))


def test_a_line_longer_than_a_chunk_is_one_line() -> None:
    """Items of 400 KB are longer than what is decompressed at once."""
    long = b'{"Item":"' + b"x" * (3 * CHUNK_BYTES) + b'"}'
    assert [LINES[0], long, LINES[1]] == lines_of(*stored_shard(b"\n".join([LINES[0], long, LINES[1]])))


def test_white_space_is_no_line() -> None:
    """As for AWS's own import."""
    assert LINES[:2] == lines_of(*stored_shard(b"\n \n" + LINES[0] + b"\n\r\n\t\n" + LINES[1] + b"\n\n"))


def test_a_shard_without_items_is_legal() -> None:
    """AWS writes a file for an empty partition."""
    assert lines_of(*stored_shard(b"")) == []


@pytest.mark.parametrize("sample", ["aws-export", "ddb-transfer-1"])
def test_the_samples_can_be_read(sample: str) -> None:
    """AWS's files, whose sizes nobody recorded, and ours."""
    export_id = {"aws-export": "01715685260608-c488b4e1", "ddb-transfer-1": "01732350000000-0badcafe"}[sample]
    storage = MemoryFolder.of(DATA / sample, f"AWSDynamoDB/{export_id}")
    manifest = manifests.read(storage)
    assert manifest.items == sum(len(lines_of(storage, shard)) for shard in manifest.shards)


@pytest.mark.parametrize("compression", list(SUFFIXES))
@given(data=st.data())
def test_a_truncated_shard_is_an_error(compression: str, data: st.DataObject) -> None:
    """Cut at any byte, in any compression: a short read is a failure."""
    storage, shard = stored_shard(b"\n".join(LINES), compression)
    ((name, stored),) = storage.files.items()
    storage.files[name] = stored[: data.draw(st.integers(0, len(stored) - 1))]
    with pytest.raises(ShardError, match=r"0000-000000.* is damaged"):
        lines_of(storage, shard)


@pytest.mark.parametrize("compression", list(SUFFIXES))
@given(data=st.data())
def test_an_altered_shard_is_an_error(compression: str, data: st.DataObject) -> None:
    """Any bit, also where the compression itself would not notice."""
    storage, shard = stored_shard(b"\n".join(LINES), compression)
    ((name, stored),) = storage.files.items()
    changed = bytearray(stored)
    changed[data.draw(st.integers(0, len(stored) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    storage.files[name] = bytes(changed)
    with pytest.raises(ShardError, match="is damaged"):
        ShardReader(storage, shard).verify_checksum()


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"items": 199}, "200 items, expected 199"),
        ({"items": 201}, "200 items, expected 201"),
        ({"stored_bytes": 1}, "bytes, expected 1"),
        ({"sha256": "0" * 64}, "sha256 differs from the manifest"),
        ({"sha256": "", "md5": "AAAA"}, "md5 differs from the manifest"),
    ],
)
def test_each_figure_of_the_manifest_is_checked(change: dict[str, Any], what: str) -> None:
    """Count, size and both checksums, each by itself; the message says which, and what to do."""
    storage, shard = stored_shard(b"\n".join(LINES), **change)
    with pytest.raises(ShardError, match=what) as caught:
        ShardReader(storage, shard).verify_checksum()
    assert "Restore the object" in caught.value.remedy


def test_a_parquet_file_is_verified_before_its_parser_sees_it() -> None:
    """By its bytes alone, which need not be a Parquet file here."""
    data, storage = b"not for a parser", MemoryFolder()
    shard = Shard(
        key=storage.key("data/0000-000000.parquet"),
        segment=0,
        items=1,
        bytes=1,
        stored_bytes=len(data),
        sha256=hashlib.sha256(data).hexdigest(),
        md5="",
    )
    storage.files["data/0000-000000.parquet"] = data
    ShardReader(storage, shard).verify_checksum()
    storage.files["data/0000-000000.parquet"] = data.replace(b"p", b"q")
    with pytest.raises(ShardError, match="sha256 differs from the manifest"):
        ShardReader(storage, shard).verify_checksum()


def test_a_shard_that_is_a_member_short_is_an_error() -> None:
    """Two gzip members of which one is gone are a valid gzip file: the count and the sum tell."""
    whole = gzip.compress(LINES[0] + b"\n") + gzip.compress(LINES[1] + b"\n")
    storage, shard = stored_shard(b"", items=2, stored_bytes=-1, sha256="", md5=base64.b64encode(hashlib.md5(whole).digest()).decode())  # fmt: skip
    ((name, _),) = storage.files.items()
    storage.files[name] = whole
    assert len(lines_of(storage, shard)) == 2
    storage.files[name] = gzip.compress(LINES[0] + b"\n")
    with pytest.raises(ShardError):
        lines_of(storage, shard)
