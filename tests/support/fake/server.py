"""The fake over HTTP, in a process of its own: `python -m support.fake.server` with a plan as its first line of input.

It prints its URL and lives until its input ends, so that it cannot outlive the test that started it.
"""

from __future__ import annotations

import asyncio
import socket
import struct
import sys
import uuid
import zlib
from typing import Final
from urllib.parse import parse_qs

import msgspec
from aiohttp import web

from support.fake.errors import FakeError
from support.fake.identity import caller_identity
from support.fake.plan import Consumption, Fault, FaultKind, FaultPlan
from support.fake.service import Service

# AWS refuses a longer request with status 413, as DynamoDB Local does; a BatchWriteItem may have 16 MB.
MAX_REQUEST_BYTES: Final = 16 * 1_048_576

_RESETS: Final = frozenset({FaultKind.RESET_AFTER, FaultKind.HANG})
_PLAN: Final = msgspec.json.Decoder(FaultPlan)


class Server:
    """The handlers."""

    def __init__(self, service: Service) -> None:
        self._service = service

    def application(self) -> web.Application:
        """DynamoDB and STS at /, the fake's own controls under /_fake/."""
        application = web.Application(client_max_size=4 * MAX_REQUEST_BYTES)
        application.router.add_post("/", self.call)
        application.router.add_get("/_fake/stats", self.stats)
        application.router.add_post("/_fake/faults", self.faults)
        application.router.add_post("/_fake/reset", self.reset)
        application.router.add_get("/_fake/credentials", self.credentials)
        application.router.add_get("/_fake/items", self.items)
        application.router.add_get("/_fake/consumption", self.consumption)
        application.router.add_post("/_fake/items", self.load)
        application.router.add_post("/_fake/expire", self.expire)
        application.router.add_post("/_fake/shards", self.shards)
        application.router.add_post("/_fake/advance", self.advance)
        return application

    async def call(self, request: web.Request) -> web.StreamResponse:
        """A call of DynamoDB or STS, with what goes wrong in it."""
        body = await request.read()
        service = self._service
        operation = request.headers.get("X-Amz-Target", "").rpartition(".")[2]
        if not operation:
            return self._sts(request, body)
        service.calls[operation] += 1
        fault = service.injector.next(operation, body)
        service.in_flight += 1
        service.max_in_flight = max(service.max_in_flight, service.in_flight)
        try:
            if fault is not None and fault.kind is FaultKind.RESET_BEFORE:
                return _reset(request)
            status, answer = await self._answer(request, operation, body, fault)
            return await self._send(request, status, answer, fault)
        finally:
            service.in_flight -= 1

    async def _answer(
        self, request: web.Request, operation: str, body: bytes, fault: Fault | None
    ) -> tuple[int, bytes]:
        if len(body) > MAX_REQUEST_BYTES:
            self._service.errors["413"] += 1
            return 413, b""
        if fault is not None and fault.kind is FaultKind.SLOW:
            await asyncio.sleep(fault.seconds)
        try:
            caller = self._service.identity.caller(request.headers)
            self._service.before(operation, caller, body, fault)
            return 200, self._service.run(operation, caller, body, fault)
        except FakeError as error:
            self._service.errors[error.code] += 1
            return error.status, error.body()

    async def _send(
        self, request: web.Request, status: int, body: bytes, fault: Fault | None
    ) -> web.StreamResponse:
        kind = fault.kind if fault is not None else None
        if kind is FaultKind.HANG:
            await _until_gone(request)
        if kind in _RESETS:
            return _reset(request)
        crc = zlib.crc32(body) ^ (kind is FaultKind.WRONG_CRC)
        headers = {
            "Content-Type": "application/x-amz-json-1.0",
            "x-amz-crc32": str(crc),
            "x-amzn-requestid": uuid.uuid4().hex.upper(),
            "Date": self._service.identity.date(),
        }
        if kind is FaultKind.RESET_DURING:
            return await _half(request, status, headers, body)
        if kind is FaultKind.TRUNCATED:
            body = body[: len(body) // 2]
        return web.Response(status=status, headers=headers, body=body)

    def _sts(self, request: web.Request, body: bytes) -> web.Response:
        action = parse_qs(body.decode("utf-8", "replace")).get("Action", [""])[0]
        self._service.calls[action] += 1
        try:
            caller = self._service.identity.caller(request.headers)
        except FakeError as error:
            return web.Response(status=403, text=f"<ErrorResponse>{error}</ErrorResponse>")
        if action != "GetCallerIdentity":
            return web.Response(status=400, text=f"<ErrorResponse>the fake has no {action}</ErrorResponse>")
        return web.Response(content_type="text/xml", text=caller_identity(caller))

    async def stats(self, _: web.Request) -> web.Response:
        """GET /_fake/stats: the Stats."""
        return _json(self._service.stats())

    async def faults(self, request: web.Request) -> web.Response:
        """POST /_fake/faults: goes over to the FaultPlan in the body."""
        try:
            self._service.change(_PLAN.decode(await request.read()))
        except msgspec.DecodeError as error:
            return web.Response(status=400, text=str(error))
        return _json({})

    async def reset(self, _: web.Request) -> web.Response:
        """POST /_fake/reset: all figures back to zero."""
        self._service.forget_figures()
        return _json({})

    async def credentials(self, request: web.Request) -> web.Response:
        """GET /_fake/credentials?account=&seconds=: new ones, for AWS_CONTAINER_CREDENTIALS_FULL_URI."""
        query = request.query
        return _json(self._service.identity.issue(query["account"], float(query.get("seconds", "3600"))))

    async def items(self, request: web.Request) -> web.Response:
        """GET /_fake/items?account=&table=: all items in hash order, past all faults."""
        table = self._service.store.tables[request.query["account"], request.query["table"]]
        return _json([msgspec.Raw(item.raw) for item in table.items()])

    async def consumption(self, request: web.Request) -> web.Response:
        """GET /_fake/consumption?account=&table=: what it consumed since the last reset."""
        table = self._service.store.tables[request.query["account"], request.query["table"]]
        return _json(Consumption(reads=table.reads_log.entries, writes=table.writes_log.entries))

    async def load(self, request: web.Request) -> web.Response:
        """POST /_fake/items?account=&table=: stores the items of the body's array, past all faults and figures."""
        table = self._service.store.tables[request.query["account"], request.query["table"]]
        for raw in msgspec.json.decode(await request.read(), type=list[msgspec.Raw]):
            table.put(table.parse(bytes(raw), batch=True))
            table.puts -= 1
        return _json({})

    async def expire(self, request: web.Request) -> web.Response:
        """POST /_fake/expire?account=&table=: deletes the keys of the body's array as time to live does."""
        table = self._service.store.tables[request.query["account"], request.query["table"]]
        for raw in msgspec.json.decode(await request.read(), type=list[msgspec.Raw]):
            table.delete(table.exact_key(bytes(raw)), expired=True)
        return _json({})

    async def shards(self, request: web.Request) -> web.Response:
        """POST /_fake/shards?account=&table=&children=: ends each open shard of the table's stream, with so many children."""
        stream = self._service.store.tables[request.query["account"], request.query["table"]].stream
        assert stream is not None
        for shard in stream.open_shards():
            stream.close(shard, children=int(request.query["children"]))
        return _json({})

    async def advance(self, request: web.Request) -> web.Response:
        """POST /_fake/advance?seconds=: lets time pass for the streams."""
        self._service.store.streams.clock.advanced += float(request.query["seconds"])
        return _json({})


def _json(answer: object) -> web.Response:
    return web.Response(content_type="application/json", body=msgspec.json.encode(answer))


def _reset(request: web.Request) -> web.Response:
    """Ends the connection with RST; what aiohttp then does with the response reaches nobody."""
    transport = request.transport
    if transport is not None:
        endpoint = transport.get_extra_info("socket")
        endpoint.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        transport.abort()
    return web.Response()


async def _half(
    request: web.Request, status: int, headers: dict[str, str], body: bytes
) -> web.StreamResponse:
    response = web.StreamResponse(status=status, headers=headers)
    response.content_length = len(body)
    await response.prepare(request)
    await response.write(body[: len(body) // 2])
    await asyncio.sleep(0.02)  # an RST would overtake what the client has not read yet
    _reset(request)
    return response


async def _until_gone(request: web.Request) -> None:
    while request.transport is not None and not request.transport.is_closing():  # noqa: ASYNC110 - no event for it
        await asyncio.sleep(0.02)


async def _serve(plan: FaultPlan) -> None:
    runner = web.AppRunner(Server(Service(plan)).application(), access_log=None, shutdown_timeout=0)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    port = runner.addresses[0][1]
    sys.stdout.write(f"http://127.0.0.1:{port}\n")
    sys.stdout.flush()
    await asyncio.to_thread(sys.stdin.read)
    await runner.cleanup()


if __name__ == "__main__":
    asyncio.run(_serve(_PLAN.decode(sys.stdin.readline().encode())))
