"""Batch requests, repeated until nothing is left unprocessed.

https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Programming.Errors.html#Programming.Errors.BatchOperations
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from ddb_shared.dynamodb.client import CONDITION_FAILED, Client
from ddb_shared.dynamodb.messages import BatchGetResponse, batch_get_request, batch_request
from ddb_shared.errors import RequestError, map_errors
from ddb_shared.retry import POLICIES, FailureKind, classify


async def write_all(client: Client, table: str, requests: bytes, count: int) -> float:
    """Sends `count` put and delete requests, joined by commas, until all are processed; returns write units consumed.

    Raises RequestError if an item is invalid, TransferError once the retries are used up.
    """
    rounds, units = _Rounds(client, f"write to table {table}"), 0.0
    while True:
        with map_errors_unless_invalid(rounds.action):
            response = await client.batch_write(batch_request(table, [requests]), count)
        units += response.consumed_units
        if not response.unprocessed_count:
            return units
        left = [request for unprocessed in response.unprocessed_items.values() for request in unprocessed]
        await rounds.back_off(count, len(left))
        requests, count = b",".join(left), len(left)


async def read_all(client: Client, table: str, keys: Sequence[bytes]) -> list[BatchGetResponse]:
    """Reads the items with these keys consistently, until no key is left unprocessed. Raises as `write_all`."""
    rounds, responses = _Rounds(client, f"read from table {table}"), []
    left: Sequence[bytes | msgspec.Raw] = keys
    while left:
        with map_errors_unless_invalid(rounds.action):
            response = await client.batch_get(batch_get_request(table, left), len(left))
        responses.append(response)
        unread = [key for unprocessed in response.unprocessed_keys.values() for key in unprocessed.keys]
        if unread:
            await rounds.back_off(len(left), len(unread))
        left = unread
    return responses


class _Rounds:
    """The rounds of one batch; the retry budget counts only consecutive rounds that processed nothing."""

    def __init__(self, client: Client, action: str) -> None:
        self._client = client
        self.action = action
        self._attempt = 0

    async def back_off(self, sent: int, left: int) -> None:
        """Waits before the next round; raises TransferError once the budget is used up."""
        self._attempt = 0 if left < sent else self._attempt + 1
        if self._attempt >= POLICIES[FailureKind.THROTTLED].attempts:
            with map_errors(self.action):
                raise RequestError(
                    "UnprocessedItems", f"nothing was processed in {self._attempt} attempts", 400
                )
        await self._client.back_off(FailureKind.THROTTLED, self._attempt)


class map_errors_unless_invalid(map_errors):  # noqa: N801 - used like a function, as the class that it extends
    """Like `map_errors`, but passes on errors of single items: validation and failed conditions."""

    __slots__ = ()

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        if isinstance(error, RequestError) and not _is_of_an_item(error):
            super().__exit__(None, error, None)


def _is_of_an_item(error: RequestError) -> bool:
    return classify(error) is FailureKind.INVALID or error.code == CONDITION_FAILED
