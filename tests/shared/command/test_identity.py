"""Who the caller is, until when, and what travels to the workers."""

import datetime as dt
import json
import pickle
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ddb_shared.aws.clients import Aws, AwsOptions
from ddb_shared.aws.credentials import MfaCredentials
from ddb_shared.command.identity import expiry_warnings, identify, open_session
from ddb_shared.command.options import Common
from ddb_shared.errors import UsageError
from ddb_shared.permissions import Side
from ddb_shared.runtime.display import ProgressOptions, Style
from support.accounts import Accounts
from support.environment import DESTINATION, REGION, SECRET, SOURCE
from support.services import Endpoint

NOW = dt.datetime(2026, 1, 1, 12, tzinfo=dt.UTC)
KEYS = MfaCredentials("A", "very-secret", "token", "2026-01-01T13:00:00+00:00")


@pytest.fixture
def options(aws: Endpoint, monkeypatch: pytest.MonkeyPatch) -> AwsOptions:
    """The source account at MiniStack."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", SOURCE)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    return AwsOptions(region=REGION, endpoint_url=aws.url)


def common(options: AwsOptions) -> Common:
    return Common(aws=options, processes=1, progress=ProgressOptions(style=Style.NONE), as_json=True)


def test_who_and_which_account(options: AwsOptions, capsys: pytest.CaptureFixture[str]) -> None:
    """Told on stderr; the bucket is expected to be the caller's own only where that is asked for."""
    same, _ = open_session(common(options), Side.SOURCE)
    assert same.aws.bucket_owner is None
    own, aws = open_session(common(options), Side.DESTINATION)
    assert own.aws.bucket_owner == aws.options.bucket_owner == SOURCE
    named, _ = open_session(common(replace(options, bucket_owner=DESTINATION)), Side.DESTINATION)
    assert named.aws.bucket_owner == DESTINATION
    told = capsys.readouterr()
    assert f"(account {SOURCE}); credentials do not expire" in told.err
    assert told.out == ""


