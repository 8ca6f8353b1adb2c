"""Runs contestants one after another and checks that they did the work."""

from __future__ import annotations

import itertools
import json
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from bench.contestants import HERE, Contestant, Job
from bench.measure import Cost
from bench.services import EXPORT, IMPORT, Service
from support.environment import SOURCE, clean_environment, credentials

TIMEOUT_SECONDS: Final = 900


class NotDoneError(Exception):
    """A program failed, or did not move every item."""


@dataclass(frozen=True, kw_only=True)
class Run:
    """One measured run. `failure` says why there is no cost.

    `service_seconds` is the service's CPU meanwhile, `waiting_seconds` how long it waited for a core.
    """

    section: str
    contestant: str
    direction: str
    shape: str
    items: int
    cost: Cost = field(default_factory=Cost)
    service_seconds: float = 0.0
    waiting_seconds: float = 0.0
    failure: str = ""
    may_fail: bool = False


class Lab:
    """A service and a folder for what programs leave behind; `runs` are those so far."""

    def __init__(self, service: Service, storage: Path) -> None:
        self.runs: list[Run] = []
        self.service = service
        self.storage = storage
        self._numbers = itertools.count(1)

    def move(self, section: str, contestant: Contestant, shape: str, items: int) -> None:
        """Exports a table and imports what came out, both measured; what fails is recorded with its reason."""
        table, copy = self.service.tables(shape, items)
        storage = self.storage / f"job{next(self._numbers)}"
        storage.mkdir()
        job = Job(table=table, copy=copy, bucket=storage.name, storage=storage)
        printed = ""
        for direction in (EXPORT, IMPORT):
            words = contestant.exports(job) if direction == EXPORT else contestant.imports(job, printed)
            run = Run(
                section=section,
                contestant=contestant.name,
                direction=direction,
                shape=shape,
                items=items,
                may_fail=contestant.may_fail,
            )
            done, printed = self._measured(run, words, job)
            self.runs.append(done)
            print(_line(done), file=sys.stderr)
            if done.failure:
                break  # there is nothing to import
        self.service.forget(job.bucket)
        shutil.rmtree(storage)

    def _measured(self, run: Run, command: Sequence[str], job: Job) -> tuple[Run, str]:
        """The run with its cost or failure, and what it printed."""
        service, counts = self.service, self.service.counts()
        cpu_before, waiting_before = service.cpu_seconds(), service.waiting_seconds()
        try:
            cost, printed = run_measured(command, job, service.environment)
            used, waited = service.cpu_seconds() - cpu_before, service.waiting_seconds() - waiting_before
            self._prove(run, counts)
        except NotDoneError as error:
            return replace(run, failure=str(error)), ""
        return replace(run, cost=cost, service_seconds=used, waiting_seconds=waited), printed

    def _prove(self, run: Run, before: dict[str, int]) -> None:
        """Raises NotDoneError unless the service counted every item of the run, and no other."""
        for direction, count in self.service.counts().items():
            expected = run.items if direction == run.direction else 0
            moved = count - before[direction]
            if moved != expected:
                raise NotDoneError(f"{direction} of {moved:,} items instead of {expected:,}")


def _line(run: Run) -> str:
    """A run for the log."""
    what = f"{run.section}: {run.contestant}, {run.direction} of {run.items:,} {run.shape} items: "
    if run.failure:
        return what + run.failure
    cost = run.cost
    return (
        f"{what}{cost.cpu_seconds:.2f} s CPU, {cost.wall_seconds:.2f} s, service {run.service_seconds:.2f} s"
    )


def run_measured(command: Sequence[str], job: Job, environment: dict[str, str]) -> tuple[Cost, str]:
    """The cost of a command and what it printed. Raises NotDoneError where it fails."""
    result = job.storage / "cost.json"
    done = subprocess.run(
        [sys.executable, str(HERE / "measure.py"), str(result), *command],
        env=clean_environment() | credentials(SOURCE) | environment,
        cwd=job.storage,
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
        said = [line for line in done.stderr.splitlines() if line.strip(" |+-")] or ["nothing on stderr"]
        raise NotDoneError(f"exit code {cost.exit_code}: {said[-1].strip()}")
    return cost, done.stdout
