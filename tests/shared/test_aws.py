"""Credentials last for the whole run, and every client has our settings."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from botocore.stub import Stubber

from ddb_shared.aws import Aws, AwsOptions
from ddb_shared.errors import AccessError, TransferError
from ddb_shared.signer import Keys
from support.environment import REGION

PROFILE = (
    "[mover]\naws_access_key_id = {key}\naws_secret_access_key = secret\naws_session_token = token-{key}\n"
)


@pytest.fixture
def profile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A credentials file with one profile, as a login tool rewrites it."""
    path = tmp_path / "credentials"
    path.write_text(PROFILE.format(key="FIRST"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(path))
    return path


def aws(**options: Any) -> Aws:
    return Aws(AwsOptions(region=REGION, **options))


def test_a_profile_that_was_renewed_is_read_anew(profile: Path) -> None:
    """Somebody logs in again while the run goes on: the wire gets the new credentials."""
    identity = aws(profile="mover")
    assert asyncio.run(identity.keys()) == Keys("FIRST", "secret", "token-FIRST")
    profile.write_text(PROFILE.format(key="SECOND"))
    asyncio.run(identity.renew())
    assert asyncio.run(identity.keys()) == Keys("SECOND", "secret", "token-SECOND")


def test_no_credentials_are_an_access_error() -> None:
    """With what to do about it."""
    with pytest.raises(AccessError) as caught:
        asyncio.run(aws().keys())
    assert "--profile" in caught.value.remedy


def test_a_profile_that_does_not_exist_is_named(profile: Path) -> None:
    """The message has its name."""
    assert profile.exists()
    with pytest.raises(TransferError, match="nobody"):
        asyncio.run(aws(profile="nobody").keys())


def test_the_endpoints_are_those_that_were_given(profile: Path) -> None:
    """S3 may have one of its own; a local S3 is addressed by path."""
    assert profile.exists()
    identity = aws(profile="mover", endpoint_url="http://127.0.0.1:1", s3_endpoint_url="http://127.0.0.1:2")
    assert (identity.dynamodb_url, identity.region) == ("http://127.0.0.1:1", REGION)
    assert identity.s3.meta.endpoint_url == "http://127.0.0.1:2"
    assert identity.s3.meta.config.s3["addressing_style"] == "path"


def test_retries_do_not_depend_on_the_sdks_defaults(profile: Path) -> None:
    """The default changed from 10 tries to 4 between releases."""
    assert profile.exists()
    identity = aws(profile="mover")
    for client in (identity.s3, identity.dynamodb):
        assert client.meta.config.retries["total_max_attempts"] >= 10
        assert client.meta.config.retries["mode"] == "standard"


def test_s3_goes_on_with_renewed_credentials(profile: Path) -> None:
    """A refusal for an expired token reads the profile anew and sends the request again."""
    client = aws(profile="mover").s3
    used: list[str] = []

    def sent(request: Any, **_: Any) -> None:
        used.append(request.headers["Authorization"].decode().partition("Credential=")[2].partition("/")[0])
        profile.write_text(PROFILE.format(key="SECOND"))

    class Answer:
        def __init__(self, status: int, body: bytes) -> None:
            self.status_code, self.content, self.headers = status, body, {}  # type: ignore[var-annotated]
            self.raw, self.text = None, body.decode()

    answers = [
        Answer(400, b"<Error><Code>ExpiredToken</Code><Message>old</Message></Error>"),
        Answer(200, b"<x/>"),
    ]

    def answer(request: Any, **_: Any) -> Answer:
        sent(request)
        return answers.pop(0)

    client.meta.events.register("before-send.s3", answer)
    client.list_objects_v2(Bucket="bucket")
    assert used == ["FIRST", "SECOND"]
    client.close()


def test_clients_share_one_identity(profile: Path) -> None:
    """What one finds out about expired credentials serves all."""
    assert profile.exists()
    identity = aws(profile="mover")
    with Stubber(identity.dynamodb) as stub:
        stub.add_response("list_tables", {"TableNames": []})
        assert identity.dynamodb.list_tables()["TableNames"] == []
    assert identity.s3 is identity.s3
    assert identity.dynamodb is identity.dynamodb
