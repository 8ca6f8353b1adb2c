"""Whether a run of the source side still works on an export that an import waits for."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from ddb_shared.errors import ExportError
from ddb_shared.runtime import lease as leases
from ddb_shared.storage.s3 import S3Storage

# An exporter that was killed leaves a lease that holds for a minute; after that, a supervisor or a person may start it again.
DEAD_SECONDS: Final = 600.0


class ExporterWatch:
    """Looks at the lease of an export; `missing` says what is not there yet, as a sentence.

    `export` is its folder, or that of a move, whose URL `move` is.
    """

    def __init__(
        self,
        export: S3Storage,
        missing: str,
        *,
        move: str = "",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._export = export
        self._resume = f"ddb-export --resume {move or export.url}"
        self._missing = missing
        self._clock = clock
        self._alive_at = clock()

    def note_alive(self) -> None:
        """A run works on the export."""
        self._alive_at = self._clock()

    def look(self) -> str:
        """What to tell about it: nothing while a run holds the lease; raises ExportError where none has for DEAD_SECONDS."""
        found = leases.read(self._export)
        if found is not None and found.is_held:
            self.note_alive()
            return ""
        if self._clock() - self._alive_at > DEAD_SECONDS:
            raise ExportError(
                f"{self._missing}, and no run has exported it for {DEAD_SECONDS / 60:.0f} minutes.",
                f"Resume it on the source side within 24 hours of its last change: {self._resume}\n"
                "Then run the same command again.",
            )
        return f"no run exports it: {self._resume}"
