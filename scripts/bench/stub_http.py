"""As much of an HTTP/1.1 server as the stub needs: kept-alive connections, bodies with Content-Length or in chunks.

It takes a third of the CPU of a whole one, which the measured programs need: machines have few cores.
"""

from __future__ import annotations

import asyncio
import email.utils
import ssl
import sys
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from time import time
from typing import cast
from urllib.parse import parse_qsl, unquote

HEAD_END = b"\r\n\r\n"
LAST_CHUNK = b"0\r\n\r\n"


@dataclass(frozen=True, slots=True)
class Request:
    """A request with its body; the names of headers are in lower case."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class Response:
    """What is answered."""

    body: bytes = b""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)


Handler = Callable[[Request], Response]


class Connection(asyncio.Protocol):
    """One request after the other."""

    def __init__(self, handle: Handler) -> None:
        self._handle = handle
        self._head = b""
        self._pieces: list[bytes] = []
        self._missing = -1  # bytes of the body; -1 while the head is not complete
        self._end = b""  # the last bytes of a body in chunks

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        if self._missing < 0:
            self._head, found, data = (self._head + data).partition(HEAD_END)
            if not found:
                return
            self._words, self._headers = _parsed(self._head.decode())
            self._pieces, self._missing = [], int(self._headers.get("content-length", 0))
            if "expect" in self._headers:
                self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        self._pieces.append(data)
        if "transfer-encoding" in self._headers:
            self._missing, self._end = 0, (self._end + data)[-len(LAST_CHUNK) :]
            if self._end == LAST_CHUNK and (body := unchunked(b"".join(self._pieces))) is not None:
                coded = "aws-chunked" in self._headers.get("content-encoding", "")
                self._answer((unchunked(body) or b"") if coded else body)
            return
        self._missing -= len(data)
        if self._missing == 0:
            self._answer(b"".join(self._pieces))

    def _answer(self, body: bytes) -> None:
        method, target, _ = self._words
        path, _, query = target.partition("?")
        asked = dict(parse_qsl(query, keep_blank_values=True)) if query else {}
        request = Request(method, unquote(path), asked, self._headers, body)
        self._head, self._pieces, self._missing, self._end = b"", [], -1, b""
        try:
            response = self._handle(request)
        except Exception:  # noqa: BLE001 - a server tells and continues
            traceback.print_exc(file=sys.stderr)
            response = Response(status=500)
        length = "" if response.status == 204 else f"Content-Length: {len(response.body)}\r\n"
        named = "".join(f"{name}: {value}\r\n" for name, value in response.headers.items())
        head = f"HTTP/1.1 {response.status} -\r\nDate: {_date(int(time()))}\r\n{length}{named}\r\n"
        self._transport.write(head.encode() + (b"" if method == "HEAD" else response.body))


def unchunked(data: bytes) -> bytes | None:
    """The body that these chunks hold, of HTTP or of S3 (aws-chunked), without trailers; None while the last one is missing."""
    pieces: list[bytes] = []
    at = 0
    while (end := data.find(b"\r\n", at)) >= 0:
        size = int(data[at:end], 16)
        if size == 0:
            return b"".join(pieces)
        pieces.append(data[end + 2 : end + 2 + size])
        at = end + 2 + size + 2
    return None


def _parsed(head: str) -> tuple[list[str], dict[str, str]]:
    """The words of the first line, and the headers."""
    first, *lines = head.split("\r\n")
    pairs = (line.partition(":") for line in lines)
    return first.split(" "), {name.lower(): value.strip() for name, _, value in pairs}


@lru_cache(maxsize=1)
def _date(seconds: int) -> str:
    return email.utils.formatdate(seconds, usegmt=True)


async def serve(handle: Handler, port: int, certificate: str | None = None) -> None:
    """Prints the URL and serves until the input ends; over TLS with `certificate`, a file of the chain and its key."""
    loop, tls = asyncio.get_running_loop(), None
    if certificate:
        tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        tls.load_cert_chain(certificate)
    server = await loop.create_server(lambda: Connection(handle), "127.0.0.1", port, ssl=tls)
    scheme = "https" if tls else "http"
    print(f"{scheme}://127.0.0.1:{server.sockets[0].getsockname()[1]}", flush=True)
    await asyncio.to_thread(sys.stdin.read)
    server.close()
