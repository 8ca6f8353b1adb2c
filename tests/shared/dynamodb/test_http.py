"""The HTTP client against a server that answers byte by byte as a test says."""

import asyncio
import ssl
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

import pytest
import trustme
import uvloop

from ddb_shared.dynamodb.http import READ_TIMEOUT_SECONDS, Http, HttpResponse, open_http
from ddb_shared.dynamodb.proxy import Proxy
from support.connect_proxy import ConnectProxy, connect_proxy

Result = TypeVar("Result")

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class Server:
    """Gives each request the next answer of the script, its pieces apart; None closes the connection."""

    def __init__(self, *script: list[bytes | None]) -> None:
        self.script = list(script)
        self.connections = 0
        self.requests: list[bytes] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0])
                self.requests.append(head + await reader.readexactly(length))
                for piece in self.script.pop(0):
                    if piece is None:
                        return
                    writer.write(piece)
                    await writer.drain()
                    await asyncio.sleep(0)
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass
        finally:
            writer.close()


def run(
    act: Callable[[Http], Awaitable[Result]],
    *script: list[bytes | None],
    read_timeout_seconds: float = READ_TIMEOUT_SECONDS,
    connections: int = 4,
) -> tuple[Result, Server]:
    server = Server(*script)

    async def main() -> Result:
        async with await asyncio.start_server(server.serve, "127.0.0.1", 0) as listening:
            port = listening.sockets[0].getsockname()[1]
            url = f"http://127.0.0.1:{port}"
            async with open_http(url, connections, read_timeout_seconds=read_timeout_seconds) as http:
                return await act(http)

    return asyncio.run(main()), server


async def ask(http: Http) -> HttpResponse:
    return await http.post({"X-Amz-Target": "T"}, b"{}")


async def ask_twice(http: Http) -> list[bytes]:
    return [(await ask(http)).body, (await ask(http)).body]


def test_a_request_says_what_it_must() -> None:
    """One POST to the root with the host as it is signed, the length, and no wish for compression."""
    got, server = run(ask, [OK])
    assert (200, b"ok") == (got.status, got.body)
    head, _, body = server.requests[0].partition(b"\r\n\r\n")
    lines = head.split(b"\r\n")
    assert lines[0] == b"POST / HTTP/1.1"
    assert lines[1].startswith(b"Host: 127.0.0.1:")
    assert {b"Accept-Encoding: identity", b"Content-Length: 2", b"X-Amz-Target: T"} <= set(lines)
    assert body == b"{}"


