"""A shard is one upload that exists whole or not at all, and its record is true."""

import asyncio
import base64
import hashlib
import json
from collections.abc import Callable

import msgspec
import pytest

from ddb_export.encoding import Encoding
from ddb_export.shard_writer import ShardWriter, open_shard
from ddb_shared.errors import ShardError
from ddb_shared.format.compression import SUFFIXES, decompress
from ddb_shared.storage.s3 import S3Storage
from support.accounts import Accounts
from support.environment import REGION, SOURCE
from support.memory import data_of
from support.services import Endpoint

ITEMS = [msgspec.Raw(json.dumps({"pk": {"S": f"ü{number}"}}).encode()) for number in range(1_000)]


@pytest.fixture
def storage(aws: Endpoint, accounts: Accounts, unique_name: Callable[[], str]) -> S3Storage:
    name, client = unique_name(), accounts.s3(aws, SOURCE)
    client.create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": REGION})
    return S3Storage(client, name, "p/AWSDynamoDB/01715685260608-c488b4e1")


@pytest.mark.parametrize("compression", list(SUFFIXES))
def test_the_record_is_what_lies_in_the_bucket(storage: S3Storage, compression: str) -> None:
    """Name, key, counts, sizes, both checksums and the ETag; the lines are the items."""
    writer = ShardWriter(storage, 7, 3, Encoding(compression=compression))
    sizes = writer.write(ITEMS[:400]) + writer.write(ITEMS[400:])
    assert list(storage.list()) == []
    shard = writer.commit()
    writer.abort()
    (listed,) = storage.list()
    stored = data_of(storage, listed.name)
    text = b"".join(decompress(listed.name, [stored], 1 << 20))
    assert f"data/0007-000003{SUFFIXES[compression]}" == listed.name
    assert (storage.key(listed.name), 7, 1_000) == (shard.key, shard.segment, shard.items)
    assert (len(text), len(stored)) == (shard.bytes, shard.stored_bytes)
    assert sizes == shard.bytes
    assert shard.md5 == base64.b64encode(hashlib.md5(stored).digest()).decode()
    assert shard.sha256 == hashlib.sha256(stored).hexdigest()
    assert shard.etag == listed.etag.strip('"')
    assert [b'{"Item":' + bytes(item) + b"}" for item in ITEMS] == text.splitlines()


def test_a_shard_without_items_is_a_valid_file(storage: S3Storage) -> None:
    """It takes the place of a stray one."""
    shard = ShardWriter(storage, 0, 0, Encoding(compression="gzip")).commit()
    assert (shard.items, shard.bytes) == (0, 0)
    assert b"".join(decompress("x.gz", [data_of(storage, "data/0000-000000.json.gz")], 9)) == b""


@pytest.mark.parametrize("pages", [1, 30])
def test_a_block_that_does_not_commit_leaves_nothing(
    storage: S3Storage, aws: Endpoint, accounts: Accounts, pages: int
) -> None:
    """Stopped, cancelled or failed: neither an object nor an unfinished upload, of which a large shard has one."""
    page = [msgspec.Raw(b'{"pk":{"S":"' + b"x" * 300_000 + b'"}}')]

    async def main() -> None:
        async with open_shard(storage, 0, 0, Encoding(compression="none")) as writer:
            for _ in range(pages):
                await asyncio.to_thread(writer.write, page)
            uploads = accounts.s3(aws, SOURCE).list_multipart_uploads(Bucket=storage.bucket)
            assert len(uploads.get("Uploads", [])) == (pages > 1)
            raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(main())
    assert list(storage.list()) == []
    assert storage.abort_uploads() == 0


def test_an_upload_that_arrived_short_is_an_error(
    storage: S3Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The size in the bucket is compared before the shard is recorded."""
    writer = ShardWriter(storage, 0, 0, Encoding(compression="none"))
    monkeypatch.setattr(writer._upload, "write", lambda _: 0)
    writer.write(ITEMS)
    with pytest.raises(ShardError, match=r"has 0 bytes, but \d+"):
        writer.commit()
