"""The contract of storages, and uploads to S3."""

import gc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import smart_open.s3
from botocore.exceptions import ClientError

from ddb_shared.errors import BucketError
from ddb_shared.storage import s3
from ddb_shared.storage.base import ConflictError, Storage
from ddb_shared.storage.local import LocalStorage
from ddb_shared.storage.s3 import S3Storage
from ddb_shared.storage.upload import PART_BYTES, SINGLE_BYTES
from support.accounts import Accounts
from support.environment import REGION, SOURCE
from support.memory import MemoryFolder, data_of
from support.services import Endpoint


@pytest.fixture
def bucket(aws: Endpoint, accounts: Accounts, unique_name: Callable[[], str]) -> str:
    name = unique_name()
    location = {"LocationConstraint": REGION}
    accounts.s3(aws, SOURCE).create_bucket(Bucket=name, CreateBucketConfiguration=location)
    return name


@pytest.fixture
def s3_folder(aws: Endpoint, accounts: Accounts, bucket: str) -> S3Storage:
    return S3Storage(accounts.s3(aws, SOURCE), bucket, "some/prefix")


@pytest.fixture(params=["s3", "local", "memory"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Storage:
    """Each kind of folder, and the tests' own, which is proven by the same contract."""
    if request.param == "local":
        return LocalStorage(tmp_path / "not there yet")
    if request.param == "memory":
        return MemoryFolder()
    real: S3Storage = request.getfixturevalue("s3_folder")
    return real


class TestContract:
    """What every folder promises."""

    @pytest.mark.parametrize("name", ["a.json", "deep/er/a.json", "with space+plus%41é.json"])
    @pytest.mark.parametrize("data", [b"", b"one", bytes(range(256)) * 400])
    def test_what_is_written_is_read(self, storage: Storage, name: str, data: bytes) -> None:
        """Bytes and ETag, whatever they are; a file just written is young."""
        etag = storage.write(name, data)
        stored = storage.read(name)
        assert stored is not None
        assert (data, etag) == (stored.data, stored.etag)
        assert 0 <= stored.age_seconds < 60

    def test_a_file_that_is_not_there_is_none(self, storage: Storage) -> None:
        """Absent is an answer, not an error."""
        assert storage.read("absent.json") is None
        assert storage.read("no/such/folder/absent.json") is None

    def test_a_write_replaces(self, storage: Storage) -> None:
        """The last one counts."""
        storage.write("a", b"first, and longer")
        storage.write("a", b"second")
        assert data_of(storage, "a") == b"second"

    def test_new_refuses_a_file_that_is_there(self, storage: Storage) -> None:
        """And leaves it as it is."""
        storage.write("a", b"first", new=True)
        with pytest.raises(ConflictError, match="a"):
            storage.write("a", b"second", new=True)
        assert data_of(storage, "a") == b"first"

    def test_replaces_refuses_another_state(self, storage: Storage) -> None:
        """A file that changed since it was read is not overwritten; nor is one that is gone."""
        before = storage.write("a", b"first")
        after = storage.write("a", b"second", replaces=before)
        with pytest.raises(ConflictError):
            storage.write("a", b"third", replaces=before)
        storage.write("a", b"fourth", replaces=after)
        assert data_of(storage, "a") == b"fourth"
        with pytest.raises(ConflictError):
            storage.write("absent", b"x", replaces=before)
        assert storage.read("absent") is None

    def test_a_listing_has_names_and_sizes_below_a_beginning(self, storage: Storage) -> None:
        """Names are relative to the folder, in order; a beginning need not end at a slash."""
        for name in ("data/b", "data/a", "data/sub/c", "datum", "other"):
            storage.write(name, name.encode())
        assert ["data/a", "data/b", "data/sub/c", "datum"] == [entry.name for entry in storage.list("dat")]
        assert [6, 6, 10] == [entry.size for entry in storage.list("data/")]
        assert len(list(storage.list())) == 5
        assert list(storage.list("nothing")) == []

    def test_a_folder_that_is_not_there_lists_nothing(self, storage: Storage) -> None:
        """As a prefix without objects does."""
        assert list(storage.list()) == []

    def test_folders_are_those_right_below_a_folder(self, storage: Storage) -> None:
        """Each once, however many files it has; files are no folders."""
        for name in ("data/a", "import/one/x/y", "import/one/z", "import/two/x", "import/file", "top"):
            storage.write(name, b"x")
        assert ["data/", "import/"] == list(storage.folders())
        assert ["import/one/", "import/two/"] == list(storage.folders("import/"))
        assert list(storage.folders("nothing/")) == []

    @pytest.mark.parametrize(("data", "expected"), [(b"abcdef", b"abc"), (b"ab", b"ab"), (b"", b"")])
    def test_the_beginning_of_a_file_can_be_read_alone(
        self, storage: Storage, data: bytes, expected: bytes
    ) -> None:
        """A file that is shorter is read whole; none is none."""
        storage.write("a", data)
        stored = storage.read("a", max_bytes=3)
        assert stored is not None
        assert stored.data == expected
        assert storage.read("absent", max_bytes=3) is None

    def test_a_stream_reads_the_whole_file(self, storage: Storage) -> None:
        """In pieces of the reader's choice, more than one buffer of them."""
        data = bytes(range(256)) * 4_000
        storage.write("big", data)
        with storage.open_read("big") as stream:
            pieces = list(iter(lambda: stream.read(100_000), b""))
        assert b"".join(pieces) == data

    def test_a_failed_write_leaves_no_other_file(self, storage: Storage) -> None:
        """Drafts of refused writes are gone."""
        storage.write("a", b"1", new=True)
        with pytest.raises(ConflictError):
            storage.write("a", b"2", new=True)
        assert ["a"] == [entry.name for entry in storage.list()]


def test_a_conditional_write_that_had_succeeded_is_no_conflict(s3_folder: S3Storage) -> None:
    """The SDK repeats a request whose answer got lost, and S3 then refuses the repetition."""
    etag = s3_folder.write("a", b"mine", new=True)
    assert etag == s3_folder.write("a", b"mine", new=True)


@pytest.mark.parametrize("present", [b"", b"before"])
def test_a_write_at_the_same_moment_is_tried_again(
    present: bytes, s3_folder: S3Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """409 may be of an earlier try of the same request that is still on its way; what was written by then decides."""
    monkeypatch.setattr(s3, "_PAUSES", (0.0, 0.0))
    before = s3_folder.write("a", present) if present else None
    put, answers = s3_folder._client.put_object, [409, 409, 200]

    def put_object(**words: Any) -> Any:
        if answers.pop(0) == 409:
            raise ClientError({"Error": {"Code": "ConditionalRequestConflict"}}, "PutObject")
        return put(**words)

    monkeypatch.setattr(s3_folder._client, "put_object", put_object)
    s3_folder.write("a", b"mine", replaces=before, new=before is None)
    assert data_of(s3_folder, "a") == b"mine"
    answers += [409] * 3
    with pytest.raises(ConflictError):
        s3_folder.write("b", b"never", new=True)
    answers += [409]
    with pytest.raises(ConflictError):
        s3_folder.write("a", b"another's", new=True)
    assert ([], b"mine") == (answers, data_of(s3_folder, "a"))


def test_a_listing_has_every_page(s3_folder: S3Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    """S3 gives at most 1,000 names at once."""
    for number in range(7):
        s3_folder.write(f"{number}", b"x")
    client = s3_folder._client
    paginator = client.get_paginator("list_objects_v2")
    original = paginator.paginate
    monkeypatch.setattr(
        client,
        "get_paginator",
        lambda _: type(
            "P", (), {"paginate": lambda _, **k: original(**k, PaginationConfig={"PageSize": 2})}
        )(),
    )
    assert [str(number) for number in range(7)] == [entry.name for entry in s3_folder.list()]


def requests_of(client: Any) -> list[str]:
    """The operations that a client sends from now on."""
    sent: list[str] = []
    client.meta.events.register("before-call.s3", lambda model, **_: sent.append(model.name))
    return sent


@pytest.mark.parametrize("size", [SINGLE_BYTES + 1, PART_BYTES + 1])
def test_an_upload_is_invisible_until_it_is_completed(s3_folder: S3Storage, size: int) -> None:
    """Of one or more parts; afterwards, size and ETag are S3's, and `discard` does nothing."""
    upload = s3_folder.open_upload("shard")
    upload.write(b"x")
    upload.write(b"x" * (size - 1))
    assert list(s3_folder.list()) == []
    upload.complete()
    upload.discard()
    found = s3_folder.stat("shard")
    assert found.size == size
    assert found.etag.endswith(f'-{-(-size // PART_BYTES)}"')


@pytest.mark.parametrize("size", [0, 100, SINGLE_BYTES])
def test_a_small_upload_is_one_request(s3_folder: S3Storage, size: int) -> None:
    """Whole or not at all, also of no bytes."""
    sent = requests_of(s3_folder._client)
    upload = s3_folder.open_upload("shard")
    upload.write(b"x" * size)
    assert sent == []
    upload.complete()
    upload.discard()
    assert sent == ["PutObject"]
    stored = s3_folder.read("shard")
    assert stored is not None
    assert stored.data == b"x" * size


@pytest.mark.parametrize("size", [100, PART_BYTES + 1])
def test_a_discarded_upload_leaves_nothing(s3_folder: S3Storage, size: int) -> None:
    """Neither an object nor parts that cost money."""
    upload = s3_folder.open_upload("shard")
    upload.write(b"x" * size)
    upload.discard()
    assert list(s3_folder.list()) == []
    assert s3_folder.abort_uploads() == 0


def test_a_small_upload_that_is_dropped_publishes_nothing(s3_folder: S3Storage) -> None:
    """Whatever garbage collection does."""
    upload = s3_folder.open_upload("shard")
    upload.write(b"x" * 100)
    del upload
    gc.collect()
    assert list(s3_folder.list()) == []


def test_unfinished_uploads_are_aborted_below_a_name_only(s3_folder: S3Storage) -> None:
    """What a killed process left, and nothing of other folders."""
    client, bucket = s3_folder._client, s3_folder.bucket
    for key in ("some/prefix/data/a", "some/prefix/data/b", "some/prefix/other", "elsewhere/data/a"):
        client.create_multipart_upload(Bucket=bucket, Key=key)
    assert s3_folder.abort_uploads("data/") == 2
    left = client.list_multipart_uploads(Bucket=bucket)["Uploads"]
    assert {"some/prefix/other", "elsewhere/data/a"} == {upload["Key"] for upload in left}


def test_stat_names_a_file_that_is_gone(s3_folder: S3Storage) -> None:
    """A name that only begins like it is another file."""
    s3_folder.write("shard.gz.old", b"x")
    with pytest.raises(BucketError, match=r"shard\.gz was written, but is missing"):
        s3_folder.stat("shard.gz")


def test_reading_an_object_that_is_missing_names_it(s3_folder: S3Storage) -> None:
    """smart_open's own error is mapped by whoever reads; it is an OSError or ValueError."""
    stream = s3_folder.open_read("absent")
    with pytest.raises((OSError, ValueError), match="absent"):
        stream.read(1)
    assert isinstance(stream, smart_open.s3.Reader)
