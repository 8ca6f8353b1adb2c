"""The command-line options that every command shares, and the frame in which a command runs."""

from __future__ import annotations

import dataclasses
import functools
import logging
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeVar

import click
import msgspec

from ddb_shared.aws import AwsOptions
from ddb_shared.cap import Cap
from ddb_shared.cluster import Cluster
from ddb_shared.errors import TransferError, explain
from ddb_shared.progress import Style
from ddb_shared.workers import Processes, Runner

Command = TypeVar("Command", bound=Callable[..., Any])

_OPTIONS: Final = (
    click.option("--region", metavar="REGION", envvar="AWS_REGION", help="Region of the table."),
    click.option("--profile", metavar="NAME", help="Profile of the AWS config files."),
    click.option(
        "--role-arn",
        "role_arns",
        multiple=True,
        metavar="ARN",
        help="Role to assume, renewed for the whole run; repeat it for a chain.",
    ),
    click.option("--external-id", metavar="ID", help="External id that the role's trust policy demands."),
    click.option(
        "--role-session-name",
        metavar="NAME",
        help="Name of the role sessions in CloudTrail.  [default: ddb-transfer-<pid>]",
    ),
    click.option(
        "--mfa-serial",
        metavar="ARN",
        help="MFA device; its code is asked for once and lasts for 36 hours.",
    ),
    click.option("--s3-profile", metavar="NAME", help="Profile for S3 alone."),
    click.option(
        "--s3-role-arn",
        "s3_role_arns",
        multiple=True,
        metavar="ARN",
        help="Role to assume for S3 alone, instead of --role-arn; repeat it for a chain.",
    ),
    click.option(
        "--endpoint-url", metavar="URL", help="Endpoint of DynamoDB, STS and S3, for local services."
    ),
    click.option("--s3-endpoint-url", metavar="URL", help="Endpoint of S3 alone."),
    click.option(
        "--bucket-owner",
        metavar="ACCOUNT",
        help="Account that must own the bucket; every call to S3 is refused if another one does.  "
        "[default for import and verify: the caller's account]",
    ),
    click.option(
        "--processes",
        type=click.IntRange(1, 256),
        metavar="N",
        show_default="one a core",
        help="Worker processes; with --scheduler, tasks on the cluster.  [default there: one a worker thread]",
    ),
    click.option(
        "--scheduler",
        metavar="ADDRESS",
        help="Run the work on the Dask cluster of this scheduler, such as tcp://10.0.0.1:8786.",
    ),
    click.option(
        "--progress",
        type=click.Choice([style.value for style in Style]),
        default=Style.AUTO.value,
        show_default=True,
        help="How to show progress on stderr; auto is a bar on a terminal and log lines elsewhere.",
    ),
    click.option("--json", "as_json", is_flag=True, help="Print the result as one JSON object."),
    click.option(
        "--log-level",
        type=click.Choice(["debug", "info", "warning", "error"]),
        default="warning",
        show_default=True,
        help="Level of the log on stderr.",
    ),
)


# Of the commands that have --state.
state_owner_option: Final = click.option(
    "--state-owner",
    metavar="ACCOUNT",
    help="Account that must own the bucket of --state, if that is another bucket than the export's.  "
    "[default: the caller's account]",
)


@dataclass(frozen=True, kw_only=True)
class Common:
    """The shared options, parsed."""

    aws: AwsOptions
    processes: int
    scheduler: str | None = None
    progress: Style
    as_json: bool

    @property
    def arguments(self) -> list[str]:
        """The options that a later command needs to reach the same place."""
        arguments = []
        for field in dataclasses.fields(self.aws):
            if field.name in {"mfa_keys", "side", "state_bucket"}:
                continue  # no options: a secret of this run alone, and what follows from others
            value = getattr(self.aws, field.name)
            option = "--" + field.name.removesuffix("s" if isinstance(value, tuple) else "").replace("_", "-")
            values = value if isinstance(value, tuple) else (value,)
            arguments += [part for one in values if one for part in (option, one)]
        if self.scheduler:
            arguments += ["--scheduler", self.scheduler]
        return arguments

    def runner(self) -> Runner:
        """The pool that the options ask for."""
        return Cluster(self.scheduler) if self.scheduler else Processes(self.processes)


def common_options(command: Command) -> Command:
    """Adds the shared options; the command receives them as one argument, `common`."""

    @functools.wraps(command)
    def wrapper(**given: Any) -> Any:
        return command(common=_collect(given), **given)

    for option in reversed(_OPTIONS):
        wrapper = option(wrapper)
    return wrapper  # type: ignore[return-value] # the same command, with options


def _collect(given: dict[str, Any]) -> Common:
    level = given.pop("log_level").upper()
    logging.basicConfig(level=level, stream=sys.stderr, format="%(levelname)s %(message)s")
    if level != "DEBUG":  # it logs a traceback for a role that is refused, of which our own message says all
        logging.getLogger("botocore.credentials").setLevel(logging.CRITICAL)
    taken = {name: given.pop(name) for name in AwsOptions.__dataclass_fields__ if name in given}
    scheduler = given.pop("scheduler")
    slots = Cluster(scheduler).slots if scheduler else os.cpu_count
    return Common(
        aws=AwsOptions(**taken),
        processes=given.pop("processes") or slots() or 1,
        scheduler=scheduler,
        progress=Style(given.pop("progress")),
        as_json=given.pop("as_json"),
    )


def run(command: click.Command, argv: Sequence[str] | None = None) -> None:
    """Runs a command line and ends the process with the exit code that its outcome calls for.

    Expected errors are printed without a traceback; a bug keeps its own.
    """
    try:
        code = command.main(args=argv, standalone_mode=False)
    except click.ClickException as error:
        error.show()
        code = error.exit_code
    except click.Abort:
        code = 130
    except TransferError as error:
        code = _report(error)
    except Exception as error:
        mapped = explain(error, f"run {command.name}")
        if mapped is None:
            raise
        code = _report(mapped)
    sys.exit(code or 0)


def _report(error: TransferError) -> int:
    click.echo(f"Error: {error}", err=True)
    return error.exit_code


def print_result(result: Any, text: str, *, as_json: bool) -> None:
    """Prints a command's result, a msgspec Struct, on stdout."""
    click.echo(msgspec.json.encode(result).decode() if as_json else text)


class ByteSize(click.ParamType[int]):
    """A number of bytes such as 64MiB, 500MB or 1048576."""

    name = "bytes"
    _UNITS: Final = {
        "": 1,
        "b": 1,
        "kib": 2**10,
        "mib": 2**20,
        "gib": 2**30,
        "kb": 10**3,
        "mb": 10**6,
        "gb": 10**9,
    }

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """The number of bytes."""
        if isinstance(value, int):
            return value
        number = value.rstrip("abgikmABGIKM").strip()
        factor = self._UNITS.get(value[len(number) :].strip().lower())
        if factor is None or not number.isdigit():
            self.fail(f"{value!r} is not a size. Write it like 64MiB or 500MB.", param, ctx)
        return int(number) * factor


class Capacity(click.ParamType[Cap]):
    """Capacity units per second, or a percentage of the provisioned ones; a positive number."""

    name = "units"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Cap:
        """The cap."""
        if isinstance(value, Cap):
            return value
        percent = value.endswith("%")
        try:
            number = float(value.removesuffix("%"))
        except ValueError:
            number = 0.0
        if not 0 < number < float("inf"):
            self.fail(
                f"{value!r} is not a rate. Write capacity units per second, such as 500, or a part of the provisioned "
                "ones, such as 50%.",
                param,
                ctx,
            )
        return Cap(number, percent)
