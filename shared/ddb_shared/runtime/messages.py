"""What travels between a pool and its workers, over the pipe to a process or over the scheduler of a cluster.

A worker gets a Job, takes parts of the run's work one after another, and says of each that it is settled. A `Validity`
travels to the worker and a `ProgressEvent` to the pool beside these.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Job:
    """To a worker: what to do. `work(task, channel)` is called, and takes its parts over the channel."""

    work: Any
    task: Any


@dataclass(frozen=True, slots=True)
class Take:
    """To the pool: the worker has room for one more part."""


@dataclass(frozen=True, slots=True)
class Give:
    """To a worker, the answer to a Take: a part and its number; no part where there are no more."""

    number: int = -1
    part: Any = None


@dataclass(frozen=True, slots=True)
class Settled:
    """To the pool: the part is done and needs nobody any more. `state` is what the run wants to know of it."""

    number: int
    state: Any


@dataclass(frozen=True, slots=True)
class Returned:
    """To the pool: the part is not done, what was done of it is saved, and somebody else may continue it."""

    number: int


@dataclass(frozen=True, slots=True)
class Keep:
    """To a worker: keep at most so many of the parts that it has open, and return the others."""

    count: int


@dataclass(frozen=True, slots=True)
class Workers:
    """To a worker: how many share what is to be shared, this one among them; see cap_share for the fractions."""

    count: float


@dataclass(frozen=True, slots=True)
class Stop:
    """To a worker: finish what is in flight, save and return."""


@dataclass(frozen=True, slots=True)
class Done:
    """To the pool: the job has ended, with its result or with an error."""

    result: Any = None
    error: BaseException | None = None


@dataclass(frozen=True, slots=True)
class Lost:
    """Of a worker that is gone; nothing that it had begun continues. One that was only unreachable was not `killed`."""

    killed: bool = True
