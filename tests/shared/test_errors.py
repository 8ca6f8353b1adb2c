"""Every foreign family of errors is mapped to ours, and ours survive the way between processes."""

import errno
import pickle
from pathlib import Path
from typing import Any

import botocore.exceptions as boto
import msgspec
import pyarrow as pa
import pytest

from ddb_shared import errors
from ddb_shared.aws.clients import Aws, AwsOptions
from ddb_shared.errors import (
    AccessError,
    BucketError,
    CredentialsError,
    ExportError,
    Interrupted,
    RequestError,
    ServiceError,
    ShardError,
    StateError,
    TableError,
    TransferError,
    UsageError,
    map_error,
    map_errors,
)
from ddb_shared.storage.base import ConflictError

DESIGN = {
    0: "complete: everything asked for is done and checked",
    1: "failed; the message says what to do; state is kept where a resume helps",
    2: "bad option or argument",
    3: "complete, but items were rejected; they are stored in the rejects files",
    4: "verification found differences",
}


def client_error(
    code: str, message: str = "the service's words", operation: str = "PutObject"
) -> boto.ClientError:
    return boto.ClientError({"Error": {"Code": code, "Message": message}}, operation)


def decode_error() -> Exception:
    with pytest.raises(msgspec.DecodeError) as caught:
        msgspec.json.decode(b"{")
    return caught.value


def wrapped(outer: type[Exception]) -> Exception:
    """A ClientError as smart_open wraps it."""
    error = outer("unable to access bucket: 'b' key: 'k' version: None error: …")
    error.backend_error = client_error("AccessDenied")  # type: ignore[attr-defined]
    return error


FAMILIES: list[tuple[Exception, type[TransferError]]] = [
    (client_error("ExpiredToken"), CredentialsError),
    (client_error("ExpiredTokenException"), CredentialsError),
    (client_error("UnrecognizedClientException"), CredentialsError),
    (client_error("InvalidClientTokenId"), CredentialsError),
    (client_error("InvalidAccessKeyId"), CredentialsError),
    (client_error("SignatureDoesNotMatch"), CredentialsError),
    (client_error("AccessDenied"), AccessError),
    (client_error("AccessDeniedException"), AccessError),
    (client_error("403", "Forbidden", "HeadObject"), AccessError),
    (client_error("NoSuchBucket"), BucketError),
    (client_error("PermanentRedirect"), BucketError),
    (client_error("ResourceNotFoundException"), TableError),
    (client_error("SlowDown"), ServiceError),
    (client_error("SomethingNewException"), ServiceError),
    (boto.NoCredentialsError(), CredentialsError),
    (boto.PartialCredentialsError(provider="env", cred_var="AWS_SECRET_ACCESS_KEY"), CredentialsError),
    (boto.CredentialRetrievalError(provider="sso", error_msg="log in"), CredentialsError),
    (boto.UnauthorizedSSOTokenError(), CredentialsError),
    (boto.SSOTokenLoadError(error_msg="no such file"), CredentialsError),
    (boto.TokenRetrievalError(provider="sso", error_msg="expired"), CredentialsError),
    (boto.ProfileNotFound(profile="nobody"), AccessError),
    (boto.NoRegionError(), UsageError),
    (boto.ParamValidationError(report="bad"), UsageError),
    (boto.EndpointConnectionError(endpoint_url="http://127.0.0.1:1"), ServiceError),
    (boto.ConnectTimeoutError(endpoint_url="http://127.0.0.1:1"), ServiceError),
    (boto.ReadTimeoutError(endpoint_url="http://127.0.0.1:1"), ServiceError),
    (boto.ResponseStreamingError(error="broken"), ServiceError),
    (boto.IncompleteReadError(actual_bytes=1, expected_bytes=2), ServiceError),
    (ConnectionRefusedError("refused"), ServiceError),
    (TimeoutError(), ServiceError),
    (RequestError("ThrottlingException", "slow"), ServiceError),
    (RequestError("connection", "refused"), ServiceError),
    (RequestError("AccessDeniedException", "no"), AccessError),
    (RequestError("ResourceNotFoundException", "no"), TableError),
    (RequestError("ExpiredTokenException", "old"), CredentialsError),
    (wrapped(ValueError), AccessError),
    (wrapped(OSError), AccessError),
    (ValueError("unable to access bucket: 'b' key: 'k'"), ServiceError),
    (pa.ArrowInvalid("not parquet"), ServiceError),
    (pa.ArrowNotImplementedError("later"), ServiceError),
    (OSError(errno.ENOSPC, "No space left on device"), ServiceError),
    (PermissionError(errno.EACCES, "Permission denied"), ServiceError),
    (decode_error(), ExportError),
]


@pytest.mark.parametrize(
    ("foreign", "kind"),
    FAMILIES,
    ids=[f"{type(error).__name__}-{n}" for n, (error, _) in enumerate(FAMILIES)],
)
def test_each_foreign_family_is_mapped(foreign: Exception, kind: type[TransferError]) -> None:
    """The message begins with what was being done and keeps what the library said; the cause stays for debuggers."""
    with pytest.raises(TransferError) as caught, map_errors("write s3://bucket/key"):
        raise foreign
    error = caught.value
    assert kind is type(error)
    assert error.message.startswith("Could not write s3://bucket/key: ")
    assert len(error.message) > len("Could not write s3://bucket/key: ")
    assert error.__cause__ is foreign
    again = pickle.loads(pickle.dumps(error))
    assert (type(error), str(error), error.exit_code) == (type(again), str(again), again.exit_code)


