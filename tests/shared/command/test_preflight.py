"""Checks run in order and stop a run at the first that fails; a dry run shows them all."""

from pathlib import Path
from typing import Any

import pytest
from botocore.awsrequest import AWSResponse

from ddb_shared.aws.clients import Aws, AwsOptions
from ddb_shared.command import preflight
from ddb_shared.command.preflight import (
    check_encryption,
    check_owner,
    check_probe,
    require,
    run_checks,
    status_of,
)
from ddb_shared.errors import BucketError, TransferError, UsageError
from ddb_shared.permissions import Side
from ddb_shared.storage.base import StoredObject
from ddb_shared.storage.bucket import check_bucket, object_ownership
from ddb_shared.storage.local import LocalStorage
from ddb_shared.storage.s3 import S3Storage
from support.memory import MemoryFolder

KEY = "arn:aws:kms:eu-west-1:222222222222:key/1234"


def test_a_run_stops_at_the_first_that_fails() -> None:
    """What comes after it, such as the probe, is not done."""
    done: list[str] = []

    def check(name: str) -> str:
        done.append(name)
        if name == "second":
            raise UsageError("no", "do this")
        return name

    checks = {name: (lambda name=name: check(name)) for name in ("first", "second", "third")}
    with pytest.raises(UsageError, match="no\ndo this"):
        require(checks)
    assert done == ["first", "second"]
    made = run_checks(checks)
    assert [(one.name, one.ok, one.found) for one in made] == [
        ("first", True, "first"),
        ("second", False, "no\ndo this"),
        ("third", True, "third"),
    ]
    assert (status_of(made), status_of(made[:1])) == ("refused", "planned")


def test_the_probe_replaces_itself() -> None:
    """Nothing may be deleted, so there is one of a fixed name."""
    storage = MemoryFolder("x")
    assert check_probe(storage) == check_probe(storage) == "s3://bucket/x/probe.json written and read"
    assert list(storage.files) == ["probe.json"]


def test_a_probe_that_is_not_read_back_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Something else works in the same place."""
    storage = MemoryFolder("x")
    monkeypatch.setattr(storage, "read", lambda _: StoredObject(b"other", "e", 0.0))
    with pytest.raises(BucketError, match=r"probe\.json was written, but cannot be read back"):
        check_probe(storage)


def test_a_local_folder_is_probed_without_a_trace(tmp_path: Path) -> None:
    """It is made when it is first written to; a place that takes no files is refused."""
    check_probe(LocalStorage(tmp_path / "a" / "b"))
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "file").write_text("x")
    with pytest.raises(TransferError, match="Could not write"):
        check_probe(LocalStorage(tmp_path / "file" / "b"))


@pytest.mark.parametrize(
    ("encryption", "key", "found"),
    [
        ("AES256", None, "AES256"),
        (f"aws:kms {KEY}", KEY, f"aws:kms {KEY}"),
        ("", None, "not reported by S3"),
        # the answer has the key's own ARN, whatever alias it was asked for by
        (f"aws:kms {KEY}", "arn:aws:kms:eu-west-1:222222222222:alias/mine", f"aws:kms {KEY}"),
    ],
)
def test_how_objects_are_encrypted(
    monkeypatch: pytest.MonkeyPatch, encryption: str, key: str | None, found: str
) -> None:
    """As S3 says of the probe."""
    storage = MemoryFolder("x")
    monkeypatch.setattr(storage, "read", lambda _: StoredObject(b"{}\n", "e", 0.0, encryption))
    assert check_encryption(storage, key) == found


def test_another_key_than_the_one_that_was_asked_for_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Before a single item lies under the wrong one."""
    storage = MemoryFolder("x")
    monkeypatch.setattr(storage, "read", lambda _: StoredObject(b"{}\n", "e", 0.0, "AES256"))
    with pytest.raises(BucketError, match=f"encrypted with AES256 instead of {KEY}"):
        check_encryption(storage, KEY)


