"""DynamoDB as the fake has it: one call in, one answer out, without HTTP."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any, Final

import msgspec

from support.fake.errors import FakeError, Reason, throttled
from support.fake.identity import Caller, Identity
from support.fake.injector import Injector, error_of
from support.fake.plan import DATA_OPERATIONS, Fault, FaultKind, FaultPlan, Stats
from support.fake.reads import batch_get_item, get_item, scan
from support.fake.store import Store
from support.fake.writes import batch_write_item, put_item

_OPERATIONS: Final[dict[str, Callable[[Store, str, bytes], bytes | dict[str, Any]]]] = {
    "Scan": scan,
    "GetItem": get_item,
    "BatchGetItem": batch_get_item,
    "PutItem": put_item,
}


class _Named(msgspec.Struct, rename="pascal"):
    table_name: str = ""
    request_items: dict[str, msgspec.Raw] = {}


class Service:
    """The tables, the faults and the figures."""

    def __init__(self, plan: FaultPlan) -> None:
        self.store = Store(plan)
        self.identity = Identity(plan)
        self.injector = Injector(plan)
        self.calls: Counter[str] = Counter()
        self.errors: Counter[str] = Counter()
        self.unprocessed_items = self.in_flight = self.max_in_flight = 0
        streams = self.store.streams
        self._stream_operations: Final[dict[str, Callable[[str, bytes], bytes | dict[str, Any]]]] = {
            "DescribeStream": streams.describe_stream,
            "GetShardIterator": streams.get_shard_iterator,
            "GetRecords": streams.get_records,
        }

    def change(self, plan: FaultPlan) -> None:
        """Goes over to another plan; tables, figures and tokens stay, the plan's own counts begin again."""
        counts = self.injector.counts
        self.injector = Injector(plan)
        self.injector.counts = counts
        self.identity.plan = plan
        self.store.limit(plan)

    def forget_figures(self) -> None:
        """Sets all counts back to zero."""
        for counter in (self.calls, self.errors, self.injector.counts, self.identity.faults):
            counter.clear()
        self.unprocessed_items = self.max_in_flight = 0
        for table in self.store.tables.values():
            table.forget_figures()

    def before(self, operation: str, caller: Caller, body: bytes, fault: Fault | None) -> None:
        """Raises what keeps the call from being done."""
        self.identity.check(caller)
        if fault is None or fault.kind is FaultKind.INTERNAL_ERROR_AFTER:
            return
        if fault.kind is FaultKind.THROTTLE:
            raise self._throttling(operation, caller, body, fault)
        error = error_of(fault, caller, operation, self.identity.now())
        if error is not None:
            raise error

    def run(self, operation: str, caller: Caller, body: bytes, fault: Fault | None) -> bytes:
        """Does the call and returns the answer's body."""
        answer = self._answer(operation, caller, body, fault)
        if fault is not None and fault.kind is FaultKind.INTERNAL_ERROR_AFTER:
            raise error_of(fault, caller, operation, 0) or AssertionError
        return answer if isinstance(answer, bytes) else msgspec.json.encode(answer)

    def _answer(
        self, operation: str, caller: Caller, body: bytes, fault: Fault | None
    ) -> bytes | dict[str, Any]:
        account = caller.account
        if operation == "BatchWriteItem":
            refusals = self.injector.refusals(fault)
            answer, left = batch_write_item(self.store, account, body, refusals)
            self.unprocessed_items += left
            return answer
        stream_call = self._stream_operations.get(operation)
        if stream_call is not None:
            return stream_call(account, body)
        known = _OPERATIONS.get(operation)
        if known is not None:
            return known(self.store, account, body)
        return self.store.control(operation, account, caller.region, body)

    def _throttling(self, operation: str, caller: Caller, body: bytes, fault: Fault) -> FakeError:
        direction = "Write" if operation in {"BatchWriteItem", "PutItem"} else "Read"
        reason = fault.reason or f"Table{direction}KeyRangeThroughputExceeded"
        if operation not in DATA_OPERATIONS:
            return throttled(fault.code or "ThrottlingException")
        named = msgspec.json.decode(body, type=_Named)
        table = self.store.tables.get(
            (caller.account, named.table_name or next(iter(named.request_items), ""))
        )
        if table is None:
            return throttled(fault.code or "ThrottlingException", Reason(reason, "arn:aws:dynamodb:::table"))
        table.refused += 1
        return table.throttle(fault.code, reason)

    def stats(self) -> Stats:
        """All figures."""
        tables = {f"{account}/{name}": table.stats() for (account, name), table in self.store.tables.items()}
        return Stats(
            calls=dict(self.calls),
            faults=dict(self.injector.counts + self.identity.faults),
            errors=dict(self.errors),
            tables=tables,
            tokens=dict(self.identity.tokens),
            unprocessed_items=self.unprocessed_items,
            max_in_flight=self.max_in_flight,
        )
