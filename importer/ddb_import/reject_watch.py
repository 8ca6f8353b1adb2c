"""Ends an import early of which too many items are rejected: the table does not fit the export."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from ddb_import.options import RejectLimit
from ddb_import.state import REJECTS, list_rejects, read_rejects
from ddb_shared.errors import ServiceError
from ddb_shared.runtime.progress import ProgressEvent
from ddb_shared.runtime.stop import Stop
from ddb_shared.storage.base import Storage


class RejectWatch:
    """Counts what one run rejects, and stops it in order once that is too much: what is confirmed is saved."""

    def __init__(self, limit: RejectLimit, stop: Stop) -> None:
        self._limit = limit
        self._stop = stop
        self._rejected = self._processed = 0
        self._is_exceeded = False

    def watch(self, on_event: Callable[[ProgressEvent], None]) -> Callable[[ProgressEvent], None]:
        """The same receiver of events, with the rejects counted."""

        def counted(event: ProgressEvent) -> None:
            self._rejected += event.rejected
            self._processed += event.items + event.rejected
            if not self._is_exceeded and self._limit.is_exceeded(self._rejected, self._processed):
                self._is_exceeded = True
                self._stop.request()
            on_event(event)

        return counted

    def check(self, storage: Storage) -> None:
        """Raises ServiceError, with the most frequent reason from the rejects files, if the run was stopped for them."""
        if not self._is_exceeded:
            return
        names = list_rejects(storage)[:1]
        reasons = Counter(line.reason for name in names for line in read_rejects(storage, name))
        most = f" Most often: {reasons.most_common(1)[0][0]}" if reasons else ""
        raise ServiceError(
            f"{self._rejected:,} of {self._processed:,} items were rejected, which is more than --max-rejects {self._limit} "
            f"allows.{most}",
            f"Check {storage.url}{REJECTS}, and the table's keys and indexes; --max-rejects N or P% allows more, "
            "--max-rejects 100% any number.",
        )
