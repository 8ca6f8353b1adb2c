"""What runs tasks in parallel: the interface of all pools, the channel of a worker to its pool, and the serial runner.

The work of a run is dealt in parts. Each worker calls `work(task, channel)` and takes parts until there are none left. A
part is a pure function of its frozen, picklable description. It finds its own checkpoints, so it may be worked on twice: when
a worker is lost, what it had begun is dealt again.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, Final, Protocol, TypeVar

from ddb_shared.dynamodb.rate import RateSetting
from ddb_shared.runtime.cap_share import CapShare, Member
from ddb_shared.runtime.lease import HeldLease, Validity
from ddb_shared.runtime.progress import ProgressEvent
from ddb_shared.runtime.stop import Stop

Task = TypeVar("Task")
Part = TypeVar("Part")
State = TypeVar("State")
Result = TypeVar("Result")

# One core scans or loads this in less than half a second; starting two worker processes takes one.
SMALL_BYTES: Final = 16 * 1024 * 1024
POLL_SECONDS: Final = 0.1
# Workers that keep getting killed hit something that another attempt does not fix, such as a memory limit.
WORKER_DEATHS: Final = 5
# An interrupted run ends within ten seconds: workers that wait on a dead connection by then are killed.
GRACE_SECONDS: Final = 8.0


class Channel(Protocol):
    """A worker's connection to the parent."""

    def report(self, event: ProgressEvent) -> None:
        """Sends progress; never blocks for long."""
        ...

    def stopping(self) -> bool:
        """Whether to finish requests in flight, save and return."""
        ...

    def workers(self) -> float:
        """How many workers share the cap: those that have parts to work on, including this one."""
        ...

    def rate(self) -> RateSetting | None:
        """The rate that an operator has set since the run began; None where it is as the task says."""
        ...

    def validity(self) -> Validity | None:
        """How long the lease holds under which the task writes; None where it needs none. For a LeaseGuard to ask."""
        ...


class PartsChannel(Channel, Protocol):
    """The same of work that is dealt in parts. A part that is neither settled nor given back is in the job's result."""

    def take(self) -> Future[Any]:
        """The next part; None once there are none left, or the run is stopped."""
        ...

    def settle(self, part: Any, state: Any = None) -> None:
        """Says that a part is done, and that its state is saved; `state` is for the run's `on_settled`."""
        ...

    def give_back(self, part: Any) -> None:
        """Leaves a part to others, with what was done of it saved."""
        ...

    def keep(self) -> int | None:
        """How many of the open parts this worker may keep, where another one has none; None where it may keep all."""
        ...


Work = Callable[[Task, Channel], Result]
PartsWork = Callable[[Task, PartsChannel], Result]


class RateControl:
    """The rate that an operator has set since the run began. Whoever runs tasks passes it on to the workers.

    `is_own`: the cap was set for this run alone, and is shared with no other.
    """

    def __init__(self) -> None:
        self.is_own = False
        self.setting: RateSetting | None = None  # replaced as a whole, by another thread


def ignore(_: object, __: object = None) -> None:
    """For runs that need not know."""


@dataclass(frozen=True, kw_only=True)
class RunContext:
    """What a run has in common with its workers: where their progress goes, what stops and slows them, and their lease."""

    on_event: Callable[[ProgressEvent], None] = ignore
    stop: Stop = field(default_factory=Stop)
    rate: RateControl = field(default_factory=RateControl)
    lease: HeldLease | None = None


