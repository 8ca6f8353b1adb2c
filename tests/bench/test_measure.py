"""What the benchmark's measuring counts."""

import json
import subprocess
import sys
from pathlib import Path

from bench.measure import Watch
from support.environment import ROOT

MEASURE = str(ROOT / "scripts" / "bench" / "measure.py")
# the parent ends at once, so its child becomes an orphan
ORPHAN = """
import subprocess, sys
subprocess.Popen([sys.executable, "-c", "import time\\nwhile time.process_time() < 0.5: pass"])
"""


def measured(tmp_path: Path, code: str) -> dict[str, float]:
    result = tmp_path / "cost.json"
    subprocess.run([sys.executable, MEASURE, str(result), sys.executable, "-c", code], check=True)
    cost: dict[str, float] = json.loads(result.read_text())
    return cost


def test_cpu_of_an_orphan_counts(tmp_path: Path) -> None:
    """Whatever the command leaves running is waited for and counted."""
    cost = measured(tmp_path, ORPHAN)
    assert cost["cpu_seconds"] >= 0.5
    assert cost["exit_code"] == 0


def test_exit_code_is_the_commands(tmp_path: Path) -> None:
    """A failure is told, not lost."""
    assert measured(tmp_path, "raise SystemExit(7)")["exit_code"] == 7


def test_memory_is_of_each_process_and_of_all() -> None:
    """Two children with 64 MiB each: no less for one, no less than both for all."""
    code = "held = b'x' * (64 << 20); print(flush=True); input()"
    command = [sys.executable, "-c", code]
    children = [subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) for _ in range(2)]
    watch = Watch()
    for child in children:
        assert child.stdout
        child.stdout.readline()
    watch.sample()
    for child in children:
        child.communicate(b"\n")
    assert all(watch.peaks[child.pid] >= 64 for child in children)
    assert watch.rss >= 128
    assert watch.pss >= 128
