"""The caps hold for the commands as processes, by what the service says was consumed, and when."""

import time
from collections.abc import Iterator
from typing import Any

import pytest

from ddb_export.scan import OPEN_SEGMENTS
from ddb_shared.dynamodb.rate import MAX_REQUEST_SECONDS, MAX_REQUESTS
from e2e.conftest import Mover
from support.accounts import Accounts
from support.environment import DESTINATION, SOURCE
from support.fake_dynamodb import FakeServer, fake_dynamodb
from support.services import Endpoint
from support.tables import create_table

SHARE = 1_000
BATCH = 25
WINDOW_SECONDS = 10.0
INDEXES = [
    {
        "IndexName": "by-fill",
        "KeySchema": [{"AttributeName": "g", "KeyType": "HASH"}],
        "Projection": {"ProjectionType": "ALL"},
    }
]
TYPES = [
    {"AttributeName": name, "AttributeType": kind} for name, kind in (("pk", "S"), ("sk", "N"), ("g", "S"))
]


@pytest.fixture
def fake() -> Iterator[FakeServer]:
    with fake_dynamodb() as server:
        yield server


def items(count: int, size: int) -> list[dict[str, Any]]:
    return [
        {"pk": {"S": f"p{number}"}, "sk": {"N": "1"}, "g": {"S": "g"}, "fill": {"S": "x" * size}}
        for number in range(count)
    ]


def busiest(entries: list[tuple[float, float]], seconds: float) -> float:
    """The most units of any time of so many seconds."""
    most = total = 0.0
    first = 0
    for moment, units in entries:
        total += units
        while entries[first][0] <= moment - seconds:
            total -= entries[first][1]
            first += 1
        most = max(most, total)
    return most


def assert_held(entries: list[tuple[float, float]], cap: float, in_flight: float) -> None:
    """Not above the cap by more than 5% in any ten seconds, and by what was on its way when a busy machine let it through.

    What was consumed is more than that by so much that without the cap, in less than ten seconds, the bound is exceeded.
    """
    most = 1.05 * cap * WINDOW_SECONDS + in_flight
    assert sum(units for _, units in entries) > 1.2 * most, "too little to tell a cap that holds from none"
    assert busiest(entries, WINDOW_SECONDS) <= most


@pytest.mark.slow
@pytest.mark.parametrize(
    "processes", [pytest.param(1, marks=pytest.mark.soak), 2, pytest.param(4, marks=pytest.mark.soak)]
)
def test_an_export_keeps_to_its_cap(
    processes: int, fake: FakeServer, aws: Endpoint, bucket: str, accounts: Accounts
) -> None:
    """Each worker has eight segments, and a page of each on its way costs a quarter of a second at most."""
    create_table(accounts.dynamodb(fake.url, SOURCE), "orders")
    for part in range(4 * processes):  # 64 MB a process: 15,600 units
        fake.load(SOURCE, "orders", [item | {"sk": {"N": str(part)}} for item in items(400, 40_000)])
    cap = processes * SHARE
    words = ("--consistent-read", "--max-rcu", cap, "--processes", processes)
    result = Mover(fake.url, aws, bucket).export("orders", f"s3://{bucket}/moves", *words).json()
    reads = fake.consumption(SOURCE, "orders").reads
    assert result["consumed_rcu"] == sum(units for _, units in reads)
    assert_held(reads, cap, processes * OPEN_SEGMENTS * SHARE * MAX_REQUEST_SECONDS)


@pytest.mark.slow
@pytest.mark.parametrize(
    "processes", [pytest.param(1, marks=pytest.mark.soak), 2, pytest.param(4, marks=pytest.mark.soak)]
)
def test_an_import_keeps_to_its_cap(
    processes: int, fake: FakeServer, aws: Endpoint, bucket: str, accounts: Accounts
) -> None:
    """What an index consumes counts: twice as much is written as there are items."""
    source, destination = (accounts.dynamodb(fake.url, account) for account in (SOURCE, DESTINATION))
    create_table(source, "orders")
    create_table(destination, "copied", AttributeDefinitions=TYPES, GlobalSecondaryIndexes=INDEXES)
    fake.load(SOURCE, "orders", items(8_500 * processes, 100))
    mover = Mover(fake.url, aws, bucket)
    export = mover.exported("orders")
    cap = processes * SHARE
    result = mover.load(export, "copied", "--max-wcu", cap, "--processes", processes).json()
    writes = fake.consumption(DESTINATION, "copied").writes
    assert result["consumed_wcu"] == sum(units for _, units in writes) == 17_000 * processes
    assert_held(writes, cap, processes * MAX_REQUESTS * BATCH * 2)


