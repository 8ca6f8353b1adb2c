"""One contract for both kinds of folder, and what S3 alone has."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import smart_open.s3

from ddb_shared.aws import Aws, AwsOptions
from ddb_shared.bucket import check_bucket, parse_bucket_url
from ddb_shared.errors import BucketError, UsageError
from ddb_shared.storage import (
    PART_BYTES,
    ConflictError,
    Folder,
    LocalFolder,
    S3Folder,
    open_folder,
)
from support.accounts import Accounts
from support.environment import DESTINATION, REGION, SOURCE
from support.memory import MemoryFolder, data_of
from support.services import Endpoint


@pytest.fixture
def bucket(aws: Endpoint, accounts: Accounts, unique_name: Callable[[], str]) -> str:
    name = unique_name()
    location = {"LocationConstraint": REGION}
    accounts.s3(aws, SOURCE).create_bucket(Bucket=name, CreateBucketConfiguration=location)
    return name


@pytest.fixture
def s3_folder(aws: Endpoint, accounts: Accounts, bucket: str) -> S3Folder:
    return S3Folder(accounts.s3(aws, SOURCE), bucket, "some/prefix")


@pytest.fixture(params=["s3", "local", "memory"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Folder:
    """Each kind of folder, and the tests' own, which is proven by the same contract."""
    if request.param == "local":
        return LocalFolder(tmp_path / "not there yet")
    if request.param == "memory":
        return MemoryFolder()
    real: S3Folder = request.getfixturevalue("s3_folder")
    return real


class TestContract:
    """What every folder promises."""

    @pytest.mark.parametrize("name", ["a.json", "deep/er/a.json", "with space+plus%41é.json"])
    @pytest.mark.parametrize("data", [b"", b"one", bytes(range(256)) * 400])
    def test_what_is_written_is_read(self, folder: Folder, name: str, data: bytes) -> None:
        """Bytes and ETag, whatever they are; a file just written is young."""
        etag = folder.write(name, data)
        stored = folder.read(name)
        assert stored is not None
        assert (data, etag) == (stored.data, stored.etag)
        assert 0 <= stored.age_seconds < 60

    def test_a_file_that_is_not_there_is_none(self, folder: Folder) -> None:
        """Absent is an answer, not an error."""
        assert folder.read("absent.json") is None
        assert folder.read("no/such/folder/absent.json") is None

    def test_a_write_replaces(self, folder: Folder) -> None:
        """The last one counts."""
        folder.write("a", b"first, and longer")
        folder.write("a", b"second")
        assert data_of(folder, "a") == b"second"

    def test_new_refuses_a_file_that_is_there(self, folder: Folder) -> None:
        """And leaves it as it is."""
        folder.write("a", b"first", new=True)
        with pytest.raises(ConflictError, match="a"):
            folder.write("a", b"second", new=True)
        assert data_of(folder, "a") == b"first"

    def test_replaces_refuses_another_state(self, folder: Folder) -> None:
        """A file that changed since it was read is not overwritten; nor is one that is gone."""
        before = folder.write("a", b"first")
        after = folder.write("a", b"second", replaces=before)
        with pytest.raises(ConflictError):
            folder.write("a", b"third", replaces=before)
        folder.write("a", b"fourth", replaces=after)
        assert data_of(folder, "a") == b"fourth"
        with pytest.raises(ConflictError):
            folder.write("absent", b"x", replaces=before)
        assert folder.read("absent") is None

    def test_a_listing_has_names_and_sizes_below_a_beginning(self, folder: Folder) -> None:
        """Names are relative to the folder, in order; a beginning need not end at a slash."""
        for name in ("data/b", "data/a", "data/sub/c", "datum", "other"):
            folder.write(name, name.encode())
        assert ["data/a", "data/b", "data/sub/c", "datum"] == [entry.name for entry in folder.list("dat")]
        assert [6, 6, 10] == [entry.size for entry in folder.list("data/")]
        assert len(list(folder.list())) == 5
        assert list(folder.list("nothing")) == []

    def test_a_folder_that_is_not_there_lists_nothing(self, folder: Folder) -> None:
        """As a prefix without objects does."""
        assert list(folder.list()) == []

    def test_a_stream_reads_the_whole_file(self, folder: Folder) -> None:
        """In pieces of the reader's choice, more than one buffer of them."""
        data = bytes(range(256)) * 4_000
        folder.write("big", data)
        with folder.open_read("big") as stream:
            pieces = list(iter(lambda: stream.read(100_000), b""))
        assert b"".join(pieces) == data

    def test_a_failed_write_leaves_no_other_file(self, folder: Folder) -> None:
        """Drafts of refused writes are gone."""
        folder.write("a", b"1", new=True)
        with pytest.raises(ConflictError):
            folder.write("a", b"2", new=True)
        assert ["a"] == [entry.name for entry in folder.list()]


