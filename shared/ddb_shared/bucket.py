"""The bucket itself: whether it is there, whose it is, in which region, and whether it takes ACLs. It is never created."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

from botocore.exceptions import ClientError

from ddb_shared.errors import DENIED_CODES, BucketError, UsageError, explained
from ddb_shared.permissions import denied_action, denied_remedy

FULL_CONTROL: Final = "bucket-owner-full-control"
_NO_BUCKET: Final = "NoSuchBucket"
NOT_FOUND: Final = frozenset({"NoSuchKey", "404", "NotFound"})


@dataclass(frozen=True, slots=True)
class Ownership:
    """The bucket's setting that decides who owns what is written to it, or the reason why it is unknown.

    https://docs.aws.amazon.com/AmazonS3/latest/userguide/about-object-ownership.html
    """

    setting: str = ""
    unknown: str = ""

    @property
    def acl(self) -> str | None:
        """The ACL with which the bucket's owner owns what another account writes; None where ACLs are off, or unknown."""
        return FULL_CONTROL if self.setting not in {"", "BucketOwnerEnforced"} else None

    def __str__(self) -> str:
        if self.unknown:
            return f"unknown, so no ACL is sent: {self.unknown}"
        return f"{self.setting}: ACL {self.acl or 'not needed'}"


def parse_bucket_url(url: str) -> tuple[str, str]:
    """Bucket and prefix of `s3://BUCKET[/PREFIX]`."""
    parts = urlsplit(url)
    if (
        parts.scheme != "s3"
        or not re.fullmatch(r"[a-z0-9A-Z]+[.\-\w]*[a-z0-9A-Z]+", parts.netloc)
        or parts.query
        or parts.fragment
    ):
        raise UsageError(f"{url!r} is not a place in a bucket.", "Write it as s3://BUCKET/PREFIX.")
    return parts.netloc, parts.path.strip("/")


def bucket_besides(url: str | None, export: str | None) -> str | None:
    """The bucket of `url`, if it is in one, and in another than the export's."""
    if not url or not url.startswith("s3://") or not export:
        return None
    bucket = parse_bucket_url(url)[0]
    return bucket if bucket != parse_bucket_url(export)[0] else None


def check_bucket(client: Any, bucket: str, prefix: str = "", owner: str | None = None) -> str:
    """The bucket's region; raises BucketError where it is missing, forbidden or not of the account `owner`.

    It lists what begins with `prefix`: policies may allow no more of the bucket than that.
    """
    with explained(f"use bucket {bucket}"):
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
        "Check the name. The tool never creates a bucket: a name that anyone can take is not to be trusted.",
    )


def _forbidden(bucket: str, owner: str | None, error: ClientError) -> BucketError:
    """S3 answers alike where a permission is missing and where the bucket is not the expected owner's."""
    said = error.response["Error"].get("Message", "")
    remedy = denied_remedy(said, error.operation_name)
    refused = f"s3:ListBucket was refused (HTTP 403): {said}"
    if owner is None:
        return BucketError(f"Bucket {bucket} is forbidden: {refused}", remedy)
    return BucketError(
        f"Bucket {bucket} is forbidden, or account {owner} does not own it: {refused}",
        f"{remedy}\nIf the bucket is another account's than {owner}, either --bucket-owner is wrong, or the bucket is a "
        "stranger's: do not use it.",
    )


def object_ownership(client: Any, bucket: str) -> Ownership:
    """Who owns what is written to the bucket; unknown where nobody tells. Raises BucketError where it is missing."""
    with explained(f"read the ownership setting of bucket {bucket}"):
        try:
            answer = client.get_bucket_ownership_controls(Bucket=bucket)
        except ClientError as error:
            if code_of(error) == "OwnershipControlsNotFoundError":
                return Ownership("ObjectWriter")  # a bucket of before 2023: its writers own what they write
            if code_of(error) == _NO_BUCKET:
                raise _missing(bucket) from error
            said = error.response.get("Error", {}).get("Message", "")
            return Ownership(unknown=f"{denied_action(said, error.operation_name)} was refused: {said}")
    rules = answer["OwnershipControls"].get("Rules", [])
    return Ownership(rules[0]["ObjectOwnership"] if rules else "BucketOwnerEnforced")


def code_of(error: ClientError) -> str:
    """The service's code for an error."""
    return str(error.response.get("Error", {}).get("Code", ""))
