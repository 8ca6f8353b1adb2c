"""Bundles of options reach a command as one argument, and each option has a typed parameter."""

import inspect
from collections.abc import Callable

import click
import pytest

from ddb_export import follow_options
from ddb_export.cli import command as export_command
from ddb_export.options import PitrOptions
from ddb_import import create_options
from ddb_import.cli import command as import_command
from ddb_import.move_tables import Selection
from ddb_import.verify.cli import command as verify_command
from ddb_shared.command import options
from ddb_shared.command.bundle import bundle
from ddb_shared.policy.cli import command as policy_command
from support.help import outcome

BUNDLES: dict[str, Callable[..., object]] = {
    "common": options._collect,
    "pitr": PitrOptions,
    "follow": follow_options._collect,
    "selection": Selection,
    "create": create_options._collect,
}
COMMANDS = (export_command, import_command, verify_command, policy_command)


@pytest.mark.parametrize("command", COMMANDS, ids=[str(command.name) for command in COMMANDS])
def test_every_option_has_a_parameter(command: click.Command) -> None:
    """Of the command or of one of its bundles, and every parameter that is required has its option."""
    assert command.callback
    parameters = inspect.signature(command.callback).parameters
    own = set(parameters)
    bundled = {name for name in own & BUNDLES.keys() if parameters[name].annotation != "bool"}
    bundles = [inspect.signature(BUNDLES[name]).parameters for name in bundled]
    required = {name for part in bundles for name, one in part.items() if one.default is one.empty}
    exposed = {str(one.name) for one in command.params if one.expose_value}
    assert exposed <= own | {name for part in bundles for name in part}
    assert (own - bundled) | required <= exposed


def test_a_bundle_is_one_argument() -> None:
    """It takes its options out of those of the command, also one that the command declares itself."""
    seen: list[tuple[str, int]] = []

    def build(*, color: str, size: int = 0) -> str:
        return f"{color} {size}"

    @click.command()
    @click.option("--size", type=int)
    @click.option("--count", type=int)
    @bundle("paint", build, (click.option("--color"),))
    def command(*, paint: str, count: int) -> None:
        seen.append((paint, count))

    assert outcome(command, "--color", "red", "--size", "3", "--count", "7") == 0
    assert seen == [("red 3", 7)]
