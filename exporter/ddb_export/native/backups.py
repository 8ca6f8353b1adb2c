"""Point-in-time recovery: whether it is on, how far back it reaches, and switching it on."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import Any, Final

from botocore.exceptions import ClientError

from ddb_shared.aws.clients import Aws
from ddb_shared.command.prices import about_usd, native_prices
from ddb_shared.errors import TableError, map_errors
from ddb_shared.runtime.events import announce
from ddb_shared.runtime.stop import Stop
from ddb_shared.table.description import Table
from ddb_shared.times import time_text

_POLL_SECONDS: Final = 5.0
# A table that was just created has no backups to switch on for a while; half an hour is more than was ever seen.
_TRIES: Final = 360
_GB: Final = 1024**3


@dataclass(frozen=True, slots=True)
class Backups:
    """Point-in-time recovery of a table; the times are None where it is off."""

    enabled: bool
    earliest: dt.datetime | None = None
    latest: dt.datetime | None = None


def read_backups(aws: Aws, table: Table) -> Backups:
    """How it is now."""
    with map_errors(f"read the point-in-time recovery of table {table.name}"):
        answer = aws.dynamodb.describe_continuous_backups(TableName=table.address)
    found: dict[str, Any] = answer["ContinuousBackupsDescription"].get("PointInTimeRecoveryDescription", {})
    return Backups(
        found.get("PointInTimeRecoveryStatus") == "ENABLED",
        found.get("EarliestRestorableDateTime"),
        found.get("LatestRestorableDateTime"),
    )


def require_backups(aws: Aws, table: Table, *, moment: dt.datetime | None) -> str:
    """What is found; raises TableError where it is off, or `moment` is not within it."""
    backups = read_backups(aws, table)
    if not backups.enabled:
        raise TableError(
            f"Point-in-time recovery of table {table.name} is off, and DynamoDB exports from its backups.",
            f"Switch it on with --enable-pitr, or with: aws dynamodb update-continuous-backups --table-name {table.name} "
            f"--point-in-time-recovery-specification PointInTimeRecoveryEnabled=true. {cost_text(aws, table)}\n"
            "Or export with --method scan, which needs no backups.",
        )
    if moment and backups.earliest and moment < backups.earliest:
        raise TableError(
            f"Table {table.name} can be exported as of {time_text(backups.earliest)} or later, not as of {time_text(moment)}: "
            "point-in-time recovery reaches no further back.",
            "Give a later time, or start with a new full export.",
        )
    if not (backups.earliest and backups.latest):
        return "on"
    return f"on, from {time_text(backups.earliest)} to {time_text(backups.latest)}"


def enable_backups(aws: Aws, table: Table, stop: Stop) -> None:
    """Switches it on where it is off, and waits until it is on."""
    if read_backups(aws, table).enabled:
        return
    announce(f"Switching on point-in-time recovery of table {table.name}. {cost_text(aws, table)}")
    with map_errors(f"switch on point-in-time recovery of table {table.name}"):
        for attempt in range(_TRIES):
            try:
                aws.dynamodb.update_continuous_backups(
                    TableName=table.address,
                    PointInTimeRecoverySpecification={"PointInTimeRecoveryEnabled": True},
                )
            except ClientError as error:
                busy = error.response["Error"]["Code"] == "ContinuousBackupsUnavailableException"
                if not busy or attempt == _TRIES - 1:
                    raise
            else:
                break
            stop.wait(_POLL_SECONDS)
            stop.check()
    while not read_backups(aws, table).enabled:
        stop.wait(_POLL_SECONDS)
        stop.check()


def cost_text(aws: Aws, table: Table) -> str:
    """What point-in-time recovery of a table costs, as far as the price is known."""
    prices = native_prices(aws, table.region)
    gigabytes = table.size_bytes / _GB
    cost = "its price is unknown here"
    if prices.pitr_gb_month is not None:
        each = f"{prices.pitr_gb_month:g} USD for each GB; {prices.source}"
        cost = f"{about_usd(gigabytes * prices.pitr_gb_month)} a month ({each})"
    return f"It is charged by the size of the table, {gigabytes:,.2f} GB, until it is switched off: {cost}."
