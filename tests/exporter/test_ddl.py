"""The statements of --ddl quote what a manifest, which is foreign input, says."""

import pytest

from ddb_export.ddl import Dialect, statement_of
from ddb_shared.errors import UsageError
from ddb_shared.format.columns import Column

LOCATION = "s3://bucket/it's/data/"


def athena(name: str, type_name: str) -> str:
    return statement_of([Column(attribute="a", name=name, type=type_name)], "T-1", LOCATION, Dialect.ATHENA)


def test_names_and_locations_are_quoted() -> None:
    """A backtick and an apostrophe end nothing."""
    statement = athena("a`) --", "decimal(38,2)")
    assert "  `a``) --` decimal(38,2),\n" in statement
    assert "LOCATION 's3://bucket/it\\'s/data/';" in statement
    assert "read_parquet('s3://bucket/it''s/data/*.parquet')" in statement_of(
        [], "T", LOCATION, Dialect.DUCKDB
    )


@pytest.mark.parametrize(
    "name", ["string) LOCATION 's3://x' --", "list<string>>", "decimal(38,2), x int", ""]
)
def test_what_is_not_a_type_is_refused(name: str) -> None:
    """Nothing of it is printed as SQL."""
    with pytest.raises(UsageError, match="is not a column type"):
        athena("a", name)
