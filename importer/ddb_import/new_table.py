"""A table that does not exist yet: where the state of its import will be stored, and what an earlier table of its name has had."""

from __future__ import annotations

from typing import Final

from ddb_import.options import ImportOptions
from ddb_import.state import read_plan, refuse_deleted, state_storage
from ddb_shared.aws.clients import Aws
from ddb_shared.command.identity import identify
from ddb_shared.command.preflight import Unchecked
from ddb_shared.format.manifest import Manifest
from ddb_shared.storage.s3 import S3Storage
from ddb_shared.table.description import Table

# DynamoDB Local puts every table into one account and region, and has no STS that could be asked.
_LOCAL: Final = ("000000000000", "ddblocal")


def planned_table(options: ImportOptions, aws: Aws, manifest: Manifest) -> Table:
    """What is known of the table that will be created: its name and ARN. Its id is empty.

    Where STS cannot tell the caller's account, the ARN is that of a table of DynamoDB Local.
    """
    arn = options.table
    if not arn.startswith("arn:"):
        partition = manifest.source.table_arn.split(":")[1]
        account = identify(aws).account
        owner, region = (account, aws.region) if account else _LOCAL
        arn = f"arn:{partition}:dynamodb:{region}:{owner}:table/{arn}"
    *_, region, owner, resource = arn.split(":")
    return Table(
        name=resource.removeprefix("table/"),
        arn=arn,
        id="",
        account=owner,
        region=region,
        status="",
        key=(),
        item_count=0,
        size_bytes=0,
        on_demand=False,
        read_units=0,
        write_units=0,
        definition={},
        address=options.table,
    )


def check_not_deleted(
    options: ImportOptions, aws: Aws, export: S3Storage, manifest: Manifest, table: Table
) -> str:
    """That no earlier import has loaded the missing table, before an empty one is created in its place.

    Raises StateError where one has.
    """
    plan = read_plan(state_storage(aws.s3, export, manifest, table, options.state))
    only_definition = options.create is not None and options.create.definition_only
    if plan and not options.restart and not only_definition:
        refuse_deleted(plan, table.arn)
    if plan is not None:
        return "an earlier import of the table is discarded"
    if (table.account, table.region) == _LOCAL:
        return Unchecked("unknown: the caller's account is unknown, and so is where its imports are recorded")
    return "no earlier import"
