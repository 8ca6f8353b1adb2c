"""POSTs to one host over kept-alive HTTP/1.1 connections: what the wire needs of HTTP, and nothing else.

aiohttp's client takes 57 µs of CPU for a request and its answer, this one 15; joining and signing the 25 items of a
batch take 13 together (measured with `scripts/bench`). Answers are parsed by httptools, the binding of Node.js's own
parser.
"""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Final, NamedTuple, cast
from urllib.parse import urlsplit

from httptools import HttpParserError, HttpResponseParser

CONNECT_SECONDS: Final = 5.0
# A page of 1 MB comes within a second; half a minute of silence means that the connection is dead.
SILENCE_SECONDS: Final = 30.0
# Before the service, or something in between, forgets the connection without a word.
IDLE_SECONDS: Final = 20.0

_DEFAULT_PORTS: Final = {"http": 80, "https": 443}


class Response(NamedTuple):
    """A whole answer; the names of its headers are in lower case."""

    status: int
    headers: dict[bytes, bytes]
    body: bytes


class Http:
    """POSTs to the root of one host, each over a connection of its own, which the next one takes over.

    `host` is what requests name as their host and sign: with its port unless that is the scheme's own.
    """

    def __init__(self, url: str, connections: int, silence_seconds: float, ca_bundle: str | None) -> None:
        parts = urlsplit(url)
        self._name = parts.hostname or ""
        self._port = parts.port or _DEFAULT_PORTS[parts.scheme]
        self._tls = ssl.create_default_context(cafile=ca_bundle) if parts.scheme == "https" else None
        name = f"[{self._name}]" if ":" in self._name else self._name
        self.host = name if self._port == _DEFAULT_PORTS[parts.scheme] else f"{name}:{self._port}"
        # plain answers are asked for: their checksum is over the bytes on the wire
        self._head = f"POST / HTTP/1.1\r\nHost: {self.host}\r\nUser-Agent: ddb-transfer\r\nAccept-Encoding: identity\r\n"
        self._free = asyncio.Semaphore(connections)
        self._silence_seconds = silence_seconds
        self._idle: list[_Connection] = []

    async def post(self, headers: Mapping[str, str], body: bytes) -> Response:
        """The answer to one POST. Raises ConnectionError and TimeoutError; the request may have arrived then."""
        lines = "".join([f"{name}: {value}\r\n" for name, value in headers.items()])
        head = f"{self._head}Content-Length: {len(body)}\r\n{lines}\r\n".encode("latin-1")
        async with self._free:
            connection = self._take_idle() or await self._connect()
            try:
                answer = await connection.exchange(head, body)
            except BaseException:
                connection.close()  # what comes over it would belong to this request
                raise
            if connection.is_open:
                self._idle.append(connection)
            return answer

    def close(self) -> None:
        """Closes the connections that wait for work."""
        while self._idle:
            self._idle.pop().close()

    def _take_idle(self) -> _Connection | None:
        """The connection that was used last; those before it are at rest for longer."""
        if self._idle and (connection := self._idle.pop()).is_open:
            if time.monotonic() - connection.heard_at < IDLE_SECONDS:
                return connection
            connection.close()
            self.close()
        return None

    async def _connect(self) -> _Connection:
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                _, connection = await loop.create_connection(
                    lambda: _Connection(loop, self._silence_seconds), self._name, self._port, ssl=self._tls
                )
        except TimeoutError as error:
            raise ConnectionError(f"{self.host} takes no connection in {CONNECT_SECONDS:.0f} s") from error
        except OSError as error:
            raise ConnectionError(f"{self.host} takes no connection: {error}") from error
        return connection


@asynccontextmanager
async def open_http(
    url: str,
    connections: int,
    *,
    silence_seconds: float = SILENCE_SECONDS,
    ca_bundle: str | None = None,
) -> AsyncIterator[Http]:
    """A client for the host of `url` with at most `connections` connections, each with a buffer of 256 KiB.

    `ca_bundle` is a file of certificates to trust instead of the system's.
    """
    http = Http(url, connections, silence_seconds, ca_bundle)
    try:
        yield http
    finally:
        http.close()


class _Connection(asyncio.Protocol):
    """One connection: one request at a time, and the parser's callbacks for its answer."""

    def __init__(self, loop: asyncio.AbstractEventLoop, silence_seconds: float) -> None:
        self._loop = loop
        self._silence_seconds = silence_seconds
        self._parser = HttpResponseParser(self)
        self._answer: asyncio.Future[Response] | None = None
        self._headers: dict[bytes, bytes] = {}
        self._body: list[bytes] = []
        self.is_open = False
        self.heard_at = time.monotonic()

    def exchange(self, head: bytes, body: bytes) -> asyncio.Future[Response]:
        """Sends a request; the future is its answer."""
        self._headers, self._body = {}, []
        self._answer = self._loop.create_future()
        if self.is_open:
            self.heard_at = time.monotonic()
            self._transport.writelines((head, body))
        else:
            self._fail(ConnectionResetError("the connection was closed"))
        return self._answer

    def close(self) -> None:
        """Ends the connection at once."""
        self.is_open = False
        self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.WriteTransport", transport)  # uvloop's is one by its methods alone
        self.is_open = True
        self._watch = self._loop.call_later(self._silence_seconds, self._listen)

    def data_received(self, data: bytes) -> None:
        self.heard_at = time.monotonic()
        try:
            self._parser.feed_data(data)
        except HttpParserError as error:
            self._fail(ConnectionError(f"the answer is no HTTP: {error}"))
            self.close()

    def connection_lost(self, error: Exception | None) -> None:
        self.is_open = False
        self._watch.cancel()
        self._fail(error or ConnectionResetError("the connection was closed before the whole answer"))

    def on_header(self, name: bytes, value: bytes) -> None:
        """Called by the parser."""
        self._headers[name.lower()] = value

    def on_body(self, data: bytes) -> None:
        """Called by the parser."""
        self._body.append(data)

    def on_message_complete(self) -> None:
        """Called by the parser, before it takes bytes that follow the answer."""
        if self._parser.get_status_code() < 200:  # noqa: PLR2004 - an interim answer: the real one follows
            self._headers = {}
            return
        if self._answer is None or self._answer.done():
            self.close()  # nobody asked
            return
        body = self._body[0] if len(self._body) == 1 else b"".join(self._body)
        if not self._parser.should_keep_alive():
            self.close()
        self._answer.set_result(Response(self._parser.get_status_code(), self._headers, body))
        self._body = []

    def _listen(self) -> None:
        """Gives the connection up after so much silence; one timer for all its requests."""
        silent = time.monotonic() - self.heard_at
        if self._answer is not None and not self._answer.done() and silent >= self._silence_seconds:
            self._fail(TimeoutError(f"no answer within {self._silence_seconds:g} s"))
            self.close()
        else:
            left = self._silence_seconds - silent
            self._watch = self._loop.call_later(left if left > 0 else self._silence_seconds, self._listen)

    def _fail(self, error: Exception) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(error)
