"""The methods of an export: a scan of ours, or an export by DynamoDB itself."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

from ddb_export.native.chain import export_natively
from ddb_export.native.run import find_request, resume_native
from ddb_export.options import ExportOptions, Method, ResumedExport
from ddb_export.result import ExportResult
from ddb_export.routes import choose_method
from ddb_export.run import run_export
from ddb_shared.aws.clients import Aws
from ddb_shared.runtime.events import announce
from ddb_shared.runtime.stop import Stop
from ddb_shared.table.description import describe


def run_by_method(
    options: ExportOptions, aws: Aws, stop: Stop, on_begun: Callable[[str], None]
) -> Iterator[ExportResult]:
    """The exports that are asked for, each once it is complete; more than one only with --since and --every.

    `on_begun` gets the URL of an export that follows its table as soon as its changes are captured.
    """
    if isinstance(options, ResumedExport):
        found = find_request(options, aws)
        yield resume_native(options, aws, stop, *found) if found else run_export(options, aws, stop, on_begun)
        return
    if options.method is Method.AUTO:
        method, why = choose_method(options, aws, describe(aws.dynamodb, options.table))
        announce(f"Method {method.value}: {why}.")
        options = replace(options, method=method)
    if options.method is Method.PITR:
        yield from export_natively(options, aws, stop)
    else:
        yield run_export(options, aws, stop, on_begun)
