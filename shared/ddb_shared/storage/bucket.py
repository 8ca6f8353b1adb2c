"""The bucket itself: whether it exists, its owner, its region, and whether it accepts ACLs. It is never created."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Final

from botocore.exceptions import ClientError

from ddb_shared.errors import DENIED_CODES, BucketError, UsageError, denied_remedy_of, map_errors
from ddb_shared.permissions import denied_action

FULL_CONTROL: Final = "bucket-owner-full-control"
_NO_BUCKET: Final = "NoSuchBucket"
# Upper case, underscores and up to 255 characters occur in names of buckets created before March 2018:
# https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucketnamingrules.html
_BUCKET_NAME: Final = re.compile(r"(?!.*\.\.)(?![\d.]+$)[A-Za-z0-9][A-Za-z0-9._-]{1,253}[A-Za-z0-9]")
_ACCESS_POINT: Final = re.compile(r"(s3://)?arn:[^:]+:(s3|s3-object-lambda|s3-outposts|s3express):")
# Wildcards of policies, queries and fragments of URLs, and control characters.
_INVALID_IN_PREFIX: Final = re.compile(r"[?#*\x00-\x1f\x7f]")
NOT_FOUND: Final = frozenset({"NoSuchKey", "404", "NotFound"})


@dataclass(frozen=True, slots=True)
class Ownership:
    """The bucket's Object Ownership setting, or the reason why it is unknown.

    https://docs.aws.amazon.com/AmazonS3/latest/userguide/about-object-ownership.html
    """

    setting: str = ""
    unknown: str = ""

    @property
    def acl(self) -> str | None:
        """The ACL that gives the bucket's owner objects written by other accounts; None if ACLs are disabled, or unknown."""
        return FULL_CONTROL if self.setting not in {"", "BucketOwnerEnforced"} else None

    def __str__(self) -> str:
        if self.unknown:
            return f"unknown, so no ACL is sent: {self.unknown}"
        return f"{self.setting}: ACL {self.acl or 'not needed'}"


def refuse_access_point(name: str) -> None:
    """Raises UsageError if a bucket, or a place in it, is named by the ARN of an access point."""
    if _ACCESS_POINT.match(name):
        raise UsageError(
            f"{name!r} names an S3 access point by its ARN.",
            "Give the access point's alias (it ends in -s3alias), which S3 takes in the place of a bucket's name: "
            "`aws s3control get-access-point` shows it.",
        )


def parse_bucket_url(url: str) -> tuple[str, str]:
    """Bucket and prefix of `s3://BUCKET[/PREFIX]`; raises UsageError."""
    refuse_access_point(url)
    bucket, _, prefix = url.removeprefix("s3://").partition("/")
    if not url.startswith("s3://") or not _BUCKET_NAME.fullmatch(bucket) or _INVALID_IN_PREFIX.search(prefix):
        raise UsageError(
            f"Invalid S3 URL {url!r}.",
            "Expected s3://BUCKET[/PREFIX], without wildcards, question marks, hash signs or control characters.",
        )
    return bucket, prefix.strip("/")


def require_bucket_name(name: str) -> None:
    """Raises UsageError unless the name is a valid bucket name."""
    refuse_access_point(name)
    if not _BUCKET_NAME.fullmatch(name):
        raise UsageError(
            f"{name!r} is not a valid bucket name.",
            "Bucket names are 3 to 63 lowercase letters, digits, hyphens and dots, and begin and end with a letter or digit.",
        )


def bucket_besides(url: str | None, export: str | None) -> str | None:
    """The bucket of `url`, if it is an S3 URL in another bucket than the export's."""
    if not url or not url.startswith("s3://") or not export:
        return None
    bucket = parse_bucket_url(url)[0]
    return bucket if bucket != parse_bucket_url(export)[0] else None


def check_bucket(client: Any, bucket: str, prefix: str = "", owner: str | None = None) -> str:
    """The bucket's region; raises BucketError if it is missing, access is denied, or the account `owner` does not own it.

    It lists objects below `prefix` only: policies may allow no more than that.
    """
    with map_errors(f"use bucket {bucket}"):
        try:
            response = client.list_objects_v2(Bucket=bucket, Prefix=prefix, MaxKeys=1)
        except ClientError as error:
            if code_of(error) in NOT_FOUND | {_NO_BUCKET}:
                raise _missing(bucket) from error
            if code_of(error) in DENIED_CODES:
                raise _forbidden(bucket, owner, error) from error
            raise
    return str(response["ResponseMetadata"]["HTTPHeaders"].get("x-amz-bucket-region", ""))


def _missing(bucket: str) -> BucketError:
    return BucketError(
        f"Bucket {bucket} does not exist.",
        "Check the name. ddb-transfer never creates buckets: anyone could have taken the name before.",
    )


def _forbidden(bucket: str, owner: str | None, error: ClientError) -> BucketError:
    """S3 returns the same error for a missing permission and for a bucket of another owner than expected."""
    detail = error.response["Error"].get("Message", "")
    remedy = denied_remedy_of(error)
    refused = f"s3:ListBucket was denied (HTTP 403): {detail}"
    if owner is None:
        check = f"Check the bucket's name ({bucket}) and the prefix: policies of ddb-policy allow one prefix of one bucket."
        return BucketError(f"Access denied to bucket {bucket}: {refused}", f"{check}\n{remedy}")
    return BucketError(
        f"Access denied to bucket {bucket}, or account {owner} does not own it: {refused}",
        f"{remedy}\nIf another account than {owner} owns the bucket, either --bucket-owner is wrong, or someone else has taken "
        "the name: do not use that bucket.",
    )


def object_ownership(client: Any, bucket: str) -> Ownership:
    """The Object Ownership setting; unknown if it cannot be read. Raises BucketError if the bucket is missing."""
    with map_errors(f"read the ownership setting of bucket {bucket}"):
        try:
            response = client.get_bucket_ownership_controls(Bucket=bucket)
        except ClientError as error:
            if code_of(error) == "OwnershipControlsNotFoundError":
                return Ownership("ObjectWriter")  # a bucket from before 2023: writers own their objects
            if code_of(error) == _NO_BUCKET:
                raise _missing(bucket) from error
            detail = error.response.get("Error", {}).get("Message", "")
            return Ownership(unknown=f"{denied_action(detail, error.operation_name)} was denied: {detail}")
    rules = response["OwnershipControls"].get("Rules", [])
    return Ownership(rules[0]["ObjectOwnership"] if rules else "BucketOwnerEnforced")


def code_of(error: ClientError) -> str:
    """The service's code for an error."""
    return str(error.response.get("Error", {}).get("Code", ""))
