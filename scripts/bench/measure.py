"""Runs one command and tells what it and all its descendants cost: `python measure.py RESULT.json COMMAND…`. Linux only.

A process of its own, so that its children are the command's processes alone: orphans come to it (it is their
subreaper), so RUSAGE_CHILDREN is the CPU of the whole tree. Memory is read from /proc every 50 ms: of each process the
peak RSS that the kernel keeps (VmHWM), of the tree the greatest sum of RSS, which counts shared pages once for each
process, and less often of PSS, which counts them once.
"""

from __future__ import annotations

import ctypes
import json
import os
import re
import resource
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Final

PR_SET_CHILD_SUBREAPER: Final = 36
SAMPLE_SECONDS: Final = 0.05
# The kernel walks the page tables for each PSS.
SAMPLES_PER_PSS: Final = 4
MIB: Final = 1024.0


@dataclass(kw_only=True)
class Cost:
    """What one run cost; seconds, MiB. `busiest_seconds` is the CPU of one process, `process_mib` the peak of one.

    `timeline` is memory over time: second, the RSS of the largest process then, the sum of all.
    """

    exit_code: int = 0
    wall_seconds: float = 0.0
    cpu_seconds: float = 0.0
    busiest_seconds: float = 0.0
    process_mib: float = 0.0
    tree_rss_mib: float = 0.0
    tree_pss_mib: float = 0.0
    processes: int = 0
    timeline: list[tuple[int, float, float]] = field(default_factory=list)


class Watch:
    """Samples the memory of this process's descendants."""

    def __init__(self) -> None:
        self.peaks: dict[int, float] = {}
        self.cpu_seconds: dict[int, float] = {}
        self.rss = self.pss = 0.0
        self.by_second: dict[int, tuple[float, float]] = {}
        self._samples = 0
        self._started_at = time.monotonic()

    def run(self, ended: threading.Event) -> None:
        """Samples until the event is set."""
        while not ended.wait(SAMPLE_SECONDS):
            self.sample()

    def sample(self) -> None:
        """Reads all processes once; those that end meanwhile count with what was read before."""
        rss = pss = largest = 0.0
        for pid in descendants(os.getpid()):
            with suppress(OSError):
                status = Path(f"/proc/{pid}/status").read_text()
                own = _mib(status, "VmRSS")
                rss, largest = rss + own, max(largest, own)
                self.peaks[pid] = max(self.peaks.get(pid, 0.0), _mib(status, "VmHWM"))
                self.cpu_seconds[pid] = _own_seconds(pid)
                if self._samples % SAMPLES_PER_PSS == 0:
                    pss += _mib(Path(f"/proc/{pid}/smaps_rollup").read_text(), "Pss")
        self._samples += 1
        second = int(time.monotonic() - self._started_at)
        before = self.by_second.get(second, (0.0, 0.0))
        self.by_second[second] = (max(before[0], largest), max(before[1], rss))
        self.rss, self.pss = max(self.rss, rss), max(self.pss, pss)


def descendants(pid: int) -> Iterator[int]:
    """The processes below this one."""
    with suppress(OSError):
        for thread in Path(f"/proc/{pid}/task").iterdir():
            for child in (thread / "children").read_text().split():
                yield int(child)
                yield from descendants(int(child))


def cpu_seconds_so_far(pid: int) -> float:
    """CPU of a running process with its descendants, those that have ended and were waited for included."""
    total = 0.0
    for member in (pid, *descendants(pid)):
        with suppress(OSError):
            total += sum(_times(member))
    return total


def waiting_seconds_so_far(pid: int) -> float:
    """How long threads of a running process and its descendants have waited for a core that others had."""
    total = 0.0
    for member in (pid, *descendants(pid)):
        with suppress(OSError):
            for thread in Path(f"/proc/{member}/task").iterdir():
                total += int((thread / "schedstat").read_text().split()[1]) / 1e9
    return total


def _own_seconds(pid: int) -> float:
    return sum(_times(pid)[:2])


def _times(pid: int) -> list[float]:
    """User and system time of a process, then of its children that have ended."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return [int(events) / os.sysconf("SC_CLK_TCK") for events in fields[11:15]]


def _mib(text: str, name: str) -> float:
    found = re.search(rf"^{name}:\s+(\d+) kB", text, re.MULTILINE)
    return int(found[1]) / MIB if found else 0.0


def measured(command: list[str]) -> Cost:
    """Runs the command to its end, and all that it started."""
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    watch, ended = Watch(), threading.Event()
    sampling = threading.Thread(target=watch.run, args=(ended,), daemon=True)
    started_at = time.monotonic()
    process = subprocess.Popen(command)
    sampling.start()
    exit_code = process.wait()
    wall_seconds = time.monotonic() - started_at
    with suppress(ChildProcessError):
        while True:
            os.wait()
    ended.set()
    sampling.join()
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return Cost(
        exit_code=exit_code,
        wall_seconds=wall_seconds,
        cpu_seconds=used.ru_utime + used.ru_stime,
        busiest_seconds=max(watch.cpu_seconds.values(), default=0.0),
        process_mib=max(watch.peaks.values(), default=0.0),
        tree_rss_mib=watch.rss,
        tree_pss_mib=watch.pss,
        processes=len(watch.peaks),
        timeline=[(second, *mib) for second, mib in watch.by_second.items()],
    )


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(json.dumps(asdict(measured(sys.argv[2:]))))