class Runner(ABC):
    """Runs work in parallel. `share` is for runs that share their cap with others of the same command."""

    share: CapShare | None = None

    @abstractmethod
    def deal(
        self,
        work: PartsWork[Task, Result],
        task: Task,
        parts: Sequence[Part],
        context: RunContext,
        *,
        on_settled: Callable[[Part, Any], None] = ignore,
        at_most: int | None = None,
    ) -> list[Result]:
        """Deals the parts to at most so many workers, each of which calls `work(task, channel)`; returns their results.

        Parts are given out in their order, and `on_settled` gets each with its state. After a stop some are not done.
        Raises the first error of a worker after the others have saved their state.
        """

    def run(
        self,
        work: Work[Task, Result],
        tasks: Sequence[Task],
        on_event: Callable[[ProgressEvent], None],
        stop: Stop,
        rate: RateControl | None = None,
        *,
        lease: HeldLease | None = None,
        at_most: int | None = None,
    ) -> list[Result]:
        """The results of `work(task, channel)` for each task, in order; after a stop some may be missing.

        For work that keeps no state: a task whose worker is lost is done again as a whole.
        """
        context = RunContext(on_event=on_event, stop=stop, rate=rate or RateControl(), lease=lease)
        results: list[tuple[int, Result] | None] = self.deal(
            _work_on_one, work, list(enumerate(tasks)), context, at_most=at_most
        )
        return [result for _, result in sorted(filter(None, results), key=lambda numbered: numbered[0])]

    def alone(
        self,
        work: Work[Task, Result],
        task: Task,
        on_event: Callable[[ProgressEvent], None],
        stop: Stop,
    ) -> Result:
        """The result of one task; raises Interrupted or ServiceError after a stop, which may come before the task begins."""
        results = self.run(work, [task], on_event, stop)
        stop.check_any()
        return results[0]

    def run_each(
        self,
        work: Work[Task, Result],
        tasks: Sequence[Task],
        on_result: Callable[[Result], None],
        on_event: Callable[[ProgressEvent], None],
        stop: Stop,
        *,
        at_most: int | None = None,
    ) -> None:
        """The same as `run`, but gives each result to `on_result` as soon as it is there: only one at a time is held."""

        def settled(_: tuple[int, Task], result: Result) -> None:
            on_result(result)

        context = RunContext(on_event=on_event, stop=stop)
        self.deal(_settle_one, work, list(enumerate(tasks)), context, on_settled=settled, at_most=at_most)


def _work_on_one(work: Work[Task, Result], channel: PartsChannel) -> tuple[int, Result] | None:
    """A job that does one task."""
    part = channel.take().result()
    return None if part is None else (part[0], work(part[1], channel))


def _settle_one(work: Work[Task, Result], channel: PartsChannel) -> None:
    """A job that does one task, whose result is the state of the part."""
    part = channel.take().result()
    if part is not None:
        result = work(part[1], channel)
        if not channel.stopping():
            channel.settle(part, result)


@dataclass(frozen=True)
class Serial(Runner):
    """Does the work in this process: for small tables, tests and debuggers, and for what waits most of the time."""

    share: CapShare | None = None

    def deal(
        self,
        work: PartsWork[Task, Result],
        task: Task,
        parts: Sequence[Part],
        context: RunContext,
        *,
        on_settled: Callable[[Part, Any], None] = ignore,
        at_most: int | None = None,  # noqa: ARG002 - there is one
    ) -> list[Result]:
        """See Runner."""
        member = self.share.join() if self.share else None
        channel = _LocalChannel(deque(parts), context, on_settled, member)
        results = []
        try:
            while channel.waiting and not context.stop.requested():
                results.append(work(task, channel))
        finally:
            if member is not None:
                member.leave()
        return results


@dataclass(frozen=True, slots=True)
class _LocalChannel:
    waiting: deque[Any]
    context: RunContext
    on_settled: Callable[[Any, Any], None]
    member: Member | None

    def report(self, event: ProgressEvent) -> None:
        if self.member is not None:
            self.member.note(event)
        self.context.on_event(event)

    def stopping(self) -> bool:
        if self.context.stop.status:
            self.context.on_event(ProgressEvent(status=self.context.stop.status))
        return self.context.stop.requested()

    def workers(self) -> float:
        return 1 if self.member is None or self.context.rate.is_own else self.member.divide(1)

    def rate(self) -> RateSetting | None:
        return self.context.rate.setting

    def validity(self) -> Validity | None:
        return self.context.lease.validity() if self.context.lease else None

    def take(self) -> Future[Any]:
        taken: Future[Any] = Future()
        taken.set_result(self.waiting.popleft() if self.waiting and not self.stopping() else None)
        return taken

    def settle(self, part: Any, state: Any = None) -> None:
        self.on_settled(part, state)

    def give_back(self, part: Any) -> None:
        self.waiting.appendleft(part)

    def keep(self) -> int | None:
        return None
