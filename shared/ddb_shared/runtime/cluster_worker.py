"""The parent's line to one worker process of a Dask cluster."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

from ddb_shared.runtime.cluster_line import (
    ASK_SECONDS,
    GRANT_SECONDS,
    SILENCE_SECONDS,
    Answer,
    Ask,
    DesertedError,
    Outbox,
    dismissal,
    work_on_worker,
)
from ddb_shared.runtime.cluster_watch import Watch
from ddb_shared.runtime.lease import Validity
from ddb_shared.runtime.messages import Done, Job, Lost, Workers
from ddb_shared.runtime.pool import Remote


class DaskWorker:
    """The line to one worker process of the cluster.

    `call` has something called by the thread that talks to the scheduler, and `put` something put into an inbox by it.
    """

    def __init__(
        self,
        client: Any,
        address: str,
        *,
        topic: str,
        inboxes: Iterator[str],
        call: Callable[[Callable[[], object]], None],
        put: Callable[[str, bytes], None],
        report: Callable[[tuple[Remote, object]], None],
    ) -> None:
        self.name = f"worker {address}"
        self.progress_name = ""
        self.address = address
        self.inbox = ""
        self._client = client
        self._topic = topic
        self._inboxes = inboxes
        self._call = call
        self._put = put
        self._report = report
        self._outbox: Outbox | None = None
        self._workers = Workers(1)
        self._validity: Validity | None = None
        self._heard_at: float | None = None
        self._granted_until = 0.0
        self._task: Any = None

    def send(self, message: object) -> None:
        if isinstance(message, Job):
            self._begin(message)
        elif isinstance(message, Workers):
            self._workers = message
        if self._outbox and not isinstance(message, Job):
            self._outbox.send(message)

    def renew(self, validity: Validity | None) -> None:
        self._validity = validity  # the worker asks for it

    def close(self) -> None:
        self._task = None

    def kill(self) -> None:
        """It is not ours to kill: dismissed, or without an answer, it ends by itself."""
        if self._task is not None:
            self._put(self.inbox, dismissal())
            self._call(self._task.cancel)

    def answer(self, ask: Ask) -> None:
        """Tells the worker how long the lease holds."""
        validity = self._validity
        seconds = min(validity.left_seconds(), GRANT_SECONDS) if validity else None
        self._heard_at = time.monotonic()
        if seconds is not None:
            self._granted_until = self._heard_at + seconds
        if self._outbox:
            self._outbox.answer(ask, Answer(ask.at, seconds, bool(validity and validity.lost)))

    def loss(self, watch: Watch) -> Lost | None:
        """What to report where it is gone or silent, and what it was allowed to write in the meantime has ended.

        While the scheduler itself is silent nobody can tell, and after that the worker has time to be heard again.
        """
        now = time.monotonic()
        if now < self._granted_until or watch.silent_seconds() > ASK_SECONDS:
            return None
        if self.address not in watch.addresses:
            return Lost()
        heard_at = self._heard_at and max(self._heard_at, watch.resumed_at)
        silent = heard_at is not None and now - heard_at > SILENCE_SECONDS
        return Lost(killed=False) if silent else None

    def _begin(self, job: Job) -> None:
        self.inbox = inbox = next(self._inboxes)
        self._heard_at = None  # it may have to wait for its turn
        self._outbox = Outbox(lambda data: self._put(inbox, data))
        self._outbox.send(self._workers)
        self._task = self._client.submit(
            work_on_worker,
            job,
            self._topic,
            inbox,
            key=inbox,
            workers=[self.address],
            allow_other_workers=False,
            pure=False,
        )
        self._task.add_done_callback(self._take_result)

    def _take_result(self, task: Any) -> None:
        """Called when the task has ended. What ends without a result is lost with its worker, or was cancelled."""
        error: BaseException | None = None
        with suppress(Exception):
            if task.status == "finished":
                done = task.result()
                self._report((self, Lost(killed=False) if isinstance(done.error, DesertedError) else done))
                return
            error = task.exception() if task.status == "error" else None
        if error is not None and type(error).__name__ != "KilledWorker":
            self._report((self, Done(error=error)))