def test_a_wrapped_client_error_is_found_below_its_wrapper() -> None:
    """smart_open raises OSError from botocore's ClientError: the code below it decides."""
    outer = OSError("unable to access bucket")
    outer.__cause__ = client_error("NoSuchBucket")
    assert isinstance(map_error(outer, "x"), BucketError)


@pytest.mark.parametrize(
    "bug", [KeyError("x"), ValueError("x"), TypeError("x"), AssertionError(), RuntimeError(), IndexError()]
)
def test_a_bug_of_ours_stays_what_it_is(bug: Exception) -> None:
    """It keeps its type and its traceback."""
    assert map_error(bug, "x") is None
    with pytest.raises(type(bug)) as caught, map_errors("write"):
        raise bug
    assert caught.value is bug


def test_an_error_of_ours_passes_unchanged() -> None:
    """The innermost explanation is the most exact one."""
    error = TableError("Table T is gone.", "Look.")
    with pytest.raises(TableError) as caught, map_errors("outer"), map_errors("inner"):
        raise error
    assert caught.value is error


def test_a_denial_names_the_missing_action() -> None:
    """AWS's message names it for most services; S3's bare 403 is named by the operation."""
    said = "User: arn:aws:iam::1:user/u is not authorized to perform: dynamodb:Scan on resource: arn:x because no …"
    told = map_error(RequestError("AccessDeniedException", said), "scan")
    assert told is not None
    assert "dynamodb:Scan" in told.remedy
    bare = map_error(client_error("403", "Forbidden", "HeadObject"), "read")
    assert bare is not None
    assert "s3:GetObject" in bare.remedy


@pytest.mark.parametrize(
    "error",
    [
        UsageError("m", "r"),
        AccessError("m"),
        CredentialsError("m"),
        TableError("m", "r"),
        BucketError("m", "r"),
        ExportError("m", "r"),
        ShardError("m", "r"),
        StateError("m", "r"),
        ConflictError("m", "r"),
        ServiceError("m", "r"),
        Interrupted("m", "r", 15),
        RequestError("ThrottlingException", "m", 400, ("R",)),
    ],
)
def test_errors_survive_the_way_from_a_worker(error: Exception) -> None:
    """Type, text, exit code and every field are the same after pickling."""
    again = pickle.loads(pickle.dumps(error))
    assert type(error) is type(again)
    assert str(error) == str(again)
    assert vars(error) == vars(again)


def test_the_exit_codes_are_the_documented_ones() -> None:
    """The table in --help, the constants and the classes agree."""
    shown = {int(n): text.strip() for n, text in _rows() if n.isdigit()}
    assert DESIGN == shown
    assert (1, 2, 3, 4) == (errors.EXIT_FAILED, errors.EXIT_USAGE, errors.EXIT_REJECTS, errors.EXIT_DIFFERENT)
    assert "130, 143" in errors.EXIT_CODES
    kinds: list[Any] = [
        AccessError,
        CredentialsError,
        TableError,
        BucketError,
        ExportError,
        ShardError,
        StateError,
        ServiceError,
    ]
    assert {1} == {kind("m").exit_code for kind in kinds}
    assert UsageError("m").exit_code == 2
    assert [130, 143] == [Interrupted("m", "r", number).exit_code for number in (2, 15)]


def test_the_tree_is_drawn_as_it_is() -> None:
    """Every class of the tree is in the module's drawing, and derives from TransferError."""
    drawn = {word for word in (errors.__doc__ or "").split() if word[0].isupper() and hasattr(errors, word)}
    tree = {
        name for name, one in vars(errors).items() if isinstance(one, type) and issubclass(one, TransferError)
    }
    assert tree == drawn & tree


def _rows() -> list[tuple[str, str]]:
    lines = errors.EXIT_CODES.partition("\b\n")[2].splitlines()
    return [(line.split()[0], line.strip().partition(" ")[2]) for line in lines if line.strip()]


@pytest.mark.parametrize(
    ("code", "status", "repeat"),
    [
        ("ValidationException", 400, False),
        ("InvalidArgument", 400, False),
        ("ThrottlingException", 400, True),
        ("RequestTimeout", 400, True),
        ("SomethingNew", 408, True),
        ("SomethingNew", 429, True),
        ("InternalServerError", 500, True),
        ("connection", 0, True),
    ],
)
def test_a_permanent_error_is_not_worth_repeating(code: str, status: int, repeat: bool) -> None:
    """Only of what a later request can change it says so, from either client. How to go on is for each command to say."""
    response = {"Error": {"Code": code, "Message": "no"}, "ResponseMetadata": {"HTTPStatusCode": status}}
    for error in (RequestError(code, "no", status), boto.ClientError(response, "Scan")):
        mapped = map_error(error, "scan")
        assert mapped is not None
        assert (mapped.remedy == "A later attempt may succeed.") == repeat


@pytest.mark.parametrize("variable", ["AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_DYNAMODB", None])
def test_an_endpoint_that_is_not_a_url_is_a_usage_error(
    variable: str | None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """It names the variable, or else the file, which it is in; botocore raises ValueError."""
    config = tmp_path / "config"
    config.write_text("[default]\nregion = eu-west-1\n" + ("" if variable else "endpoint_url = foo\n"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(config))
    for name in ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_DYNAMODB", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "x")
    if variable:
        monkeypatch.setenv(variable, "foo")
    with pytest.raises(UsageError, match="'foo' is not a valid endpoint URL") as caught:
        _ = Aws(AwsOptions(region="eu-west-1")).dynamodb
    assert (variable or "endpoint_url in the AWS config file") in caught.value.remedy
