"""Which of AWS's exports a table has had, and which may come next: a full export, then increments without gap or overlap.

The record is `applied.json` in `<prefix>/import/<account>.<region>.<table>/`, beside the exports, or below --state.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from ddb_shared.errors import ExportError, StateError, UsageError
from ddb_shared.format.checkpoint import decode
from ddb_shared.format.increment import time_of
from ddb_shared.format.manifest import FORMAT, Source
from ddb_shared.records import prepare
from ddb_shared.storage.base import Storage
from ddb_shared.storage.location import open_storage
from ddb_shared.storage.s3 import S3Storage
from ddb_shared.table.description import Table
from ddb_shared.times import now_text, time_text

APPLIED: Final = "applied.json"
# A day of increments of 15 minutes is 96. What is older than those in the record is known by its window alone.
MAX_ENTRIES: Final = 256


class AppliedExport(msgspec.Struct, frozen=True, kw_only=True):
    """One export that the table has had. `from_time` is empty for a full one; `state` is where its import's state is kept."""

    export_id: str
    export: str
    state: str
    from_time: str = ""
    to_time: str
    items: int
    rejected: int
    applied_at: str


class AppliedRecord(msgspec.Struct, frozen=True, kw_only=True):
    """What a table has had, oldest first: everything of the source up to `through`, exclusive."""

    format: str = FORMAT
    table_arn: str
    table_id: str
    source_table_arn: str
    source_table_id: str
    through: str
    exports: list[AppliedExport] = []


@dataclass(frozen=True, slots=True)
class Link:
    """An export that is given: an increment from `start` to `end`, or a full one, of the time `end`; None if it has no such time."""

    export_id: str
    url: str
    source: Source
    start: dt.datetime | None
    end: dt.datetime | None


def place_of_chain(s3: Any, export: S3Storage, table: Table, elsewhere: str | None) -> Storage:
    """Where the record of a table is stored: beside the exports, or below `elsewhere`, a URL or a local path."""
    name = f"{table.account}.{table.region}.{table.name}/"
    if elsewhere is None:
        return export.parent().parent().below(f"import/{name}")
    return open_storage(s3, f"{elsewhere.rstrip('/')}/{name}")


