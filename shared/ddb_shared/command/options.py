"""The command-line options that every command shares."""

from __future__ import annotations

import functools
import logging
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from ddb_shared.aws.clients import AwsOptions, account_of
from ddb_shared.command.bundle import Command, bundle
from ddb_shared.command.groups import announce_variables
from ddb_shared.command.invocation import Invocation
from ddb_shared.command.log import JSON, TEXT, LogOptions, set_up_logging
from ddb_shared.command.values import ACCOUNT, REGION, Endpoint
from ddb_shared.runtime.display import ProgressOptions, Style

if TYPE_CHECKING:
    from ddb_shared.runtime.cap_share import CapShare
    from ddb_shared.runtime.cluster import Cluster
    from ddb_shared.runtime.runner import Runner

# The levels of no --verbose, -v and -vv.
_VERBOSE_LEVELS: Final = (logging.ERROR, logging.INFO, logging.DEBUG)

# Each has a thread, a lease and, on a terminal, a bar of its own.
MAX_TABLES_AT_ONCE: Final = 32

_OPTIONS: Final = (
    click.option("--region", metavar="REGION", type=REGION, envvar="AWS_REGION", help="Region of the table."),
    click.option("--profile", metavar="NAME", help="Profile of the AWS config files."),
    click.option(
        "--role-arn",
        "role_arns",
        multiple=True,
        metavar="ARN",
        help="Role to assume, renewed for the whole run; repeat it for a chain.",
    ),
    click.option("--external-id", metavar="ID", help="External id that the role's trust policy requires."),
    click.option(
        "--role-session-name",
        metavar="NAME",
        help="Name of the role sessions in CloudTrail.  [default: ddb-transfer-<pid>]",
    ),
    click.option(
        "--mfa-serial",
        metavar="ARN",
        help="MFA device; you are asked for its code once, and the session lasts 36 hours.",
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
        "--endpoint-url",
        metavar="URL",
        type=Endpoint(),
        help="Endpoint of DynamoDB, STS and S3, for local services.",
    ),
    click.option("--s3-endpoint-url", metavar="URL", type=Endpoint(), help="Endpoint of S3 alone."),
    click.option(
        "--bucket-owner",
        metavar="ACCOUNT",
        type=ACCOUNT,
        help="Account that must own the bucket; every call to S3 is refused if another one does.  "
        "[default for import and verify: the caller's account]",
    ),
    click.option(
        "--processes",
        type=click.IntRange(1, 256),
        metavar="N",
        show_default="one per core; small tables are processed in the command's own process",
        help="Worker processes; with --scheduler, how many of the cluster's workers to use at most.  [default with --scheduler: "
        "all]",
    ),
    click.option(
        "--tables-at-once",
        type=click.IntRange(1, MAX_TABLES_AT_ONCE),
        default=1,
        show_default=True,
        metavar="N",
        help="For a move: how many tables to work on at the same time. They share --max-rcu, --max-wcu and the worker processes.",
    ),
    click.option(
        "--scheduler",
        metavar="ADDRESS",
        help="Run the work on the Dask cluster of this scheduler: tcp://HOST:PORT, tls://HOST:PORT, or its scheduler file.",
    ),
    click.option(
        "--progress",
        type=click.Choice([style.value for style in Style]),
        default=Style.AUTO.value,
        show_default=True,
        help="How to show progress on stderr: a bar, a line every 5 s, or JSON lines for programs; auto is a bar on a terminal "
        "and lines elsewhere.",
    ),
    click.option(
        "--report",
        metavar="FILE",
        type=click.Path(dir_okay=False, path_type=Path),
        help="Also write the run's report to this HTML file; one is always kept with the run's state.",
    ),
    click.option(
        "--metrics",
        metavar="FILE",
        type=click.Path(dir_okay=False, path_type=Path),
        help="Write the progress to this file every 5 s, in the Prometheus text format, for the textfile collector.",
    ),
    click.option(
        "--quiet", "-q", is_flag=True, help="Show no progress and no notices; warnings and errors remain."
    ),
    click.option(
        "--verbose", "-v", count=True, help="Log more on stderr: -v is --log-level info, -vv debug."
    ),
    click.option(
        "--log-file",
        metavar="FILE",
        type=click.Path(dir_okay=False, path_type=Path),
        help="Also append events, progress and logs (info and above) to this file.",
    ),
    click.option(
        "--log-format",
        type=click.Choice([TEXT, JSON]),
        default=TEXT,
        show_default=True,
        help="Format of stderr and --log-file; json is one object per line.",
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
    type=ACCOUNT,
    help="Account that must own the bucket of --state, if that is another bucket than the export's.  "
    "[default: the caller's account]",
)


@dataclass(frozen=True, kw_only=True)
class Common:
    """The shared options, parsed."""

    aws: AwsOptions
    processes: int | None
    scheduler: str | None = None
    tables_at_once: int = 1
    share: CapShare | None = None
    progress: ProgressOptions
    as_json: bool
    report: Path | None = None
    invocation: Invocation = field(default_factory=Invocation)

    @property
    def chooses_processes(self) -> bool:
        """Whether no option says where the work is done."""
        return not self.scheduler and self.processes is None

    def runner(self, *, small: bool = False) -> Runner:
        """The pool that the options ask for; by default, `small` work is done in this process."""
        from ddb_shared.runtime.processes import Processes  # noqa: PLC0415 - 50 ms that `--help` does without
        from ddb_shared.runtime.runner import Serial  # noqa: PLC0415 - as above

        if self.scheduler:
            return self.cluster(self.scheduler)
        return (
            Serial(self.share) if small and self.processes is None else Processes(self.workers(), self.share)
        )

    def cluster(self, scheduler: str) -> Cluster:
        """The cluster of a scheduler, whose workers need credentials of the caller's account."""
        from ddb_shared.runtime.cluster import Cluster  # noqa: PLC0415 - as above

        return Cluster(scheduler, self.processes, functools.partial(account_of, self.aws), self.share)

    def workers(self, *, small: bool = False) -> int:
        """How many workers share the work, of a cluster at this moment."""
        if self.scheduler:
            return self.cluster(self.scheduler).workers()
        if self.processes is None and small:
            return 1
        return max(1, (self.processes or os.cpu_count() or 1) // self.tables_at_once)


def _collect(
    *,
    region: str | None,
    profile: str | None,
    role_arns: tuple[str, ...],
    external_id: str | None,
    role_session_name: str | None,
    mfa_serial: str | None,
    s3_profile: str | None,
    s3_role_arns: tuple[str, ...],
    endpoint_url: str | None,
    s3_endpoint_url: str | None,
    bucket_owner: str | None,
    processes: int | None,
    scheduler: str | None,
    tables_at_once: int,
    progress: str,
    metrics: Path | None,
    report: Path | None,
    as_json: bool,
    quiet: bool,
    verbose: int,
    log_level: str,
    log_file: Path | None,
    log_format: str,
    state_owner: str | None = None,
    kms_key_id: str | None = None,
    streams_endpoint_url: str | None = None,
) -> Common:
    """The parsed options; those with a default are declared by some commands only."""
    style = Style.NONE if quiet else Style(progress)
    set_up_logging(
        LogOptions(
            level=min(logging.getLevelNamesMapping()[log_level.upper()], _VERBOSE_LEVELS[min(verbose, 2)]),
            quiet=quiet,
            file=log_file,
            as_json=log_format == JSON,
            stderr_as_json=style is Style.JSONL,
        )
    )
    announce_variables(click.get_current_context())
    return Common(
        aws=AwsOptions(
            region=region,
            profile=profile,
            role_arns=role_arns,
            external_id=external_id,
            role_session_name=role_session_name,
            mfa_serial=mfa_serial,
            s3_profile=s3_profile,
            s3_role_arns=s3_role_arns,
            endpoint_url=endpoint_url,
            s3_endpoint_url=s3_endpoint_url,
            streams_endpoint_url=streams_endpoint_url,
            bucket_owner=bucket_owner,
            state_owner=state_owner,
            kms_key_id=kms_key_id,
        ),
        processes=processes,
        scheduler=scheduler,
        tables_at_once=tables_at_once,
        progress=ProgressOptions(style=style, metrics=metrics),
        as_json=as_json,
        report=report,
        invocation=Invocation.of(click.get_current_context()),
    )


def common_options(command: Command) -> Command:
    """Adds the shared options; the command receives them as one argument, `common`."""
    return bundle("common", _collect, _OPTIONS)(command)