@pytest.mark.parametrize(
    "pieces",
    [
        [OK],
        [OK[i : i + 1] for i in range(len(OK))],
        [b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\no\r\n1\r\nk\r\n0\r\n\r\n"],
        [b"HTTP/1.1 100 Continue\r\n\r\n", OK],
    ],
)
def test_an_answer_may_come_in_any_pieces(pieces: list[bytes | None]) -> None:
    """By the byte, in chunks, after an interim answer; and the connection serves the next request."""
    got, server = run(ask_twice, pieces, [OK])
    assert [b"ok", b"ok"] == got
    assert server.connections == 1


def test_names_of_headers_are_in_lower_case() -> None:
    """Services and proxies spell them as they like."""
    got, _ = run(ask, [b"HTTP/1.1 400 Bad\r\nX-Amz-CRC32: 7\r\nContent-Length: 0\r\n\r\n"])
    assert (400, b"7", b"") == (got.status, got.headers[b"x-amz-crc32"], got.body)


@pytest.mark.parametrize(
    "first",
    [
        [b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok"],
        [OK, None],
        [OK + OK],
    ],
)
def test_a_connection_that_ended_is_not_used_again(first: list[bytes | None]) -> None:
    """By word, by deed, or by an answer that nobody asked for."""

    async def later(http: Http) -> list[bytes]:
        body = (await ask(http)).body
        while http._idle and http._idle[0].is_open:  # noqa: ASYNC110 - the end of a connection is no event
            await asyncio.sleep(0.01)
        return [body, (await ask(http)).body]

    got, server = run(later, first, [OK])
    assert [b"ok", b"ok"] == got
    assert server.connections == 2


@pytest.mark.parametrize(
    ("pieces", "message"),
    [
        ([None], "closed before the response was complete"),
        ([OK[:-1], None], "closed before the response was complete"),
        ([b"SSH-2.0\r\n"], "not HTTP"),
    ],
)
def test_half_an_answer_is_an_error(pieces: list[bytes | None], message: str) -> None:
    """It is never taken for a whole one."""

    async def fail(http: Http) -> None:
        with pytest.raises(ConnectionError, match=message):
            await ask(http)

    run(fail, pieces)


def test_silence_ends_a_request_and_its_connection() -> None:
    """What comes late must not answer the next request."""

    async def act(http: Http) -> bytes:
        with pytest.raises(TimeoutError, match=r"no response within 0\.1 s"):
            await ask(http)
        return (await ask(http)).body

    got, server = run(act, [], [OK], read_timeout_seconds=0.1)
    assert got == b"ok"
    assert server.connections == 2


def test_silence_ends_a_later_request_too() -> None:
    """A connection is watched for as long as it is open, not for its first request alone."""

    async def act(http: Http) -> None:
        assert (await ask(http)).body == b"ok"
        (connection,) = http._idle
        first = connection._timer
        async with asyncio.timeout(30):
            while connection._timer is first:  # noqa: ASYNC110 - that a timer has looked is no event
                await asyncio.sleep(0.01)
            with pytest.raises(TimeoutError, match=r"no response within 0\.1 s"):
                await ask(http)

    _, server = run(act, [OK], [], read_timeout_seconds=0.1)
    assert server.connections == 1


def test_a_cancelled_request_takes_its_connection_along() -> None:
    """Its answer would be the next request's."""
    server = Server([], [OK])

    async def act(http: Http) -> bytes:
        request = asyncio.create_task(ask(http))
        while not server.requests:  # noqa: ASYNC110 - the server knows of no event
            await asyncio.sleep(0.01)
        request.cancel()
        with pytest.raises(asyncio.CancelledError):
            await request
        return (await ask(http)).body

    async def main() -> bytes:
        async with await asyncio.start_server(server.serve, "127.0.0.1", 0) as listening:
            port = listening.sockets[0].getsockname()[1]
            async with open_http(f"http://127.0.0.1:{port}", 1) as http:
                return await act(http)

    assert asyncio.run(main()) == b"ok"
    assert server.connections == 2


def test_no_more_connections_than_allowed() -> None:
    """Requests beyond them wait for their turn."""

    async def act(http: Http) -> list[bytes]:
        return [answer.body for answer in await asyncio.gather(*(ask(http) for _ in range(6)))]

    script: list[list[bytes | None]] = [[OK]] * 6
    got, server = run(act, *script, connections=2)
    assert [b"ok"] * 6 == got
    assert server.connections == 2


def test_tls_trusts_whom_it_is_told_to_trust(tmp_path: Path) -> None:
    """The bundle's certificates and nobody else's; a stranger is refused before anything is sent."""
    authority = trustme.CA()
    bundle = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(bundle)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    server = Server([OK])

    async def main() -> bytes:
        async with await asyncio.start_server(server.serve, "127.0.0.1", 0, ssl=context) as listening:
            url = f"https://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
            async with open_http(url, 1) as strict:
                with pytest.raises(ConnectionError, match="certificate"):
                    await ask(strict)
            async with open_http(url, 1, ca_bundle=str(bundle)) as http:
                return (await ask(http)).body

    assert asyncio.run(main()) == b"ok"
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("https://dynamodb.eu-west-1.amazonaws.com", "dynamodb.eu-west-1.amazonaws.com"),
        ("https://dynamodb.eu-west-1.amazonaws.com:443/", "dynamodb.eu-west-1.amazonaws.com"),
        ("http://localhost:8000", "localhost:8000"),
        ("http://[::1]:8000", "[::1]:8000"),
    ],
)
def test_the_host_is_as_it_is_signed(url: str, host: str) -> None:
    """With its port unless that is the scheme's own."""

    async def main() -> str:
        async with open_http(url, 1) as http:
            return http.host

    assert asyncio.run(main()) == host


