"""One import, from the manifests to the last confirmed item."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

import msgspec

from ddb_import.apply.chain import Chain
from ddb_import.definition.create import Definition
from ddb_import.definition.drift import SettingDrift
from ddb_import.load_export import Loader, rest_command, resume_command
from ddb_import.native.choose import look, with_engine
from ddb_import.native.import_table import import_table
from ddb_import.options import Engine, ImportOptions
from ddb_import.prepare import ExportLoad, Work, prepare
from ddb_import.report import Subject, import_page, show_rejects
from ddb_import.result import DEFINED, ExportOutcome, ImportResult, Sums, result_of
from ddb_import.saved import refuse_emptied_chain
from ddb_import.state import IMPORTING_CHAIN
from ddb_import.verify.result import VerifyResult
from ddb_shared.aws.clients import Aws
from ddb_shared.command.identity import expiry_warnings
from ddb_shared.command.plan import seconds_for, write_units
from ddb_shared.errors import AccessError, BucketError, ServiceError, StateError
from ddb_shared.report.page import publish
from ddb_shared.runtime.events import announce, warn
from ddb_shared.runtime.lease import HeldLease, hold
from ddb_shared.runtime.stop import Stop
from ddb_shared.storage.location import open_storage


def run_import(
    options: ImportOptions,
    aws: Aws,
    stop: Stop,
    *,
    verify: Callable[[], VerifyResult] | None = None,
    on_base: Callable[[], None] = lambda: None,
) -> ImportResult:
    """Loads the exports into the table, or what an earlier run left of them.

    `on_base` is called once the base of an export that follows its table is loaded.
    `verify` compares both, before the table's last settings: time to live would delete what is compared. They are set once
    the comparison has passed.
    """
    started_at = time.monotonic()
    if options.engine is Engine.AUTO:
        options = with_engine(look(options, aws, stop))
    made_table = options.engine is Engine.IMPORT_TABLE and import_table(options, aws, stop)
    if made_table:
        options = replace(options, restart=False)
    work = prepare(options, aws, stop)
    if work.definition and work.definition.options.definition_only:
        return _definition_result(work, time.monotonic() - started_at)
    _warn_of_expiry(work, aws)
    remedy = f"Resume with:\n  {resume_command(options)}"
    stop.explain(remedy, saved=True)
    try:
        outcomes = _load_all(work, Loader(work, options, aws, stop, made_table, on_base))
    except (AccessError, BucketError, ServiceError) as error:
        error.add_remedy(remedy)
        raise
    result = result_of(work, outcomes, time.monotonic() - started_at)
    if result.shards_done != result.shards_total:
        raise StateError(
            f"{result.shards_total - result.shards_done} shards are not done.",
            f"Load them with:\n  {rest_command(options)}",
        )
    verification = verify() if verify else None
    result = msgspec.structs.replace(result, verification=verification)
    if work.definition and (verification is None or verification.exit_code == 0):
        result = msgspec.structs.replace(result, drift=_complete_table(work, work.definition, result))
        stop.check()
    _write_reports(work, outcomes, result, options, aws)
    return result


def _complete_table(work: Work, definition: Definition, result: ImportResult) -> list[SettingDrift]:
    """Sets what the table lacks yet; returns what differs still."""
    return definition.apply(work.table, made_by_import=result.engine == Engine.IMPORT_TABLE)


def _write_reports(
    work: Work, outcomes: Sequence[ExportOutcome], result: ImportResult, options: ImportOptions, aws: Aws
) -> None:
    """Tells why items were rejected, and writes a report beside the state of each export that this run has loaded.

    The leases have been given back by then.
    """
    for outcome in outcomes:
        load, is_last = outcome.load, outcome is outcomes[-1]
        storage = open_storage(aws.s3, load.storage.url)
        if outcome.after.rejected:
            show_rejects(storage, work.table.key_names)
        copy = options.common.report if is_last else None
        subject = Subject(
            aws=aws,
            export=load.given.folder,
            manifest=load.given.manifest,
            table=work.table,
            storage=storage,
            command=options.common.invocation.line(),
            access=options.common.invocation.access("state", "state_owner"),
        )
        changed = outcome.before != outcome.after or options.from_rejects or result.verification is not None
        page = partial(import_page, subject, outcome, result)
        publish(page, storage if changed or not load.given.manifest.shards else None, copy=copy)


def _load_all(work: Work, loader: Loader) -> list[ExportOutcome]:
    """Loads the exports in order, and records each one that is a part of a chain."""
    chain = work.chain
    if chain is None:
        return [loader.run(load) for load in work.loads]
    renewals = open_storage(loader.aws.lease_s3, chain.storage.url)
    with hold(renewals, loader.stop, activity=IMPORTING_CHAIN) as lease:
        return _load_chain(work, chain, loader, lease)


def _load_chain(work: Work, chain: Chain, loader: Loader, lease: HeldLease) -> list[ExportOutcome]:
    outcomes = [_outcome_of_done(work, load) for load in work.done]
    if work.loads:
        chain.reset(work.loads[0].given.link)
    else:
        _report_completion(work, loader.aws)
    for load in work.loads:
        outcome = loader.run(load)
        outcomes.append(outcome)
        if not outcome.is_done:
            break
        lease.check()
        manifest, link = load.given.manifest, load.given.link
        chain.add(link, state=load.storage.url, items=manifest.items, rejected=outcome.after.rejected)
    return outcomes


def _outcome_of_done(work: Work, load: ExportLoad) -> ExportOutcome:
    """An export that the table has had, as the record tells."""
    entry = work.chain.applied(load.given.link.export_id) if work.chain else None
    sums = Sums(
        confirmed=entry.items if entry else 0,
        rejected=entry.rejected if entry else 0,
        done=len(load.given.manifest.shards),
    )
    return ExportOutcome(load, sums, sums)


def _report_completion(work: Work, aws: Aws) -> None:
    """Says that the table has had all that is given; raises StateError where it has lost it since."""
    record = work.chain.record if work.chain else None
    if record is None:
        return
    refuse_emptied_chain(aws, work.table, record)
    announce(f"Table {work.table.name} has had everything up to {record.through}: nothing is loaded again.")


def _warn_of_expiry(work: Work, aws: Aws) -> None:
    """Warns if the credentials expire before the load ends."""
    units = write_units(work.items, work.bytes, indexes=0)
    for warning in expiry_warnings(aws, seconds_for(units, work.max_wcu, work.table, kind="Write")):
        warn(warning)


def _definition_result(work: Work, seconds: float) -> ImportResult:
    """The result of a run that only created the table."""
    nothing = [ExportOutcome(load, Sums(), Sums()) for load in work.loads]
    return msgspec.structs.replace(
        result_of(work, nothing, seconds),
        status=DEFINED,
        drift=list(work.drift),
    )
