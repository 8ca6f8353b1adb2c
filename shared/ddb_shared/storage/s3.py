"""Folders in a bucket, where exports, checkpoints and rejects are stored.

Files are addressed by names relative to the folder, so a name read from a file cannot leave it.
"""

from __future__ import annotations

import email.utils
import time
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from typing import Any, BinaryIO, Final, cast

from botocore.exceptions import ClientError

from ddb_shared.errors import BucketError, map_errors
from ddb_shared.retry import retry_broken_responses
from ddb_shared.storage.base import PROBE, PROBE_DATA, ConflictError, FileInfo, StoredObject
from ddb_shared.storage.bucket import NOT_FOUND, code_of
from ddb_shared.storage.upload import Upload, smart_open_s3

READ_BYTES: Final = 256 * 1024
# S3 answers 409 while another attempt is on its way, which may be an earlier one of the same request; it asks to try again:
# https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-writes.html
_PAUSES: Final = (0.2, 0.5, 1.0, 2.0)
_CONFLICT: Final = frozenset({"PreconditionFailed", "ConditionalRequestConflict", "412", "409"})


class S3Storage:
    """A folder of a bucket: the objects below a prefix."""

    def __init__(self, client: Any, bucket: str, prefix: str) -> None:
        self._client = client
        self.bucket = bucket
        self.prefix = prefix.strip("/") + "/" if prefix.strip("/") else ""
        self.url = f"s3://{bucket}/{self.prefix}"

    def below(self, name: str) -> S3Storage:
        """A folder within this one."""
        return S3Storage(self._client, self.bucket, self.prefix + name)

    def parent(self) -> S3Storage:
        """The folder that holds this one."""
        return S3Storage(self._client, self.bucket, self.prefix.rstrip("/").rpartition("/")[0])

    def key(self, name: str) -> str:
        """The full object key of a file of this folder."""
        return self.prefix + name

    def read(self, name: str, *, max_bytes: int | None = None) -> StoredObject | None:
        part = {"Range": f"bytes=0-{max_bytes - 1}"} if max_bytes else {}
        with map_errors(f"read {self.url}{name}"):
            try:
                response, data = retry_broken_responses(lambda: self._get(name, **part))
            except ClientError as error:
                if code_of(error) in NOT_FOUND:
                    return None
                if part and code_of(error) == "InvalidRange":  # the file is empty
                    return self.read(name)
                raise
        now = email.utils.parsedate_to_datetime(response["ResponseMetadata"]["HTTPHeaders"]["date"])
        age = (now - response["LastModified"]).total_seconds()
        return StoredObject(data, response["ETag"], max(age, 0.0), _encryption(response))

    def write(self, name: str, data: bytes, *, replaces: str | None = None, new: bool = False) -> str:
        condition = {"IfNoneMatch": "*"} if new else {"IfMatch": replaces} if replaces else {}
        pauses = iter(_PAUSES)
        with map_errors(f"write {self.url}{name}"):
            while True:
                try:
                    response = self._client.put_object(
                        Bucket=self.bucket, Key=self.key(name), Body=data, **condition
                    )
                except ClientError as error:
                    if code_of(error) not in (_CONFLICT | NOT_FOUND if replaces else _CONFLICT):
                        raise
                    # An earlier attempt of this request may have succeeded although its response was lost.
                    present = self.read(name)
                    if present is not None and present.data == data:
                        return present.etag
                    holds = present is None if new else present is not None and present.etag == replaces
                    pause = next(pauses, None) if holds else None
                    if pause is None:
                        raise ConflictError(f"{self.url}{name} was changed by another process.") from error
                    time.sleep(pause)
                else:
                    return str(response["ETag"])

    def _get(self, name: str, **part: str) -> tuple[dict[str, Any], bytes]:
        response = self._client.get_object(Bucket=self.bucket, Key=self.key(name), **part)
        return response, response["Body"].read()

    def probe(self) -> str:
        self.write(PROBE, PROBE_DATA)
        stored = self.read(PROBE)
        if stored is None or stored.data != PROBE_DATA:
            raise BucketError(
                f"{self.url}{PROBE} was written, but cannot be read back.",
                "Check whether another program writes or deletes in this folder.",
            )
        return self.url + PROBE

    def list(self, below: str = "") -> Iterator[FileInfo]:
        with map_errors(f"list {self.url}{below}"):
            pages = self._client.get_paginator("list_objects_v2").paginate(
                Bucket=self.bucket, Prefix=self.key(below)
            )
            for page in pages:
                for entry in page.get("Contents", ()):
                    name, modified = entry["Key"][len(self.prefix) :], entry["LastModified"].timestamp()
                    yield FileInfo(name, entry["Size"], entry["ETag"], modified)

    def folders(self, below: str = "") -> Iterator[str]:
        with map_errors(f"list {self.url}{below}"):
            pages = self._client.get_paginator("list_objects_v2").paginate(
                Bucket=self.bucket, Prefix=self.key(below), Delimiter="/"
            )
            for page in pages:
                for entry in page.get("CommonPrefixes", ()):
                    yield entry["Prefix"][len(self.prefix) :]

    def open_read(self, name: str) -> BinaryIO:
        with map_errors(f"read {self.url}{name}"):
            stream = smart_open_s3().open(
                self.bucket,
                self.key(name),
                "rb",
                client=self._client,
                buffer_size=READ_BYTES,
                defer_seek=True,
            )
        return cast("BinaryIO", stream)

    def open_upload(self, name: str) -> Upload:
        """An upload of a file of this folder; nothing is visible until it is completed."""
        return Upload(self._client, self.bucket, self.key(name), put=partial(self.write, name))

    def stat(self, name: str) -> FileInfo:
        """Size and ETag of a file that must exist, from a listing, which a proxy cannot truncate."""
        for entry in self.list(name):
            if entry.name == name:
                return entry
        raise BucketError(
            f"{self.url}{name} was written, but is missing.",
            "Check whether another program deletes in this folder.",
        )

    def abort_uploads(self, below: str = "") -> int:
        """Aborts all unfinished multipart uploads of this folder; returns their number."""
        aborted = 0
        with map_errors(f"abort unfinished uploads below {self.url}"):
            uploads = self._client.get_paginator("list_multipart_uploads")
            for page in uploads.paginate(Bucket=self.bucket, Prefix=self.key(below)):
                for upload in page.get("Uploads", ()):
                    with suppress(self._client.exceptions.NoSuchUpload):
                        self._client.abort_multipart_upload(
                            Bucket=self.bucket, Key=upload["Key"], UploadId=upload["UploadId"]
                        )
                    aborted += 1
        return aborted


def _encryption(response: dict[str, Any]) -> str:
    """How an object is encrypted: the algorithm, and the ARN of the KMS key if there is one."""
    return " ".join(response[name] for name in ("ServerSideEncryption", "SSEKMSKeyId") if response.get(name))
