"""Access to a service through an HTTP proxy: absolute-form requests for plain HTTP, a CONNECT tunnel for TLS.

https://www.rfc-editor.org/rfc/rfc9112#section-3.2.2 and https://www.rfc-editor.org/rfc/rfc9110#section-9.3.6
"""

from __future__ import annotations

import asyncio
import base64
from dataclasses import dataclass, field
from typing import Final, cast
from urllib.parse import unquote, urlsplit

_DEFAULT_PORTS: Final = {"http": 80, "https": 443}
# A proxy's response to CONNECT is a few headers.
_MAX_RESPONSE_BYTES: Final = 64 * 1024


@dataclass(frozen=True, slots=True)
class Proxy:
    """A proxy's address; `headers` are sent with each request, such as its password. Its repr shows no secret."""

    host: str
    port: int
    is_tls: bool
    headers: str = field(default="", repr=False)

    @classmethod
    def of(cls, url: str) -> Proxy:
        """The proxy of a URL such as `http://user:password@proxy:3128`, whose parts may be percent-encoded."""
        parts = urlsplit(url)
        is_tls = parts.scheme == "https"
        port = parts.port or _DEFAULT_PORTS["https" if is_tls else "http"]
        headers = ""
        if parts.username and parts.password is not None:
            login = f"{unquote(parts.username)}:{unquote(parts.password)}".encode()
            headers = f"Proxy-Authorization: Basic {base64.b64encode(login).decode()}\r\n"
        return cls(parts.hostname or "", port, is_tls, headers)


class Tunnel(asyncio.Protocol):
    """Asks a proxy for a connection to a host; TLS takes over the connection afterwards."""

    def __init__(self, proxy: Proxy, authority: str) -> None:
        self._proxy = proxy
        self._authority = authority
        self._response = b""
        self._opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def wait_until_open(self) -> None:
        """Returns once the proxy has connected; raises ConnectionError if it refuses."""
        await self._opened

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        request = (
            f"CONNECT {self._authority} HTTP/1.1\r\nHost: {self._authority}\r\n{self._proxy.headers}\r\n"
        )
        cast("asyncio.WriteTransport", transport).write(request.encode("latin-1"))

    def data_received(self, data: bytes) -> None:
        self._response += data
        if b"\r\n\r\n" in self._response:
            status = self._response.partition(b"\r\n")[0].decode("latin-1")
            self._end(None if status[8:11] == " 20" else f"responded {status!r} to CONNECT {self._authority}")
        elif len(self._response) > _MAX_RESPONSE_BYTES:
            self._end("does not respond with HTTP")

    def connection_lost(self, error: Exception | None) -> None:  # noqa: ARG002 - whatever the error, there is no tunnel
        self._end("closed the connection")

    def _end(self, problem: str | None) -> None:
        if self._opened.done():
            return
        if problem is None:
            self._opened.set_result(None)
        else:
            self._opened.set_exception(
                ConnectionError(f"the proxy {self._proxy.host}:{self._proxy.port} {problem}")
            )
