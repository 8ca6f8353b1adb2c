"""Whether changes without a base may be applied to a table: only if it was proved to hold what they began with.

After a cut-over from the old table to the new one, the new one's changes carry the old one along. The proof is that of the move: the
new table was found equal to an export of the old one, with its changes, after the capture of the new one had begun.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

from ddb_import.proof import Proof, read_proof
from ddb_shared.errors import StateError
from ddb_shared.format import manifest as manifests
from ddb_shared.format.changes import StreamRecord
from ddb_shared.storage.base import Storage
from ddb_shared.storage.location import open_storage
from ddb_shared.storage.s3 import S3Storage
from ddb_shared.table.description import Table

_ARN: Final = re.compile(r"arn:[^:]+:dynamodb:([^:]+):(\d{12}):table/(.+)")
_READERS: Final = 16


def check_rollback(
    s3: Any, folder: S3Storage, stream: StreamRecord, table: Table, *, rollback_of: str | None
) -> str:
    """What proves that the table holds what the changes began with; raises StateError where nothing does.

    `rollback_of` is the export of the move, or the state of its import; without it, those beside the changes are asked.
    """
    proofs = list(_proofs(s3, folder, stream, rollback_of))
    found = [proof for proof in proofs if _is_of(proof, stream, table)]
    if not found:
        raise _no_proof(folder, stream, table, proofs)
    newest = max(found, key=lambda proof: proof.verified_at)
    if not stream.enabled_at or stream.enabled_at > newest.begun_at:
        raise StateError(
            f"The capture of {stream.table_arn} began at {stream.enabled_at or 'an unknown time'}, after the verification of "
            f"{newest.begun_at}: changes that were made in between are in neither.",
            "Begin the capture of the new table before the verification of the move, and keep writers away until both are done.",
        )
    return (
        f"{newest.table_arn} was equal to {newest.source_table_arn} at {newest.verified_at} ({newest.export})"
    )


def _is_of(proof: Proof, stream: StreamRecord, table: Table) -> bool:
    """Whether it is of a move from this table to the one that is captured."""
    moved_from = (proof.source_table_arn, proof.source_table_id)
    moved_to = (proof.table_arn, proof.table_id)
    return (moved_from, moved_to) == ((table.arn, table.id), (stream.table_arn, stream.table_id))


def _proofs(s3: Any, folder: S3Storage, stream: StreamRecord, rollback_of: str | None) -> Iterator[Proof]:
    """The proofs in the states of imports into the table that is captured."""
    named = _ARN.fullmatch(stream.table_arn)
    if named is None:
        return
    region, account, name = named.groups()
    state = f"{account}.{region}.{name}/"
    with ThreadPoolExecutor(_READERS) as pool:
        found = pool.map(read_proof, _places(s3, folder, state, rollback_of))
        yield from (proof for proof in found if proof is not None)


def _places(s3: Any, folder: S3Storage, state: str, rollback_of: str | None) -> list[Storage]:
    if rollback_of is None:
        exports = folder.parent()
        return [exports.below(f"{name}import/{state}") for name in exports.folders()]
    if rollback_of.startswith("s3://"):
        export = manifests.export_storage(s3, rollback_of)
        return [export.below(f"import/{state}"), export]
    return [open_storage(s3, rollback_of)]


def _no_proof(folder: S3Storage, stream: StreamRecord, table: Table, proofs: list[Proof]) -> StateError:
    others = "".join(f"\n  found: {one.table_arn} equal to {one.source_table_arn}" for one in proofs)
    return StateError(
        f"{folder.url} holds changes of {stream.table_arn} and no base, and nothing proves that {table.arn} held the same items "
        f"when they began: no verification of a move from the one to the other was found.{others}",
        "Verify the move (ddb-verify EXPORT TABLE) after the capture has begun and before the new table is written to. Name its export "
        "with --rollback-of EXPORT if it is not beside these changes. One that DynamoDB made (--method pitr) proves nothing here.",
    )
