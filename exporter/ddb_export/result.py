"""The result of an export, as `--json` prints it."""

from __future__ import annotations

import msgspec


class ExportResult(msgspec.Struct, frozen=True, kw_only=True):
    """The `--json` output of `ddb-export`. `bytes` is before compression, `consumed_rcu` includes earlier runs.

    `changes` are those captured, of an export that followed its table.
    """

    status: str
    export: str
    manifest: str
    items: int
    bytes: int
    shards: int
    seconds: float
    consumed_rcu: float
    throttled: int
    throttle_reasons: dict[str, int]
    changes: int | msgspec.UnsetType = msgspec.UNSET


class NativeExportResult(ExportResult, frozen=True, kw_only=True):
    """The same of an export by DynamoDB itself: `bytes` are those that AWS bills, `items` of an increment the changed items.

    `window` is from when to when the changes of an increment are, `export_time` of when a full export is.
    """

    method: str = "pitr"
    export_arn: str
    export_time: str | None = None
    window: tuple[str, str] | None = None
