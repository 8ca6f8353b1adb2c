"""Options that several commands share, or that belong together: a command receives them as one typed argument."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Sequence
from typing import TypeVar

Command = TypeVar("Command", bound=Callable[..., object])
Decorator = Callable[[Command], Command]


def bundle(
    argument: str, build: Callable[..., object], options: Sequence[Decorator[Command]]
) -> Decorator[Command]:
    """A decorator that adds `options` to a command and passes them as one argument, built by `build`.

    `build` names and types every option that it takes, those that a command declares itself included.
    """
    names = frozenset(inspect.signature(build).parameters)

    def decorate(command: Command) -> Command:
        @functools.wraps(command)
        def wrapper(**parameters: object) -> object:
            bundled = {name: value for name, value in parameters.items() if name in names}
            own = {name: value for name, value in parameters.items() if name not in names}
            return command(**{argument: build(**bundled)}, **own)

        for option in reversed(options):
            wrapper = option(wrapper)
        return wrapper  # type: ignore[return-value] # the same command, with options

    return decorate
