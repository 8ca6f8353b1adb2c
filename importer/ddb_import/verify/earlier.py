"""What earlier verifications have shown while an export followed its table: `verified.json` in the state of the import.

Up to a record of the change log, base and changes were equal to the table. What no later record changes needs no second look, since
the import writes nothing else; what others write to the table is not seen.
"""

from __future__ import annotations

from typing import Final

import msgspec

from ddb_import.proof import Step
from ddb_shared.format.checkpoint import decode
from ddb_shared.format.manifest import FORMAT, Manifest
from ddb_shared.records import prepare
from ddb_shared.storage.base import Storage
from ddb_shared.table.description import Table

VERIFIED: Final = "verified.json"


class Verified(msgspec.Struct, frozen=True, kw_only=True):
    """What was compared, and the steps, each of which continues the one before; none where the last whole comparison found differences.

    `run` is that of the import's plan: a --restart loads everything again.
    """

    format: str = FORMAT
    export: str
    export_id: str
    source_table_arn: str
    source_table_id: str
    table_arn: str
    table_id: str
    table_created_at: str
    run: int
    steps: list[Step] = []

    @property
    def log_number(self) -> int | None:
        """Up to which record of the change log both sides were equal; None where that is not known of any."""
        return self.steps[-1].log_number if self.steps else None


def verified_of(export_url: str, manifest: Manifest, table: Table, run: int) -> Verified:
    """Nothing shown yet."""
    return Verified(
        export=export_url,
        export_id=manifest.export_id,
        source_table_arn=manifest.source.table_arn,
        source_table_id=manifest.source.table_id,
        table_arn=table.arn,
        table_id=table.id,
        table_created_at=str(table.definition.get("CreationDateTime", "")),
        run=run,
    )


def read_verified(storage: Storage, now: Verified) -> Verified:
    """What is stored where it is of this very export, table and import, and `now` otherwise."""
    stored = storage.read(VERIFIED)
    found = decode(storage, VERIFIED, stored.data, Verified) if stored else now
    return found if msgspec.structs.replace(found, steps=[]) == now else now


def add_step(storage: Storage, verified: Verified, step: Step) -> None:
    """Stores one more step. One of all items replaces those before it."""
    steps = [step] if step.log_from is None else [*verified.steps, step]
    _write(storage, msgspec.structs.replace(verified, steps=steps))


def forget(storage: Storage, verified: Verified) -> None:
    """Stores that a comparison of all items has found differences."""
    if verified.steps:
        _write(storage, msgspec.structs.replace(verified, steps=[]))


def _write(storage: Storage, verified: Verified) -> None:
    storage.write(VERIFIED, msgspec.json.encode(verified))


prepare(Verified)
