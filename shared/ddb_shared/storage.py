"""Folders in a bucket, or on a disk: where exports, checkpoints and rejects lie.

A `Folder` is addressed by names relative to itself, so nothing that reads a name from a file can leave it.
"""

from __future__ import annotations

import email.utils
import hashlib
import io
import os
import re
import secrets
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final, Protocol, cast
from urllib.parse import urlsplit

import smart_open.s3
from botocore.exceptions import ClientError

from ddb_shared.errors import BucketError, StateError, UsageError, explained
from ddb_shared.permissions import denied_remedy
from ddb_shared.retry import patiently

# Each open upload buffers one part, so this bounds a worker's memory; 10,000 parts of it make 80 GB, and shards are
# far smaller. https://docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html: at least 5 MiB.
PART_BYTES: Final = 8 * 1024 * 1024
READ_BYTES: Final = 256 * 1024
FULL_CONTROL: Final = "bucket-owner-full-control"

# Our client is patient by itself. smart_open's own retries wait ten seconds each, for a NoSuchUpload too, which says that
# an upload was completed by a request whose answer was lost.
smart_open.s3.RETRY.exceptions, smart_open.s3.RETRY.client_error_codes = [], []

_NOT_FOUND: Final = frozenset({"NoSuchKey", "404", "NotFound"})
_CONFLICT: Final = frozenset({"PreconditionFailed", "ConditionalRequestConflict", "412", "409"})


@dataclass(frozen=True, slots=True)
class Stored:
    """A small object read whole. `age_seconds` is by the storage's own clock."""

    data: bytes
    etag: str
    age_seconds: float


@dataclass(frozen=True, slots=True)
class Listed:
    """One entry of a listing; `name` is relative to the folder, `size` in bytes."""

    name: str
    size: int
    etag: str


class ConflictError(StateError):
    """A conditional write found another state than it asked for."""


class Folder(Protocol):
    """What reads and writes the files of one folder; names use `/` and stay below the folder."""

    url: str

    def read(self, name: str) -> Stored | None:
        """The whole of a small file; None where there is none."""
        ...

    def write(self, name: str, data: bytes, *, replaces: str | None = None, new: bool = False) -> str:
        """Replaces a file atomically and returns its ETag.

        `new` demands that there is none yet, `replaces` that the present one has this ETag; raises ConflictError.
        """
        ...

    def list(self, below: str = "") -> Iterator[Listed]:
        """Every file whose name begins with `below`."""
        ...

    def open_read(self, name: str) -> BinaryIO:
        """A stream over the file; breaks of the connection are mended below it."""
        ...


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
                if _code(error) in _NOT_FOUND:
                    return None
                raise
        now = email.utils.parsedate_to_datetime(response["ResponseMetadata"]["HTTPHeaders"]["date"])
        age = (now - response["LastModified"]).total_seconds()
        return Stored(data, response["ETag"], max(age, 0.0))

    def write(self, name: str, data: bytes, *, replaces: str | None = None, new: bool = False) -> str:
        condition = {"IfNoneMatch": "*"} if new else {"IfMatch": replaces} if replaces else {}
        with explained(f"write {self.url}{name}"):
            try:
                response = self._client.put_object(
                    Bucket=self.bucket, Key=self.key(name), Body=data, **condition
                )
            except ClientError as error:
                if _code(error) not in (_CONFLICT | _NOT_FOUND if replaces else _CONFLICT):
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
                if _code(error) != "NoSuchUpload":
                    raise
                upload._upload_id = None  # noqa: SLF001 - else garbage collection would close it once more

    def discard(self, name: str, upload: smart_open.s3.MultipartWriter) -> None:
        """Throws an upload away, whose parts cost money as long as they lie there; does nothing after `complete`."""
        with explained(f"abort the upload of {self.url}{name}"):
            try:
                upload.terminate()
            except ClientError as error:
                if _code(error) != "NoSuchUpload":
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