LOGIN = "user:pass"
LoopFactory = Callable[[], asyncio.AbstractEventLoop]
LOOPS: list[LoopFactory] = [asyncio.new_event_loop, uvloop.new_event_loop]


def through_proxy(
    tmp_path: Path,
    *,
    tls: bool,
    login: str = LOGIN,
    asked_with: str = LOGIN,
    loop_factory: LoopFactory = asyncio.new_event_loop,
) -> tuple[list[bytes], ConnectProxy, Server, str]:
    """Two requests to a server, one after another, through a proxy; also the server's own URL."""
    authority = trustme.CA()
    bundle = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(bundle)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    server = Server([OK], [OK])

    async def main() -> tuple[list[bytes], ConnectProxy, Server, str]:
        listening = await asyncio.start_server(server.serve, "127.0.0.1", 0, ssl=context if tls else None)
        async with listening, connect_proxy(login) as proxy:
            url = f"{'https' if tls else 'http'}://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
            proxy_url = proxy.url.replace(login, asked_with)
            async with open_http(url, 1, ca_bundle=str(bundle), proxy_url=proxy_url) as http:
                return await ask_twice(http), proxy, server, url

    with asyncio.Runner(loop_factory=loop_factory) as runner:
        return runner.run(main())


def test_plain_requests_go_to_the_proxy_in_absolute_form(tmp_path: Path) -> None:
    """With the proxy's password, over one kept-alive connection."""
    got, proxy, server, url = through_proxy(tmp_path, tls=False)
    assert got == [b"ok", b"ok"]
    assert proxy.lines == [f"POST {url}/ HTTP/1.1"]
    assert b"\r\nHost: " + url.removeprefix("http://").encode() in server.requests[0]


@pytest.mark.parametrize("loop_factory", LOOPS, ids=["asyncio", "uvloop"])
def test_tls_goes_through_a_tunnel_of_the_proxy(tmp_path: Path, loop_factory: LoopFactory) -> None:
    """The proxy sees the host's name and nothing else; the server does not see the proxy's password."""
    got, proxy, server, url = through_proxy(tmp_path, tls=True, loop_factory=loop_factory)
    assert got == [b"ok", b"ok"]
    assert proxy.lines == [f"CONNECT {url.removeprefix('https://')} HTTP/1.1"]
    assert all(request.startswith(b"POST / HTTP/1.1\r\n") for request in server.requests)
    assert not any(b"Proxy-Authorization" in request for request in server.requests)


def test_a_proxy_that_refuses_is_named(tmp_path: Path) -> None:
    """With its answer, and without its password."""
    with pytest.raises(
        ConnectionError, match=r"the proxy 127\.0\.0\.1:\d+ responded 'HTTP/1\.1 407"
    ) as caught:
        through_proxy(tmp_path, tls=True, asked_with="user:wrong")
    assert "wrong" not in str(caught.value)
    assert "wrong" not in repr(Proxy.of("http://user:wrong@proxy:1"))


def test_what_forbids_to_send_is_asked_directly_before_each_request() -> None:
    """Once a connection is there: a lease that was lost while it was made, or while others used it, stops the request."""
    server, asked = Server([OK], [OK]), []

    class LostError(Exception):
        """Stands for a lost lease."""

    async def before_sending() -> None:
        asked.append((server.connections, len(server.requests)))
        if len(asked) == 3:
            raise LostError

    async def main() -> None:
        async with await asyncio.start_server(server.serve, "127.0.0.1", 0) as listening:
            url = f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
            async with open_http(url, 1, before_sending=before_sending) as http:
                await ask(http)
                await ask(http)
                with pytest.raises(LostError):
                    await ask(http)

    asyncio.run(main())
    assert [0, 1, 2] == [requests for _, requests in asked]
    assert len(server.requests) == 2
