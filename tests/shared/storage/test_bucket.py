"""Checks of a bucket, and the URLs of folders in it."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ddb_shared.aws.clients import Aws, AwsOptions
from ddb_shared.errors import BucketError, UsageError
from ddb_shared.storage.base import Storage
from ddb_shared.storage.bucket import check_bucket, parse_bucket_url
from ddb_shared.storage.local import LocalStorage
from ddb_shared.storage.s3 import S3Storage
from ddb_shared.storage.upload import SINGLE_BYTES
from support.accounts import Accounts
from support.environment import DESTINATION, REGION, SOURCE
from support.memory import MemoryFolder
from support.services import Endpoint


@pytest.fixture
def bucket(aws: Endpoint, accounts: Accounts, unique_name: Callable[[], str]) -> str:
    name = unique_name()
    location = {"LocationConstraint": REGION}
    accounts.s3(aws, SOURCE).create_bucket(Bucket=name, CreateBucketConfiguration=location)
    return name


@pytest.fixture(params=["s3", "local", "memory"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Storage:
    """Each kind of folder, and the tests' own, which is proven by the same contract."""
    if request.param == "local":
        return LocalStorage(tmp_path / "not there yet")
    if request.param == "memory":
        return MemoryFolder()
    real: S3Storage = request.getfixturevalue("s3_folder")
    return real


class TestCheckBucket:
    """A bucket that cannot be used is told before anything is done."""

    def test_one_that_is_there_passes(self, aws: Endpoint, accounts: Accounts, bucket: str) -> None:
        """Empty or not."""
        check_bucket(accounts.s3(aws, SOURCE), bucket, "any/prefix")

    def test_one_that_is_missing(self, aws: Endpoint, accounts: Accounts) -> None:
        """It is never created: a name that anyone can take is not to be trusted."""
        with pytest.raises(BucketError, match=r"Bucket no-such-bucket-here does not exist\.") as caught:
            check_bucket(accounts.s3(aws, SOURCE), "no-such-bucket-here")
        assert "never creates buckets" in caught.value.remedy

    def test_one_of_another_account(self, aws: Endpoint, accounts: Accounts, bucket: str) -> None:
        """The action that is missing is named, whose policies have to allow it, and the owner that was expected."""
        with pytest.raises(BucketError, match=rf"Access denied to bucket {bucket}: s3:ListBucket") as caught:
            check_bucket(accounts.s3(aws, DESTINATION), bucket)
        assert "bucket_policy" in caught.value.remedy
        assert caught.value.remedy.startswith(f"Check the bucket's name ({bucket}) and the prefix")
        with pytest.raises(BucketError, match=f"or account {SOURCE} does not own it") as caught:
            check_bucket(accounts.s3(aws, DESTINATION), bucket, owner=SOURCE)
        assert "--bucket-owner is wrong, or someone else has taken" in caught.value.remedy

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
    storage = S3Storage(client, "bucket", "p")
    list(storage.list())
    storage.write("a", b"x")
    upload = storage.open_upload("b")
    upload.write(b"x" * (SINGLE_BYTES + 1))
    upload.complete()
    storage.abort_uploads()
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
    with pytest.raises(UsageError, match="Expected s3://BUCKET"):
        parse_bucket_url(url)


@pytest.mark.parametrize(
    "url",
    ["s3://arn:aws:s3:eu-west-1:111111111111:accesspoint/moves/prefix", "arn:aws:s3:eu-west-1:111111111111:accesspoint/x",
     "s3://arn:aws-cn:s3-outposts:cn-north-1:111111111111:outpost/o/accesspoint/a"],
)  # fmt: skip
def test_an_access_point_is_named_by_its_alias(url: str) -> None:
    """Its ARN is refused with the way out; its alias is a bucket's name like any other."""
    with pytest.raises(UsageError, match="access point by its ARN") as caught:
        parse_bucket_url(url)
    assert "-s3alias" in caught.value.remedy
    alias = "moves-abcdefghijklmnopqrstuvwxyz012-s3alias"
    assert parse_bucket_url(f"s3://{alias}/p") == (alias, "p")
