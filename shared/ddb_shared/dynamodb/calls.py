"""Signed calls of one API at one endpoint, without botocore: what the data plane and the streams have in common.

botocore spends 0.15 ms on each KB of a Scan page; here a response is split into items, never parsed, at 1 ms a megabyte.
This is the only hand-written protocol code: https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Programming.LowLevelAPI.html.
"""

from __future__ import annotations

import asyncio
import email.utils
import logging
import random
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Final, Protocol, TypeVar

import msgspec
from isal import isal_zlib

from ddb_shared.dynamodb.http import Http, HttpResponse
from ddb_shared.dynamodb.messages import error_of
from ddb_shared.dynamodb.sigv4 import Credentials, Signer
from ddb_shared.errors import RequestError
from ddb_shared.permissions import Side
from ddb_shared.retry import POLICIES, FailureKind, classify

_LOG: Final = logging.getLogger(__name__)

Reply = TypeVar("Reply")


class CredentialProvider(Protocol):
    """Where the calls get their credentials; `renew` is called when the service says that they have expired."""

    async def current_credentials(self) -> Credentials: ...

    async def renew(self) -> None: ...


class Calls:
    """Sends signed requests over kept-alive connections, one try each.

    `api` is the prefix of the target header, such as `DynamoDB_20120810.`.
    `throttled` counts the refusals met, by reason; `retried` the other failures that are worth another try, by code.
    """

    def __init__(
        self,
        api: str,
        *,
        http: Http,
        region: str,
        credential_provider: CredentialProvider,
        side: Side | None = None,
        rng: random.Random | None = None,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._api = api
        self._http = http
        self._signer = Signer(host=http.host, region=region)
        self._credential_provider = credential_provider
        self._side = side
        self._rng = rng or random.Random()
        self._clock = clock
        self._sleep = sleep
        self._skew_seconds = 0.0
        self._is_debugging = _LOG.isEnabledFor(logging.DEBUG)
        self.throttled: Counter[str] = Counter()
        self.retried: Counter[str] = Counter()

    def retries(self) -> Retries:
        """The tries of one request."""
        return Retries(self)

    async def back_off(self, kind: FailureKind, attempt: int) -> None:
        """Waits as long as the policy for `kind` says before attempt number `attempt` + 1."""
        await self._sleep(POLICIES[kind].wait_seconds(attempt, self._rng))

    async def renew(self) -> None:
        """Gets other credentials than those that have expired."""
        await self._credential_provider.renew()

    def count(self, kind: FailureKind, error: RequestError) -> None:
        """Notes a failure that is worth another try."""
        if kind is FailureKind.THROTTLED:
            self.throttled.update(error.reasons or (error.code,))
        elif kind in POLICIES:
            self.retried[error.code] += 1

    async def send(self, operation: str, body: bytes, decoder: msgspec.json.Decoder[Reply]) -> Reply:
        """The response to one request; raises RequestError."""
        response = await self._post(operation, body)
        if self._is_debugging:
            _LOG.debug(
                "%s: HTTP %d, %d bytes sent, %d received",
                operation,
                response.status,
                len(body),
                len(response.body),
            )
        crc = response.headers.get(b"x-amz-crc32")
        if crc is not None and crc != b"%d" % isal_zlib.crc32(response.body):
            raise RequestError(
                "checksum", f"the response to {operation} does not match its x-amz-crc32", response.status
            )
        if response.status != 200:  # noqa: PLR2004 - HTTP OK
            self._note_clock(response.headers.get(b"date"))
            error = error_of(response.status, response.body)
            error.side = self._side
            raise error
        try:
            return decoder.decode(response.body)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise RequestError(
                "malformed", f"the response to {operation} is not what it should be: {error}"
            ) from error

    async def _post(self, operation: str, body: bytes) -> HttpResponse:
        credentials = await self._credential_provider.current_credentials()
        now = self._clock() + self._skew_seconds
        headers = self._signer.headers(credentials, self._api + operation, body, now)
        try:
            return await self._http.post(headers, body)
        except TimeoutError as error:
            raise RequestError("timeout", f"{operation}: {error}") from error
        except ConnectionError as error:
            raise RequestError("connection", f"{type(error).__name__}: {error}") from error

    def _note_clock(self, date: bytes | None) -> None:
        """Records the difference to the service's clock; the local one may step during a run of days."""
        if date is None:
            return
        try:
            service = email.utils.parsedate_to_datetime(date.decode("latin-1")).timestamp()
        except ValueError:
            return
        difference = service - self._clock()
        self._skew_seconds = difference if abs(difference) > 60 else 0.0  # noqa: PLR2004 - AWS allows five minutes


class Retries:
    """The tries of one request, as `retry.POLICIES` allows them."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls
        self._attempts: Counter[FailureKind] = Counter()

    async def wait(self, error: RequestError) -> None:
        """Returns when the request may be tried again; raises the error where it may not."""
        kind = classify(error)
        policy = POLICIES.get(kind)
        self._calls.count(kind, error)
        attempt = self._attempts[kind]
        if policy is None or attempt + 1 >= policy.attempts:
            raise error
        if kind is FailureKind.EXPIRED:
            await self._calls.renew()
        await self._calls.back_off(kind, attempt)
        self._attempts[kind] += 1
