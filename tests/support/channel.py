"""A worker's line to a parent that is the test itself."""

from collections.abc import Iterable
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

from ddb_shared.dynamodb.rate import RateSetting
from ddb_shared.runtime.lease import Validity
from ddb_shared.runtime.progress import ProgressEvent


@dataclass
class MemoryChannel:
    """Deals `parts`, keeps the ticks; says stop once `stop_after` items were reported, and leaves a worker `may_keep` parts."""

    parts: Iterable[Any] = ()
    stop_after: int | None = None
    lease: Validity | None = None
    may_keep: int | None = None
    events: list[ProgressEvent] = field(default_factory=list)
    settled: dict[Any, Any] = field(default_factory=dict)
    returned: list[Any] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._parts = iter(self.parts)

    def report(self, event: ProgressEvent) -> None:
        self.events.append(event)

    def stopping(self) -> bool:
        return self.stop_after is not None and self.items >= self.stop_after

    def workers(self) -> int:
        return 1

    def validity(self) -> Validity | None:
        return self.lease

    def take(self) -> Future[Any]:
        taken: Future[Any] = Future()
        taken.set_result(None if self.stopping() else next(self._parts, None))
        return taken

    def settle(self, part: Any, state: Any = None) -> None:
        self.settled[part] = state

    def give_back(self, part: Any) -> None:
        self.returned.append(part)

    def keep(self) -> int | None:
        return self.may_keep

    @property
    def items(self) -> int:
        return sum(event.items for event in self.events)

    def rate(self) -> RateSetting | None:
        return None
