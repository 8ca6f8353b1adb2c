"""The tables that are given by name, ARN or pattern."""

from __future__ import annotations

import fnmatch
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from ddb_export.options import is_pattern
from ddb_shared.aws.clients import Aws
from ddb_shared.errors import TableError, map_errors
from ddb_shared.table.description import Table, find

READERS: Final = 8


def find_tables(aws: Aws, given: Sequence[str]) -> list[Table]:
    """The tables that are named or match, each once, in the order given, and within a pattern by name.

    Raises TableError for a table that does not exist, a pattern that matches none, and two tables of the same name.
    """
    own = _list_tables(aws) if any(map(is_pattern, given)) else []
    matched = {word: fnmatch.filter(own, word) for word in given if is_pattern(word)}
    idle = [word for word, names in matched.items() if not names]
    if idle:
        raise TableError(
            f"No table matches {', '.join(map(repr, idle))} among the {len(own):,} tables of this account in {aws.region}.",
            "Check the pattern (upper and lower case differ), the account (--profile, --role-arn) and --region.",
        )
    addresses = dict.fromkeys(name for word in given for name in sorted(matched.get(word, [word])))
    by_arn: dict[str, Table] = {}  # one that is named and matches as well is exported once
    for table in _describe_all(aws, list(addresses)):
        by_arn.setdefault(table.arn, table)
    names = Counter(table.name for table in by_arn.values())
    twice = [arn for arn, table in by_arn.items() if names[table.name] > 1]
    if twice:
        raise TableError(
            f"Several tables have the same name: {', '.join(twice)}.",
            "A move knows its tables by their names: export one of them by a command of its own.",
        )
    return list(by_arn.values())


def _describe_all(aws: Aws, addresses: Sequence[str]) -> list[Table]:
    """Raises TableError with all that do not exist."""
    with ThreadPoolExecutor(READERS) as pool:
        found = dict(
            zip(addresses, pool.map(lambda address: find(aws.dynamodb, address), addresses), strict=True)
        )
    absent = [address for address, table in found.items() if table is None]
    if absent:
        what = "These tables do not exist" if len(absent) > 1 else "This table does not exist"
        raise TableError(
            f"{what} in {aws.region} in this account: {', '.join(absent)}. Nothing was exported.",
            "Check the names, the account (--profile, --role-arn) and --region.",
        )
    return [table for table in found.values() if table is not None]


def _list_tables(aws: Aws) -> list[str]:
    with map_errors("list the tables"):
        pages = aws.dynamodb.get_paginator("list_tables").paginate()
        return [name for page in pages for name in page["TableNames"]]