def test_a_conditional_write_that_had_succeeded_is_no_conflict(s3_folder: S3Folder) -> None:
    """The SDK repeats a request whose answer got lost, and S3 then refuses the repetition."""
    etag = s3_folder.write("a", b"mine", new=True)
    assert etag == s3_folder.write("a", b"mine", new=True)


def test_a_listing_has_every_page(s3_folder: S3Folder, monkeypatch: pytest.MonkeyPatch) -> None:
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


def test_an_upload_is_invisible_until_it_is_closed(s3_folder: S3Folder) -> None:
    """Of several parts; after the close, size and ETag are S3's."""
    with s3_folder.open_upload("shard") as upload:
        upload.write(b"x" * (PART_BYTES + 1))
        assert list(s3_folder.list()) == []
    found = s3_folder.stat("shard")
    assert found.size == PART_BYTES + 1
    assert found.etag.endswith('-2"')


def test_an_aborted_upload_leaves_nothing(s3_folder: S3Folder) -> None:
    """Neither an object nor parts that cost money."""
    upload = s3_folder.open_upload("shard")
    upload.write(b"x" * (PART_BYTES + 1))
    upload.terminate()
    assert list(s3_folder.list()) == []
    assert s3_folder.abort_uploads() == 0


def test_an_error_inside_an_upload_publishes_nothing(s3_folder: S3Folder) -> None:
    """smart_open aborts when the block is left by an exception."""

    def fail() -> None:
        with s3_folder.open_upload("shard") as upload:
            upload.write(b"x" * 100)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert list(s3_folder.list()) == []


def test_unfinished_uploads_are_aborted_below_a_name_only(s3_folder: S3Folder) -> None:
    """What a killed process left, and nothing of other folders."""
    client, bucket = s3_folder._client, s3_folder.bucket
    for key in ("some/prefix/data/a", "some/prefix/data/b", "some/prefix/other", "elsewhere/data/a"):
        client.create_multipart_upload(Bucket=bucket, Key=key)
    assert s3_folder.abort_uploads("data/") == 2
    left = client.list_multipart_uploads(Bucket=bucket)["Uploads"]
    assert {"some/prefix/other", "elsewhere/data/a"} == {upload["Key"] for upload in left}


def test_stat_names_a_file_that_is_gone(s3_folder: S3Folder) -> None:
    """A name that only begins like it is another file."""
    s3_folder.write("shard.gz.old", b"x")
    with pytest.raises(BucketError, match=r"shard\.gz was written, but is not there"):
        s3_folder.stat("shard.gz")


def test_reading_an_object_that_is_missing_names_it(s3_folder: S3Folder) -> None:
    """smart_open's own error is mapped by whoever reads; it is an OSError or ValueError."""
    stream = s3_folder.open_read("absent")
    with pytest.raises((OSError, ValueError), match="absent"):
        stream.read(1)
    assert isinstance(stream, smart_open.s3.Reader)


