"""A proxy before a local S3 that does what no local S3 does: it refuses calls whose ExpectedBucketOwner is not the owner.

https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucket-owner-condition.html
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

from aiohttp import web

from support.reverse_proxy import forward, serving
from support.services import Endpoint, free_port

HEADER: Final = "x-amz-expected-bucket-owner"
_SUBRESOURCES: Final = ("uploads", "uploadId", "list-type", "ownershipControls")
_DENIED: Final = "<?xml version='1.0' encoding='UTF-8'?><Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>"


@dataclass
class OwnerGuard:
    """A running guard: `calls` are the kinds of calls that named the owner, `nameless` those that named nobody."""

    behind: str
    owner: str
    url: str
    owners: dict[str, str] = field(default_factory=dict)
    """By bucket, where it is not `owner`."""
    calls: set[str] = field(default_factory=set)
    nameless: set[str] = field(default_factory=set)

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """What S3 answers, if the call is meant for the bucket's owner."""
        kind = f"{request.method} {next((name for name in _SUBRESOURCES if name in request.query), 'object')}"
        named = request.headers.get(HEADER)
        (self.calls if named else self.nameless).add(kind)
        bucket = request.path.split("/")[1]
        if named is not None and named != self.owners.get(bucket, self.owner):
            return web.Response(status=403, text=_DENIED, content_type="application/xml")
        return await forward(request, self.behind)


@contextmanager
def owner_guard(behind: Endpoint, owner: str) -> Iterator[OwnerGuard]:
    """A guard on a free loopback port, until the block ends."""
    port = free_port()
    guard = OwnerGuard(behind.url, owner, f"http://127.0.0.1:{port}")
    with serving(guard.answer, port):
        yield guard