@pytest.mark.slow
def test_tables_at_the_same_time_share_one_cap(
    fake: FakeServer, aws: Endpoint, bucket: str, accounts: Accounts
) -> None:
    """Two are loaded side by side, and the cap holds for what both consume."""
    source, destination = (accounts.dynamodb(fake.url, account) for account in (SOURCE, DESTINATION))
    tables = ("orders-1", "orders-2")
    for table in tables:
        create_table(source, table)
        create_table(destination, table, AttributeDefinitions=TYPES, GlobalSecondaryIndexes=INDEXES)
        fake.load(SOURCE, table, items(8_500, 100))
    mover = Mover(fake.url, aws, bucket)
    at_once = ("--tables-at-once", 2, "--processes", 2)
    exported = mover.export(*tables, f"s3://{bucket}/data", *at_once, "--max-rcu", 4 * SHARE).json()
    assert ("complete", [8_500] * 2) == (exported["status"], [one["items"] for one in exported["exports"]])
    result = mover.load(exported["move"], *at_once, "--max-wcu", 2 * SHARE).json()
    assert "complete" == result["status"]
    first, second = (fake.consumption(DESTINATION, table).writes for table in tables)
    assert max(first[0][0], second[0][0]) < min(first[-1][0], second[-1][0]), "not at the same time"
    assert 34_000 == sum(units for _, units in first + second)
    assert_held(sorted(first + second), 2 * SHARE, 2 * MAX_REQUESTS * BATCH * 2)


def test_a_part_of_the_provisioned_capacity(
    fake: FakeServer, aws: Endpoint, bucket: str, accounts: Accounts
) -> None:
    """Half of 400 read units, a quarter of 800 and as many write units of the table and its index."""
    source, destination = (accounts.dynamodb(fake.url, account) for account in (SOURCE, DESTINATION))
    units = {"ReadCapacityUnits": 400, "WriteCapacityUnits": 800}
    provisioned: dict[str, Any] = {"BillingMode": "PROVISIONED", "ProvisionedThroughput": units}
    create_table(source, "orders", **provisioned)
    index = INDEXES[0] | {"ProvisionedThroughput": units}
    create_table(
        destination, "copied", AttributeDefinitions=TYPES, GlobalSecondaryIndexes=[index], **provisioned
    )
    fake.load(SOURCE, "orders", items(800, 1_500))
    mover = Mover(fake.url, aws, bucket)
    plan = mover.export("orders", f"s3://{bucket}/moves", "--max-rcu", "50%", "--dry-run").json()
    assert "at most 200 read units per second" in {check["found"] for check in plan["checks"]}
    assert "--max-rcu 50%" in plan["command"]
    export = mover.exported("orders", "--max-rcu", "50%")
    plan = mover.load(export, "copied", "--max-wcu", "25%", "--dry-run").json()
    assert "at most 400 write units per second" in {check["found"] for check in plan["checks"]}
    assert "--max-wcu 25%" in plan["command"]
    started_at = time.monotonic()
    mover.load(export, "copied", "--max-wcu", "25%")
    seconds = time.monotonic() - started_at
    assert len(fake.items(DESTINATION, "copied")) == 800
    consumed = sum(units for _, units in fake.consumption(DESTINATION, "copied").writes)
    assert consumed == 800 * 2 * 2
    assert seconds >= consumed / 400 - 1, (
        "no machine is slow enough to make it less: a bucket that begins empty"
    )


def test_a_part_of_nothing_is_refused(
    fake: FakeServer, aws: Endpoint, bucket: str, accounts: Accounts
) -> None:
    """A table on demand has no provisioned capacity: the error says so, before anything is written or created."""
    source, destination = (accounts.dynamodb(fake.url, account) for account in (SOURCE, DESTINATION))
    create_table(source, "orders")
    create_table(destination, "copied")
    fake.load(SOURCE, "orders", items(5, 10))
    mover = Mover(fake.url, aws, bucket)
    refused = mover.export("orders", f"s3://{bucket}/none", "--max-rcu", "50%", check=False)
    assert refused.exit_code == 2
    assert (
        "--max-rcu 50% is a percentage of the provisioned capacity, but table orders is on-demand"
        in refused.stderr
    )
    assert "such as --max-rcu 500" in refused.stderr
    export = mover.exported("orders")
    words = (export, "made", "--create-table", "--max-wcu", "50%")
    for line in ((export, "copied", "--max-wcu", "50%"), words):
        refused = mover.load(*line, check=False)
        assert refused.exit_code == 2
        assert "is on-demand" in refused.stderr
    assert destination.list_tables()["TableNames"] == ["copied"]
    assert mover.load(*words, "--dry-run", check=False).json()["status"] == "refused"
    verified = mover._run("ddb-verify", DESTINATION, export, "copied", "--max-rcu", "50%", check=False)
    assert verified.exit_code == 2
