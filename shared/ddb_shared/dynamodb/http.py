"""POSTs to one host over kept-alive HTTP/1.1 connections: the part of HTTP that the data plane needs.

aiohttp's client takes 57 µs of CPU for a request and its response, this one 15; joining and signing the 25 items of a
batch take 13 together (measured with `scripts/bench`). Responses are parsed by httptools, a binding of Node.js's
parser.
"""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Final, NamedTuple, cast
from urllib.parse import urlsplit

from httptools import HttpParserError, HttpResponseParser

from ddb_shared.dynamodb.proxy import Proxy, Tunnel

CONNECT_TIMEOUT_SECONDS: Final = 5.0
# A page of 1 MB arrives within a second; half a minute without a byte means that the connection is dead.
READ_TIMEOUT_SECONDS: Final = 30.0
# Before the service, or something in between, drops the connection silently.
MAX_IDLE_SECONDS: Final = 20.0

BeforeSending = Callable[[], Awaitable[None]]

_DEFAULT_PORTS: Final = {"http": 80, "https": 443}


class HttpResponse(NamedTuple):
    """A complete response; the names of its headers are in lower case."""

    status: int
    headers: dict[bytes, bytes]
    body: bytes


class Http:
    """POSTs to the root of one host, one at a time per connection; connections are reused.

    `host` is the Host header of requests, which is signed: with the port unless it is the default of the scheme.
    `before_sending` is awaited directly before each request is sent; it raises an exception to prevent that.
    """

    def __init__(
        self,
        url: str,
        connections: int,
        read_timeout_seconds: float,
        ca_bundle: str | None,
        *,
        proxy: Proxy | None = None,
        before_sending: BeforeSending | None = None,
    ) -> None:
        parts = urlsplit(url)
        self._name = parts.hostname or ""
        self._port = parts.port or _DEFAULT_PORTS[parts.scheme]
        self._tls = ssl.create_default_context(cafile=ca_bundle) if parts.scheme == "https" else None
        name = f"[{self._name}]" if ":" in self._name else self._name
        self.host = name if self._port == _DEFAULT_PORTS[parts.scheme] else f"{name}:{self._port}"
        self._proxy = proxy
        self._proxy_tls = ssl.create_default_context(cafile=ca_bundle) if proxy and proxy.is_tls else None
        through_proxy = proxy is not None and self._tls is None
        target = f"http://{self.host}/" if through_proxy else "/"
        # without compression, since x-amz-crc32 covers the bytes as sent
        self._head = f"POST {target} HTTP/1.1\r\n{proxy.headers if proxy and through_proxy else ''}Host: {self.host}\r\nUser-Agent: ddb-transfer\r\nAccept-Encoding: identity\r\n"
        self._free = asyncio.Semaphore(connections)
        self._read_timeout_seconds = read_timeout_seconds
        self._before_sending = before_sending
        self._idle: list[_Connection] = []

    async def post(self, headers: Mapping[str, str], body: bytes) -> HttpResponse:
        """The response to one POST. Raises ConnectionError or TimeoutError; the request may have arrived all the same."""
        lines = "".join([f"{name}: {value}\r\n" for name, value in headers.items()])
        head = f"{self._head}Content-Length: {len(body)}\r\n{lines}\r\n".encode("latin-1")
        async with self._free:
            connection = self._take_idle() or await self._connect()
            try:
                if self._before_sending:
                    await self._before_sending()
                response = await connection.exchange(head, body)
            except BaseException:
                connection.close()  # a late response would be taken for that of the next request
                raise
            if connection.is_open:
                self._idle.append(connection)
            return response

    def close(self) -> None:
        """Closes the idle connections."""
        while self._idle:
            self._idle.pop().close()

    def _take_idle(self) -> _Connection | None:
        """The connection that was used last; the others have been idle for longer."""
        if self._idle and (connection := self._idle.pop()).is_open:
            if time.monotonic() - connection.active_at < MAX_IDLE_SECONDS:
                return connection
            connection.close()
            self.close()
        return None

    async def _connect(self) -> _Connection:
        to = f"{self._proxy.host}:{self._proxy.port} (proxy)" if self._proxy else self.host
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_SECONDS):
                if self._proxy and self._tls:
                    return await self._connect_through(self._proxy, self._tls)
                return await self._connect_directly()
        except TimeoutError as error:
            raise ConnectionError(f"no connection to {to} within {CONNECT_TIMEOUT_SECONDS:.0f} s") from error
        except OSError as error:
            raise ConnectionError(f"no connection to {to}: {error}") from error

    async def _connect_directly(self) -> _Connection:
        """Connects to the host, or to the proxy that forwards plain HTTP to it."""
        loop = asyncio.get_running_loop()
        name, port, tls = self._name, self._port, self._tls
        if self._proxy:
            name, port, tls = self._proxy.host, self._proxy.port, self._proxy_tls
        _, connection = await loop.create_connection(
            lambda: _Connection(loop, self._read_timeout_seconds), name, port, ssl=tls
        )
        return connection

    async def _connect_through(self, proxy: Proxy, tls: ssl.SSLContext) -> _Connection:
        """Connects with TLS to the host through a tunnel of the proxy, which sees only the host's name."""
        loop = asyncio.get_running_loop()
        name = f"[{self._name}]" if ":" in self._name else self._name
        transport, tunnel = await loop.create_connection(
            lambda: Tunnel(proxy, f"{name}:{self._port}"), proxy.host, proxy.port, ssl=self._proxy_tls
        )
        try:
            await tunnel.wait_until_open()
            connection = _Connection(loop, self._read_timeout_seconds)
            secured = await loop.start_tls(transport, connection, tls, server_hostname=self._name)
        except BaseException:
            transport.abort()
            raise
        if secured is None:  # closed in the meantime
            raise ConnectionResetError("the connection was closed")
        connection.connection_made(secured)
        return connection


