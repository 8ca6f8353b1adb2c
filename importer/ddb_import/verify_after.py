"""The verification of `ddb-import --verify` after the load."""

from __future__ import annotations

from dataclasses import replace

from ddb_import.options import ImportOptions
from ddb_import.verify.options import VerifyOptions
from ddb_import.verify.result import VerifyResult, incomplete
from ddb_import.verify.run import run_verify
from ddb_shared.aws.clients import Aws
from ddb_shared.errors import TransferError
from ddb_shared.runtime.stop import Stop
from ddb_shared.times import now_text


class LoadVerification:
    """Compares the table with the export loaded into it; `error` is set if the comparison failed."""

    def __init__(self, options: ImportOptions, aws: Aws, stop: Stop) -> None:
        self._options = VerifyOptions(
            common=replace(options.common, share=None),  # which is of writes
            export=options.export,
            table=options.table,
            state=options.state,
            base_only=options.base_only,
        )
        self._aws = aws
        self._stop = stop
        self.error: TransferError | None = None

    def __call__(self) -> VerifyResult:
        try:
            return run_verify(self._options, self._aws, self._stop)
        except TransferError as error:
            self.error = error
            return incomplete(error, self._options.export, self._options.table, now_text())
