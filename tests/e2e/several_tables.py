"""Three tables of different keys for a move, and the bucket between the accounts."""

import json
from collections.abc import Iterator
from typing import Any

from ddb_shared.format.manifest import is_move
from e2e.conftest import Mover
from support import commands
from support.accounts import Accounts
from support.environment import DESTINATION, SOURCE
from support.services import Endpoint
from support.tables import COMPOSITE_KEY, SIMPLE_KEY, KeySpec, create_table, fill

ITEMS = 20
KEYS = (SIMPLE_KEY, COMPOSITE_KEY, KeySpec("id", "N", ""))


class Lab:
    """Tables of the source with a name of their own in front, and the bucket, all on MiniStack."""

    def __init__(
        self, aws: Endpoint, bucket: str, accounts: Accounts, name: str, *, letters: str = "abc"
    ) -> None:
        self.aws = aws
        self.mover = Mover(aws, aws, bucket)
        self.prefix = name
        self.place = f"s3://{bucket}/data"
        self.source, self.destination = accounts.dynamodb(aws, SOURCE), accounts.dynamodb(aws, DESTINATION)
        self.s3 = accounts.s3(aws, DESTINATION)
        self.bucket = bucket
        self.tables = [f"{name}-{letter}" for letter in letters]
        for table, key in zip(self.tables, KEYS, strict=False):
            create_table(self.source, table, key)
            fill(self.source, table, items_of(key))

    @property
    def pattern(self) -> str:
        return f"{self.prefix}-*"

    def export(self, *words: object, **options: Any) -> commands.Result:
        return self.mover.export(*words, self.place, **options)

    def record(self, move: str) -> dict[str, Any]:
        """The file of a move."""
        key = move.removeprefix(f"s3://{self.bucket}/")
        found = json.loads(self.s3.get_object(Bucket=self.bucket, Key=key)["Body"].read())
        assert isinstance(found, dict)
        return found

    def moves(self) -> list[str]:
        """The locations of the moves that were begun."""
        return [f"s3://{self.bucket}/{key}" for key in self.objects() if is_move(f"s3://{self.bucket}/{key}")]

    def objects(self) -> list[str]:
        """The keys of all objects of the bucket."""
        pages = self.s3.get_paginator("list_objects_v2").paginate(Bucket=self.bucket)
        return [entry["Key"] for page in pages for entry in page.get("Contents", ())]


def items_of(key: KeySpec, count: int = ITEMS) -> Iterator[dict[str, dict[str, str]]]:
    """Items that a table of this key takes."""
    for number in range(count):
        yield {name: {kind: f"{number}"} for name, kind in key.attributes.items()} | {"v": {"S": "x"}}
