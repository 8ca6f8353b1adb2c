"""Credentials last for the whole run, and every client has our settings."""

import asyncio
import http.server
import socket
import threading
from collections.abc import Iterator
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ReadTimeoutError
from botocore.stub import Stubber

from ddb_shared.aws import clients
from ddb_shared.aws.clients import Aws, AwsOptions
from ddb_shared.aws.credentials import MfaCredentials
from ddb_shared.dynamodb.sigv4 import Credentials
from ddb_shared.errors import AccessError, StateError, TransferError
from ddb_shared.runtime.lease import RENEW_SECONDS
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
    """Somebody logs in again while the run continues: the wire gets the new credentials."""
    identity = aws(profile="mover")
    assert asyncio.run(identity.current_credentials()) == Credentials("FIRST", "secret", "token-FIRST")
    profile.write_text(PROFILE.format(key="SECOND"))
    asyncio.run(identity.renew())
    assert asyncio.run(identity.current_credentials()) == Credentials("SECOND", "secret", "token-SECOND")


def test_no_credentials_are_an_access_error() -> None:
    """With what to do about it."""
    with pytest.raises(AccessError) as caught:
        asyncio.run(aws().current_credentials())
    assert "--profile" in caught.value.remedy


def test_a_profile_that_does_not_exist_is_named(profile: Path) -> None:
    """The message has its name."""
    assert profile.exists()
    with pytest.raises(TransferError, match="nobody"):
        asyncio.run(aws(profile="nobody").current_credentials())


def test_the_endpoints_are_those_that_were_given(profile: Path) -> None:
    """S3 may have one of its own; a local S3 is addressed by path."""
    assert profile.exists()
    identity = aws(profile="mover", endpoint_url="http://127.0.0.1:1", s3_endpoint_url="http://127.0.0.1:2")
    assert (identity.dynamodb_url, identity.region) == ("http://127.0.0.1:1", REGION)
    assert identity.s3.meta.endpoint_url == "http://127.0.0.1:2"
    assert identity.s3.meta.config.s3["addressing_style"] == "path"


