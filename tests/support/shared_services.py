"""One MiniStack and one DynamoDB Local per test run, whatever the number of pytest-xdist workers.

Without xdist a server starts when the first test asks for it. With xdist the controller starts both, before its
first worker, and hands their addresses over.
"""

import contextlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from typing import Self

from support.services import Endpoint, ServiceError, ServiceMissingError, dynamodb_local, local_aws

STARTERS: dict[str, Callable[[], AbstractContextManager[Endpoint]]] = {
    "ministack": local_aws,
    "dynamodb-local": dynamodb_local,
}


@dataclass(frozen=True)
class Outcome:
    """A server's address, or why there is none: `missing` if the machine lacks its program, else `error`."""

    name: str
    url: str = ""
    missing: str = ""
    error: str = ""


class SharedServices:
    """The servers of one test run; those in `known` were started by the controller."""

    def __init__(self, known: dict[str, dict[str, str]] | None = None) -> None:
        self._outcomes = {name: Outcome(**fields) for name, fields in (known or {}).items()}
        self._running = contextlib.ExitStack()

    def outcome(self, name: str) -> Outcome:
        """Return the server's state; the first call starts it."""
        if name not in self._outcomes:
            self._outcomes[name] = self._start(name)
        return self._outcomes[name]

    def start_all(self) -> dict[str, dict[str, str]]:
        """Start every server side by side; return what a worker gives to its own `SharedServices`."""
        with ThreadPoolExecutor(len(STARTERS)) as pool:
            return {outcome.name: asdict(outcome) for outcome in pool.map(self.outcome, STARTERS)}

    def _start(self, name: str) -> Outcome:
        try:
            endpoint = self._running.enter_context(STARTERS[name]())
        except ServiceMissingError as error:
            return Outcome(name, missing=str(error))
        except ServiceError as error:
            return Outcome(name, error=str(error))
        return Outcome(name, url=endpoint.url)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._running.close()
