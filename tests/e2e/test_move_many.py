"""Forty tables of different keys, sizes and settings move by one command a side, killed and resumed on each."""

import itertools
import random
import subprocess
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from e2e.conftest import Mover
from e2e.several_tables import Lab
from support import commands
from support.accounts import Accounts
from support.environment import DESTINATION, SOURCE
from support.fingerprints import assert_same_tables
from support.services import Endpoint
from support.tables import KeySpec, create_table, fill

TABLES = 40
KILLS = 4
MAX_WCU = 500
KEYS = [
    KeySpec("pk", kind, "sk" if sort else "", sort or "N")
    for kind, sort in itertools.product("SNB", ("", "S", "N", "B"))
]
INDEX = {
    "IndexName": "by-name",
    "KeySchema": [{"AttributeName": "name", "KeyType": "HASH"}],
    "Projection": {"ProjectionType": "ALL"},
}
PROVISIONED = {
    "BillingMode": "PROVISIONED",
    "ProvisionedThroughput": {"ReadCapacityUnits": 50, "WriteCapacityUnits": 50},
}
STREAM = {"StreamSpecification": {"StreamEnabled": True, "StreamViewType": "NEW_AND_OLD_IMAGES"}}


def settings_of(number: int, key: KeySpec) -> dict[str, Any]:
    """One of several definitions, by the number of the table."""
    attributes = key.attributes | {"name": "S"}
    indexed = {
        "GlobalSecondaryIndexes": [INDEX],
        "AttributeDefinitions": [{"AttributeName": n, "AttributeType": t} for n, t in attributes.items()],
    }
    choices: list[dict[str, Any]] = [{}, indexed, PROVISIONED, STREAM, {"DeletionProtectionEnabled": True}]
    return choices[number % len(choices)]


def values(kind: str, number: int) -> Any:
    return f"{number}".encode() if kind == "B" else f"{number}"


def items_of(key: KeySpec, count: int) -> Iterator[dict[str, Any]]:
    for number in range(count):
        yield {name: {kind: values(kind, number)} for name, kind in key.attributes.items()} | {
            "name": {"S": f"n{number}"},
            "text": {"S": "x" * (number % 500)},
        }


def kill_at_random(running: subprocess.Popen[str], enough: Callable[[], bool]) -> bool:
    """Kills it once there is something to resume; False if it was complete before."""
    while running.poll() is None and not enough():
        pass
    running.kill()
    return running.wait() != 0


@pytest.mark.soak
def test_forty_tables(aws: Endpoint, bucket: str, accounts: Accounts, unique_name: Callable[[], str]) -> None:
    """Every item arrives, settings come along, the cap holds over all tables, and all of them are proven equal."""
    prefix, chance = unique_name(), random.Random(15)
    source, destination = accounts.dynamodb(aws, SOURCE), accounts.dynamodb(aws, DESTINATION)
    sizes = {f"{prefix}-{number:02d}": chance.choice([0, 1, 40, 400]) for number in range(TABLES)}
    for number, (table, size) in enumerate(sizes.items()):
        key = KEYS[number % len(KEYS)]
        create_table(source, table, key, **settings_of(number, key))
        fill(source, table, items_of(key, size))
    lab = Lab(aws, bucket, accounts, prefix, letters="")
    mover = Mover(aws, aws, bucket)

    def count(suffix: str) -> int:
        return sum(key.endswith(suffix) for key in lab.objects())

    with commands.start("ddb-export", lab.pattern, lab.place, endpoint=aws) as running:
        at = chance.randrange(2, 10)
        assert kill_at_random(running, lambda: count("/_started") >= at)
    (move,) = lab.moves()
    for _ in range(KILLS):
        at = count("/_started") + chance.randrange(1, 6)
        with commands.start("ddb-export", "--resume", move, endpoint=aws) as running:
            assert kill_at_random(running, lambda at=at: count("/_started") >= at)  # type: ignore[misc]
    exported = mover.export("--resume", move, timeout=600).json()
    assert sizes == {one["table"]: one["items"] for one in exported["exports"]}

    words = (move, "--create-table", "--rename", f"{prefix}-*=copy-{prefix}-*", "--max-wcu", MAX_WCU)
    for _ in range(KILLS):
        at = count("/plan.json") + chance.randrange(1, 8)
        with commands.start("ddb-import", *words, account=DESTINATION, endpoint=aws) as running:
            assert kill_at_random(running, lambda at=at: count("/plan.json") >= at)  # type: ignore[misc]
    begun = time.monotonic()
    imported = mover.load(*words, timeout=600).json()
    elapsed = time.monotonic() - begun
    assert ("complete", TABLES) == (imported["status"], len(imported["tables"]))
    units = sum(one["result"]["consumed_wcu"] for one in imported["tables"])
    assert units <= MAX_WCU * (elapsed + 1)
    assert not [
        one for one in imported["tables"] for difference in one["result"]["drift"] if not difference["note"]
    ]
    for table in sizes:
        assert_same_tables((source, table), (destination, f"copy-{table}"))
    proof = commands.run(
        "ddb-verify", *words[:1], *words[2:4], "--json", account=DESTINATION, endpoint=aws, timeout=600
    ).json()
    assert ("identical", TABLES) == (proof["verdict"], len(proof["tables"]))
