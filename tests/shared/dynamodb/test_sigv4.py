"""Our signatures are botocore's."""

import datetime as dt
from typing import Any
from unittest.mock import patch

import botocore.auth
import pytest
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials as BotocoreCredentials
from hypothesis import given
from hypothesis import strategies as st

from ddb_shared.dynamodb.sigv4 import JSON_CONTENT_TYPE, Credentials, Signer

_PRINTABLE = st.characters(min_codepoint=33, max_codepoint=126)
KEYS = st.builds(
    Credentials,
    access_key=st.text(st.sampled_from("ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"), min_size=1, max_size=20),
    secret_key=st.text(_PRINTABLE, min_size=1, max_size=40),
    token=st.none() | st.text(_PRINTABLE, min_size=1, max_size=200),
)
HOSTS = st.sampled_from(
    ["dynamodb.eu-west-1.amazonaws.com", "127.0.0.1:8000", "localhost:4566", "vpce-0a1b.dynamodb.eu-west-1.vpce.amazonaws.com"]
)  # fmt: skip
REGIONS = st.sampled_from(["us-east-1", "eu-west-1", "cn-north-1", "us-gov-west-1"])
SECONDS = st.integers(0, 4_102_444_800)
TARGETS = st.sampled_from(["DynamoDB_20120810.Scan", "DynamoDB_20120810.BatchWriteItem"])


def signed_by_botocore(
    host: str, region: str, keys: Credentials, target: str, body: bytes, seconds: float
) -> dict[str, str]:
    moment = dt.datetime.fromtimestamp(seconds, dt.UTC)
    headers = {"Content-Type": JSON_CONTENT_TYPE, "X-Amz-Target": target}
    request = AWSRequest(method="POST", url=f"https://{host}/", data=body, headers=headers)
    credentials = BotocoreCredentials(keys.access_key, keys.secret_key, keys.token)
    with patch.object(botocore.auth, "get_current_datetime", lambda **_: moment):
        botocore.auth.SigV4Auth(credentials, "dynamodb", region).add_auth(request)
    sent: dict[str, Any] = dict(request.headers.items())
    return {name: str(value) for name, value in sent.items()}


@given(host=HOSTS, region=REGIONS, keys=KEYS, target=TARGETS, body=st.binary(max_size=300), seconds=SECONDS)
def test_every_header_is_the_one_that_botocore_sends(
    host: str, region: str, keys: Credentials, target: str, body: bytes, seconds: float
) -> None:
    """For any body, credentials, region, host and time, Authorization and its companions are botocore's."""
    expected = signed_by_botocore(host, region, keys, target, body, seconds)
    assert expected == Signer(host=host, region=region).headers(keys, target, body, seconds)


@given(steps=st.lists(st.tuples(KEYS, SECONDS), min_size=2, max_size=6))
def test_the_cached_key_never_outlives_its_day_or_its_credentials(
    steps: list[tuple[Credentials, int]],
) -> None:
    """One signer that changes days and credentials signs as a new one does."""
    signer = Signer(host="localhost", region="eu-west-1")
    for keys, seconds in [*steps, *reversed(steps)]:
        fresh = Signer(host="localhost", region="eu-west-1")
        assert fresh.headers(keys, "t", b"{}", seconds) == signer.headers(keys, "t", b"{}", seconds)


@pytest.mark.parametrize("second", [86_399, 86_400, 86_399.999])
def test_the_day_changes_at_midnight_in_utc(second: float) -> None:
    """A fraction of a second before midnight is still signed with the old day's key."""
    keys = Credentials("AKIA", "secret")
    expected = signed_by_botocore("localhost", "eu-west-1", keys, "t", b"", int(second))
    signer = Signer(host="localhost", region="eu-west-1")
    signer.headers(keys, "t", b"", 0)
    assert expected == signer.headers(keys, "t", b"", second)


def test_a_secret_that_changes_under_the_same_access_key_is_used_at_once() -> None:
    """The cache is keyed by all of the credentials, not by the access key."""
    signer = Signer(host="localhost", region="eu-west-1")
    first = signer.headers(Credentials("AKIA", "old"), "t", b"", 0)
    second = signer.headers(Credentials("AKIA", "new"), "t", b"", 0)
    assert first["Authorization"] != second["Authorization"]
    assert signed_by_botocore("localhost", "eu-west-1", Credentials("AKIA", "new"), "t", b"", 0) == second
