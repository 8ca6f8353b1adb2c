"""Decides which call meets which fault."""

from __future__ import annotations

import random
from collections import Counter
from typing import Final

from support.fake.errors import FakeError, not_found
from support.fake.identity import Caller, denied, expired, skewed
from support.fake.plan import Fault, FaultKind, FaultPlan
from support.fake.writes import NO_REFUSALS, Refusals

_BATCH_ONLY: Final = frozenset({FaultKind.UNPROCESSED, FaultKind.ONE_PROGRESSES})
_SERVER_ERRORS: Final = {
    FaultKind.INTERNAL_ERROR: ("InternalServerError", "Internal server error", 500),
    FaultKind.INTERNAL_ERROR_AFTER: ("InternalServerError", "Internal server error", 500),
    FaultKind.UNAVAILABLE: ("ServiceUnavailable", "The service is unavailable. Please try again later.", 503),
}


class Injector:
    """The faults of one plan, with the dice and the counts that they need; `counts` by kind is for the statistics."""

    def __init__(self, plan: FaultPlan) -> None:
        self._faults = plan.faults
        self._rng = random.Random(plan.seed)
        self._calls: Counter[str] = Counter()
        self._times: Counter[int] = Counter()
        self.counts: Counter[str] = Counter()

    def next(self, operation: str, body: bytes) -> Fault | None:
        """The fault of this call, counted as injected."""
        call = self._calls[operation]
        self._calls[operation] += 1
        for place, fault in enumerate(self._faults):
            if self._meets(place, fault, operation, call) and fault.contains.encode() in body:
                self._times[place] += 1
                self.counts[fault.kind] += 1
                return fault
        return None

    def _meets(self, place: int, fault: Fault, operation: str, call: int) -> bool:
        if operation not in fault.operations or (fault.kind in _BATCH_ONLY and operation != "BatchWriteItem"):
            return False
        if call < fault.after or (fault.at and call not in fault.at):
            return False
        if fault.times is not None and self._times[place] >= fault.times:
            return False
        return self._rng.random() < fault.probability

    def refusals(self, fault: Fault | None) -> Refusals:
        """What this fault sends back of a batch."""
        if fault is None or fault.kind not in _BATCH_ONLY:
            return NO_REFUSALS

        def choose(size: int) -> set[int]:
            most = size - 1 if fault.kind is FaultKind.ONE_PROGRESSES else round(size * fault.fraction)
            return set(self._rng.sample(range(size), min(size, most)))

        return Refusals(choose, fault.code, fault.reason)


def error_of(fault: Fault, caller: Caller, operation: str, now: float) -> FakeError | None:
    """The error that this kind of fault answers with; None for kinds that do something else."""
    match fault.kind:
        case FaultKind.INTERNAL_ERROR | FaultKind.UNAVAILABLE | FaultKind.INTERNAL_ERROR_AFTER:
            code, message, status = _SERVER_ERRORS[fault.kind]
            return FakeError(code, message, status=status)
        case FaultKind.EXPIRED_TOKEN:
            return expired()
        case FaultKind.SKEWED:
            return skewed(caller.stamp, now + 1000)
        case FaultKind.ACCESS_DENIED:
            return denied(caller, operation)
        case FaultKind.NOT_FOUND:
            return not_found()
        case _:
            return None
