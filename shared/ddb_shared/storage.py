"""Folders in a bucket, or on a disk: where exports, checkpoints and rejects lie.

A `Folder` is addressed by names relative to itself, so nothing that reads a name from a file can leave it. This is the
door to both kinds; what they have in common is in `folder`, the one on a disk in `local_folder`.
"""

from __future__ import annotations

import email.utils
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO, Final, cast

import smart_open.s3
from botocore.exceptions import ClientError

from ddb_shared.bucket import NOT_FOUND, code_of, parse_bucket_url
from ddb_shared.errors import BucketError, explained
from ddb_shared.folder import PROBE, PROBE_DATA, ConflictError, Folder, Listed, Stored
from ddb_shared.local_folder import LocalFolder
from ddb_shared.retry import patiently

__all__ = ["ConflictError", "Folder", "Listed", "LocalFolder", "S3Folder", "Stored", "open_folder"]

# Each open upload buffers one part, so this bounds a worker's memory; 10,000 parts of it make 50 GB, and shards are
# far smaller. https://docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html: at least 5 MiB.
PART_BYTES: Final = 5 * 1024 * 1024
READ_BYTES: Final = 256 * 1024

# Our client is patient by itself. smart_open's own retries wait ten seconds each, for a NoSuchUpload too, which says that
# an upload was completed by a request whose answer was lost.
smart_open.s3.RETRY.exceptions, smart_open.s3.RETRY.client_error_codes = [], []

_CONFLICT: Final = frozenset({"PreconditionFailed", "ConditionalRequestConflict", "412", "409"})


class S3Folder:
    """A prefix of a bucket."""

    def __init__(self, client: Any, bucket: str, prefix: str) -> None:
        self._client = client
        self.bucket = bucket
        self.prefix = prefix.strip("/") + "/" if prefix.strip("/") else ""
        self.url = f"s3://{bucket}/{self.prefix}"

    def below(self, name: str) -> S3Folder:
        """A folder within this one."""
        return S3Folder(self._client, self.bucket, self.prefix + name)

    def key(self, name: str) -> str:
        """The full object key of a file of this folder."""
        return self.prefix + name

    def read(self, name: str) -> Stored | None:
        with explained(f"read {self.url}{name}"):
            try:
                response, data = patiently(lambda: self._get(name))
            except ClientError as error:
                if code_of(error) in NOT_FOUND:
                    return None
                raise
        now = email.utils.parsedate_to_datetime(response["ResponseMetadata"]["HTTPHeaders"]["date"])
        age = (now - response["LastModified"]).total_seconds()
        return Stored(data, response["ETag"], max(age, 0.0), _encryption(response))

    def write(self, name: str, data: bytes, *, replaces: str | None = None, new: bool = False) -> str:
        condition = {"IfNoneMatch": "*"} if new else {"IfMatch": replaces} if replaces else {}
        with explained(f"write {self.url}{name}"):
            try:
                response = self._client.put_object(
                    Bucket=self.bucket, Key=self.key(name), Body=data, **condition
                )
            except ClientError as error:
                if code_of(error) not in (_CONFLICT | NOT_FOUND if replaces else _CONFLICT):
                    raise
                # A network error may have hidden that an earlier try of this very request succeeded.
                present = self.read(name)
                if present is not None and present.data == data:
                    return present.etag
                raise ConflictError(
                    f"{self.url}{name} was changed by someone else in the meantime."
                ) from error
        return str(response["ETag"])

    def _get(self, name: str) -> tuple[dict[str, Any], bytes]:
        response = self._client.get_object(Bucket=self.bucket, Key=self.key(name))
        return response, response["Body"].read()

    def probe(self) -> str:
        self.write(PROBE, PROBE_DATA)
        stored = self.read(PROBE)
        if stored is None or stored.data != PROBE_DATA:
            raise BucketError(
                f"{self.url}{PROBE} was written, but it cannot be read back.",
                "Does something else write or delete in this folder?",
            )
        return self.url + PROBE

    def list(self, below: str = "") -> Iterator[Listed]:
        with explained(f"list {self.url}{below}"):
            pages = self._client.get_paginator("list_objects_v2").paginate(
                Bucket=self.bucket, Prefix=self.key(below)
            )
            for page in pages:
                for entry in page.get("Contents", ()):
                    yield Listed(entry["Key"][len(self.prefix) :], entry["Size"], entry["ETag"])

    def open_read(self, name: str) -> BinaryIO:
        with explained(f"read {self.url}{name}"):
            stream = smart_open.s3.open(
                self.bucket,
                self.key(name),
                "rb",
                client=self._client,
                buffer_size=READ_BYTES,
                defer_seek=True,
            )
        return cast("BinaryIO", stream)

    def open_upload(self, name: str) -> smart_open.s3.MultipartWriter:
        """A multipart upload that buffers PART_BYTES; nothing is visible until it is closed.

        Whoever calls this owes a `close` or a `terminate`: an upload that garbage collection closes would publish a
        truncated object.
        """
        with explained(f"write {self.url}{name}"):
            writer = smart_open.s3.open(
                self.bucket, self.key(name), "wb", client=self._client, min_part_size=PART_BYTES
            )
        return cast("smart_open.s3.MultipartWriter", writer)

    def complete(self, name: str, upload: smart_open.s3.MultipartWriter) -> None:
        """Makes an upload visible; one that is gone was completed before, and the file must prove to be there."""
        with explained(f"write {self.url}{name}"):
            try:
                upload.close()
            except ClientError as error:
                if code_of(error) != "NoSuchUpload":
                    raise
                upload._upload_id = None  # noqa: SLF001 - else garbage collection would close it once more

    def discard(self, name: str, upload: smart_open.s3.MultipartWriter) -> None:
        """Throws an upload away, whose parts cost money as long as they lie there; does nothing after `complete`."""
        with explained(f"abort the upload of {self.url}{name}"):
            try:
                upload.terminate()
            except ClientError as error:
                if code_of(error) != "NoSuchUpload":
                    raise
                upload._upload_id = None  # noqa: SLF001 - as above

    def stat(self, name: str) -> Listed:
        """Size and ETag of a file that must be there, by a listing, which a proxy can't shorten."""
        for entry in self.list(name):
            if entry.name == name:
                return entry
        raise BucketError(
            f"{self.url}{name} was written, but is not there.", "Does something else delete in this folder?"
        )

    def abort_uploads(self, below: str = "") -> int:
        """Aborts every unfinished multipart upload of this folder; returns how many there were."""
        aborted = 0
        with explained(f"abort unfinished uploads below {self.url}"):
            uploads = self._client.get_paginator("list_multipart_uploads")
            for page in uploads.paginate(Bucket=self.bucket, Prefix=self.key(below)):
                for upload in page.get("Uploads", ()):
                    with suppress(self._client.exceptions.NoSuchUpload):
                        self._client.abort_multipart_upload(
                            Bucket=self.bucket, Key=upload["Key"], UploadId=upload["UploadId"]
                        )
                    aborted += 1
        return aborted


def open_folder(client: Any, url: str) -> Folder:
    """The folder at `s3://…` or at a local path."""
    if url.startswith("s3://"):
        return S3Folder(client, *parse_bucket_url(url))
    return LocalFolder(Path(url).expanduser().absolute())


def _encryption(response: dict[str, Any]) -> str:
    """How S3 says that an object is encrypted: the algorithm, and the ARN of the KMS key if it has one."""
    return " ".join(response[name] for name in ("ServerSideEncryption", "SSEKMSKeyId") if response.get(name))
