"""What an export is asked to do."""

from __future__ import annotations

from dataclasses import dataclass

from ddb_shared.cap import Cap
from ddb_shared.options import Common


@dataclass(frozen=True, kw_only=True)
class ExportOptions:
    """The options of `ddb-export`, parsed.

    None stands for what was not given: the default in a new export, what the export began with in a resumed one.
    `columns` are types by attribute; `max_rcu` is over all workers, `shard_size` in stored bytes.
    """

    common: Common
    table: str | None = None
    destination: str | None = None
    resume: str | None = None
    format: str | None = None
    columns: dict[str, str] | None = None
    compression: str | None = None
    segments: int | None = None
    consistent_read: bool | None = None
    max_rcu: Cap | None = None
    shard_size: int | None = None
    acl_mode: str = "auto"
