"""The proof that a table held exactly an export, with its changes, when both were compared. A rollback needs it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from ddb_shared.format import changes as log
from ddb_shared.format import manifest as manifests
from ddb_shared.format.checkpoint import decode
from ddb_shared.format.manifest import FORMAT, Manifest
from ddb_shared.storage.base import Storage
from ddb_shared.storage.s3 import S3Storage
from ddb_shared.table.description import Table

PROOF: Final = "proof.json"


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """One comparison that found both sides equal.

    It was of all items with the changes up to the record `log_number`; or, with `log_from`, of the `items` whose keys have changes in
    later records than that.
    """

    begun_at: str
    verified_at: str
    log_number: int
    log_from: int | None = None
    items: int

    def text(self) -> str:
        """What was compared, and when."""
        if self.log_from is None:
            what = f"all {self.items:,} items, with the changes up to record {self.log_number:,}"
        else:
            what = (
                f"{self.items:,} items that changed in records {self.log_from + 1:,} to {self.log_number:,}"
            )
        return f"{what}: equal, {self.begun_at} to {self.verified_at}"


class Proof(msgspec.Struct, frozen=True, kw_only=True):
    """`proof.json` in the state of an import: the table was equal to the export.

    `log_number` is the last record of the export's change log, 0 without one; `proof` what makes sure that no change is missing.
    Where only items that changed were compared at the end, `earlier` has found all others equal.
    """

    format: str = FORMAT
    export: str
    export_id: str
    source_table_arn: str
    source_table_id: str
    table_arn: str
    table_id: str
    begun_at: str
    verified_at: str
    log_number: int = 0
    proof: str = ""
    earlier: list[Step] = []


def record_proof(
    storage: Storage,
    export: S3Storage,
    manifest: Manifest,
    table: Table,
    *,
    times: tuple[str, str],
    log_number: int | None,
    earlier: Sequence[Step] = (),
) -> bool:
    """Stores that all items were found equal between these two times; False where that does not prove it.

    `log_number` is the last record of the change log that was compared, None where the export alone was. It does not prove
    while more may be captured. An export that DynamoDB made is of a moment in the past: the table may have been written to since.
    """
    if manifest.method != manifests.SCAN:
        return False
    closed = None
    if log.read_stream(export) is not None:
        closed = log.read_closed(export)
        if closed is None or closed.cancelled:
            return False
    if log_number != (closed.last_number if closed else None):
        return False
    proof = Proof(
        export=export.url,
        export_id=manifest.export_id,
        source_table_arn=manifest.source.table_arn,
        source_table_id=manifest.source.table_id,
        table_arn=table.arn,
        table_id=table.id,
        begun_at=times[0],
        verified_at=times[1],
        log_number=log_number or 0,
        proof=closed.proof if closed else "",
        earlier=list(earlier),
    )
    storage.write(PROOF, msgspec.json.encode(proof))
    return True


def read_proof(storage: Storage) -> Proof | None:
    """The proof in the state of an import; None where there is none."""
    stored = storage.read(PROOF)
    return decode(storage, PROOF, stored.data, Proof) if stored else None
