"""The options that follow a table, and the commands that end that: --finish, --unblock and --cancel."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Final

import click

from ddb_export.options import Method, RequestedFormat
from ddb_shared.command.bundle import Command, bundle
from ddb_shared.command.identity import open_session
from ddb_shared.command.options import Common
from ddb_shared.command.output import print_result
from ddb_shared.command.values import Endpoint
from ddb_shared.errors import UsageError
from ddb_shared.format.manifest import is_move
from ddb_shared.permissions import Side
from ddb_shared.runtime.stop import stop_on_signals
from ddb_shared.storage.bucket import parse_bucket_url

_OPTIONS: Final = (
    click.option(
        "--follow",
        is_flag=True,
        help="For a table in use: also capture every change to the table, from before the scan until --finish. Enables the table's "
        "stream if it has none.",
    ),
    click.option(
        "--changes-only",
        is_flag=True,
        help="With --follow: capture only the changes, without a scan, to roll back to a table that already holds the items.",
    ),
    click.option(
        "--finish",
        metavar="EXPORT|MOVE",
        help="After the writers have stopped: capture the last changes, and close the export with proof that it is complete. "
        "Refused while changes still arrive; for a move, while they arrive for any of its tables.",
    ),
    click.option(
        "--block-writes",
        is_flag=True,
        help="With --finish: first deny writes to the table through its resource policy, until --unblock.",
    ),
    click.option(
        "--unblock",
        metavar="EXPORT|MOVE",
        help="Restore the table's resource policy as it was before --block-writes.",
    ),
    click.option(
        "--cancel",
        metavar="EXPORT|MOVE",
        help="Stop following the table without finishing, and disable the stream if it was enabled for this export.",
    ),
)


@dataclass(frozen=True, kw_only=True)
class FollowOptions:
    """What is asked for of a table in use; at most one of `finish`, `unblock` and `cancel`, each the URL of an export or a move."""

    follow: bool = False
    changes_only: bool = False
    finish: str | None = None
    block_writes: bool = False
    unblock: str | None = None
    cancel: str | None = None

    @property
    def is_action(self) -> bool:
        """Whether a capture is to be ended, instead of an export made."""
        return any((self.finish, self.unblock, self.cancel))


def follow_options(command: Command) -> Command:
    """Adds the options; the command receives those of the follow as one argument, `follow`."""
    command = click.option(
        "--streams-endpoint-url", metavar="URL", type=Endpoint(), help="Endpoint of DynamoDB Streams alone."
    )(command)
    return bundle("follow", _collect, _OPTIONS)(command)


def _collect(
    *,
    follow: bool,
    changes_only: bool,
    finish: str | None,
    block_writes: bool,
    unblock: str | None,
    cancel: str | None,
) -> FollowOptions:
    """The parsed options; raises UsageError where they do not go together."""
    options = FollowOptions(
        follow=follow,
        changes_only=changes_only,
        finish=finish,
        block_writes=block_writes,
        unblock=unblock,
        cancel=cancel,
    )
    _check(options)
    return options


def _check(options: FollowOptions) -> None:
    actions = [url for url in (options.finish, options.unblock, options.cancel) if url]
    if len(actions) > 1 or (actions and options.follow):
        raise UsageError(
            "--follow, --finish, --unblock and --cancel exclude each other.", "Give one of them."
        )
    if options.block_writes and not options.finish:
        raise UsageError(
            "--block-writes belongs to --finish.", "Write: ddb-export --finish EXPORT --block-writes"
        )
    if options.changes_only and not options.follow:
        raise UsageError("--changes-only belongs to --follow.", "Give --follow as well.")
    for url in actions:
        parse_bucket_url(url)


def refuse_with_follow(
    options: FollowOptions, requested: RequestedFormat, method: Method, *, resumed: bool
) -> None:
    """Raises UsageError where options of the export do not go with those of the follow."""
    if resumed and options.follow:
        raise UsageError(
            "--follow and --resume exclude each other.",
            "An export that was begun with --follow continues to follow; one that was started without it cannot begin to.",
        )
    if options.follow and method is not Method.SCAN:
        raise UsageError(
            "--follow needs a base that is read while the changes are captured: --method scan.",
            "Leave --method out. Native exports are continued by --method pitr --since EXPORT.",
        )
    shaping = (
        requested.format,
        requested.columns,
        requested.compression,
        requested.segments,
        requested.shard_size,
    )
    if options.changes_only and any(option is not None for option in shaping):
        raise UsageError(
            "--changes-only scans nothing: it takes none of --format, --columns, --compression, --segments, --shard-size.",
            "Leave them out.",
        )


def run_action(common: Common, options: FollowOptions) -> None:
    """Ends a capture, or those of a move, as the options say, and prints the result."""
    from ddb_export import move_end  # noqa: PLC0415 - what `--help` does without
    from ddb_export.capture import gate  # noqa: PLC0415 - as above

    common, aws = open_session(common, Side.SOURCE)
    caller = common.invocation
    with stop_on_signals() as stop:
        result: move_end.EndResult | move_end.MoveEnd
        match options:
            case FollowOptions(finish=str(url)) if is_move(url):
                result = move_end.finish_move(
                    aws, url, stop, block_writes=options.block_writes, caller=caller
                )
            case FollowOptions(finish=str(url)):
                result = gate.finish(aws, url, stop, block_writes=options.block_writes, caller=caller)
            case FollowOptions(unblock=str(url)) if is_move(url):
                result = move_end.unblock_move(aws, url, stop)
            case FollowOptions(unblock=str(url)):
                result = gate.unblock_writes(aws, url)
            case FollowOptions(cancel=str(url)) if is_move(url):
                result = move_end.cancel_move(aws, url, stop)
            case _:
                result = gate.cancel(aws, str(options.cancel), stop)
    print_result(result, result.text(caller), as_json=common.as_json)
    if isinstance(result, move_end.MoveEnd):
        sys.exit(result.exit_code)
