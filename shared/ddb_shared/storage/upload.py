"""An object that is written as a stream: one request if it is small, a multipart upload if not.

smart_open, which does the latter, is loaded only where it is needed.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING, Any, Final

from botocore.exceptions import ClientError

from ddb_shared.errors import map_errors
from ddb_shared.storage.bucket import code_of

if TYPE_CHECKING:
    import smart_open.s3

# Each open upload buffers one part, so this bounds a worker's memory; 10,000 parts of it make 50 GB, and shards are
# far smaller. https://docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html: at least 5 MiB.
PART_BYTES: Final = 5 * 1024 * 1024
# A multipart upload costs three requests where this costs one; held beside the first part for a moment.
SINGLE_BYTES: Final = 1024 * 1024


# botocore retries already. smart_open's own retries wait ten seconds each, even for NoSuchUpload, which means that a
# request whose response was lost has completed the upload.
@cache
def smart_open_s3() -> Any:
    """smart_open's module for S3, without its own retries."""
    import smart_open.s3  # noqa: PLC0415 - 100 ms, with boto3, that commands with little data are spared

    smart_open.s3.RETRY.exceptions, smart_open.s3.RETRY.client_error_codes = [], []
    return smart_open.s3


class Upload:
    """An object being written, of which nothing is visible until `complete`; it buffers PART_BYTES.

    The caller must call `complete` or `discard`: garbage collection would close a multipart upload and publish a truncated
    object. `put` stores a small object whole.
    """

    def __init__(self, client: Any, bucket: str, key: str, put: Callable[[bytes], object]) -> None:
        self._client = client
        self._bucket = bucket
        self._key = key
        self._url = f"s3://{bucket}/{key}"
        self._put = put
        self._first = bytearray()  # until it is known whether the object is small
        self._parts: smart_open.s3.MultipartWriter | None = None
        self._ended = False

    def write(self, data: bytes) -> None:
        """Appends bytes."""
        with map_errors(f"write {self._url}"):
            if self._parts is not None:
                self._parts.write(data)
                return
            self._first += data
            if len(self._first) > SINGLE_BYTES:
                self._parts = smart_open_s3().open(
                    self._bucket, self._key, "wb", client=self._client, min_part_size=PART_BYTES
                )
                self._parts.write(bytes(self._first))
                self._first.clear()

    def complete(self) -> None:
        """Makes the object visible. If a multipart upload is gone, an earlier attempt completed it; the caller checks the object."""
        if self._parts is None:
            self._put(bytes(self._first))
        else:
            self._end(self._parts, self._parts.close, f"write {self._url}")
        self._ended = True

    def discard(self) -> None:
        """Aborts the upload, whose parts would be charged for; does nothing after `complete`."""
        if self._parts is not None and not self._ended:
            self._end(self._parts, self._parts.terminate, f"abort the upload of {self._url}")
        self._ended = True

    @staticmethod
    def _end(parts: smart_open.s3.MultipartWriter, how: Callable[[], None], what: str) -> None:
        with map_errors(what):
            try:
                how()
            except ClientError as error:
                if code_of(error) != "NoSuchUpload":
                    raise
                parts._upload_id = None  # noqa: SLF001 - otherwise garbage collection would close it again
