"""The HTTP of the floor: aiohttp as the project uses it, and bare sockets to show what that library costs."""

from __future__ import annotations

import asyncio
import os
import ssl
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import cast
from urllib.parse import urlsplit

import aiohttp
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials as BotocoreCredentials
from yarl import URL

from ddb_shared.dynamodb.sigv4 import Credentials, Signer

REGION = os.environ["AWS_DEFAULT_REGION"]
ENDPOINT = os.environ["AWS_ENDPOINT_URL"]
TLS = (
    ssl.create_default_context(cafile=os.environ["AWS_CA_BUNDLE"]) if ENDPOINT.startswith("https:") else None
)


class Client:
    """Calls of DynamoDB with the answer's crc32, and objects of S3; subclasses send requests."""

    async def send(self, method: str, path: str, body: bytes, headers: dict[str, str]) -> tuple[bytes, int]:
        """The answer's body and what its x-amz-crc32 says, or 0."""
        raise NotImplementedError

    async def call(self, signer: Signer, keys: Credentials, operation: str, body: bytes) -> tuple[bytes, int]:
        headers = signer.headers(keys, "DynamoDB_20120810." + operation, body, time.time())
        return await self.send("POST", "/", body, headers)

    async def put(self, path: str, body: bytes, keys: Credentials) -> None:
        await self.send("PUT", path, body, _signed("PUT", path, keys))

    async def get(self, path: str, keys: Credentials) -> bytes:
        return (await self.send("GET", path, b"", _signed("GET", path, keys)))[0]


class Aiohttp(Client):
    """One session, its headers cut down as the project's wire does."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self._session = session

    async def send(self, method: str, path: str, body: bytes, headers: dict[str, str]) -> tuple[bytes, int]:
        async with self._session.request(
            method, URL(ENDPOINT + path), data=body, headers=headers
        ) as response:
            answer = await response.read()
            assert response.status == 200, answer
            return answer, int(response.headers.get("x-amz-crc32", 0))


class Bare(Client):
    """A pool of kept-alive connections that know as much of HTTP as these answers need."""

    def __init__(self, connections: int) -> None:
        self._free: asyncio.Queue[_Connection] = asyncio.Queue()
        self._unopened = connections
        self._host = urlsplit(ENDPOINT)

    async def send(self, method: str, path: str, body: bytes, headers: dict[str, str]) -> tuple[bytes, int]:
        connection = await self._connection()
        lines = [f"{method} {path} HTTP/1.1", f"Host: {self._host.netloc}", f"Content-Length: {len(body)}"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        answer = await connection.ask("\r\n".join([*lines, "", ""]).encode(), body)
        self._free.put_nowait(connection)
        return answer

    async def _connection(self) -> _Connection:
        if self._unopened and self._free.empty():
            self._unopened -= 1
            loop, host, port = (
                asyncio.get_running_loop(),
                self._host.hostname or "",
                self._host.port or (443 if TLS else 80),
            )
            return (await loop.create_connection(_Connection, host, port, ssl=TLS))[1]
        return await self._free.get()


class _Connection(asyncio.Protocol):
    """One request at a time."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._pieces: list[bytes] = []
        self._missing = -1

    async def ask(self, head: bytes, body: bytes) -> tuple[bytes, int]:
        self._answer: asyncio.Future[tuple[bytes, int]] = asyncio.get_running_loop().create_future()
        self._transport.writelines((head, body))
        return await self._answer

    def data_received(self, data: bytes) -> None:
        self._pieces.append(data)
        if self._missing < 0:
            data = b"".join(self._pieces)
            head, _, rest = data.partition(b"\r\n\r\n")
            if len(head) == len(data):
                return
            self._head = head.lower() + b"\r\n"
            assert self._head.startswith(b"http/1.1 200"), head
            self._pieces, self._missing = [rest], _number(self._head, b"content-length: ") - len(rest)
        else:
            self._missing -= len(data)
        if self._missing == 0:
            body, self._pieces, self._missing = b"".join(self._pieces), [], -1
            self._answer.set_result((body, _number(self._head, b"x-amz-crc32: ")))


def _number(head: bytes, name: bytes) -> int:
    begin = head.find(name)
    return int(head[begin + len(name) : head.find(b"\r\n", begin)]) if begin >= 0 else 0


def _signed(method: str, path: str, keys: Credentials) -> dict[str, str]:
    """S3's signature; the payload is left to TLS, as the SDKs do."""
    request = AWSRequest(method, ENDPOINT + path, headers={"X-Amz-Content-SHA256": "UNSIGNED-PAYLOAD"})
    request.context["payload_signing_enabled"] = False
    S3SigV4Auth(BotocoreCredentials(keys.access_key, keys.secret_key), "s3", REGION).add_auth(request)
    return dict(request.headers)


@asynccontextmanager
async def open_client(http: str, connections: int) -> AsyncIterator[tuple[Client, Signer]]:
    """The client of that name, and DynamoDB's signer."""
    signer = Signer(host=urlsplit(ENDPOINT).netloc, region=REGION)
    if http == "bare":
        yield Bare(connections), signer
        return
    connector = aiohttp.TCPConnector(limit=connections, ssl=TLS or True)
    skipped = ("User-Agent", "Accept", "Accept-Encoding")
    async with aiohttp.ClientSession(
        connector=connector, auto_decompress=False, skip_auto_headers=skipped
    ) as session:
        yield Aiohttp(session), signer
