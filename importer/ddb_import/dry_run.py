"""`ddb-import --dry-run`: the checks and the plan of an import. Nothing is created but the probe object."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import msgspec

from ddb_import.definition.create import Definition
from ddb_import.definition.create_request import warmed_units, write_rate
from ddb_import.definition.form import ON_DEMAND
from ddb_import.options import ImportOptions
from ddb_import.preflight import check_shards, new_table_checks, state_checks, table_checks
from ddb_import.run import resume_command
from ddb_shared import manifest as manifests
from ddb_shared.aws import Aws
from ddb_shared.errors import TableError
from ddb_shared.manifest import Manifest
from ddb_shared.plan import STANDARD, Plan, cost_of, seconds_for, warming_note, write_units
from ddb_shared.preflight import Checks, bucket_checks, run_checks, status_of
from ddb_shared.start import outlived
from ddb_shared.storage import S3Folder
from ddb_shared.table import Table, find
from ddb_shared.workers import Stop


@dataclass(frozen=True, slots=True)
class _Outlook:
    """What is known before the run: the export, and the table if there is one."""

    options: ImportOptions
    aws: Aws
    export: S3Folder
    manifest: Manifest
    table: Table | None

    @property
    def definition(self) -> Definition | None:
        """What --create-table works towards."""
        create = self.options.create
        return Definition(create, self.aws, self.manifest, self.options.table, Stop()) if create else None


def plan_import(options: ImportOptions, aws: Aws) -> Plan:
    """The plan; raises TransferError where there is no export to plan with."""
    export = manifests.export_folder(aws.s3, options.export)
    outlook = _Outlook(options, aws, export, manifests.read(export), find(aws.dynamodb, options.table))
    checks = run_checks(_checks(outlook))
    manifest, units = outlook.manifest, _units(outlook)
    request = _request(outlook)
    cost, note = _cost(outlook, request, units)
    seconds = _seconds(outlook, request, units)
    return Plan(
        status=status_of(checks),
        checks=checks,
        creates=[f"table {options.table}: {msgspec.json.encode(request).decode()}"] if request else [],
        items=manifest.items,
        bytes=manifest.bytes,
        parts=len(manifest.shards),
        units=units,
        seconds=seconds,
        cost_usd=cost,
        notes=[
            _COUNTED,
            note,
            *_warm_note(request, outlook.aws.region),
            *_drift(outlook),
            *outlived(aws, seconds),
        ],
        command=_command(options),
    )


_COUNTED: Final = "Units count every index as if it held every item whole; parts are shards."


def _command(options: ImportOptions) -> str:
    """The command line that runs the plan."""
    flags = (
        ("--restart", options.restart),
        ("--from-rejects", options.from_rejects),
        ("--definition-only", options.create is not None and options.create.definition_only),
    )
    return " ".join([resume_command(options), *(flag for flag, given in flags if given)])


def _request(outlook: _Outlook) -> dict[str, Any] | None:
    """The CreateTable request, if there is a table to make."""
    definition = outlook.definition
    return definition.request() if definition and outlook.table is None else None


def _units(outlook: _Outlook) -> float:
    members = outlook.table.definition if outlook.table else outlook.manifest.table
    indexes = [*members.get("GlobalSecondaryIndexes", ()), *members.get("LocalSecondaryIndexes", ())]
    return write_units(outlook.manifest.items, _item_bytes(outlook.manifest), len(indexes))


def _cost(outlook: _Outlook, request: dict[str, Any] | None, units: float) -> tuple[float | None, str]:
    table = outlook.table
    if table is not None:
        on_demand, table_class = table.on_demand, table.table_class
    elif request is not None:
        on_demand, table_class = request["BillingMode"] == ON_DEMAND, request.get("TableClass", STANDARD)
    else:
        return None, "There is no table to load, so there is no price."
    return cost_of(units, outlook.aws.region, on_demand=on_demand, kind="Write", table_class=table_class)


def _seconds(outlook: _Outlook, request: dict[str, Any] | None, units: float) -> float | None:
    """As long as the table takes, or the one that will be made."""
    cap, definition = outlook.options.max_wcu, outlook.table.definition if outlook.table else request
    rates = [
        cap.units(definition or {}, "Write") if cap else None,
        write_rate(request) if request else None,
    ]
    return seconds_for(units, min(filter(None, rates), default=None), outlook.table, kind="Write")


def _drift(outlook: _Outlook) -> list[str]:
    """How a table that is there differs from the source's."""
    if outlook.definition is None or outlook.table is None:
        return []
    return [str(difference) for difference in outlook.definition.differences(outlook.table)]


def _item_bytes(manifest: Manifest) -> int:
    """The items' size as DynamoDB counts it, if it counted them; else the longer one of their JSON."""
    count = manifest.table.get("ItemCount", 0)
    if count:
        return int(manifest.table["TableSizeBytes"] / count * manifest.items)
    return max(manifest.bytes, 0)


def _warm_note(request: dict[str, Any] | None, region: str) -> list[str]:
    units = warmed_units(request or {})
    return [warming_note(units, region)] if units else []


def _checks(outlook: _Outlook) -> Checks:
    """All that the run checks, in its order."""
    aws, manifest = outlook.aws, outlook.manifest
    if outlook.table is not None:
        of_table = table_checks(aws, manifest, outlook.table, outlook.options.max_wcu)
    elif outlook.definition is not None:
        of_table = new_table_checks(outlook.definition, outlook.options.max_wcu)
    else:
        of_table = {"table": lambda: _refuse_absence(outlook.options.table)}
    return {
        **bucket_checks(aws, outlook.export),
        "export": lambda: _check_export(outlook),
        **of_table,
        **state_checks(aws, outlook.export, manifest, outlook.options.state),
    }


def _check_export(outlook: _Outlook) -> str:
    unproven = check_shards(outlook.export, outlook.manifest)
    copied = f", {len(unproven)} of them copied since" if unproven else ""
    return f"{outlook.export.url} has all its {len(outlook.manifest.shards):,} shards{copied}"


def _refuse_absence(table: str) -> str:
    raise TableError(f"Table {table} does not exist.", "Give --create-table to make it.")
