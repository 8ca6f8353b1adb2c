"""The SQL statement with which Athena or DuckDB reads a Parquet export as a table."""

from __future__ import annotations

import enum
import re
from collections.abc import Sequence
from typing import Final

import msgspec

from ddb_shared.aws.clients import Aws
from ddb_shared.errors import UsageError
from ddb_shared.format import manifest as manifests
from ddb_shared.format.columns import ITEM, Column, element_of, tag_of
from ddb_shared.format.manifest import DATA

# https://docs.aws.amazon.com/athena/latest/ug/data-types.html; decimals have the same name
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
    """The `--json` output of `ddb-export --ddl`."""

    statement: str


def statement_for(aws: Aws, url: str, dialect: Dialect) -> Statement:
    """The statement for an existing export; raises UsageError if its format is not Parquet."""
    storage = manifests.export_storage(aws.s3, url)
    manifest = manifests.read(storage)
    if manifest.options.format != "parquet":
        raise UsageError(
            f"The export {storage.url} has the format {manifest.options.format}.",
            "--ddl needs a Parquet export: export the table with --format parquet.",
        )
    columns, table = manifest.options.columns, manifest.source.table_name
    return Statement(statement_of(columns, table, storage.url + DATA, dialect))


def statement_of(columns: Sequence[Column], table: str, location: str, dialect: Dialect) -> str:
    """The statement for files with these columns in a folder; raises UsageError for an unknown column type."""
    name = re.sub(r"[^A-Za-z0-9_]", "_", table)
    return _athena(columns, name, location) if dialect is Dialect.ATHENA else _duckdb(name, location)


def _athena(columns: Sequence[Column], table: str, location: str) -> str:
    """https://docs.aws.amazon.com/athena/latest/ug/create-table.html"""
    types = {column.name: _athena_type(column.type) for column in columns} | {ITEM: "string"}
    listed = ",\n".join(f"  {_backticked(name.lower())} {kind}" for name, kind in types.items())
    quoted = location.replace("\\", "\\\\").replace("'", "\\'")
    return (
        f"CREATE EXTERNAL TABLE {_backticked(table.lower())} (\n{listed}\n)\n"
        f"STORED AS PARQUET\nLOCATION '{quoted}';"
    )


def _athena_type(name: str) -> str:
    """The manifest is untrusted input: only known types are printed. Raises UsageError."""
    tag_of(name)
    element = element_of(name)
    return f"array<{_athena_type(element)}>" if element != name else _ATHENA_TYPES.get(name, name)


def _backticked(name: str) -> str:
    """A quoted name; backticks in it are doubled."""
    return "`" + name.replace("`", "``") + "`"


def _duckdb(table: str, location: str) -> str:
    quoted = location.replace("'", "''")
    return f"CREATE OR REPLACE VIEW \"{table}\" AS\nSELECT * FROM read_parquet('{quoted}*.parquet');"
