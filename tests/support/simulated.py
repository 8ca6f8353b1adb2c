"""An event loop whose time is simulated: it jumps to the next timer instead of waiting for it."""

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any, TypeVar

Result = TypeVar("Result")


class _Jumping(selectors.SelectSelector):
    """Never waits; says how long it would have waited."""

    waited = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        assert timeout is not None, "nothing is left to wait for: a deadlock"
        self.waited += max(timeout, 0.0)
        return super().select(0)


class SimulatedLoop(asyncio.SelectorEventLoop):
    """An event loop of coroutines and timers alone: what it waits for from outside, it would take for a deadlock."""

    def __init__(self) -> None:
        self._jumping = _Jumping()
        super().__init__(self._jumping)

    def time(self) -> float:
        """Simulated seconds since the start."""
        return self._jumping.waited


def simulate(main: Coroutine[Any, Any, Result]) -> Result:
    """Runs a coroutine; `asyncio.get_running_loop().time()` is its clock, and `asyncio.sleep` takes no time."""
    with asyncio.Runner(loop_factory=SimulatedLoop) as runner:
        return runner.run(main)


def now() -> float:
    """The running loop's simulated time in seconds."""
    return asyncio.get_running_loop().time()
