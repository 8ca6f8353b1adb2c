"""The errors that users see, and the one place that maps the errors of libraries to them.

    TransferError                exit 1
    ├── UsageError               exit 2   an option or argument is invalid
    ├── AccessError              a permission is missing
    │   └── CredentialsError     credentials are missing, invalid or expired: no other request would succeed either
    ├── TableError               a table is missing, not ready, or not the expected one
    ├── BucketError              a bucket is missing, owned by another account, or unavailable
    ├── ExportError              an export is unfinished, of an unknown format, or damaged
    │   └── ShardError           one data shard is missing, truncated or altered
    ├── StateError               checkpoints, plan or lease do not allow the run to continue
    ├── ServiceError             a service kept failing until the retries were used up
    └── Interrupted              exit 130 or 143

Every message says what failed, which one, and what to do. `map_errors` maps the errors of botocore,
smart_open, pyarrow and the operating system; anything else is a bug in this package and keeps its traceback.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from typing import Final

import botocore.exceptions as boto
import msgspec

from ddb_shared.permissions import Side, denied_remedy

EXIT_FAILED: Final = 1
EXIT_USAGE: Final = 2
EXIT_REJECTS: Final = 3
EXIT_DIFFERENT: Final = 4

INTERRUPTED: Final = "interrupted; state is saved, the resume command is printed"
EXIT_CODES: Final = f"""\
Exit codes:

\b
  0         complete: everything asked for is done and checked
  1         failed; the message says what to do; state is kept where a resume helps
  2         bad option or argument
  3         complete, but items were rejected; they are stored in the rejects files
  4         verification found differences
  130, 143  {INTERRUPTED}