class LocalFolder:
    """A folder on a disk, for import state where the destination may not write to the bucket."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.url = f"{path}/"

    def read(self, name: str) -> Stored | None:
        path = self._path / name
        try:
            data = path.read_bytes()
            age = time.time() - path.stat().st_mtime
        except FileNotFoundError:
            return None
        return Stored(data, _etag(data), max(age, 0.0))

    def write(self, name: str, data: bytes, *, replaces: str | None = None, new: bool = False) -> str:
        path = self._path / name
        with explained(f"write {path}"):
            path.parent.mkdir(parents=True, exist_ok=True)
            present = self.read(name)
            if replaces and (present is None or present.etag != replaces):
                raise ConflictError(f"{path} was changed by someone else in the meantime.")
            draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
            _write_durably(draft, data)
            if new:
                _link_new(draft, path)
            else:
                draft.replace(path)
        return _etag(data)

    def list(self, below: str = "") -> Iterator[Listed]:
        for path in sorted(self._path.rglob("*")):
            name = path.relative_to(self._path).as_posix()
            if path.is_file() and name.startswith(below) and not path.name.startswith("."):
                yield Listed(name, path.stat().st_size, "")

    def open_read(self, name: str) -> BinaryIO:
        with explained(f"read {self._path / name}"):
            return io.BufferedReader(io.FileIO(self._path / name))


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


def open_folder(client: Any, url: str) -> Folder:
    """The folder at `s3://…` or at a local path."""
    if url.startswith("s3://"):
        return S3Folder(client, *parse_bucket_url(url))
    return LocalFolder(Path(url).expanduser().absolute())


def check_bucket(client: Any, bucket: str, prefix: str = "") -> str:
    """The bucket's region; raises BucketError where it is missing, forbidden or someone else's.

    It lists what begins with `prefix`: policies may allow no more of the bucket than that.
    """
    remedy = (
        "Check the name. The tool never creates a bucket: a name that anyone can take is not to be trusted."
    )
    with explained(f"use bucket {bucket}"):
        try:
            response = client.list_objects_v2(Bucket=bucket, Prefix=prefix, MaxKeys=1)
        except ClientError as error:
            if _code(error) in _NOT_FOUND | {"NoSuchBucket"}:
                raise BucketError(f"Bucket {bucket} does not exist.", remedy) from error
            if _code(error) in {"403", "AccessDenied"}:
                said = error.response["Error"].get("Message", "")
                raise BucketError(
                    f"Bucket {bucket} is forbidden: s3:ListBucket was refused (HTTP 403): {said}",
                    f"{denied_remedy(said, error.operation_name)}\nThe bucket's owner must be the one that "
                    "--bucket-owner names.",
                ) from error
            raise
    return str(response["ResponseMetadata"]["HTTPHeaders"].get("x-amz-bucket-region", ""))


def needed_acl(client: Any, bucket: str) -> str | None:
    """The ACL with which the bucket's owner owns what another account writes; None where ACLs are off or nobody tells.

    https://docs.aws.amazon.com/AmazonS3/latest/userguide/about-object-ownership.html
    """
    try:
        rules = client.get_bucket_ownership_controls(Bucket=bucket)["OwnershipControls"].get("Rules", [])
    except ClientError as error:
        # a bucket without the setting is of before 2023: its writers own what they write
        return FULL_CONTROL if _code(error) == "OwnershipControlsNotFoundError" else None
    enforced = not rules or rules[0]["ObjectOwnership"] == "BucketOwnerEnforced"
    return None if enforced else FULL_CONTROL


def _code(error: ClientError) -> str:
    return str(error.response.get("Error", {}).get("Code", ""))


def _etag(data: bytes) -> str:
    return f'"{hashlib.md5(data, usedforsecurity=False).hexdigest()}"'


def _write_durably(path: Path, data: bytes) -> None:
    """A file that survives a crash once this returns; a full disk leaves none behind."""
    try:
        with path.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
    except OSError:
        path.unlink(missing_ok=True)
        raise


def _link_new(draft: Path, path: Path) -> None:
    try:
        os.link(draft, path)
    except FileExistsError as error:
        raise ConflictError(f"{path} exists already.") from error
    finally:
        draft.unlink(missing_ok=True)
