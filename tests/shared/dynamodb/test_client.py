"""The wire against a server that answers as a script says: what it retries, counts, corrects and parses."""

import asyncio
import email.utils
import random
import socket
import struct
import zlib
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, TypeVar

import msgspec
import pytest
from aiohttp import web

from ddb_shared.dynamodb.client import Client
from ddb_shared.dynamodb.http import READ_TIMEOUT_SECONDS, open_http
from ddb_shared.dynamodb.messages import scan_request
from ddb_shared.dynamodb.rate import RateLimiter
from ddb_shared.dynamodb.sigv4 import Credentials
from ddb_shared.errors import RequestError
from ddb_shared.retry import POLICIES, FailureKind

Result = TypeVar("Result")
Answerer = Callable[[web.Request], Awaitable[web.StreamResponse]]

NOW = 1_700_000_000.0
PAGE = {
    "Items": [{"pk": {"S": "a"}}],
    "Count": 1,
    "ConsumedCapacity": {"TableName": "T", "CapacityUnits": 0.5},
}
REASON = {
    "reason": "TableWriteKeyRangeThroughputExceeded",
    "resource": "arn:aws:dynamodb:eu-west-1:1:table/T",
}


def answer(body: object, status: int = 200, *, crc: int | None = -1, date: float = NOW) -> Answerer:
    """An answer with its right checksum, unless `crc` gives another or None."""
    data = body if isinstance(body, bytes) else msgspec.json.encode(body)
    headers = {"Date": email.utils.formatdate(date, usegmt=True)}
    if crc is not None:
        headers["x-amz-crc32"] = str(zlib.crc32(data) if crc == -1 else crc)

    async def respond(_: web.Request) -> web.StreamResponse:
        return web.Response(status=status, body=data, headers=headers)

    return respond


def error(
    code: str,
    message: str = "no",
    status: int = 400,
    *,
    date: float = NOW,
    more: dict[str, Any] | None = None,
) -> Answerer:
    """An error in DynamoDB's form."""
    body = {"__type": f"com.amazonaws.dynamodb.v20120810#{code}", "message": message} | (more or {})
    return answer(body, status, date=date)


async def reset(request: web.Request) -> web.StreamResponse:
    """Ends the connection with RST instead of an answer."""
    assert request.transport is not None
    end = request.transport.get_extra_info("socket")
    end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    request.transport.abort()
    return web.Response()