@pytest.mark.parametrize(
    ("environment", "option", "expected"),
    [
        ({}, None, True),
        ({}, "http://127.0.0.1:1", False),
        ({"AWS_ENDPOINT_URL": "http://127.0.0.1:1"}, None, False),
        ({"AWS_PROFILE": "local"}, None, False),
        ({"AWS_PROFILE": "local", "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS": "true"}, None, True),
        ({"AWS_ENDPOINT_URL_PRICING": "http://127.0.0.1:1"}, "http://127.0.0.1:1", True),
    ],
)
def test_a_local_service_is_not_asked_for_prices(
    environment: dict[str, str],
    option: str | None,
    expected: bool,
    profile: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """However its endpoint is set, unless it is that of the Price List API."""
    config = profile.with_name("config")
    config.write_text("[profile local]\nendpoint_url = http://127.0.0.1:1\n")
    keys = {"AWS_ACCESS_KEY_ID": "KEY", "AWS_SECRET_ACCESS_KEY": "secret"}
    for name, value in {"AWS_CONFIG_FILE": str(config), **keys, **environment}.items():
        monkeypatch.setenv(name, value)
    assert expected == aws(endpoint_url=option).has_price_list


def test_retries_do_not_depend_on_the_sdks_defaults(profile: Path) -> None:
    """The default changed from 10 tries to 4 between releases."""
    assert profile.exists()
    identity = aws(profile="mover")
    for client in (identity.s3, identity.dynamodb):
        assert client.meta.config.retries["total_max_attempts"] >= 10
        assert client.meta.config.retries["mode"] == "standard"


def test_the_tables_of_a_move_have_connections_enough(profile: Path) -> None:
    """A pool that is full warns the user of every further one."""
    assert profile.exists()
    identity = aws(profile="mover")
    for client in (identity.dynamodb, identity.s3, identity.lease_s3, identity.streams):
        assert client.meta.config.max_pool_connections >= 256


def test_s3_goes_on_with_renewed_credentials(profile: Path) -> None:
    """A refusal for an expired token reads the profile again and sends the request again."""
    client = aws(profile="mover").s3
    used: list[str] = []

    def sent(request: Any, **_: Any) -> None:
        used.append(request.headers["Authorization"].decode().partition("Credential=")[2].partition("/")[0])
        profile.write_text(PROFILE.format(key="SECOND"))

    class Result:
        def __init__(self, status: int, body: bytes) -> None:
            self.status_code, self.content, self.headers = status, body, {}  # type: ignore[var-annotated]
            self.raw, self.text = None, body.decode()

    answers = [
        Result(400, b"<Error><Code>ExpiredToken</Code><Message>old</Message></Error>"),
        Result(200, b"<x/>"),
    ]

    def answer(request: Any, **_: Any) -> Result:
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


@pytest.mark.parametrize(
    ("endpoint", "no_proxy", "expected"),
    [
        ("https://dynamodb.example.com", "", "http://secure:3128"),
        ("http://dynamodb.example.com", "", "http://plain:3128"),
        ("https://dynamodb.example.com", "example.com", None),
        ("https://dynamodb.example.com", "other.example.com", "http://secure:3128"),
        ("https://dynamodb.example.com", "*", None),
    ],
)
def test_the_data_plane_goes_through_the_proxy_of_botocore(
    profile: Path, monkeypatch: pytest.MonkeyPatch, endpoint: str, no_proxy: str, expected: str | None
) -> None:
    """The variables decide by scheme and host, with http:// where they name no scheme."""
    assert profile.exists()
    for name, value in {
        "http_proxy": "http://plain:3128",
        "https_proxy": "secure:3128",
        "no_proxy": no_proxy,
    }.items():
        monkeypatch.delenv(name.upper(), raising=False)
        monkeypatch.setenv(name, value)
    assert aws(profile="mover", endpoint_url=endpoint).proxy_url == expected


def test_an_mfa_session_does_not_replace_the_profile_of_s3(profile: Path) -> None:
    """--s3-profile has credentials of its own; a role for S3 alone is assumed with the MFA session."""
    assert profile.exists()
    mfa = MfaCredentials("MFA", "secret", "token", "2099-01-01T00:00:00+00:00")
    own = aws(s3_profile="mover", mfa_credentials=mfa)
    assert (own.credentials.access_key, own.s3_session.credentials.access_key) == ("MFA", "FIRST")
    assert aws(profile="mover", mfa_credentials=mfa).s3_session.credentials.access_key == "MFA"


class Failing(http.server.BaseHTTPRequestHandler):
    """S3 that fails twice, then takes the object; a server counts the tries."""

    def do_PUT(self) -> None:
        """Answer a PutObject."""
        self.rfile.read(int(self.headers["Content-Length"]))
        self.server.tries += 1  # type: ignore[attr-defined]
        body = b"" if self.server.tries > 2 else b"<Error><Code>InternalError</Code></Error>"  # type: ignore[attr-defined]
        self.send_response(500 if body else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def failing_s3() -> Iterator[http.server.ThreadingHTTPServer]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Failing) as server:
        server.tries = 0  # type: ignore[attr-defined]
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@dataclass
class Counting:
    """A guard that lets so many requests pass."""

    passes: int
    asked: int = 0

    async def wait(self) -> None:
        self.wait_in_thread()

    def wait_in_thread(self) -> None:
        self.asked += 1
        if self.asked > self.passes:
            raise StateError("The lease was lost.")


@pytest.mark.parametrize(("passes", "tries"), [(9, 3), (1, 1), (0, 0)])
def test_each_try_of_a_request_to_s3_asks_the_guard(
    profile: Path, failing_s3: http.server.ThreadingHTTPServer, passes: int, tries: int
) -> None:
    """A lease that is lost while S3 fails stops the next try; what needs no lease continues without one."""
    assert profile.exists()
    identity = aws(profile="mover", s3_endpoint_url=f"http://127.0.0.1:{failing_s3.server_port}")
    guard = Counting(passes)
    guarded = identity.under(guard)
    assert guarded.session is identity.session
    put = {"Bucket": "b", "Key": "k", "Body": b"x"}
    with nullcontext() if passes > 2 else pytest.raises(StateError):
        guarded.s3.put_object(**put)
    assert (min(passes + 1, 3), tries) == (guard.asked, failing_s3.tries)  # type: ignore[attr-defined]
    failing_s3.tries = 2  # type: ignore[attr-defined]
    identity.s3.put_object(**put)
    identity.lease_s3.put_object(**put)
    assert min(passes + 1, 3) == guard.asked
    assert (identity.before_sending, guarded.before_sending) == (None, guard.wait)


def test_a_renewal_of_a_lease_gives_up_before_the_next_one_is_due(
    profile: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """S3 that hangs costs a known time: each try waits for a connection, then for an answer."""
    assert profile.exists()
    monkeypatch.setattr(clients, "_LEASE", clients._LEASE | {"read_timeout": 0.1})
    accepted = []
    with socket.create_server(("127.0.0.1", 0)) as server:
        identity = aws(profile="mover", s3_endpoint_url=f"http://127.0.0.1:{server.getsockname()[1]}")
        with pytest.raises(ReadTimeoutError):
            identity.lease_s3.put_object(Bucket="b", Key="k", Body=b"x")
        server.settimeout(0)
        with suppress(BlockingIOError):
            while True:
                accepted.append(server.accept()[0])
    for connection in accepted:
        connection.close()
    settings = clients._LEASE
    assert settings["retries"]["total_max_attempts"] == len(accepted)
    monkeypatch.undo()
    seconds = (clients._LEASE["connect_timeout"] + clients._LEASE["read_timeout"]) * len(accepted)
    assert seconds < RENEW_SECONDS
