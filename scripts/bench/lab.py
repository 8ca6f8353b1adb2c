"""Runs contestants against a stub in a process of its own, and checks that they did the work."""

from __future__ import annotations

import itertools
import json
import shutil
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from contestants import HERE, Contestant, Job
from measure import Cost, cpu_seconds_so_far

from support.environment import SOURCE, clean_environment, credentials

TIMEOUT_SECONDS: Final = 900
EXPORT: Final = "export"
IMPORT: Final = "import"


class NotDoneError(Exception):
    """A program failed, or did not move every item."""


@dataclass(frozen=True, kw_only=True)
class Run:
    """One measured run. `stub_seconds` is the CPU of the stub meanwhile, `failure` why there is no cost."""

    section: str
    contestant: str
    direction: str
    shape: str
    items: int
    cost: Cost = field(default_factory=Cost)
    stub_seconds: float = 0.0
    failure: str = ""


class Lab:
    """The stub, a folder for what programs leave behind, and the runs so far."""

    def __init__(self, url: str, stub_pid: int, folder: Path) -> None:
        self.runs: list[Run] = []
        self._url = url
        self._stub_pid = stub_pid
        self._folder = folder
        self._numbers = itertools.count(1)
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def move(self, section: str, contestant: Contestant, shape: str, items: int) -> None:
        """Exports a table and imports what came out, both measured; a failed export leaves nothing to import."""
        self.ask(f"/_stub/shape/{shape}")  # made before the clock starts
        name = f"job{next(self._numbers)}"
        folder = self._folder / name
        folder.mkdir()
        job = Job(url=self._url, table=f"{shape}-{items}", bucket=name, folder=folder)
        about: dict[str, Any] = {
            "section": section,
            "contestant": contestant.name,
            "shape": shape,
            "items": items,
        }
        try:
            exported = self._run(about, EXPORT, contestant.exports(job), job)
            self._run(about, IMPORT, contestant.imports(job, exported), job)
        except NotDoneError as error:
            self.runs.append(Run(**about, direction=EXPORT, failure=str(error)))
            print(f"{contestant.name}, {shape}: {error}", file=sys.stderr)
        self.ask(f"/{name}", "DELETE")
        shutil.rmtree(folder)

    def ask(self, path: str, method: str = "GET") -> dict[str, Any]:
        """What the stub tells."""
        request = urllib.request.Request(self._url + path, method=method)
        with self._opener.open(request, timeout=60) as answer:
            told: dict[str, Any] = json.loads(answer.read() or "{}")
            return told

    def _run(self, about: dict[str, Any], direction: str, command: Sequence[str], job: Job) -> str:
        """Runs one direction and records it; returns what it printed. Raises NotDoneError."""
        before, stub_before = self.ask("/_stub/stats"), cpu_seconds_so_far(self._stub_pid)
        cost, printed = run_measured(command, job)
        stub_seconds = cpu_seconds_so_far(self._stub_pid) - stub_before
        counted = "scanned_items" if direction == EXPORT else "puts"
        moved = self.ask("/_stub/stats")[counted] - before[counted]
        if moved != about["items"]:
            raise NotDoneError(f"the {direction} moved {moved:,} of {about['items']:,} items")
        run = Run(**about, direction=direction, cost=cost, stub_seconds=stub_seconds)
        self.runs.append(run)
        print(
            f"{run.section}: {run.contestant}, {run.direction} of {run.items:,} {run.shape} items: "
            f"{cost.cpu_seconds:.2f} s CPU, {cost.wall_seconds:.2f} s, stub {stub_seconds:.2f} s",
            file=sys.stderr,
        )
        return printed


def run_measured(command: Sequence[str], job: Job) -> tuple[Cost, str]:
    """The cost of a command and what it printed. Raises NotDoneError where it fails."""
    result = job.folder / "cost.json"
    environment = clean_environment() | credentials(SOURCE) | {"AWS_ENDPOINT_URL": job.url}
    done = subprocess.run(
        [sys.executable, str(HERE / "measure.py"), str(result), *command],
        env=environment,
        cwd=job.folder,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_SECONDS,
        check=False,
    )
    if done.returncode:
        raise NotDoneError(done.stderr)
    cost = Cost(**json.loads(result.read_text()))
    if cost.exit_code:
        last = (done.stderr.strip() or "nothing on stderr").splitlines()[-1]
        raise NotDoneError(f"exit code {cost.exit_code}: {last}")
    return cost, done.stdout


@contextmanager
def open_lab() -> Iterator[Lab]:
    """A lab with a stub of its own."""
    command = [sys.executable, str(HERE / "stub.py")]
    with (
        tempfile.TemporaryDirectory(prefix="ddb-transfer-bench-") as folder,
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as stub,
    ):
        assert stub.stdin
        assert stub.stdout
        url = stub.stdout.readline().strip()
        yield Lab(url, stub.pid, Path(folder))
        stub.stdin.close()
