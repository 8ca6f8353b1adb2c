"""A small real HTTP proxy on loopback: CONNECT tunnels and absolute-form requests, with a password if one is set."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from urllib.parse import urlsplit


@dataclass
class ConnectProxy:
    """A running proxy; `lines` are the request lines that it was asked with."""

    login: str = ""
    url: str = ""
    lines: list[str] = field(default_factory=list)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection of a client: a tunnel, or one request after another to the same host."""
        upstream: asyncio.StreamWriter | None = None
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            line = head.partition(b"\r\n")[0].decode()
            self.lines.append(line)
            expected = f"Proxy-Authorization: Basic {base64.b64encode(self.login.encode()).decode()}"
            if self.login and expected.encode() not in head:
                writer.write(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")
                return
            method, target, _ = line.split()
            url = urlsplit(f"//{target}" if method == "CONNECT" else target)
            upstream_reader, upstream = await asyncio.open_connection(url.hostname, url.port)
            if method == "CONNECT":
                writer.write(b"HTTP/1.1 200 Connection established\r\nVia: test\r\n\r\n")
            else:
                upstream.write(
                    head.replace(target.encode(), (url.path or "/").encode(), 1)
                )  # the later ones as they are
            await asyncio.gather(self._copy(reader, upstream), self._copy(upstream_reader, writer))
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            for end in (writer, upstream):
                if end:
                    end.close()

    async def _copy(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
        writer.close()


@asynccontextmanager
async def connect_proxy(login: str = "") -> AsyncIterator[ConnectProxy]:
    """A proxy on a free port until the block ends; `login` is `user:password`."""
    proxy = ConnectProxy(login)
    async with await asyncio.start_server(proxy.serve, "127.0.0.1", 0) as server:
        user = f"{login}@" if login else ""
        proxy.url = f"http://{user}127.0.0.1:{server.sockets[0].getsockname()[1]}"
        yield proxy
