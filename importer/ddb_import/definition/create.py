"""Creates the destination's table from the manifest, reports how an existing one differs, and completes it after the load."""

from __future__ import annotations

import enum
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

from ddb_import.definition.create_request import create_request, warmed_units
from ddb_import.definition.desired import (
    POLICIES,
    TableIdentity,
    changed_texts,
    desired_at,
    desired_spec,
    rewrite,
)
from ddb_import.definition.drift import SettingDrift, drift, is_compatible, missing
from ddb_import.definition.given import GivenDefinition
from ddb_import.definition.policies import policy_note
from ddb_import.definition.steps import AFTER_IMPORT, APPLIED, STEPS, Target, wait_active
from ddb_import.definition.table_spec import TableSpec, spec_of
from ddb_shared.aws.clients import Aws
from ddb_shared.command.prices import warming_note
from ddb_shared.errors import ExportError, TableError, TransferError, UsageError, map_errors
from ddb_shared.format.manifest import Manifest
from ddb_shared.runtime.events import announce
from ddb_shared.runtime.stop import Stop
from ddb_shared.table.description import Table, describe
from ddb_shared.table.settings import Clients, read_settings


class Indexes(enum.StrEnum):
    """When the global indexes are created: with the table, or after its items are loaded."""

    WITH_TABLE = "with-table"
    AFTER_LOAD = "after-load"


@dataclass(frozen=True, kw_only=True)
class CreateOptions:
    """How to create the table. `warm_write_units` are write units per second, `kms_keys` pairs of source and destination.

    `given` is the definition where the export holds none; `with_resource_policy` sets the export's policies as well.
    """

    billing_mode: str | None = None
    warm_write_units: int | None = None
    kms_keys: tuple[tuple[str, str], ...] = ()
    indexes: Indexes = Indexes.WITH_TABLE
    definition_only: bool = False
    given: GivenDefinition | None = None
    with_resource_policy: bool = False


class EnsuredTable(NamedTuple):
    """The destination's table, and how it differs from the desired settings before the load."""

    table: Table
    differences: list[SettingDrift]