class TestS3:
    """What local services do not do: S3's own answers, told from a list."""

    @pytest.fixture
    def client(self, monkeypatch: pytest.MonkeyPatch) -> Any:
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "x")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "x")
        client = Aws(AwsOptions(region="eu-west-1")).s3
        yield client
        client.close()

    @staticmethod
    def answer(client: Any, *answers: tuple[int, dict[str, str], str]) -> list[str]:
        """Answers requests from the list; returns the URLs that they went to."""
        urls: list[str] = []
        left = list(answers)

        def send(request: Any, **_: Any) -> AWSResponse:
            urls.append(request.url)
            status, headers, body = left.pop(0)
            raw = type("Raw", (), {"stream": lambda *_, **__: iter([body.encode()])})()
            return AWSResponse(request.url, status, headers, raw)

        client.meta.events.register("before-send.s3", send)
        return urls

    def test_the_bucket_s_region_is_found(self, client: Any) -> None:
        """A bucket of another region than the table's is asked there, now and from now on."""
        moved = "<Error><Code>PermanentRedirect</Code><Message>elsewhere</Message></Error>"
        there = {"x-amz-bucket-region": "us-west-2"}
        urls = self.answer(
            client,
            (301, there, moved),
            (200, there, "<ListBucketResult/>"),
            (200, there, "<ListBucketResult/>"),
        )
        assert check_bucket(client, "mine") == "us-west-2"
        list(S3Storage(client, "mine", "x").list())
        assert ["s3.us-west-2." in url for url in urls] == [False, True, True], urls

    @pytest.mark.parametrize(
        ("setting", "acl"),
        [
            ("BucketOwnerEnforced", None),
            ("BucketOwnerPreferred", "bucket-owner-full-control"),
            ("ObjectWriter", "bucket-owner-full-control"),
        ],
    )
    def test_the_ownership_setting_decides_on_the_acl(
        self, client: Any, setting: str, acl: str | None
    ) -> None:
        """Only where ACLs are on."""
        rule = f"<Rule><ObjectOwnership>{setting}</ObjectOwnership></Rule>"
        self.answer(client, (200, {}, f"<OwnershipControls>{rule}</OwnershipControls>"))
        found = object_ownership(client, "mine")
        assert (found.acl, str(found).startswith(setting)) == (acl, True)

    @pytest.mark.parametrize(
        ("code", "status", "acl", "said"),
        [
            ("OwnershipControlsNotFoundError", 404, "bucket-owner-full-control", "ObjectWriter"),
            (
                "AccessDenied",
                403,
                None,
                "unknown, so no ACL is sent: s3:GetBucketOwnershipControls was denied",
            ),
        ],
    )
    def test_no_setting_and_no_permission(
        self, client: Any, code: str, status: int, acl: str | None, said: str
    ) -> None:
        """A bucket of before 2023 has none; without the permission it is unknown, not absent."""
        self.answer(client, (status, {}, f"<Error><Code>{code}</Code><Message>no</Message></Error>"))
        found = object_ownership(client, "mine")
        assert found.acl == acl
        assert str(found).startswith(said)

    def test_a_bucket_that_is_missing_is_no_unknown_setting(self, client: Any) -> None:
        """It is told as what it is, by whatever is asked first."""
        self.answer(client, (404, {}, "<Error><Code>NoSuchBucket</Code><Message>no</Message></Error>"))
        with pytest.raises(BucketError, match="Bucket mine does not exist"):
            object_ownership(client, "mine")


@pytest.mark.parametrize(
    ("side", "why"),
    [
        (Side.SOURCE, "does not know the account of the destination"),
        (Side.DESTINATION, "the caller's account is unknown"),
    ],
)
def test_an_owner_check_that_is_off_says_so(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    side: Side,
    why: str,
) -> None:
    """On stderr in every run, with the reason and the option; it does not count as passed."""
    monkeypatch.setattr(preflight, "check_bucket", lambda *_: "")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "A")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "S")
    aws = Aws(AwsOptions(region="eu-west-1", side=side))
    (check,) = run_checks({"bucket owner": lambda: check_owner(aws, S3Storage(None, "some-bucket", ""))})
    assert (check.ok, why in check.found, "Use --bucket-owner ACCOUNT" in check.found) == (None, True, True)
    assert f"Warning: {check.found}." in capsys.readouterr().err
    assert status_of([check]) == "planned"
