"""`ddb-import --dry-run`: the checks and the plan of an import. Nothing is created but the probe object."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import msgspec

from ddb_import.definition.create import Definition
from ddb_import.definition.form import ON_DEMAND
from ddb_import.options import ImportOptions
from ddb_import.preflight import check_shards, check_table
from ddb_import.run import export_folder, resume_command
from ddb_import.state import folder_of
from ddb_shared import manifest as manifests
from ddb_shared.aws import Aws
from ddb_shared.errors import TableError
from ddb_shared.manifest import Manifest
from ddb_shared.plan import Plan, cost_of, probe, run_checks, seconds_for, status_of, write_units
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
    export = export_folder(options, aws)
    outlook = _Outlook(options, aws, export, manifests.read(export), find(aws.dynamodb, options.table))
    checks = run_checks(
        {
            "identity": aws.identity,
            "export": lambda: _check_export(outlook),
            "table": lambda: _check_table(outlook),
            "emptiness": lambda: _check_emptiness(outlook.table),
            "write and read": lambda: _check_state(outlook),
        }
    )
    manifest, units = outlook.manifest, _units(outlook)
    request = _request(outlook)
    cost, note = _cost(outlook, request, units)
    seconds = seconds_for(units, options.max_wcu, outlook.table, kind="Write")
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
        notes=[_COUNTED, note, *_warm_note(options), *_drift(outlook), *outlived(aws, seconds)],
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
    if outlook.table is None and request is None:
        return None, "There is no table to load, so there is no price."
    on_demand = outlook.table.on_demand if outlook.table else (request or {})["BillingMode"] == ON_DEMAND
    return cost_of(units, outlook.aws.region, on_demand=on_demand, kind="Write")


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


def _warm_note(options: ImportOptions) -> list[str]:
    units = options.create.warm_write_units if options.create else None
    if not units:
        return []
    where = "https://aws.amazon.com/dynamodb/pricing/"
    return [
        f"Warming to {units:,} write units a second is charged once for the table and each index, see {where}"
    ]


def _check_export(outlook: _Outlook) -> str:
    unproven = check_shards(outlook.export, outlook.manifest)
    copied = f", {len(unproven)} of them copied since" if unproven else ""
    return f"{outlook.export.url} has all its {len(outlook.manifest.shards):,} shards{copied}"


def _check_table(outlook: _Outlook) -> str:
    table = outlook.table
    if table is not None:
        check_table(outlook.manifest, table)
        return f"{table.arn} is {table.status}; {table.describe_key()}"
    if outlook.definition is None:
        raise TableError(f"Table {outlook.options.table} does not exist.", "Give --create-table to make it.")
    return f"{outlook.options.table} will be made, {outlook.definition.wanted().values['billing_mode']}"


def _check_emptiness(table: Table | None) -> str:
    if table is None or not table.item_count:
        return "no items, as far as DescribeTable knows" if table else "a new table is empty"
    return f"the table holds about {table.item_count:,} items already"


def _check_state(outlook: _Outlook) -> str:
    if outlook.table is None:
        return "the state's folder is known once the table is made"
    folder = folder_of(outlook.aws.s3, outlook.export, outlook.manifest, outlook.table, outlook.options.state)
    return probe(folder)
