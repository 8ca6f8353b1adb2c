"""A worker's line to a parent that is the test itself."""

from dataclasses import dataclass, field

from ddb_shared.progress import Tick


@dataclass
class MemoryChannel:
    """Keeps the ticks; says stop once `stop_after` items were reported."""

    stop_after: int | None = None
    ticks: list[Tick] = field(default_factory=list)

    def report(self, tick: Tick) -> None:
        self.ticks.append(tick)

    def stopping(self) -> bool:
        return self.stop_after is not None and self.items >= self.stop_after

    def workers(self) -> int:
        return 1

    @property
    def items(self) -> int:
        return sum(tick.items for tick in self.ticks)
