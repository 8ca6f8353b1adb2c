"""An import that begins before the base is complete waits for it, as long as somebody exports it."""

import msgspec
import pytest

from ddb_import.apply.base import POLL_SECONDS, wait_for_base
from ddb_import.apply.exporter import DEAD_SECONDS
from ddb_shared.errors import ExportError
from ddb_shared.format.manifest import MANIFEST
from ddb_shared.runtime import lease as leases
from ddb_shared.runtime.lease import EXPIRES_SECONDS, Lease
from ddb_shared.runtime.progress import ProgressEvent
from ddb_shared.runtime.stop import Stop
from support.change_log import ChangeLog
from support.memory import MemoryFolder


class Lab:
    """An export without a base, whose lease is held by a run elsewhere; time passes with each sleep."""

    def __init__(self) -> None:
        self.folder = MemoryFolder()
        ChangeLog(self.folder).begin()
        lease = Lease(host="h", boot="b", pid=1, user="ann", since="noon", nonce="1")
        self.folder.files[leases.FILE] = msgspec.json.encode(lease)
        self.statuses: list[str] = []
        self.now = 0.0
        self.at: dict[float, float] = {}
        self.complete_at = 1e9

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        for moment, age in self.at.items():
            if self.now >= moment:
                self.folder.age_seconds = age
        if self.now >= self.complete_at:
            self.folder.files[MANIFEST] = b"{}"

    def wait(self) -> None:
        def show(event: ProgressEvent) -> None:
            self.statuses.append(event.status)

        wait_for_base(self.folder, show, Stop(), sleep=self.sleep, clock=lambda: self.now)


def test_an_exporter_that_is_dead_is_told_and_ends_the_wait() -> None:
    """Once its lease has run out, every line says how to resume it; ten minutes later, the import ends."""
    lab = Lab()
    lab.at = {100: EXPIRES_SECONDS}
    with pytest.raises(ExportError, match="no run has exported it for 10 minutes") as caught:
        lab.wait()
    resume = f"ddb-export --resume {lab.folder.url}"
    assert resume in caught.value.remedy
    assert 100 + DEAD_SECONDS <= lab.now + 10 <= 100 + DEAD_SECONDS + 30
    told = [resume in status for status in lab.statuses]
    alive = told.index(True)
    assert alive == pytest.approx(100 / POLL_SECONDS / 5, abs=1)
    assert all(told[alive:])
    assert len(told[alive:]) > 50


def test_an_exporter_that_is_resumed_is_waited_for() -> None:
    """However long that takes in all."""
    lab = Lab()
    lab.at = {100: EXPIRES_SECONDS, 600: 5.0, 1000: EXPIRES_SECONDS, 1400: 5.0}
    lab.complete_at = 5_000
    lab.wait()
    assert lab.now >= 5_000
    assert "--resume" not in lab.statuses[-1]
