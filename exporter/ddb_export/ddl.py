"""Prints the statement with which Athena or DuckDB reads a Parquet export as a table."""

from __future__ import annotations

import enum
import re
from typing import Final

import msgspec

from ddb_shared import manifest as manifests
from ddb_shared.aws import Aws
from ddb_shared.columns import ITEM, element_of
from ddb_shared.errors import UsageError
from ddb_shared.manifest import DATA, Manifest

# https://docs.aws.amazon.com/athena/latest/ug/data-types.html; decimals have the same name in both
_ATHENA_TYPES: Final = {
    "string": "string",
    "int64": "bigint",
    "double": "double",
    "binary": "binary",
    "bool": "boolean",
}


class Dialect(enum.StrEnum):
    """The choices of --ddl."""

    ATHENA = "athena"
    DUCKDB = "duckdb"


class Statement(msgspec.Struct, frozen=True):
    """What `ddb-export --ddl … --json` prints."""

    statement: str


def statement_for(aws: Aws, url: str, dialect: Dialect) -> Statement:
    """The statement for an existing export; raises UsageError where it is not of Parquet."""
    folder = manifests.export_folder(aws.s3, url)
    manifest = manifests.read(folder)
    if manifest.options.format != "parquet":
        raise UsageError(
            f"The export {folder.url} is of format {manifest.options.format}.",
            "Export the table with --format parquet to read it as a table.",
        )
    write = _athena if dialect is Dialect.ATHENA else _duckdb
    return Statement(write(manifest, folder.url + DATA))


def _athena(manifest: Manifest, location: str) -> str:
    """https://docs.aws.amazon.com/athena/latest/ug/create-table.html"""
    types = {column.name: _athena_type(column.type) for column in manifest.options.columns}
    columns = ",\n".join(f"  `{name.lower()}` {kind}" for name, kind in {**types, ITEM: "string"}.items())
    quoted = location.replace("\\", "\\\\").replace("'", "\\'")
    return (
        f"CREATE EXTERNAL TABLE `{_table_name(manifest).lower()}` (\n{columns}\n)\n"
        f"STORED AS PARQUET\nLOCATION '{quoted}';"
    )


def _athena_type(name: str) -> str:
    element = element_of(name)
    return f"array<{_athena_type(element)}>" if element != name else _ATHENA_TYPES.get(name, name)


def _duckdb(manifest: Manifest, location: str) -> str:
    quoted = location.replace("'", "''")
    return (
        f'CREATE OR REPLACE VIEW "{_table_name(manifest)}" AS\n'
        f"SELECT * FROM read_parquet('{quoted}*.parquet');"
    )


def _table_name(manifest: Manifest) -> str:
    return re.sub(r"[^A-Za-z0-9_]", "_", manifest.source.table_name)