@asynccontextmanager
async def open_http(
    url: str,
    connections: int,
    *,
    read_timeout_seconds: float = READ_TIMEOUT_SECONDS,
    ca_bundle: str | None = None,
    proxy_url: str | None = None,
    before_sending: BeforeSending | None = None,
) -> AsyncIterator[Http]:
    """A client for the host of `url` with at most `connections` connections, each with a buffer of 256 KiB.

    `ca_bundle` is a file of certificates to trust instead of the system's, `proxy_url` the proxy to use.
    """
    proxy = Proxy.of(proxy_url) if proxy_url else None
    http = Http(url, connections, read_timeout_seconds, ca_bundle, proxy=proxy, before_sending=before_sending)
    try:
        yield http
    finally:
        http.close()


class _Connection(asyncio.Protocol):
    """One connection with one request at a time, and the parser's callbacks for its response."""

    def __init__(self, loop: asyncio.AbstractEventLoop, read_timeout_seconds: float) -> None:
        self._loop = loop
        self._read_timeout_seconds = read_timeout_seconds
        self._parser = HttpResponseParser(self)
        self._response: asyncio.Future[HttpResponse] | None = None
        self._headers: dict[bytes, bytes] = {}
        self._body: list[bytes] = []
        self.is_open = False
        self.active_at = time.monotonic()

    def exchange(self, head: bytes, body: bytes) -> asyncio.Future[HttpResponse]:
        """Sends a request; returns the future of its response."""
        self._headers, self._body = {}, []
        self._response = self._loop.create_future()
        if self.is_open:
            self.active_at = time.monotonic()
            self._transport.writelines((head, body))
        else:
            self._fail(ConnectionResetError("the connection was closed"))
        return self._response

    def close(self) -> None:
        """Closes the connection at once."""
        self.is_open = False
        self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(
            "asyncio.WriteTransport", transport
        )  # uvloop's has the methods but not the type
        self.is_open = True
        self._timer = self._loop.call_later(self._read_timeout_seconds, self._check_timeout)

    def data_received(self, data: bytes) -> None:
        self.active_at = time.monotonic()
        try:
            self._parser.feed_data(data)
        except HttpParserError as error:
            self._fail(ConnectionError(f"the response is not HTTP: {error}"))
            self.close()

    def connection_lost(self, error: Exception | None) -> None:
        self.is_open = False
        self._timer.cancel()
        self._fail(
            error or ConnectionResetError("the connection was closed before the response was complete")
        )

    def on_header(self, name: bytes, value: bytes) -> None:
        """Called by the parser."""
        self._headers[name.lower()] = value

    def on_body(self, data: bytes) -> None:
        """Called by the parser."""
        self._body.append(data)

    def on_message_complete(self) -> None:
        """Called by the parser, before it reads bytes after the response."""
        if self._parser.get_status_code() < 200:  # noqa: PLR2004 - an interim response: the final one follows
            self._headers = {}
            return
        if self._response is None or self._response.done():
            self.close()  # unsolicited
            return
        body = self._body[0] if len(self._body) == 1 else b"".join(self._body)
        if not self._parser.should_keep_alive():
            self.close()
        self._response.set_result(HttpResponse(self._parser.get_status_code(), self._headers, body))
        self._body = []

    def _check_timeout(self) -> None:
        """Closes the connection after the read timeout; one timer for all its requests."""
        idle = time.monotonic() - self.active_at
        if self._response is not None and not self._response.done() and idle >= self._read_timeout_seconds:
            self._fail(TimeoutError(f"no response within {self._read_timeout_seconds:g} s"))
            self.close()
        else:
            left = self._read_timeout_seconds - idle
            self._timer = self._loop.call_later(
                left if left > 0 else self._read_timeout_seconds, self._check_timeout
            )

    def _fail(self, error: Exception) -> None:
        if self._response is not None and not self._response.done():
            self._response.set_exception(error)