async def half(request: web.Request) -> web.StreamResponse:
    """Sends half of what its length announces and closes."""
    data = msgspec.json.encode(PAGE)
    response = web.StreamResponse(headers={"Content-Length": str(len(data))})
    await response.prepare(request)
    await response.write(data[: len(data) // 2])
    assert request.transport is not None
    request.transport.close()
    return response


@dataclass
class CountingProvider:
    """Credentials that count their renewals and say which ones they are in their access key."""

    renewals: int = 0

    async def current_credentials(self) -> Credentials:
        return Credentials(f"KEY{self.renewals}", "secret", "token")

    async def renew(self) -> None:
        self.renewals += 1


class Clock:
    """A clock that only its own sleep advances."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.now += seconds


def quick_pace() -> RateLimiter:
    """A pace that takes no real time."""
    clock = Clock()
    return RateLimiter(clock=clock, sleep=clock.sleep)


@dataclass
class Lab:
    """A wire and the server that it talks to; `requests` are those that arrived, `waits` the backoffs."""

    script: list[Answerer]
    credentials: CountingProvider = field(default_factory=CountingProvider)
    requests: list[tuple[Any, bytes]] = field(default_factory=list)
    waits: list[float] = field(default_factory=list)
    client: Client = field(init=False)
    _runner: web.AppRunner = field(init=False)

    async def respond(self, request: web.Request) -> web.StreamResponse:
        self.requests.append((request.headers.copy(), await request.read()))
        assert self.script, "more requests than the script has answers"
        next_answer = self.script[0] if len(self.script) == 1 else self.script.pop(0)
        return await next_answer(request)

    async def sleep(self, seconds: float) -> None:
        self.waits.append(seconds)

    @property
    def stamps(self) -> list[str]:
        return [headers["X-Amz-Date"] for headers, _ in self.requests]


def run(
    act: Callable[[Lab], Awaitable[Result]],
    *script: Answerer,
    read_timeout_seconds: float = READ_TIMEOUT_SECONDS,
) -> tuple[Result, Lab]:
    """Runs `act` with a wire whose server gives these answers, the last one for ever."""
    lab = Lab(list(script))

    async def main() -> Result:
        application = web.Application()
        application.router.add_post("/", lab.respond)
        runner = web.AppRunner(application, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        port = runner.addresses[0][1]
        try:
            async with open_http(
                f"http://127.0.0.1:{port}", 4, read_timeout_seconds=read_timeout_seconds
            ) as http:
                lab.client = Client(
                    http=http,
                    region="eu-west-1",
                    credential_provider=lab.credentials,
                    rate_limiter=quick_pace(),
                    rng=random.Random(1),
                    clock=lambda: NOW,
                    sleep=lab.sleep,
                )
                return await act(lab)
        finally:
            await runner.cleanup()

    return asyncio.run(main()), lab


async def scan(lab: Lab) -> list[bytes]:
    return [bytes(item) for item in (await lab.client.scan(b'{"TableName":"T"}')).items]


async def scan_error(lab: Lab) -> RequestError:
    with pytest.raises(RequestError) as caught:
        await lab.client.scan(b"{}")
    return caught.value


ITEMS = [b'{"pk":{"S":"a"}}']


def test_an_item_is_the_very_bytes_of_the_answer() -> None:
    """Spaces, escapes and the order of attributes come through: items are split, not parsed."""
    item = b'{ "b" : {"S":"\\u00e9"},\n "a":{"N":"1E5"} }'
    got, _ = run(scan, answer(b'{"Count":1,"Items":[' + item + b'],"New":{"x":[1]}}'))
    assert [item] == got


@pytest.mark.parametrize(
    ("first", "code"),
    [
        (answer(PAGE, crc=1), "checksum"),
        (reset, "connection"),
        (half, "connection"),
        (answer(b'{"Items":[{"pk"'), "malformed"),
        (answer(b"<html>", crc=None), "malformed"),
        (answer(b'{"LastEvaluatedKey":{"pk":{"S":"\xff"}}}'), "malformed"),
        (error("InternalServerError", status=500), "InternalServerError"),
        (error("ServiceUnavailable", status=503), "ServiceUnavailable"),
        (answer(b"<html>bad gateway</html>", 502, crc=None), "HTTP 502"),
        (answer(b"", 504, crc=None), "HTTP 504"),
        (answer(b'{"message":"\xff"}', 500, crc=None), "HTTP 500"),
    ],
)
def test_what_is_transient_is_tried_again_and_counted(first: Answerer, code: str) -> None:
    """Broken answers, broken connections and server errors cost a retry with a backoff, not the run."""
    got, lab = run(scan, first, first, answer(PAGE))
    assert ITEMS == got
    assert Counter({code: 2}) == lab.client.retried
    assert Counter() == lab.client.throttled
    assert len(lab.waits) == 2


def test_an_answer_without_a_checksum_is_accepted() -> None:
    """Some emulators and proxies send none."""
    got, lab = run(scan, answer(PAGE, crc=None))
    assert ITEMS == got
    assert len(lab.requests) == 1


def test_a_checksum_is_over_the_bytes_on_the_wire() -> None:
    """Plain answers are asked for, so nothing may change them on their way."""
    _, lab = run(scan, answer(PAGE))
    headers, _ = lab.requests[0]
    assert headers["Accept-Encoding"] == "identity"


def test_silence_is_a_timeout_and_is_tried_again() -> None:
    """A connection that is dead without a word is given up."""

    async def hang(_: web.Request) -> web.StreamResponse:
        await asyncio.sleep(30)
        return web.Response()

    got, lab = run(scan, hang, answer(PAGE), read_timeout_seconds=0.2)
    assert ITEMS == got
    assert Counter({"timeout": 1}) == lab.client.retried


def test_a_port_that_nobody_serves_is_tried_as_often_as_the_policy_says() -> None:
    """And the error names the address, for the user to see that it is the wrong one."""

    async def main() -> tuple[RequestError, Counter[str]]:
        with socket.socket() as taken:  # bound, but not listening
            taken.bind(("127.0.0.1", 0))
            url = f"http://127.0.0.1:{taken.getsockname()[1]}"
            async with open_http(url, 1) as http:
                client = Client(
                    http=http,
                    region="eu-west-1",
                    credential_provider=CountingProvider(),
                    rate_limiter=quick_pace(),
                    sleep=lambda _: asyncio.sleep(0),
                )
                with pytest.raises(RequestError, match=url.removeprefix("http://")) as caught:
                    await client.scan(b"{}")
                return caught.value, client.retried

    failed, retried = asyncio.run(main())
    assert failed.code == "connection"
    assert POLICIES[FailureKind.TRANSIENT].attempts == retried["connection"]


@pytest.mark.parametrize(
    ("code", "member"),
    [
        ("ProvisionedThroughputExceededException", "ThrottlingReasons"),
        ("ThrottlingException", "throttlingReasons"),
        ("RequestLimitExceeded", "ThrottlingReasons"),
    ],
)
def test_throttling_is_counted_by_its_reasons(code: str, member: str) -> None:
    """Each of the three codes gives its reasons, ThrottlingException in lower case; a user sees why it is slow."""
    got, lab = run(scan, error(code, more={member: [REASON]}), error(code), answer(PAGE))
    assert ITEMS == got
    assert Counter({"TableWriteKeyRangeThroughputExceeded": 1, code: 1}) == lab.client.throttled
    assert Counter() == lab.client.retried


@pytest.mark.parametrize(
    "reasons",
    [[{"reason": "R", "resource": None}], [{"reason": None}], None, [], [{}], [{"resource": "arn"}]],
)
def test_reasons_of_another_form_leave_throttling_what_it_is(reasons: object) -> None:
    """A member that is not as documented must not turn a refusal that passes into a failure."""
    got, lab = run(scan, error("ThrottlingException", more={"throttlingReasons": reasons}), answer(PAGE))
    assert ITEMS == got
    assert lab.client.throttled in (Counter({"R": 1}), Counter({"ThrottlingException": 1}))


@pytest.mark.parametrize(
    ("first", "kind", "code"),
    [
        (error("InternalServerError", status=500), FailureKind.TRANSIENT, "InternalServerError"),
        (error("ServiceUnavailable", status=503), FailureKind.TRANSIENT, "ServiceUnavailable"),
        (error("ThrottlingException"), FailureKind.THROTTLED, "ThrottlingException"),
        (error("ExpiredTokenException"), FailureKind.EXPIRED, "ExpiredTokenException"),
        (
            error("InvalidSignatureException", "Signature expired: x"),
            FailureKind.SKEWED,
            "InvalidSignatureException",
        ),
    ],
)
def test_each_kind_is_tried_as_often_as_its_policy_says(
    first: Answerer, kind: FailureKind, code: str
) -> None:
    """And the last error comes out, with its code."""
    failed, lab = run(scan_error, first)
    assert code == failed.code
    assert POLICIES[kind].attempts == len(lab.requests)
    assert len(lab.waits) == len(lab.requests) - 1
    assert all(wait <= POLICIES[kind].cap_seconds for wait in lab.waits)


def test_one_kind_of_error_does_not_use_up_the_tries_of_another() -> None:
    """Throttling for minutes leaves a broken connection all of its retries."""
    transient = [error("InternalServerError", status=500)] * (POLICIES[FailureKind.TRANSIENT].attempts - 1)
    throttled = [error("ThrottlingException")] * (POLICIES[FailureKind.THROTTLED].attempts - 1)
    got, _ = run(scan, *transient, *throttled, answer(PAGE))
    assert ITEMS == got


@pytest.mark.parametrize(
    "code", ["ValidationException", "AccessDeniedException", "ResourceNotFoundException", "SomethingNew"]
)
def test_what_no_retry_mends_is_asked_once(code: str) -> None:
    """The error has the code without its namespace, the service's words and the status."""
    failed, lab = run(scan_error, error(code, "The words of the service"))
    assert (code, "The words of the service", 400) == (failed.code, failed.message, failed.status)
    assert len(lab.requests) == 1
    assert lab.waits == []


def test_a_message_in_capitals_is_read_too() -> None:
    """AccessDeniedException writes Message."""
    failed, _ = run(scan_error, answer({"__type": "x#AccessDeniedException", "Message": "not you"}, 400))
    assert failed.message == "not you"


def test_an_error_that_is_no_json_tells_what_came() -> None:
    """A proxy's refusal is shown, not hidden."""
    failed, _ = run(scan_error, answer(b"<html>Forbidden by the proxy</html>", 403, crc=None))
    assert failed.code == "HTTP 403"
    assert "Forbidden by the proxy" in failed.message


def test_expired_credentials_are_renewed_before_the_next_try() -> None:
    """The second request is signed with the new ones."""
    got, lab = run(scan, error("ExpiredTokenException"), answer(PAGE))
    assert ITEMS == got
    assert lab.credentials.renewals == 1
    used = [headers["Authorization"].partition("Credential=")[2][:4] for headers, _ in lab.requests]
    assert ["KEY0", "KEY1"] == used


@pytest.mark.parametrize("behind", [-7_200.0, 900.0])
def test_a_wrong_clock_is_corrected_by_the_services_own(behind: float) -> None:
    """The Date of the refusal becomes the time of the next signature, and of those after it."""
    skewed = error("InvalidSignatureException", "Signature expired: x", date=NOW + behind)

    async def twice(lab: Lab) -> None:
        await scan(lab)
        await scan(lab)

    _, lab = run(twice, skewed, answer(PAGE))
    service = email.utils.formatdate(NOW + behind)
    expected = f"{email.utils.parsedate_to_datetime(service):%Y%m%dT%H%M%SZ}"
    assert lab.stamps[0] != expected
    assert [expected] * 2 == lab.stamps[1:]


def test_a_clock_that_is_nearly_right_is_left_alone() -> None:
    """AWS allows five minutes; an answer that was a few seconds under way corrects nothing."""
    _, lab = run(scan, error("InternalServerError", status=500, date=NOW + 20), answer(PAGE))
    assert len(set(lab.stamps)) == 1


def test_the_last_key_goes_into_the_next_request_as_it_came() -> None:
    """Binary, numbers of 38 digits and any text: the scan continues exactly where it was."""
    key = {
        "pk": {"B": "AP/+/w=="},
        "sk": {"N": "-1234567890123456789012345678901234567.8"},
        "é\n": {"S": '"\\\u2028😀'},
    }

    async def pages(lab: Lab) -> bytes:
        page = await lab.client.scan(b"{}")
        return scan_request(
            "T", segment=3, total_segments=7, consistent_read=True, start=page.last_evaluated_key
        )

    request, _ = run(pages, answer(PAGE | {"LastEvaluatedKey": key}))
    assert msgspec.json.decode(request) == {
        "TableName": "T",
        "Segment": 3,
        "TotalSegments": 7,
        "ConsistentRead": True,
        "ReturnConsumedCapacity": "TOTAL",
        "ExclusiveStartKey": key,
    }


def test_a_scan_is_eventually_consistent_unless_asked_otherwise() -> None:
    """The first request has neither ConsistentRead nor a start."""
    request = scan_request("T", segment=0, total_segments=1, consistent_read=False, start=None)
    assert not {"ConsistentRead", "ExclusiveStartKey"} & msgspec.json.decode(request).keys()


def test_an_empty_page_may_have_a_next_one() -> None:
    """Legal, and not the end of the scan."""

    async def page(lab: Lab) -> Any:
        return await lab.client.scan(b"{}")

    got, _ = run(page, answer({"Items": [], "Count": 0, "LastEvaluatedKey": {"pk": {"S": "a"}}}))
    assert got.items == []
    assert got.last_evaluated_key == {"pk": {"S": "a"}}


def test_a_page_that_holds_fewer_items_than_it_says_is_refused() -> None:
    """Count is checked, so that no item gets lost between the service and us."""
    failed, _ = run(scan_error, answer(PAGE | {"Count": 2}))
    assert failed.code == "malformed"


def test_unprocessed_items_come_back_as_bytes_and_are_counted() -> None:
    """What the service left is to be sent again as it is; it shows up among the throttling."""
    put = b'{"PutRequest":{"Item":{"pk":{"B":"AA=="},"n":{"N":"1E5"}}}}'
    body = (
        b'{"UnprocessedItems":{"T":[' + put + b"," + put + b']},"ConsumedCapacity":'
        b'[{"TableName":"T","CapacityUnits":3.0},{"TableName":"U","CapacityUnits":2.0}]}'
    )

    async def write(lab: Lab) -> Any:
        return await lab.client.batch_write(b"{}", 5)

    got, lab = run(write, answer(body))
    assert [put, put] == [bytes(one) for one in got.unprocessed_items["T"]]
    assert got.consumed_units == 5.0
    assert Counter({"UnprocessedItems": 1}) == lab.client.throttled


@pytest.mark.parametrize("body", [{}, {"UnprocessedItems": {}}, {"UnprocessedItems": {"T": []}}])
def test_nothing_unprocessed_has_several_forms(body: object) -> None:
    """AWS and the emulators differ."""

    async def write(lab: Lab) -> Any:
        return await lab.client.batch_write(b"{}", 25)

    got, lab = run(write, answer(body))
    assert got.unprocessed_count == 0
    assert lab.client.throttled.total() == 0


def test_a_failed_condition_is_the_callers_to_judge() -> None:
    """It is no failure of the wire, and not retried."""

    async def put(lab: Lab) -> str:
        with pytest.raises(RequestError) as caught:
            await lab.client.put(b"{}")
        return caught.value.code

    code, lab = run(put, error("ConditionalCheckFailedException"))
    assert code == "ConditionalCheckFailedException"
    assert len(lab.requests) == 1


@pytest.mark.parametrize(
    ("script", "consumed"),
    [
        ([error("ConditionalCheckFailedException")], 3.0),
        ([error("ValidationException")], 0.0),
        (
            [error("InternalServerError", status=500), answer({"ConsumedCapacity": {"CapacityUnits": 7.0}})],
            10.0,
        ),
        ([answer({"ConsumedCapacity": {"CapacityUnits": 7.0}})], 7.0),
    ],
)
def test_what_may_have_been_charged_counts(script: list[Answerer], consumed: float) -> None:
    """A condition that fails costs a write of which the service does not tell, and what broke off may be done."""

    async def put(lab: Lab) -> float:
        counted = 0.0
        adjust = lab.client.rate_limiter.adjust

        def note(*, charged: float, consumed: float, throttled: float) -> None:
            nonlocal counted
            counted += consumed
            adjust(charged=charged, consumed=consumed, throttled=throttled)

        lab.client.rate_limiter.adjust = note  # type: ignore[method-assign]
        lab.client.expect_indexes(2)
        with suppress(RequestError):
            await lab.client.put(b"{}")
        return counted

    counted, _ = run(put, *script)
    assert counted == consumed


def test_a_scan_under_a_small_cap_asks_for_few_items() -> None:
    """One item as long as nothing is known of them, then as many as a quarter of a second has room for."""
    page = {"Items": [{}] * 4, "Count": 4, "ConsumedCapacity": {"CapacityUnits": 2.0}}

    async def limits(lab: Lab) -> list[int | None]:
        found = []
        for cap in (None, 512.0, 511.0):
            client = Client(
                http=lab.client._calls._http,
                region="eu-west-1",
                credential_provider=lab.credentials,
                rate_limiter=RateLimiter(cap),
            )
            before = client.page_limit(consistent_read=False)
            await client.scan(b"{}")
            found += [
                before,
                client.page_limit(consistent_read=False),
                client.page_limit(consistent_read=True),
            ]
        return found

    found, _ = run(limits, answer(page))
    assert found == [None, None, None, None, None, 256, 1, 255, 255]


def test_batch_get_gives_items_and_unread_keys() -> None:
    """Both as bytes, by table."""
    body = (
        b'{"Responses":{"T":[{"pk":{"S":"a"}}]},"UnprocessedKeys":{"T":{"Keys":[{"pk":{"S":"b"}}],'
        b'"ConsistentRead":true}},"ConsumedCapacity":[{"CapacityUnits":1.5}]}'
    )

    async def get(lab: Lab) -> Any:
        return await lab.client.batch_get(b"{}", 2)

    got, _ = run(get, answer(body))
    assert [bytes(item) for item in got.responses["T"]] == ITEMS
    assert [bytes(key) for key in got.unprocessed_keys["T"].keys] == [b'{"pk":{"S":"b"}}']
    assert (got.unprocessed_count, got.consumed_units) == (1, 1.5)
