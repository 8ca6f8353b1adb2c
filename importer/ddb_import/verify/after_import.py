"""What `ddb-import --verify` does once everything is loaded."""

from __future__ import annotations

from dataclasses import dataclass

from ddb_import.options import ImportOptions
from ddb_import.verify.options import VerifyOptions
from ddb_import.verify.result import VerifyResult, incomplete
from ddb_import.verify.run import run_verify
from ddb_shared.aws import Aws
from ddb_shared.errors import TransferError
from ddb_shared.times import now_text
from ddb_shared.workers import Stop


@dataclass(frozen=True, slots=True)
class Checked:
    """A verification's result, and what kept it from its end."""

    result: VerifyResult
    error: TransferError | None = None


def verify_import(options: ImportOptions, aws: Aws, stop: Stop) -> Checked:
    """Compares the table with the export that was loaded into it."""
    wanted = VerifyOptions(
        common=options.common, export=options.export, table=options.table, state=options.state
    )
    try:
        return Checked(run_verify(wanted, aws, stop))
    except TransferError as error:
        return Checked(incomplete(error, options.export, options.table, now_text()), error)
