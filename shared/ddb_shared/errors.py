"""The errors that a user can meet, and the one place that turns foreign errors into them.

    TransferError                exit 1
    ├── UsageError               exit 2   an option or argument that cannot be
    ├── AccessError              credentials are missing or expired, or a permission is
    ├── TableError               a table is missing, not ready, or another one than expected
    ├── BucketError              a bucket is missing, someone else's, or does not answer
    ├── ExportError              an export is unfinished, of an unknown format, or damaged
    │   └── ShardError           one data shard is missing, truncated or altered
    ├── StateError               checkpoints, plan or lease forbid to go on
    ├── ServiceError             a service kept failing until the retries ran out
    └── Interrupted              exit 130 or 143

Every message says what failed, which one, and what to do. `explained` maps the errors of botocore,
smart_open, pyarrow and the operating system; anything else is a bug of ours and keeps its traceback.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import botocore.exceptions as boto
import msgspec

from ddb_shared.permissions import denied_remedy

EXIT_FAILED: Final = 1
EXIT_USAGE: Final = 2
EXIT_REJECTS: Final = 3
EXIT_DIFFERENT: Final = 4

EXIT_CODES: Final = """\
Exit codes:

\b
  0         complete: everything asked for is done and checked
  1         failed; the message says what to do; state is kept where a resume helps
  2         bad option or argument
  3         complete, but items were rejected; they lie in the rejects files
  4         verification found differences
  130, 143  interrupted; state is saved, the resume command is printed
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


class UsageError(TransferError):
    """An option or argument that cannot be."""

    exit_code = EXIT_USAGE


class AccessError(TransferError):
    """Credentials or a permission are missing."""


class TableError(TransferError):
    """A table is missing, not ready, or another one than expected."""


class BucketError(TransferError):
    """A bucket is missing, belongs to someone else, or does not answer."""


class ExportError(TransferError):
    """An export is unfinished, of an unknown format, or damaged."""


class ShardError(ExportError):
    """One data shard is missing, truncated or altered."""


class StateError(TransferError):
    """The saved state forbids to go on."""


class ServiceError(TransferError):
    """A service kept failing until the retries ran out, or refused for good."""


class Interrupted(TransferError):  # noqa: N818 - an interruption is no error
    """A signal ended the run; what was confirmed is saved."""

    def __init__(self, message: str, remedy: str = "", signal_number: int = 2) -> None:
        super().__init__(message, remedy)
        self.args = (message, remedy, signal_number)
        self.exit_code = 128 + signal_number


class WireError(Exception):
    """DynamoDB's answer to one request was an error, or no answer at all.

    `code` is AWS's error code (`ThrottlingException`, …) or one of ours in lower case: `connection`, `timeout`,
    `checksum`, `malformed`. `reasons` are the ThrottlingReasons' reason texts.
    """

    def __init__(self, code: str, message: str, status: int = 0, reasons: tuple[str, ...] = ()) -> None:
        super().__init__(code, message, status, reasons)
        self.code = code
        self.message = message
        self.status = status
        self.reasons = reasons

    def __str__(self) -> str:
        return f"{self.code}: {self.message}" if self.message else self.code


@contextmanager
def explained(doing: str) -> Iterator[None]:
    """Turns foreign errors inside the block into a TransferError that begins with `doing`.

    `doing` completes the sentence "Could not …", such as "write s3://bucket/key".
    """
    try:
        yield
    except TransferError:
        raise
    except Exception as error:
        mapped = explain(error, doing)
        if mapped is None:
            raise
        raise mapped from error


def explain(error: BaseException, doing: str) -> TransferError | None:  # noqa: PLR0911 - one line per family
    """The TransferError for a foreign error; None where the error is a bug of ours."""
    cause = _client_error(error)
    if cause is not None:
        return _explain_code(cause.response.get("Error", {}), cause.operation_name, doing)
    if isinstance(error, WireError):
        return _explain_code({"Code": error.code, "Message": error.message}, "", doing)
    if isinstance(
        error, boto.NoCredentialsError | boto.PartialCredentialsError | boto.CredentialRetrievalError
    ):
        return AccessError(f"Could not {doing}: {error}", _CREDENTIALS_REMEDY)
    if isinstance(error, boto.ProfileNotFound):
        return AccessError(
            f"Could not {doing}: {error}", "Name a profile of your AWS config file with --profile."
        )
    if isinstance(error, boto.NoRegionError):
        return UsageError(
            f"Could not {doing}: no region is set.",
            "Give --region, or set AWS_REGION or a region in the profile.",
        )
    if isinstance(error, boto.ParamValidationError):
        return UsageError(f"Could not {doing}: {error}")
    if isinstance(error, TimeoutError | boto.BotoCoreError):
        return ServiceError(f"Could not {doing}: {str(error) or type(error).__name__}", _NETWORK_REMEDY)
    if isinstance(error, msgspec.DecodeError):
        return ExportError(f"Could not {doing}: it is damaged: {error}")
    if isinstance(error, OSError) or _is_library_error(error):
        return ServiceError(f"Could not {doing}: {error}")
    return None


_CREDENTIALS_REMEDY: Final = (
    "Give credentials as for the AWS CLI: --profile, --role-arn, or the AWS_* environment variables; "
    "`aws sts get-caller-identity` shows whether they work. Then run the same command again."
)
_NETWORK_REMEDY: Final = "Check the network, --region and --endpoint-url, then run the same command again."


def _client_error(error: BaseException) -> boto.ClientError | None:
    """The botocore error itself or below: smart_open wraps it in ValueError or OSError."""
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


def _explain_code(fields: dict[str, str], operation: str, doing: str) -> TransferError:
    code, message = fields.get("Code", ""), fields.get("Message", "")
    said = (
        f"Could not {doing}: {code}: {message}"
        if message and message != code
        else f"Could not {doing}: {code}"
    )
    if code in EXPIRED_CODES:
        return AccessError(said, "The credentials have expired. Renew them and run the same command again.")
    if code in CREDENTIAL_CODES:
        return AccessError(said, _CREDENTIALS_REMEDY)
    if code in DENIED_CODES:
        return AccessError(said, denied_remedy(message, operation))
    if code in {"NoSuchBucket", "PermanentRedirect", "IllegalLocationConstraintException"}:
        return BucketError(said, "Check the bucket's name and its region (--region is the table's).")
    if code in {"ResourceNotFoundException", "TableNotFoundException"}:
        return TableError(said, "Check the table's name, the account (--profile, --role-arn) and --region.")
    return ServiceError(said, "Run the same command again; what is confirmed is not done twice.")
