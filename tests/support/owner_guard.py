"""A proxy before a local S3 that does what no local S3 does: it refuses calls whose ExpectedBucketOwner is not the owner.

https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucket-owner-condition.html
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

import aiohttp
from aiohttp import web
from yarl import URL

from support.services import Endpoint, free_port

HEADER: Final = "x-amz-expected-bucket-owner"
_SUBRESOURCES: Final = ("uploads", "uploadId", "list-type", "ownershipControls")
_NOT_FORWARDED: Final = frozenset(
    {"transfer-encoding", "content-length", "connection", "keep-alive", "server", "date"}
)
_DENIED: Final = "<?xml version='1.0' encoding='UTF-8'?><Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>"
_START_SECONDS: Final = 30.0


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
        headers = {
            name: value for name, value in request.headers.items() if name.lower() not in _NOT_FORWARDED
        }
        target = URL(self.behind + request.raw_path, encoded=True)
        async with (
            aiohttp.ClientSession(auto_decompress=False) as session,
            session.request(request.method, target, headers=headers, data=await request.read()) as answer,
        ):
            kept = {
                name: value
                for name, value in answer.headers.items()
                if name.lower() not in _NOT_FORWARDED - {"date", "content-length"}
            }
            return web.Response(status=answer.status, headers=kept, body=await answer.read())


@contextmanager
def owner_guard(behind: Endpoint, owner: str) -> Iterator[OwnerGuard]:
    """A guard on a free loopback port, until the block ends."""
    port = free_port()
    guard = OwnerGuard(behind.url, owner, f"http://127.0.0.1:{port}")
    loop, ready = asyncio.new_event_loop(), threading.Event()

    async def serve() -> web.AppRunner:
        application = web.Application(client_max_size=64 * 1024 * 1024)
        application.router.add_route("*", "/{path:.*}", guard.answer)
        runner = web.AppRunner(application)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", port).start()
        ready.set()
        return runner

    runner = asyncio.run_coroutine_threadsafe(serve(), loop)
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    try:
        assert ready.wait(_START_SECONDS)
        yield guard
    finally:
        asyncio.run_coroutine_threadsafe(runner.result().cleanup(), loop).result(_START_SECONDS)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(_START_SECONDS)
        loop.close()
