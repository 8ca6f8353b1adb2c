"""What the failure codes of DynamoDB's jobs mean, and what to do about them.

DynamoDB's documentation has no list of them. `S3NoSuchBucket` and `ItemValidationError` were seen; the others are those of the
service that a job works with, and AWS's own message always stands beside the explanation.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

from botocore.exceptions import ClientError

from ddb_shared.errors import ServiceError, TableError

# By what a code or message holds; the first that fits.
_REMEDIES: Final[Mapping[str, str]] = {
    "NoSuchBucket": "The bucket does not exist, or not in the Region in which DynamoDB looks for it. Check its name and --bucket-owner.",
    "KMS|Kms": "The caller may not use the key. Its policy and the caller's must allow kms:GenerateDataKey and kms:Decrypt "
    "(kms_key_statement of ddb-policy); it must be in the bucket's Region and be named by its ARN.",
    "AccessDenied|Forbidden": "DynamoDB uses the bucket with the caller's permissions. The caller's policy and the bucket's must allow what "
    "ddb-policy prints for this method or engine, and --bucket-owner must be the bucket's account.",
    "NoSuchKey": "No object was found. Check that the export's data folder still holds its files.",
    "ItemValidation": "DynamoDB refused some items; CloudWatch has the first of them with their reasons.",
    "Throttl|SlowDown|LimitExceeded": "The service was busy. Run the same command again later.",
    "Internal": "A fault of AWS. Run the same command again.",
}
_OTHER: Final = "See AWS's message; correct its cause, then run the same command again."


def failure_text(description: Mapping[str, Any]) -> str:
    """Code and message of a job's failure."""
    code, message = description.get("FailureCode", ""), description.get("FailureMessage", "")
    return ": ".join(part for part in (code, message) if part) or "DynamoDB gives no reason"


def failure_remedy(description: Mapping[str, Any]) -> str:
    """What to do about it."""
    code = f"{description.get('FailureCode', '')} {description.get('FailureMessage', '')}"
    return next((remedy for pattern, remedy in _REMEDIES.items() if re.search(pattern, code)), _OTHER)


@contextmanager
def explain_refusals(what: str, remedies: Mapping[str, str]) -> Iterator[None]:
    """Adds what to do, by AWS's error code, where DynamoDB refuses `what`; other errors pass."""
    try:
        yield
    except ClientError as error:
        code, message = error.response["Error"]["Code"], error.response["Error"].get("Message", "")
        if code not in remedies:
            raise
        kind = ServiceError if code == "LimitExceededException" else TableError
        raise kind(f"DynamoDB refused {what}: {code}: {message}", remedies[code]) from error
