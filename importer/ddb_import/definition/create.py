"""Makes the destination's table from the manifest, shows how one that exists differs, completes it after the load."""

from __future__ import annotations

import enum
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from ddb_import.definition.create_request import create_request, warmed_units
from ddb_import.definition.drift import Difference, drift, is_compatible, missing
from ddb_import.definition.form import Form, form_of
from ddb_import.definition.steps import APPLIED, STEPS, Target, wait_active
from ddb_import.definition.wanted import POLICIES, Place, rewritten, wanted_at, wanted_form
from ddb_shared.aws import Aws
from ddb_shared.definition import Clients, read_settings
from ddb_shared.errors import ExportError, TableError, TransferError, UsageError, explained
from ddb_shared.manifest import Manifest
from ddb_shared.plan import warming_note
from ddb_shared.progress import announce
from ddb_shared.table import Table, describe, find
from ddb_shared.workers import Stop


class Indexes(enum.StrEnum):
    """When the global indexes are made: with the table, or once its items are loaded."""

    WITH_TABLE = "with-table"
    AFTER_LOAD = "after-load"


@dataclass(frozen=True, kw_only=True)
class CreateOptions:
    """How the table is made. `warm_write_units` are write units per second, `kms_keys` pairs of source and destination."""

    billing_mode: str | None = None
    warm_write_units: int | None = None
    kms_keys: tuple[tuple[str, str], ...] = ()
    indexes: Indexes = Indexes.WITH_TABLE
    definition_only: bool = False

    @property
    def arguments(self) -> list[str]:
        """The options as words of a command line."""
        words = ["--create-table"]
        if self.billing_mode:
            words += ["--billing-mode", self.billing_mode.lower().replace("_", "-")]
        if self.warm_write_units:
            words += ["--warm-write-units", str(self.warm_write_units)]
        for source, destination in self.kms_keys:
            words += ["--map-kms", f"{source}={destination}"]
        if self.indexes is not Indexes.WITH_TABLE:
            words += ["--indexes", self.indexes.value]
        return words


@dataclass(frozen=True, slots=True)
class Definition:
    """The definition that one import works towards."""

    options: CreateOptions
    aws: Aws
    manifest: Manifest
    table: str
    stop: Stop

    @property
    def clients(self) -> Clients:
        """The services that hold a table's definition."""
        return Clients(self.aws.dynamodb, self.aws.autoscaling)

    def wanted(self) -> Form:
        """What the destination shall have; raises ExportError where the export does not say."""
        if not self.manifest.table:
            raise ExportError(
                "AWS made this export, and AWS's exports hold no table definition.",
                "Create the table yourself and leave --create-table out.",
            )
        return wanted_form(
            form_of(self.manifest.table, self.manifest.settings),
            billing_mode=self.options.billing_mode,
            kms_keys=dict(self.options.kms_keys),
        )

    def request(self) -> dict[str, Any]:
        """The CreateTable request."""
        return create_request(
            self.table,
            self.wanted().values,
            with_indexes=self.options.indexes is Indexes.WITH_TABLE,
            warm_write_units=self.options.warm_write_units,
        )

    def settle(self) -> Table:
        """The table, made now or found; shows how one that was found differs, and raises where no item would fit."""
        wanted = self.wanted()
        found = find(self.aws.dynamodb, self.table)
        table = found or self._create()
        if found is not None and found.status == "CREATING":
            table = self._waited(found.name)
        differences = self.differences(table)
        announce(_report(table, differences, made=found is None))
        self._announce_policies(wanted, table, {difference.setting for difference in differences})
        if found is not None and not is_compatible(wanted, form_of(found.definition, {})):
            raise TableError(
                f"Table {found.name} exists and has other keys than the exported table.",
                "Import into another name. The tool never drops or replaces a table.",
            )
        return table

    def differences(self, table: Table) -> list[Difference]:
        """How the table differs from what is wanted, and what becomes of it."""
        return drift(self._wanted_of(table), self._present(table), applied=APPLIED)

    def complete(self, table: Table) -> list[Difference]:
        """Sets after the load what the table lacks; returns what differs still. Raises TableError with all failures."""
        wanted, present, target = self._wanted_of(table), self._present(table), self._target(table)
        failures = []
        for kind, step in STEPS.items():
            values = missing(wanted, present, kind)
            if values and not self.stop.said():
                try:
                    with explained(f"set {', '.join(values)} of table {self.table}"):
                        step(target, values)
                except TransferError as error:
                    failures.append(str(error))
        if failures:
            raise TableError(
                f"The items are loaded, but not every setting of table {self.table} could be set:\n"
                + "\n".join(failures),
                "Mend the causes and run the same command again: it sets what is missing.",
            )
        table = describe(self.aws.dynamodb, self.table)
        return drift(self._wanted_of(table), self._present(table))

    def _create(self) -> Table:
        request = self.request()
        announce(f"Creating table {self.table} ({request['BillingMode']}) in {self.aws.region} …")
        if units := warmed_units(request):
            announce(warming_note(units, self.aws.region))
        with explained(f"create table {self.table}"):
            self.aws.dynamodb.create_table(**request)
        return self._waited(self.table)

    def _waited(self, name: str) -> Table:
        wait_active(self._target(describe(self.aws.dynamodb, name)))
        self.stop.check(f"Table {name} is being made; the same command again goes on.")
        return describe(self.aws.dynamodb, name)

    def _wanted_of(self, table: Table) -> Form:
        return wanted_at(self.wanted(), self._source(), _place(table))

    def _present(self, table: Table) -> Form:
        return form_of(table.definition, read_settings(self.clients, table))

    def _target(self, table: Table) -> Target:
        return Target(
            clients=self.clients,
            table=table.name,
            arn=table.arn,
            billing_mode=self.wanted().values["billing_mode"],
            stopped=self.stop.said,
        )

    def _source(self) -> Place:
        return Place(self.manifest.source.table_arn, self.manifest.source.account)

    def _announce_policies(self, wanted: Form, table: Table, differing: set[str]) -> None:
        """Shows every text that changes in the policies, before any of them is set."""
        for kind in differing.intersection(POLICIES):
            changes = rewritten(wanted.values.get(kind), self._source(), _place(table))
            lines = sorted({f"  {before} -> {after}" for before, after in changes})
            if lines:
                announce(f"After the load the {kind} is set with these changes:\n" + "\n".join(lines))


def _place(table: Table) -> Place:
    return Place(table.arn, table.account, table.definition.get("LatestStreamArn", ""))


def parse_kms_pair(text: str) -> tuple[str, str]:
    """The two keys of SOURCE=DEST."""
    source, equals, destination = text.partition("=")
    if not (source and equals and destination):
        raise UsageError(f"{text!r} is no pair of keys.", "Write --map-kms SOURCE=DEST.")
    return source, destination


def _report(table: Table, differences: Iterable[Difference], *, made: bool) -> str:
    lines = [f"  {difference}" for difference in differences]
    what = f"Table {table.name} is made" if made else f"Table {table.name} exists"
    if not lines:
        return f"{what} and is as in the source."
    return f"{what}. It differs from the source:\n" + "\n".join(lines)
