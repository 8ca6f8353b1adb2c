"""Deals the parts of a run to its workers, wherever they run.

A worker takes a part whenever it has room for one, so a fast one does more than a slow one, and one that joins late
gets work. Where all parts are dealt and a worker has none, the one with the most returns half of its own. The parts of
a worker that is lost are dealt again.
"""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from ddb_shared.dynamodb.rate import RateSetting
from ddb_shared.errors import ServiceError
from ddb_shared.runtime import messages, runner
from ddb_shared.runtime.cap_share import CapShare, Member
from ddb_shared.runtime.lease import Validity
from ddb_shared.runtime.messages import Done, Give, Job, Keep, Lost, Returned, Settled, Take, Workers
from ddb_shared.runtime.progress import ProgressEvent
from ddb_shared.runtime.runner import POLL_SECONDS, WORKER_DEATHS, RunContext

# Half a minute's work moves from a busy worker to an idle one for the price of opening it again, about a second.
RELIEF_SECONDS: Final = 2.0
# After an error of one worker the others save their state, which may include completing the upload of a shard.
_ERROR_GRACE_SECONDS: Final = 60.0


class Remote(Protocol):
    """The line to one worker. `name` is how an error or a note names it, `progress_name` how its progress does.

    The latter is empty where it is known only once the worker has reported something.
    """

    name: str
    progress_name: str

    def send(self, message: object) -> None:
        """Sends a message; that the worker is gone is noticed where messages are received."""
        ...

    def renew(self, validity: Validity | None) -> None:
        """Tells it how long the lease holds now, if that has changed."""
        ...

    def close(self) -> None:
        """Ends a worker that has nothing left to do."""
        ...

    def kill(self) -> None:
        """Ends the worker at once, where that is possible; what it had confirmed by its last checkpoint is safe."""
        ...


class Backend(Protocol):
    """Where workers run."""

    def recruit(self, wanted: int) -> list[Remote]:
        """Workers that are ready for their first job, at most so many; raises TransferError where none will ever be."""
        ...

    def receive(self, seconds: float) -> list[tuple[Remote, object]]:
        """The messages that have come; waits up to so many seconds for the first. Lost is of a worker that is gone."""
        ...


@dataclass(eq=False, slots=True)
class _Worker:
    """A worker as the pool sees it: what it holds, how many takes wait for an answer, and since when it has nothing.

    `keep` is how many of its parts it was asked to keep, `heard` whether it has ever said anything, `awaited` whether the display
    expects it to report something.
    """

    remote: Remote
    held: dict[int, Any] = field(default_factory=dict)
    takes: int = 0
    idle_since: float = field(default_factory=time.monotonic)
    keep: int | None = None
    heard: bool = False
    awaited: bool = False

    @property
    def load(self) -> int:
        """The parts that it has, without those that it is returning."""
        return len(self.held) if self.keep is None else min(len(self.held), self.keep)