@dataclass(frozen=True)
class Definition:
    """The table definition that an import creates and completes. Its methods call AWS, its properties do not."""

    options: CreateOptions
    aws: Aws
    manifest: Manifest
    table: str
    stop: Stop

    @cached_property
    def clients(self) -> Clients:
        """The services that hold a table's definition."""
        return self.aws.of_settings

    @cached_property
    def desired(self) -> TableSpec:
        """The settings that the destination should have; raises ExportError if neither the export nor the options define them."""
        return desired_spec(
            self._source_spec(),
            billing_mode=self.options.billing_mode,
            kms_keys=dict(self.options.kms_keys),
        )

    def _source_spec(self) -> TableSpec:
        given, manifest = self.options.given, self.manifest
        if given and manifest.table:
            raise UsageError(
                "This export holds the table's definition; --key and --definition are for exports that hold none.",
                "Leave them out.",
            )
        if given:
            return spec_of(given.table, given.settings)
        if not manifest.table:
            raise ExportError(
                "AWS made this export, and AWS's exports hold no table definition.",
                "Give the key (--key pk:S,sk:N) or a file with the definition (--definition FILE), or create the table yourself and leave "
                "--create-table out.",
            )
        return spec_of(manifest.table, manifest.settings)

    @cached_property
    def request(self) -> dict[str, Any]:
        """The CreateTable request."""
        return create_request(
            self.table,
            self.desired.values,
            with_indexes=self.options.indexes is Indexes.WITH_TABLE,
            warm_write_units=self.options.warm_write_units,
        )

    def ensure_table(self, found: Table | None) -> EnsuredTable:
        """Creates the table unless it was `found`; reports how it differs, and raises TableError if its keys are others."""
        table = found or self._create()
        if found is not None and found.status == "CREATING":
            table = self._wait_until_active(found.address)
        differences = self.differences(table)
        announce(_report(table, differences, created=found is None))
        for note in self.policy_notes(table, {difference.setting for difference in differences}):
            announce(note)
        if found is not None:
            self.check_keys(found)
        return EnsuredTable(table, differences)

    def check_keys(self, found: Table) -> str:
        """That an existing table has the keys of the desired one; raises TableError where they are others."""
        if not is_compatible(self.desired, spec_of(found.definition, {})):
            raise TableError(
                f"Table {found.name} exists, but its keys differ from those of the exported table.",
                "Import into another table. ddb-transfer never deletes or replaces a table.",
            )
        return "the table has the keys of its definition"

    def differences(self, table: Table) -> list[SettingDrift]:
        """How the table differs from the desired settings, and whether each difference will be set after the load."""
        return drift(self._desired_for(table), self._actual(table), applied=self._applied)

    def apply(self, table: Table, *, made_by_import: bool = False) -> list[SettingDrift]:
        """Sets missing settings after the load; returns the remaining differences. Raises TableError with all failures.

        A table that ImportTable has made lacks more settings than one of ours.
        """
        desired, actual, target = self._desired_for(table), self._actual(table), self._target(table)
        failures = []
        after_import = AFTER_IMPORT if made_by_import else {}
        for kind, step in {**after_import, **STEPS}.items():
            applied = kind in self._applied or kind in after_import
            values = missing(desired, actual, kind) if applied else {}
            if values and not self.stop.requested():
                try:
                    with map_errors(f"set {', '.join(values)} of table {self.table}"):
                        step(target, values)
                except TransferError as error:
                    failures.append(str(error))
        if failures:
            raise TableError(
                f"The items are loaded, but some settings of table {self.table} could not be set:\n"
                + "\n".join(failures),
                "Fix the causes, then run the same command again: it sets the missing ones.",
            )
        table = describe(self.aws.dynamodb, self.table)
        return drift(self._desired_for(table), self._actual(table))

    def policy_notes(self, table: Table | None, kinds: Collection[str] = POLICIES) -> list[str]:
        """The export's policies of these kinds as they would be set on `table`, or as they are if there is none yet."""
        source, desired = self._source(), self.desired.values
        destination = _identity_of(table) if table else source
        return [
            policy_note(
                kind,
                rewrite(desired[kind], source, destination),
                accounts={source.account, destination.account},
                changes=set(changed_texts(desired[kind], source, destination)),
                is_applied=kind in self._applied,
            )
            for kind in POLICIES
            if kind in kinds and kind in desired
        ]

    @property
    def _applied(self) -> frozenset[str]:
        """The kinds of settings that are set after the load."""
        return APPLIED if self.options.with_resource_policy else APPLIED.difference(POLICIES)

    def _create(self) -> Table:
        request = self.request
        announce(f"Creating table {self.table} ({request['BillingMode']}) in {self.aws.region} …")
        if units := warmed_units(request):
            announce(warming_note(units, self.aws.region))
        with map_errors(f"create table {self.table}"):
            self.aws.dynamodb.create_table(**request)
        return self._wait_until_active(self.table)

    def _wait_until_active(self, name: str) -> Table:
        wait_active(self._target(describe(self.aws.dynamodb, name)))
        self.stop.explain(
            f"Table {name} is being created; run the same command again to continue.", saved=False
        )
        self.stop.check()
        return describe(self.aws.dynamodb, name)

    def _desired_for(self, table: Table) -> TableSpec:
        return desired_at(self.desired, self._source(), _identity_of(table))

    def _actual(self, table: Table) -> TableSpec:
        return spec_of(table.definition, read_settings(self.clients, table))

    def _target(self, table: Table) -> Target:
        return Target(
            clients=self.clients,
            table=table.address,
            name=table.name,
            arn=table.arn,
            billing_mode=self.desired.values["billing_mode"],
            stopped=self.stop.requested,
        )

    def _source(self) -> TableIdentity:
        return TableIdentity(self.manifest.source.table_arn, self.manifest.source.account)


def _identity_of(table: Table) -> TableIdentity:
    return TableIdentity(table.arn, table.account, table.definition.get("LatestStreamArn", ""))


def parse_kms_pair(text: str) -> tuple[str, str]:
    """The two keys of SOURCE=DEST."""
    source, equals, destination = text.partition("=")
    if not (source and equals and destination):
        raise UsageError(f"--map-kms expects SOURCE=DEST, got {text!r}.")
    return source, destination


def _report(table: Table, differences: Iterable[SettingDrift], *, created: bool) -> str:
    lines = [f"  {difference}" for difference in differences]
    what = f"Table {table.name} was created" if created else f"Table {table.name} exists"
    if not lines:
        return f"{what} and matches the source."
    return f"{what}. It differs from the source:\n" + "\n".join(lines)
