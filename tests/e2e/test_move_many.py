"""Forty tables of different keys, sizes and settings move by one command a side, killed and resumed on each."""

import itertools
import json
import random
import subprocess
import time
from collections.abc import Callable, Iterator
from datetime import datetime
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
MAX_RCU = 20
MAX_WCU = 500
# A display tells the units of each table once a second, and the workers theirs a few times a second.
LAG_SECONDS = 2
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
        time.sleep(0.05)
    running.kill()
    return running.wait() != 0


def units_over_time(stderr: str) -> list[tuple[float, float]]:
    """The units of all tables together, by the time in seconds at which a display told of them."""
    told: dict[str, float] = {}
    sums, table = [], ""
    for line in stderr.splitlines():
        event = json.loads(line)
        if event["event"] == "table":
            table = event["table"]
        if event["event"] == "progress":
            told[event.get("table", table)] = event["units"]
            sums.append((datetime.fromisoformat(event["at"]).timestamp(), sum(told.values())))
    return sums


def assert_cap_held(stderr: str, cap: float) -> None:
    """However long a time is looked at, no more than the cap was consumed in it; and much of it was, so that it did something."""
    sums = units_over_time(stderr)
    for (begun, before), (ended, after) in itertools.combinations(sums, 2):
        assert after - before <= cap * (ended - begun + LAG_SECONDS), sums
    (begun, _), (ended, total) = sums[0], sums[-1]
    assert total > cap * (ended - begun) / 3, sums


@pytest.mark.soak
@pytest.mark.parametrize("at_once", [1, 4])
def test_forty_tables(
    aws: Endpoint, bucket: str, accounts: Accounts, unique_name: Callable[[], str], at_once: int
) -> None:
    """Every item arrives, settings come along, the cap holds over all tables, and all of them are proven equal."""
    told = ("--tables-at-once", at_once, "--progress", "jsonl", "--log-format", "json")
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

    reading = ("--max-rcu", MAX_RCU, *told)
    with commands.start("ddb-export", lab.pattern, lab.place, *reading, endpoint=aws) as running:
        at = chance.randrange(2, 10)
        assert kill_at_random(running, lambda: count("/_started") >= at)
    (move,) = lab.moves()
    for _ in range(KILLS):
        at = count("/_started") + chance.randrange(1, 6)
        with commands.start("ddb-export", "--resume", move, *reading, endpoint=aws) as running:
            assert kill_at_random(running, lambda at=at: count("/_started") >= at)  # type: ignore[misc]
    export = mover.export("--resume", move, *reading, timeout=600)
    exported = export.json()
    assert_cap_held(export.stderr, MAX_RCU)
    assert sizes == {one["table"]: one["items"] for one in exported["exports"]}

    words = (move, "--create-table", "--rename", f"{prefix}-*=copy-{prefix}-*", "--max-wcu", MAX_WCU, *told)
    for _ in range(KILLS):
        at = count("/plan.json") + chance.randrange(1, 8)
        with commands.start("ddb-import", *words, account=DESTINATION, endpoint=aws) as running:
            assert kill_at_random(running, lambda at=at: count("/plan.json") >= at)  # type: ignore[misc]
    load = mover.load(*words, timeout=600)
    imported = load.json()
    assert ("complete", TABLES) == (imported["status"], len(imported["tables"]))
    assert_cap_held(load.stderr, MAX_WCU)
    assert not [
        one for one in imported["tables"] for difference in one["result"]["drift"] if not difference["note"]
    ]
    for table in sizes:
        assert_same_tables((source, table), (destination, f"copy-{table}"))
    proof = commands.run(
        "ddb-verify", *words[:1], *words[2:4], *told, "--json", account=DESTINATION, endpoint=aws, timeout=600
    ).json()
    assert ("identical", TABLES) == (proof["verdict"], len(proof["tables"]))