class Pool:
    """One run on some backend: what is left to do, who does what, and how it ends."""

    def __init__(
        self,
        backend: Backend,
        job: Job,
        parts: Sequence[Any],
        context: RunContext,
        on_settled: Callable[[Any, Any], None],
        *,
        share: CapShare | None = None,
    ) -> None:
        self._share = share
        self._member: Member | None = None
        self._sharing = 1.0
        self._backend = backend
        self._job = job
        self._waiting = deque(enumerate(parts))
        self._context = context
        self._on_settled = on_settled
        self._rate: RateSetting | None = None
        self._workers: dict[Remote, _Worker] = {}
        self._results: list[Any] = []
        self._busy = 0
        self._losses: Counter[int] = Counter()
        self._stillborn = 0
        self._failed: BaseException | None = None
        self._stopped_at: float | None = None

    def run(self, at_most: int) -> list[Any]:
        """The results of all jobs, once every part is settled or the run was stopped; at most so many workers share it.

        Raises the first error, once the other workers have stopped.
        """
        self._member = self._share.join() if self._share else None
        try:
            while self._workers or self._is_unfinished():
                self._recruit(at_most)
                received = self._backend.receive(POLL_SECONDS)
                for remote, message in received:
                    self._handle(remote, message)
                if not received:
                    self._context.on_event(ProgressEvent())  # lets the display notice a stall
                self._after_messages()
                if self._is_overdue():
                    break
        finally:
            for remote in self._workers:
                remote.kill()
            if self._member is not None:
                self._member.leave()
        if self._failed is not None:
            raise self._failed
        return self._results

    def _is_unfinished(self) -> bool:
        """Whether parts are left, and wanted."""
        return self._stopped_at is None and bool(self._waiting or self._busy_workers())

    def _busy_workers(self) -> int:
        return sum(bool(worker.held) for worker in self._workers.values())

    def _recruit(self, at_most: int) -> None:
        """More workers, as long as there are parts for them."""
        if self._stopped_at is not None:
            return
        parts = len(self._waiting) + sum(len(worker.held) for worker in self._workers.values())
        wanted = min(at_most, parts) - len(self._workers)
        if wanted > 0:
            for remote in self._backend.recruit(wanted):
                self._workers[remote] = _Worker(remote)
                remote.send(Workers(self._sharing))
                if self._rate is not None:
                    remote.send(self._rate)
                remote.renew(self._validity())
                remote.send(self._job)

    def _on_event(self, event: ProgressEvent) -> None:
        if self._member is not None:
            self._member.note(event)
        self._context.on_event(event)

    def _handle(self, remote: Remote, message: object) -> None:
        worker = self._workers.get(remote)
        if worker and not isinstance(message, Lost):
            worker.heard, self._stillborn = True, 0
        match message:
            case ProgressEvent():
                if worker is not None:
                    remote.progress_name = message.worker
                self._on_event(message)
            case _ if worker is None:
                pass  # of a worker that was given up
            case Take():
                worker.takes += 1
            case Settled(number, state):
                self._settle(worker, number, state)
            case Returned(number):
                self._waiting.appendleft((number, worker.held.pop(number)))
            case Done(result, error):
                self._finish(worker, result, error)
            case Lost(killed):
                self._replace(worker, killed=killed)

    def _settle(self, worker: _Worker, number: int, state: Any) -> None:
        if number not in worker.held:
            return  # it counts as done with the whole job
        self._on_settled(worker.held.pop(number), state)
        if not worker.held:
            worker.idle_since = time.monotonic()

    def _finish(self, worker: _Worker, result: Any, error: BaseException | None) -> None:
        """A job's end. What its worker took and did not settle is in the result; an error ends the whole run."""
        worker.takes, worker.keep = 0, None
        if error is None:
            worker.held.clear()
            worker.idle_since = time.monotonic()
            self._results.append(result)
        elif self._failed is None:
            self._failed = error
            self._stop_workers()
        if self._is_unfinished():
            worker.remote.send(self._job)
        else:
            del self._workers[worker.remote]
            self._context.on_event(ProgressEvent(ended=True, worker=worker.remote.progress_name))
            worker.remote.close()

    def _replace(self, worker: _Worker, *, killed: bool) -> None:
        """Deals the parts of a worker that is gone again. One whose workers die again and again ends the run."""
        del self._workers[worker.remote]
        worker.remote.kill()
        if self._stopped_at is not None:
            return
        self._waiting.extendleft(reversed(worker.held.items()))
        if killed:
            self._losses.update(worker.held.keys())
            self._stillborn += not worker.heard
        deaths = max(self._losses.most_common(1)[0][1] if self._losses else 0, self._stillborn)
        if deaths >= WORKER_DEATHS:
            self._failed = ServiceError(
                f"Workers were killed {deaths} times at the same work; the last one was {worker.remote.name}.",
                "Check whether a memory limit is the reason; if so, give fewer --processes. Then run the same command again.",
            )
            self._stop_workers()
            return
        note = f"{worker.remote.name} was lost; its work restarts from its checkpoints"
        self._context.on_event(ProgressEvent(note=note, ended=True, worker=worker.remote.progress_name))

    def _after_messages(self) -> None:
        """What is due whenever something may have changed, or time has passed."""
        validity = self._validity()
        for remote in self._workers:
            remote.renew(validity)
        self._pass_on_rate()
        if self._context.stop.requested() and self._stopped_at is None:
            self._stop_workers()
        if self._context.stop.status:  # at the end: it replaces what workers say of themselves
            self._context.on_event(ProgressEvent(status=self._context.stop.status))
        self._answer_takes()
        self._relieve()
        self._announce_workers(self._busy_workers())
        self._tell_who_works()

    def _tell_who_works(self) -> None:
        """Lets the display expect reports of those that have something to do, of whom one may be stuck before its first report.

        Whoever has nothing left to do is neither slow nor stuck.
        """
        for remote, worker in self._workers.items():
            awaited = bool(worker.held or self._waiting) or not worker.heard
            if remote.progress_name and awaited != worker.awaited:
                worker.awaited = awaited
                event = ProgressEvent(began=awaited, ended=not awaited, worker=remote.progress_name)
                self._context.on_event(event)

    def _answer_takes(self) -> None:
        """Gives parts to those that have room, first to those with the fewest; nobody gets more than a fair share."""
        held = sum(len(worker.held) for worker in self._workers.values())
        if self._stopped_at is not None or not (held or self._waiting):
            for worker in self._workers.values():
                for _ in range(worker.takes):
                    worker.remote.send(Give())
                worker.takes = 0
            return
        fair = -(-(held + len(self._waiting)) // max(len(self._workers), 1))
        takers = [worker for worker in self._workers.values() if worker.takes]
        while self._waiting and takers:
            worker = min(takers, key=lambda taker: len(taker.held))
            if len(worker.held) >= fair:
                return
            self._give(worker)
            if not worker.takes:
                takers.remove(worker)

    def _give(self, worker: _Worker) -> None:
        number, part = self._waiting.popleft()
        worker.held[number] = part
        worker.takes -= 1
        worker.keep = None
        self._announce_workers(self._busy_workers())  # the others make room before it begins
        worker.remote.send(Give(number, part))

    def _relieve(self) -> None:
        """Asks the worker with the most parts for half of them, where another one has had none for a while."""
        now = time.monotonic()
        if self._waiting or self._stopped_at is not None:
            return
        for worker in self._workers.values():
            if worker.takes and not worker.held and now - worker.idle_since >= RELIEF_SECONDS:
                busiest = max(self._workers.values(), key=lambda other: other.load)
                if busiest.load >= 2:  # noqa: PLR2004 - a single part can't be shared
                    busiest.keep = busiest.load - busiest.load // 2
                    busiest.remote.send(Keep(busiest.keep))
                    worker.idle_since = now

    def _announce_workers(self, busy: int) -> None:
        """Tells how many share the caps; a worker without parts consumes nothing."""
        is_other, self._busy = busy != self._busy, busy
        sharing = float(max(busy, 1))
        if self._member is not None and not self._context.rate.is_own:
            sharing = self._member.divide(busy)
        if is_other or sharing != self._sharing:
            self._sharing = sharing
            for remote in self._workers:
                remote.send(Workers(sharing))

    def _pass_on_rate(self) -> None:
        """Tells all workers of a rate that an operator has set."""
        setting = self._context.rate.setting
        if setting is not None and setting != self._rate:
            self._rate = setting
            for remote in self._workers:
                remote.send(setting)

    def _validity(self) -> Validity | None:
        return self._context.lease.validity() if self._context.lease else None

    def _stop_workers(self) -> None:
        self._stopped_at = time.monotonic()
        for remote in self._workers:
            remote.send(messages.Stop())

    def _is_overdue(self) -> bool:
        """Whether the time for workers to stop is over; after an error they may still finish an upload."""
        if self._stopped_at is None:
            return False
        grace = runner.GRACE_SECONDS if self._context.stop.requested() else _ERROR_GRACE_SECONDS
        return time.monotonic() - self._stopped_at > grace