def test_a_role_is_renewed_and_named(
    options: AwsOptions,
    aws: Endpoint,
    accounts: Accounts,
    unique_name: Callable[[], str],
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The session has the name that was asked for; S3 may have another role, which is told too."""
    roles = [unique_name()[:60], unique_name()[:60]]
    for role in roles:
        accounts.client("iam", aws, SOURCE).create_role(RoleName=role, AssumeRolePolicyDocument="{}")
    table_role, s3_role = (f"arn:aws:iam::{SOURCE}:role/{role}" for role in roles)
    chosen = replace(options, role_arns=(table_role,), s3_role_arns=(s3_role,), role_session_name="the-move")
    both = Aws(chosen)
    who = identify(both)
    assert who.name.endswith(f"assumed-role/{roles[0]}/the-move")
    assert "renewed automatically" in str(who)
    assert expiry_warnings(both, 1e9) == []
    assert identify(both, both.s3_session).name.endswith(f"assumed-role/{roles[1]}/the-move")
    after, _ = open_session(common(chosen), Side.DESTINATION)
    told = capsys.readouterr().err.splitlines()
    assert [line.partition(" arn:")[0] for line in told] == ["Using", "Using"]
    assert [line.endswith(" for S3.") for line in told] == [False, True]
    assert after.aws.bucket_owner is None  # whose the bucket is, another identity does not tell
    assert chosen.mfa_credentials is None


@pytest.fixture(params=["address", "file"])
def named(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[str], str]:
    """How a scheduler is named: by its address, or by the file that it wrote."""

    def name(address: str) -> str:
        (written := tmp_path / "scheduler.json").write_text(json.dumps({"address": address}))
        return address if request.param == "address" else str(written)

    return name


@pytest.mark.parametrize("address", ["tcp://10.0.0.1:8786", "ws://10.0.0.1:8786"])
def test_an_mfa_session_does_not_travel_in_clear(
    options: AwsOptions, named: Callable[[str], str], address: str
) -> None:
    """Refused before the code is asked for, and before the scheduler is."""
    chosen = replace(common(replace(options, mfa_serial="arn:mfa")), scheduler=named(address))
    with pytest.raises(UsageError, match="unencrypted"):
        open_session(chosen, Side.SOURCE, ask=lambda _: pytest.fail("the code is asked for"))


def test_an_mfa_session_travels_over_tls(options: AwsOptions, named: Callable[[str], str]) -> None:
    """With tls:// the next thing is to connect to the scheduler, which needs certificates."""
    chosen = replace(
        common(replace(options, mfa_serial="arn:mfa")), processes=None, scheduler=named("tls://127.0.0.1:9")
    )
    with pytest.raises(UsageError, match="needs certificates"):
        open_session(chosen, Side.SOURCE)


def test_mfa_is_asked_for_once_and_reaches_the_workers(
    options: AwsOptions, capsys: pytest.CaptureFixture[str]
) -> None:
    """The parent's code becomes a session; pickled to a worker it is used without a question, and shown nowhere."""
    asked: list[str] = []

    def ask(text: str) -> str:
        asked.append(text)
        return "123456"

    serial = f"arn:aws:iam::{SOURCE}:mfa/phone"
    after, _ = open_session(common(replace(options, mfa_serial=serial)), Side.SOURCE, ask=ask)
    worker = Aws(pickle.loads(pickle.dumps(after.aws)))
    assert worker.credentials.access_key == after.aws.mfa_credentials.access_key  # type: ignore[union-attr]
    assert asked == [f"MFA code for {serial}"]
    secret = after.aws.mfa_credentials.secret_key  # type: ignore[union-attr]
    assert secret not in repr(after) + capsys.readouterr().err


def test_a_run_that_outlives_its_credentials_is_warned(options: AwsOptions) -> None:
    """Only where they end for sure, before the run does, and nothing renews them."""
    mfa = Aws(replace(options, mfa_credentials=KEYS))
    (warning,) = expiry_warnings(mfa, 2 * 3600, NOW)
    assert "about 2 h," in warning
    assert "expire in 1 h" in warning
    assert "can be resumed" in warning
    assert "has to be run again" in expiry_warnings(mfa, 2 * 3600, NOW, resumable=False)[0]
    assert expiry_warnings(mfa, 1800, NOW) == []
    assert expiry_warnings(mfa, None, NOW) == []
    assert expiry_warnings(Aws(options), 1e9, NOW) == []


def test_credentials_of_the_environment_tell_their_end(
    options: AwsOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    """AWS_CREDENTIAL_EXPIRATION is what tools that export sessions set."""
    monkeypatch.setenv("AWS_SESSION_TOKEN", "x")
    assert "expiry unknown" in str(identify(Aws(options)))
    end = dt.datetime.now(dt.UTC) + dt.timedelta(hours=1)
    monkeypatch.setenv("AWS_CREDENTIAL_EXPIRATION", end.isoformat())
    timed = Aws(options)
    assert "expire at 20" in str(identify(timed))
    assert expiry_warnings(timed, 7200) != []


@pytest.mark.parametrize(
    ("members", "operation", "expected"),
    [
        ({"bucket_owner": "1"}, "GetObject", {"ExpectedBucketOwner": "1"}),
        ({"acl": "bucket-owner-full-control"}, "PutObject", {"ACL": "bucket-owner-full-control"}),
        ({"acl": "bucket-owner-full-control"}, "CreateMultipartUpload", {"ACL": "bucket-owner-full-control"}),
        ({"acl": "bucket-owner-full-control", "kms_key_id": "arn:k"}, "GetObject", {}),
        ({"kms_key_id": "arn:k"}, "PutObject", {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": "arn:k"}),
        ({"kms_key_id": "arn:k"}, "UploadPart", {}),
    ],
)
def test_what_each_call_to_s3_carries(
    options: AwsOptions, members: dict[str, str], operation: str, expected: dict[str, str]
) -> None:
    """The owner everywhere, ACL and key where an object is begun."""
    s3 = Aws(replace(options, **members)).s3  # type: ignore[arg-type]
    params: dict[str, Any] = {}
    model = s3.meta.service_model.operation_model(operation)
    s3.meta.events.emit(f"provide-client-params.s3.{operation}", params=params, model=model, context={})
    assert {
        name: value for name, value in params.items() if name in {*expected, "ACL", "SSEKMSKeyId"}
    } == expected