class TestCheckBucket:
    """A bucket that cannot be used is told before anything is done."""

    def test_one_that_is_there_passes(self, aws: Endpoint, accounts: Accounts, bucket: str) -> None:
        """Empty or not."""
        check_bucket(accounts.s3(aws, SOURCE), bucket, "any/prefix")

    def test_one_that_is_missing(self, aws: Endpoint, accounts: Accounts) -> None:
        """It is never created: a name that anyone can take is not to be trusted."""
        with pytest.raises(BucketError, match=r"Bucket no-such-bucket-here does not exist\.") as caught:
            check_bucket(accounts.s3(aws, SOURCE), "no-such-bucket-here")
        assert "never creates a bucket" in caught.value.remedy

    def test_one_of_another_account(self, aws: Endpoint, accounts: Accounts, bucket: str) -> None:
        """The action that is missing is named, whose policies have to allow it, and the owner that was expected."""
        with pytest.raises(BucketError, match=rf"Bucket {bucket} is forbidden: s3:ListBucket") as caught:
            check_bucket(accounts.s3(aws, DESTINATION), bucket)
        assert "bucket_policy" in caught.value.remedy
        with pytest.raises(BucketError, match=f"or account {SOURCE} does not own it") as caught:
            check_bucket(accounts.s3(aws, DESTINATION), bucket, owner=SOURCE)
        assert "--bucket-owner is wrong, or the bucket is a stranger's" in caught.value.remedy

    def test_one_that_may_be_listed_below_a_prefix_only(
        self, aws: Endpoint, accounts: Accounts, bucket: str
    ) -> None:
        """A policy that allows the export's prefix and no more is enough."""
        statement = {
            "Effect": "Allow",
            "Principal": {"AWS": f"arn:aws:iam::{DESTINATION}:root"},
            "Action": "s3:ListBucket",
            "Resource": f"arn:aws:s3:::{bucket}",
        }
        policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
        accounts.s3(aws, SOURCE).put_bucket_policy(Bucket=bucket, Policy=policy)
        check_bucket(accounts.s3(aws, DESTINATION), bucket, "some/prefix/")


def test_every_call_names_the_buckets_owner(monkeypatch: pytest.MonkeyPatch) -> None:
    """With --bucket-owner, no operation that knows ExpectedBucketOwner is sent without it, uploads included."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", SOURCE)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "x")
    client = Aws(AwsOptions(region=REGION, bucket_owner=DESTINATION)).s3
    sent: dict[str, Any] = {}

    def answer(params: dict[str, Any], model: Any, **_: Any) -> Any:
        sent[model.name] = params["headers"].get("x-amz-expected-bucket-owner")
        response = type("R", (), {"status_code": 200, "headers": {}})()
        return response, {"UploadId": "1", "ETag": '"e"', "ResponseMetadata": {"HTTPHeaders": {}}}

    client.meta.events.register("before-call.s3", answer)
    folder = S3Folder(client, "bucket", "p")
    list(folder.list())
    folder.write("a", b"x")
    with folder.open_upload("b") as upload:
        upload.write(b"x")
    folder.abort_uploads()
    client.close()
    assert {
        "ListObjectsV2",
        "PutObject",
        "CreateMultipartUpload",
        "UploadPart",
        "ListMultipartUploads",
    } <= sent.keys()
    assert set(sent.values()) == {DESTINATION}


@pytest.mark.parametrize(
    ("url", "place"),
    [
        ("s3://bucket", ("bucket", "")),
        ("s3://bucket/", ("bucket", "")),
        ("s3://my.bucket-1/a/b c/", ("my.bucket-1", "a/b c")),
        ("s3://bucket//a//", ("bucket", "a")),
    ],
)
def test_a_place_in_a_bucket(url: str, place: tuple[str, str]) -> None:
    """Slashes around the prefix do not matter."""
    assert place == parse_bucket_url(url)


@pytest.mark.parametrize(
    "url",
    ["bucket/x", "https://bucket/x", "s3:///x", "s3://", "s3://b u/x", "s3://user@bucket/x", "s3://bucket:80/x",
     "s3://bucket/x?versionId=1", "s3://bucket/x#y", ""],
)  # fmt: skip
def test_what_is_no_place_in_a_bucket_is_a_usage_error(url: str) -> None:
    """It says how to write one; nothing of what was written is dropped quietly."""
    with pytest.raises(UsageError, match="Write it as s3://BUCKET/PREFIX"):
        parse_bucket_url(url)


def test_a_state_url_is_a_bucket_or_a_local_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A relative path is taken from where the command runs, `~` is the home folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/home/someone")
    assert open_folder(None, "s3://bucket/a").url == "s3://bucket/a/"
    assert open_folder(None, "state/x").url == f"{tmp_path}/state/x/"
    assert open_folder(None, "~/state").url == "/home/someone/state/"


def test_a_local_write_that_fails_leaves_the_old_file_and_no_draft(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full disk costs nothing that was there."""
    folder = LocalFolder(tmp_path)
    folder.write("a", b"old")

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("ddb_shared.local_folder.os.fsync", full)
    with pytest.raises(Exception, match="No space left on device") as caught:
        folder.write("a", b"new")
    assert str(tmp_path / "a") in str(caught.value)
    assert [b"old"] == [path.read_bytes() for path in tmp_path.iterdir()]
