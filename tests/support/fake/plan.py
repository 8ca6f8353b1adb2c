"""What the fake does wrong, and when: data that travels as JSON to a running server."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from typing import Final

DATA_OPERATIONS: Final = ("Scan", "BatchWriteItem", "PutItem", "GetItem", "BatchGetItem")


class FaultKind(enum.StrEnum):
    """What happens to one call.

    Before the operation: THROTTLE, INTERNAL_ERROR (500), UNAVAILABLE (503), RESET_BEFORE, EXPIRED_TOKEN, SKEWED,
    ACCESS_DENIED, NOT_FOUND, and SLOW, which waits and then does it right.
    Within BatchWriteItem: UNPROCESSED (`fraction` of the batch comes back; all of it is a throttling error, as on AWS)
    and ONE_PROGRESSES (all but one come back).
    After it, with its effect in place: INTERNAL_ERROR_AFTER, RESET_AFTER (nothing is answered), RESET_DURING (half of
    the answer is), HANG (nothing is answered and the connection stays), WRONG_CRC, TRUNCATED (half of the answer, with
    its own length and the whole's checksum, so that only the checksum tells).
    """

    THROTTLE = "throttle"
    INTERNAL_ERROR = "internal_error"
    INTERNAL_ERROR_AFTER = "internal_error_after"
    UNAVAILABLE = "unavailable"
    RESET_BEFORE = "reset_before"
    RESET_DURING = "reset_during"
    RESET_AFTER = "reset_after"
    SLOW = "slow"
    HANG = "hang"
    WRONG_CRC = "wrong_crc"
    TRUNCATED = "truncated"
    EXPIRED_TOKEN = "expired_token"
    SKEWED = "skewed"
    ACCESS_DENIED = "access_denied"
    NOT_FOUND = "not_found"
    UNPROCESSED = "unprocessed"
    ONE_PROGRESSES = "one_progresses"


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One kind of fault and the calls that it meets.

    Calls are counted from 0 for each operation, from when the plan was set. A call is met when its operation is in
    `operations`, its number is in `at` (empty: any) and at least `after`, its body holds `contains`, the fault has not
    happened `times` times yet, and the dice agree with `probability`. The first fault of a plan that meets a call wins.
    """

    kind: FaultKind
    operations: tuple[str, ...] = DATA_OPERATIONS
    probability: float = 1.0
    at: tuple[int, ...] = ()
    after: int = 0
    times: int | None = None
    contains: str = ""
    fraction: float = 0.5
    seconds: float = 0.0
    code: str = ""  # of THROTTLE; empty: the one that fits the table's billing mode
    reason: str = ""  # of THROTTLE; empty: the key range's


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamPlan:
    """How streams behave; the default is a stream of one shard that never ends, as the emulators have it.

    A stream begins with `shards`. After `shard_records` records a shard ends: it splits in two, or rolls over to one child once
    `max_open_shards` are open, and else by chance. A shard that ended looks open for `open_parent_seconds`, though it has
    children by then, and until then its last iterator is not null. Records become readable up to `late_seconds` after the
    write, in order within their shard; a page that has records is empty with the probability `empty_pages`.
    Seconds are of the streams' own clock, which tests advance.
    """

    seed: int = 0
    shards: int = 1
    shard_records: int | None = None
    max_open_shards: int = 8
    open_parent_seconds: float = 0.0
    late_seconds: float = 0.0
    empty_pages: float = 0.0
    shards_per_page: int = 100
    filters_children: bool = True
    retention_seconds: float = 86_400.0
    iterator_seconds: float = 900.0
    enabling_seconds: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class FaultPlan:
    """The faults and the limits of a fake; the default is a service without either.

    Partitions are equal ranges of the partition key's hash, each with its own bucket of `burst_seconds` at its rate.
    `enforce_provisioned` holds provisioned tables to their throughput. `expired` lists access keys and session tokens
    that have expired; `calls_per_token` lets each session token live for so many calls; `newest_token_only` expires all
    tokens but the one seen or handed out last. `clock_offset_seconds` is the fake's clock minus this machine's.
    """

    seed: int = 0
    faults: tuple[Fault, ...] = ()
    partitions: int = 8
    wcu_per_partition: float | None = None
    rcu_per_partition: float | None = None
    burst_seconds: float = 1.0
    enforce_provisioned: bool = False
    expired: tuple[str, ...] = ()
    calls_per_token: int | None = None
    newest_token_only: bool = False
    clock_offset_seconds: float = 0.0
    creating_seconds: float = 0.0
    streams: StreamPlan = StreamPlan()


@dataclass(frozen=True, slots=True, kw_only=True)
class TableStats:
    """One table's content and what was done to it; `partition_wcu` holds the units written, by hash range."""

    items: int
    bytes: int
    consumed_wcu: float
    consumed_rcu: float
    puts: int
    deletes: int
    refused: int
    partition_wcu: list[float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Consumption:
    """What one table's reads and writes consumed: seconds of the fake's own clock, and units, in order."""

    reads: list[tuple[float, float]]
    writes: list[tuple[float, float]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Stats:
    """What happened since the start or the last reset.

    `calls` by operation, `faults` by FaultKind (injected ones and those of the credentials), `errors` by error code,
    `tables` by "account/name", `tokens` the calls of each session token.
    """

    calls: dict[str, int] = field(default_factory=dict)
    faults: dict[str, int] = field(default_factory=dict)
    errors: dict[str, int] = field(default_factory=dict)
    tables: dict[str, TableStats] = field(default_factory=dict)
    tokens: dict[str, int] = field(default_factory=dict)
    unprocessed_items: int = 0
    max_in_flight: int = 0
