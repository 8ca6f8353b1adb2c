"""What an import is asked to do."""

from __future__ import annotations

import enum
from dataclasses import dataclass

from ddb_import.definition.create import CreateOptions
from ddb_shared.cap import Cap
from ddb_shared.options import Common


class OnExisting(enum.StrEnum):
    """What happens to an item of the table that has the key of an item of the export."""

    OVERWRITE = "overwrite"
    SKIP = "skip"


@dataclass(frozen=True, kw_only=True)
class ImportOptions:
    """The options of `ddb-import`, parsed.

    `max_wcu` is over all workers; `create` is None where the table must exist.
    """

    common: Common
    export: str
    table: str
    on_existing: OnExisting
    max_wcu: Cap | None
    state: str | None
    restart: bool
    from_rejects: bool
    create: CreateOptions | None = None
    verify: bool = False
