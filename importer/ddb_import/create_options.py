"""The options that belong to --create-table."""

from __future__ import annotations

from typing import Final

import click

from ddb_import.definition.create import CreateOptions, Indexes, parse_kms_pair
from ddb_import.definition.given import GivenDefinition, parse_key, read_definition
from ddb_import.definition.table_spec import ON_DEMAND, PROVISIONED
from ddb_shared.command.bundle import Command, bundle
from ddb_shared.errors import UsageError
from ddb_shared.table.capacity import NEW_TABLE_WRITE_UNITS

_BILLING_MODES: Final = {"pay-per-request": ON_DEMAND, "provisioned": PROVISIONED}

_OPTIONS: Final = (
    click.option(
        "--create-table",
        is_flag=True,
        help="Create the table as described in the export, or use an existing one with the same keys and report how it "
        "differs. Indexes are created with the table; streams, tags, backups, autoscaling, time to live, policies and "
        "deletion protection are set after the load.",
    ),
    click.option(
        "--key",
        metavar="NAME:TYPE[,NAME:TYPE]",
        help="With --create-table, for an export without a table definition, such as AWS's own: create an on-demand table with "
        "this key, such as pk:S,sk:N.",
    ),
    click.option(
        "--definition",
        metavar="FILE",
        help="Like --key, but from a file: the output of `aws dynamodb describe-table`, a CreateTable request, or the "
        "manifest.json of an export.",
    ),
    click.option(
        "--billing-mode",
        type=click.Choice(list(_BILLING_MODES)),
        help="With --create-table: the billing mode.  [default: the source's]",
    ),
    click.option(
        "--warm-write-units",
        type=click.IntRange(min=NEW_TABLE_WRITE_UNITS),  # CreateTable refuses less
        metavar="N",
        help="With --create-table: set the warm throughput of the table and its global indexes to N write units per second, so "
        "that a new on-demand table accepts full speed at once. AWS charges once for each unit above the default (4,000), and "
        "the value cannot be lowered again: https://aws.amazon.com/dynamodb/pricing/.",
    ),
    click.option(
        "--map-kms",
        "kms_keys",
        multiple=True,
        metavar="SOURCE=DEST",
        help="With --create-table: the key DEST to use for a table encrypted with the key SOURCE; alias/aws/dynamodb is the "
        "AWS managed key.",
    ),
    click.option(
        "--indexes",
        type=click.Choice([choice.value for choice in Indexes]),
        help="With --create-table: create the global indexes with the table, or after its items are loaded.  "
        "[default: with-table]",
    ),
    click.option(
        "--with-resource-policy",
        is_flag=True,
        help="With --create-table: also set the resource policies of the table and its stream, as stored in the export. They are "
        "always shown; whoever wrote the export could grant access to the table with them.",
    ),
    click.option(
        "--definition-only", is_flag=True, help="With --create-table: create the table but load nothing."
    ),
)


def create_options(command: Command) -> Command:
    """Adds the options; the command receives them as one argument, `create`, which is None without --create-table."""
    return bundle("create", _collect, _OPTIONS)(command)


def _collect(
    *,
    create_table: bool,
    key: str | None,
    definition: str | None,
    billing_mode: str | None,
    warm_write_units: int | None,
    kms_keys: tuple[str, ...],
    indexes: str | None,
    with_resource_policy: bool,
    definition_only: bool,
) -> CreateOptions | None:
    """The parsed options; raises UsageError where they do not go together."""
    requested = CreateOptions(
        billing_mode=_BILLING_MODES.get(billing_mode or ""),
        warm_write_units=warm_write_units,
        kms_keys=tuple(map(parse_kms_pair, kms_keys)),
        indexes=Indexes(indexes or Indexes.WITH_TABLE),
        definition_only=definition_only,
        given=_given_definition(key, definition),
        with_resource_policy=with_resource_policy,
    )
    if create_table:
        return requested
    _refuse_without_create_table(requested, indexes=indexes)
    return None


def _given_definition(key: str | None, path: str | None) -> GivenDefinition | None:
    """The definition that the options give; raises UsageError."""
    if key and path:
        raise UsageError("--key and --definition both define the table.", "Omit one of them.")
    if path:
        return read_definition(path)
    return parse_key(key) if key else None


def _refuse_without_create_table(requested: CreateOptions, *, indexes: str | None) -> None:
    """Raises UsageError if an option of --create-table is given without it."""
    given = {
        "--billing-mode": requested.billing_mode,
        "--warm-write-units": requested.warm_write_units,
        "--map-kms": requested.kms_keys,
        "--indexes": indexes,
        "--definition-only": requested.definition_only,
        "--with-resource-policy": requested.with_resource_policy,
        "--key or --definition": requested.given,
    }
    for option, value in given.items():
        if value:
            raise UsageError(f"{option} requires --create-table.", "Add --create-table.")