"""

EXPIRED_CODES: Final = frozenset({"ExpiredToken", "ExpiredTokenException", "RequestExpired"})
CREDENTIAL_CODES: Final = EXPIRED_CODES | {
    "UnrecognizedClientException",
    "InvalidClientTokenId",
    "InvalidAccessKeyId",
    "InvalidSignatureException",
    "SignatureDoesNotMatch",
    "MissingAuthenticationTokenException",
    "MissingAuthenticationToken",
    "IncompleteSignatureException",
    "AuthFailure",
}
DENIED_CODES: Final = frozenset({"AccessDenied", "AccessDeniedException", "UnauthorizedOperation", "403"})


class TransferError(Exception):
    """An expected failure: `message` says what and which, `remedy` what to do about it."""

    exit_code = EXIT_FAILED

    def __init__(self, message: str, remedy: str = "") -> None:
        super().__init__(message, remedy)  # both in args, so that it survives pickling between processes
        self.message = message
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.message}\n{self.remedy}" if self.remedy else self.message

    def add_remedy(self, remedy: str) -> None:
        """Appends a further remedy, such as the command that resumes the run."""
        self.reword(self.message, f"{self.remedy}\n{remedy}".strip())

    def reword(self, message: str, remedy: str) -> None:
        """Replaces message and remedy; type and cause are kept."""
        self.message, self.remedy = message, remedy
        self.args = (message, remedy, *self.args[2:])


class UsageError(TransferError):
    """An option or argument is invalid."""

    exit_code = EXIT_USAGE


class AccessError(TransferError):
    """Credentials or a permission are missing."""


class CredentialsError(AccessError):
    """Credentials are missing, invalid or expired, so no other request would succeed either."""


class TableError(TransferError):
    """A table is missing, not ready, or not the expected one."""


class BucketError(TransferError):
    """A bucket is missing, owned by another account, or unavailable."""


class ExportError(TransferError):
    """An export is unfinished, of an unknown format, or damaged."""


class ShardError(ExportError):
    """One data shard is missing, truncated or altered."""


class StateError(TransferError):
    """The saved state does not allow the run to continue."""


class ServiceError(TransferError):
    """A service kept failing until the retries were used up, or refused the request permanently."""


class Interrupted(TransferError):  # noqa: N818 - an interruption is not a failure
    """A signal ended the run; confirmed work is saved."""

    def __init__(self, message: str, remedy: str = "", signal_number: int = 2) -> None:
        super().__init__(message, remedy)
        self.args = (message, remedy, signal_number)
        self.exit_code = 128 + signal_number


class RequestError(Exception):
    """DynamoDB responded to a request with an error, or did not respond.

    `code` is AWS's error code (`ThrottlingException`, …) or one of this package's, in lower case: `connection`,
    `timeout`, `checksum`, `malformed`. `reasons` are the reasons of ThrottlingReasons.
    """

    def __init__(self, code: str, message: str, status: int = 0, reasons: tuple[str, ...] = ()) -> None:
        super().__init__(code, message, status, reasons)
        self.code = code
        self.message = message
        self.status = status
        self.reasons = reasons
        self.side: Side | None = None
        self.caller = ""

    def __str__(self) -> str:
        return f"{self.code}: {self.message}" if self.message else self.code


class map_errors:  # noqa: N801 - used like a function; on the data path a generator would cost three times as much
    """Maps errors of libraries inside the block to a TransferError whose message names `action`.

    `action` completes the sentence "Could not …", such as "write s3://bucket/key".
    """

    __slots__ = ("_action",)

    def __init__(self, action: str) -> None:
        self._action = action

    def __enter__(self) -> None:
        pass

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        if isinstance(error, Exception) and not isinstance(error, TransferError):
            mapped = map_error(error, self._action)
            if mapped is not None:
                raise mapped from error


class note_side:  # noqa: N801 - as above
    """Records on AWS errors whose identity made the call, so that the remedy can name it, and the policy to change."""

    __slots__ = ("_caller", "_side")

    def __init__(self, side: Side | None, caller: str = "") -> None:
        self._side = side
        self._caller = caller

    def __enter__(self) -> None:
        pass

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        if isinstance(error, (boto.ClientError, RequestError)):
            error.side = self._side
            error.caller = self._caller


def map_error(error: BaseException, action: str) -> TransferError | None:
    """The TransferError for an error of a library; None if the error is a bug in this package."""
    cause = _client_error(error)
    if cause is not None:
        status = cause.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        remedy = denied_remedy_of(cause)
        return _map_code(cause.response.get("Error", {}), status, remedy, action)
    if isinstance(error, RequestError):
        fields = {"Code": error.code, "Message": error.message}
        remedy = denied_remedy(error.message, "", error.side, caller=error.caller)
        return _map_code(fields, error.status, remedy, action)
    for family, build in _FAMILIES:
        if isinstance(error, family):
            return build(f"Could not {action}: ", error)
    if isinstance(error, ValueError) and str(error).startswith(_INVALID_ENDPOINT):
        return _endpoint_error(str(error).removeprefix(_INVALID_ENDPOINT))
    if isinstance(error, OSError) or _is_library_error(error):
        return ServiceError(f"Could not {action}: {error}")
    return None


# botocore's error is no class of its own; the options of the command line are checked before.
_INVALID_ENDPOINT: Final = "Invalid endpoint: "


def _endpoint_error(url: str) -> UsageError:
    variables = [
        name
        for name, value in os.environ.items()
        if name.startswith("AWS_ENDPOINT_URL") and value.strip() == url
    ]
    place = (
        " and ".join(variables) or "endpoint_url in the AWS config file (of the profile, or of its services)"
    )
    return UsageError(
        f"{url!r} is not a valid endpoint URL; expected http(s)://HOST[:PORT].", f"Correct or remove {place}."
    )


def denied_remedy_of(error: boto.ClientError) -> str:
    """What to do where AWS has denied a call of botocore."""
    return denied_remedy(
        error.response.get("Error", {}).get("Message", ""),
        error.operation_name,
        getattr(error, "side", None),
        caller=getattr(error, "caller", ""),
        resource=getattr(error, "resource", ""),
    )


_CREDENTIALS_REMEDY: Final = (
    "Provide credentials as for the AWS CLI: --profile, --role-arn, or the AWS_* environment variables; "
    "`aws sts get-caller-identity` shows whether they work. Then run the same command again."
)
_NETWORK_REMEDY: Final = "Check the network, --region and --endpoint-url, then run the same command again."
_REFUSED_REMEDY: Final = "Retrying does not help: correct what the message names, then run the command again."
_REPEAT_REMEDY: Final = "A later attempt may succeed."
_REGION_REMEDY: Final = "Give --region, or set AWS_REGION or a region in the profile."
# How each family of library errors is mapped, most specific first; the first argument says what failed.
_FAMILIES: Final[
    tuple[tuple[tuple[type[BaseException], ...], Callable[[str, BaseException], TransferError]], ...]
] = (
    (
        (
            *(boto.NoCredentialsError, boto.PartialCredentialsError, boto.CredentialRetrievalError),
            *(boto.SSOError, boto.LoginError, boto.TokenRetrievalError),
        ),
        lambda failed, error: CredentialsError(f"{failed}{error}", _CREDENTIALS_REMEDY),
    ),
    (
        (boto.ProfileNotFound,),
        lambda failed, error: AccessError(
            f"{failed}{error}", "Use --profile with a profile of your AWS config file."
        ),
    ),
    ((boto.NoRegionError,), lambda failed, _: UsageError(f"{failed}no region is set.", _REGION_REMEDY)),
    ((boto.ParamValidationError,), lambda failed, error: UsageError(f"{failed}{error}")),
    (
        (TimeoutError, boto.BotoCoreError),
        lambda failed, error: ServiceError(f"{failed}{str(error) or type(error).__name__}", _NETWORK_REMEDY),
    ),
    ((msgspec.DecodeError,), lambda failed, error: ExportError(f"{failed}damaged data: {error}")),
)


# A 4xx status means that the request is wrong, unless its code or the status (408, 429) means that the service is busy.
_CLIENT_ERRORS: Final = frozenset(range(400, 500)) - {408, 429}
_BUSY: Final = re.compile(
    "Throttl|SlowDown|LimitExceeded|ThroughputExceeded|TooMany|Timeout|InProgress|Conflict"
)


def _client_error(error: BaseException) -> boto.ClientError | None:
    """The botocore error itself or the one it wraps: smart_open wraps it in ValueError or OSError."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, boto.ClientError):
            return seen
        seen = getattr(seen, "backend_error", None) or seen.__cause__
    return None