class Chain:
    """The record of one table, read, and written again after each export that was applied."""

    def __init__(self, storage: Storage, table: Table, *, restart: bool) -> None:
        """Reads the record; with `restart`, it is replaced by the first one that is written.

        The id of a table that will be created is empty, and no record fits it.
        """
        self.storage = storage
        self._table = table
        stored = storage.read(APPLIED)
        self._etag = stored.etag if stored else None
        found = decode(storage, APPLIED, stored.data, AppliedRecord) if stored else None
        self.record = None if restart else found
        if self.record and self.record.table_id != table.id:
            fate = (
                f"{table.id} now. The table was recreated since"
                if table.id
                else "which does not exist any more"
            )
            raise StateError(
                f"The record {storage.url}{APPLIED} is of another table: {self.record.table_id} then, {fate}.",
                "Run the command with the full export and --restart to load everything again.",
            )

    def remaining(self, links: Sequence[Link], *, overwrite: bool) -> list[Link]:
        """Those that are still to be applied, in order; raises what forbids to apply them.

        `overwrite` is the user's word that the table holds what an increment continues, where nothing is recorded.
        """
        ordered = _ordered(links)
        applied = {export.export_id for export in self.record.exports} if self.record else set()
        left = [link for link in ordered if link.export_id not in applied]
        through = self._through()
        for link in left:
            self._check_source(link)
            if link.start is None:
                self._check_full(link)
            elif through is not None:
                self._check_window(link, link.start, through)
            elif link is not ordered[0]:
                raise _no_time(ordered[0])
            elif not overwrite:
                raise self._no_base(link, link.start)
            through = link.end
        return left

    def states(self) -> tuple[str, ...]:
        """Where the rejects are kept of what was applied."""
        exports = self.record.exports if self.record else []
        return tuple(export.state for export in exports if export.rejected)

    def add(self, link: Link, *, state: str, items: int, rejected: int) -> None:
        """Records that an export is applied, or how many of its rejects are left; raises ConflictError where somebody else has written the record."""
        if link.end is None:
            return
        entry = AppliedExport(
            export_id=link.export_id,
            export=link.url,
            state=state,
            from_time=time_text(link.start) if link.start else "",
            to_time=time_text(link.end),
            items=items,
            rejected=rejected,
            applied_at=now_text(),
        )
        entries = self.record.exports if self.record else []
        known = any(export.export_id == link.export_id for export in entries)
        if known:  # its rejects were loaded
            entries = [entry if export.export_id == link.export_id else export for export in entries]
        else:
            entries = [entry] if link.start is None else [*entries, entry]
        through = self.record.through if known and self.record else entry.to_time
        self._write(link, entries, through=through)

    def applied(self, export_id: str) -> AppliedExport | None:
        """What the record says of an export; None where the table has not had it."""
        exports = self.record.exports if self.record else []
        return next((export for export in exports if export.export_id == export_id), None)

    def reset(self, link: Link) -> None:
        """Records that nothing is applied: an import from the start begins."""
        if self._etag is not None and self.record is None:
            self._write(link, [], through="")
            self.record = None

    def _write(self, link: Link, entries: list[AppliedExport], *, through: str) -> None:
        recent = len(entries) - MAX_ENTRIES
        self.record = AppliedRecord(
            table_arn=self._table.arn,
            table_id=self._table.id,
            source_table_arn=link.source.table_arn,
            source_table_id=link.source.table_id,
            through=through,
            exports=[entry for at, entry in enumerate(entries) if at >= recent or entry.rejected],
        )
        self._etag = self.storage.write(
            APPLIED, msgspec.json.encode(self.record), replaces=self._etag, new=self._etag is None
        )

    def _through(self) -> dt.datetime | None:
        text = self.record.through if self.record else ""
        return time_of(text, self.storage.url + APPLIED) if text else None

    def _check_source(self, link: Link) -> None:
        record = self.record
        if record and (record.source_table_id, record.source_table_arn) != _ids(link.source):
            raise ExportError(
                f"{link.url} is of another table than what table {self._table.name} has had: of {link.source.table_arn} "
                f"(id {link.source.table_id}), not of {record.source_table_arn} (id {record.source_table_id}).",
                "Give an export of the same table. A table that was recreated is another one: load a full export of it.",
            )

    def _check_full(self, link: Link) -> None:
        if self.record and self.record.exports:
            raise StateError(
                f"Table {self._table.name} has had exports up to {self.record.through}, and {link.url} is another full export: "
                "items that were deleted in between would stay.",
                "Give the increments that continue what was applied, or run the command with --restart to load this export from "
                "the start, into an empty table.",
            )

    def _check_window(self, link: Link, start: dt.datetime, through: dt.datetime) -> None:
        """Raises StateError where the window is not the next one."""
        had = f"table {self._table.name} has had everything up to {time_text(through)}"
        if start > through:
            missing = f"{time_text(through)} to {time_text(start)}"
            raise StateError(
                f"The increment {link.url} begins at {time_text(start)}, but {had}. The window {missing} is missing.",
                f"Export the window {missing} and give it before this one.",
            )
        if start < through:
            is_older = link.end is not None and link.end <= through
            how = "is older than that and would take items back in time" if is_older else "overlaps with that"
            raise StateError(
                f"The increment {link.url} begins at {time_text(start)}, but {had}: it {how}.",
                f"Give the increment whose window begins at {time_text(through)}.",
            )

    def _no_base(self, link: Link, start: dt.datetime) -> StateError:
        return StateError(
            f"The increment {link.url} begins at {time_text(start)}, and there is no record of what table {self._table.name} has had "
            f"before ({self.storage.url}{APPLIED}). Everything up to {time_text(start)} is missing.",
            "Give the full export of that time before it: ddb-import FULL INCREMENT… TABLE. If the table holds the full export because "
            "it was loaded in another way, say so with --on-existing overwrite.",
        )


def _ordered(links: Sequence[Link]) -> list[Link]:
    """The full export first, then increments by their windows; raises what cannot be one chain."""
    fulls = [link for link in links if link.start is None]
    if len(fulls) > 1:
        raise UsageError(
            f"{fulls[0].url} and {fulls[1].url} are both full exports.",
            "Give one full export, then its increments.",
        )
    for other in links[1:]:
        if _ids(other.source) != _ids(links[0].source):
            raise ExportError(
                f"The exports are of different tables: {links[0].url} of {links[0].source.table_arn} (id {links[0].source.table_id}), "
                f"{other.url} of {other.source.table_arn} (id {other.source.table_id}).",
                "Give exports of one table. A table that was recreated is another one.",
            )
    if len({link.export_id for link in links}) < len(links):
        raise UsageError("An export is given twice.", "Give each export once.")
    increments = [(link.start, link) for link in links if link.start is not None]
    return [*fulls, *(link for _, link in sorted(increments, key=lambda pair: pair[0]))]


def _no_time(full: Link) -> ExportError:
    return ExportError(
        f"{full.url} was made by a scan, which is of no single point in time: increments of AWS cannot continue it.",
        "Give a full export that AWS made, or capture the changes with ddb-export --follow.",
    )


def _ids(source: Source) -> tuple[str, str]:
    return source.table_id, source.table_arn


prepare(AppliedRecord)
