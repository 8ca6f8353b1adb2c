"""Opens the storage at a URL or a local path."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Final

from ddb_shared.errors import UsageError
from ddb_shared.storage.base import Storage
from ddb_shared.storage.bucket import parse_bucket_url
from ddb_shared.storage.local import LocalStorage
from ddb_shared.storage.s3 import S3Storage

# Two letters at least: `C:/orders` is a path of Windows.
_URL: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:/")


def check_location(url: str) -> str:
    """The URL or path itself; raises UsageError unless it is `s3://BUCKET[/PREFIX]` or a local path.

    Anything else with a scheme is a typing error, not a folder named `ftp:`.
    """
    if url.startswith("s3://"):
        parse_bucket_url(url)
    elif not url or _URL.match(url):
        raise UsageError(
            f"{url!r} is neither an S3 URL nor a local path.", "Expected s3://BUCKET[/PREFIX] or a folder."
        )
    return url


def is_local(url: str) -> bool:
    """Whether it names a folder of this machine."""
    return not url.startswith("s3://")


def open_storage(client: Any, url: str) -> Storage:
    """The folder at `s3://…` or at a local path; raises UsageError for any other URL."""
    check_location(url)
    if url.startswith("s3://"):
        return S3Storage(client, *parse_bucket_url(url))
    return LocalStorage(Path(url).expanduser().absolute())