def _is_library_error(error: BaseException) -> bool:
    """smart_open reports S3 failures as ValueError; pyarrow's errors are ArrowException."""
    module = type(error).__module__
    raised_in_smart_open = isinstance(error, ValueError) and "unable to access" in str(error)
    return raised_in_smart_open or module.startswith("pyarrow")


def _map_code(fields: dict[str, str], status: int, denied: str, action: str) -> TransferError:
    """`denied` is the remedy for a denial."""
    code, message = fields.get("Code", ""), fields.get("Message", "")
    detail = (
        f"Could not {action}: {code}: {message}"
        if message and message != code
        else f"Could not {action}: {code}"
    )
    if code in EXPIRED_CODES:
        return CredentialsError(
            detail, "The credentials have expired. Renew them and run the same command again."
        )
    if code in CREDENTIAL_CODES:
        return CredentialsError(detail, _CREDENTIALS_REMEDY)
    if code in DENIED_CODES:
        return AccessError(detail, denied)
    if code in {"NoSuchBucket", "PermanentRedirect", "IllegalLocationConstraintException"}:
        return BucketError(detail, "Check the bucket's name and its region (--region is the table's).")
    if code in {"ResourceNotFoundException", "TableNotFoundException"}:
        return TableError(detail, "Check the table's name, the account (--profile, --role-arn) and --region.")
    refused = status in _CLIENT_ERRORS and not _BUSY.search(code)
    return ServiceError(detail, _REFUSED_REMEDY if refused else _REPEAT_REMEDY)
