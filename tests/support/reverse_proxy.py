"""A proxy in this process before a local service: a handler answers what it wants to, and passes on the rest."""

from __future__ import annotations

import asyncio
import io
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Final

import aiohttp
from aiohttp import web
from yarl import URL

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

_NOT_FORWARDED: Final = frozenset(
    {"transfer-encoding", "content-length", "connection", "keep-alive", "server", "date"}
)
_START_SECONDS: Final = 30.0


async def forward(request: web.Request, behind: str, **changed: str) -> web.Response:
    """What the service behind answers; `changed` are headers that it gets instead of the request's."""
    headers = {name: value for name, value in request.headers.items() if name.lower() not in _NOT_FORWARDED}
    headers |= changed
    target = URL(behind + request.raw_path, encoded=True)
    async with (
        aiohttp.ClientSession(auto_decompress=False) as session,
        session.request(
            request.method, target, headers=headers, data=io.BytesIO(await request.read())
        ) as answer,
    ):
        kept = {
            name: value
            for name, value in answer.headers.items()
            if name.lower() not in _NOT_FORWARDED - {"date", "content-length"}
        }
        return web.Response(status=answer.status, headers=kept, body=await answer.read())


@contextmanager
def serving(handler: Handler, port: int) -> Iterator[None]:
    """Serves on a loopback port in a thread of its own, until the block ends."""
    loop, ready = asyncio.new_event_loop(), threading.Event()

    async def serve() -> web.AppRunner:
        application = web.Application(client_max_size=64 * 1024 * 1024)
        application.router.add_route("*", "/{path:.*}", handler)
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
        yield
    finally:
        asyncio.run_coroutine_threadsafe(runner.result().cleanup(), loop).result(_START_SECONDS)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(_START_SECONDS)
        loop.close()
