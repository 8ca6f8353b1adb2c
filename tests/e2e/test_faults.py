"""Every fault is survived: at the end each item is there, and it is the same item."""

import json
import os
import random
import shlex
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from e2e.conftest import Mover
from support import commands
from support.accounts import Accounts
from support.environment import DESTINATION, SOURCE, clean_environment, credentials
from support.fake_dynamodb import FakeServer, Fault, FaultKind, FaultPlan, fake_dynamodb
from support.fingerprints import assert_same_tables
from support.proxy import fault_proxy
from support.services import Endpoint
from support.tables import create_table, fill
from support.varied import varied_items

ITEMS = 2_000
CODES = ("ProvisionedThroughputExceededException", "ThrottlingException", "RequestLimitExceeded")
MIXED = tuple(
    Fault(kind=kind, probability=0.04, seconds=0.05)
    for kind in (
        FaultKind.INTERNAL_ERROR,
        FaultKind.INTERNAL_ERROR_AFTER,
        FaultKind.UNAVAILABLE,
        FaultKind.RESET_BEFORE,
        FaultKind.RESET_DURING,
        FaultKind.RESET_AFTER,
        FaultKind.WRONG_CRC,
        FaultKind.TRUNCATED,
        FaultKind.SLOW,
        FaultKind.UNPROCESSED,
        FaultKind.THROTTLE,
    )
)
FAULTS = {
    **{code: (Fault(kind=FaultKind.THROTTLE, code=code, probability=0.3),) for code in CODES},
    "unprocessed-half": (Fault(kind=FaultKind.UNPROCESSED, probability=0.5),),
    "unprocessed-most": (Fault(kind=FaultKind.UNPROCESSED, fraction=0.9, probability=0.7),),
    "unprocessed-all": (Fault(kind=FaultKind.UNPROCESSED, fraction=1.0, probability=0.4),),
    "500": (Fault(kind=FaultKind.INTERNAL_ERROR, probability=0.2),),
    "500-applied": (Fault(kind=FaultKind.INTERNAL_ERROR_AFTER, probability=0.2),),
    "503": (Fault(kind=FaultKind.UNAVAILABLE, probability=0.2),),
    "reset-before": (Fault(kind=FaultKind.RESET_BEFORE, probability=0.2),),
    "reset-during": (Fault(kind=FaultKind.RESET_DURING, probability=0.2),),
    "reset-after": (Fault(kind=FaultKind.RESET_AFTER, probability=0.2),),
    "wrong-crc": (Fault(kind=FaultKind.WRONG_CRC, probability=0.2),),
    "truncated": (Fault(kind=FaultKind.TRUNCATED, probability=0.2),),
    "slow": (Fault(kind=FaultKind.SLOW, seconds=0.5, probability=0.2),),
    # four in a row end a request: a clock that was corrected and is refused again is not skewed
    "skewed": (Fault(kind=FaultKind.SKEWED, probability=0.05),),
    "mixed": MIXED,
}


# One of each family in `make test`; all of them in `make soak`.
REPRESENTATIVE = frozenset({CODES[0], "unprocessed-half", "500-applied", "reset-after", "wrong-crc", "mixed"})


def fault_case(name: str) -> object:
    """The parameter of one kind of faults."""
    return pytest.param(FAULTS[name], id=name, marks=[] if name in REPRESENTATIVE else [pytest.mark.soak])


@pytest.fixture
def fake() -> Iterator[FakeServer]:
    """A DynamoDB of its own for each test."""
    with fake_dynamodb() as server:
        yield server


class Table:
    """A table of varied items in the source account of the fake, and an empty one in the destination."""

    def __init__(self, fake: FakeServer, accounts: Accounts, items: int = ITEMS) -> None:
        self._source = accounts.dynamodb(fake.url, SOURCE)
        self._destination = accounts.dynamodb(fake.url, DESTINATION)
        create_table(self._source, "orders")
        create_table(self._destination, "copied")
        fill(self._source, "orders", varied_items(items))

    def assert_moved(self) -> None:
        """Every item of the source is equal in the destination, and there are no others."""
        assert_same_tables((self._source, "orders"), (self._destination, "copied"))


@pytest.mark.parametrize("faults", [fault_case(name) for name in FAULTS])
def test_survives(
    faults: tuple[Fault, ...], fake: FakeServer, aws: Endpoint, bucket: str, accounts: Accounts
) -> None:
    """Both commands finish and lose nothing, whatever the service does to a part of their requests."""
    table = Table(fake, accounts, 1_000)
    mover = Mover(fake.url, aws, bucket)
    fake.reset()
    fake.change(FaultPlan(seed=7, faults=faults))
    export = mover.exported("orders", "--segments", 24)
    result = mover.load(export, "copied").json()
    stats = fake.stats()
    fake.change(FaultPlan())
    assert (result["status"], result["items_written"]) == ("complete", 1_000)
    assert stats.faults, "no fault was injected"
    table.assert_moved()


def test_one_item_a_call_is_progress(
    fake: FakeServer, aws: Endpoint, bucket: str, accounts: Accounts
) -> None:
    """A table that takes one item of each batch is slow, not an error."""
    table = Table(fake, accounts, 200)
    mover = Mover(fake.url, aws, bucket)
    export = mover.exported("orders")
    fake.change(FaultPlan(faults=(Fault(kind=FaultKind.ONE_PROGRESSES),)))
    result = mover.load(export, "copied").json()
    assert result["throttled"] > 100
    assert result["throttle_reasons"]["UnprocessedItems"] > 100
    table.assert_moved()


@pytest.mark.soak
def test_a_connection_that_hangs_is_given_up(
    fake: FakeServer, aws: Endpoint, bucket: str, accounts: Accounts
) -> None:
    """After half a minute of silence the request is sent again."""
    table = Table(fake, accounts, 300)
    mover = Mover(fake.url, aws, bucket)
    fake.change(FaultPlan(faults=(Fault(kind=FaultKind.HANG, at=(1,)),)))
    export = mover.exported("orders")
    assert mover.load(export, "copied").json()["items_written"] == 300
    table.assert_moved()


@pytest.mark.parametrize("operation", ["Scan", "BatchGetItem"])
def test_a_throttled_verification_says_so(
    operation: str, fake: FakeServer, aws: Endpoint, bucket: str, accounts: Accounts, tmp_path: Path
) -> None:
    """On the display where the passes are refused, and in its report wherever that was."""
    Table(fake, accounts)
    mover = Mover(fake.url, aws, bucket)
    export = mover.exported("orders")
    mover.load(export, "copied")
    throttling = Fault(kind=FaultKind.THROTTLE, operations=(operation,), times=3)
    fake.change(FaultPlan(faults=(throttling,)))
    page = tmp_path / "report.html"
    verified = commands.run(
        "ddb-verify", export, "copied", "--report", page, "--max-rcu", 5_000, "--progress", "jsonl", "--json",
        account=DESTINATION, endpoint=fake.url, s3_endpoint=aws,
    )  # fmt: skip
    (reason,) = verified.json()["throttle_reasons"]
    assert verified.json()["throttled"] == 3
    assert "Nothing was throttled" not in page.read_text()
    assert reason in page.read_text()
    events = [json.loads(line) for line in verified.stderr.splitlines()]
    last = [event for event in events if event["event"] == "progress"][-1]
    assert (last["cap"], last["throttled"]) == (5_000, 3 if operation == "Scan" else 0)
    assert last["bytes"] > 2 * ITEMS


def test_tokens_that_expire_are_renewed(
    fake: FakeServer, aws: Endpoint, bucket: str, accounts: Accounts
) -> None:
    """Temporary credentials that end in mid-run are fetched again."""
    table = Table(fake, accounts)
    export = Mover(fake.url, aws, bucket).exported("orders")
    fake.reset()
    fake.change(FaultPlan(calls_per_token=12))
    environment = {
        "AWS_ACCESS_KEY_ID": "",
        "AWS_SECRET_ACCESS_KEY": "",
        "AWS_CONTAINER_CREDENTIALS_FULL_URI": fake.credentials_uri(DESTINATION),
    }
    words = ("ddb-import", export, "copied", "--json")
    result = commands.run(*words, endpoint=fake.url, s3_endpoint=aws, env=environment).json()
    stats = fake.stats()
    fake.change(FaultPlan())
    assert result["items_written"] == ITEMS
    assert stats.faults["expired_token"] > 3
    table.assert_moved()


def test_credentials_that_expire_for_good_stop_the_run(
    fake: FakeServer, aws: Endpoint, bucket: str, accounts: Accounts
) -> None:
    """Static credentials can't be renewed: the message says so, and the same command continues later."""
    table = Table(fake, accounts)
    mover = Mover(fake.url, aws, bucket)
    export = mover.exported("orders")
    fake.change(
        FaultPlan(faults=(Fault(kind=FaultKind.EXPIRED_TOKEN, operations=("BatchWriteItem",), after=40),))
    )
    result = mover.load(export, "copied", check=False)
    assert result.exit_code == 1
    assert "ExpiredTokenException" in result.stderr
    assert "Renew them and run the same command again" in result.stderr
    assert f"ddb-import {export} copied" in result.stderr
    fake.change(FaultPlan())
    resumed = mover.load(export, "copied").json()
    assert resumed["items_written"] + resumed["items_resumed"] == ITEMS
    assert resumed["items_resumed"] > 0
    table.assert_moved()


@pytest.mark.parametrize("kind", [FaultKind.ACCESS_DENIED, FaultKind.NOT_FOUND])
def test_what_is_fatal_stops_at_once(
    kind: FaultKind, fake: FakeServer, aws: Endpoint, bucket: str, accounts: Accounts
) -> None:
    """A permission that is withdrawn or a table that vanishes is not retried; the state is kept."""
    table = Table(fake, accounts)
    mover = Mover(fake.url, aws, bucket)
    export = mover.exported("orders")
    fake.reset()
    fake.change(FaultPlan(faults=(Fault(kind=kind, operations=("BatchWriteItem",), after=20),)))
    result = mover.load(export, "copied", check=False)
    assert result.exit_code == 1
    assert "Could not write to table copied" in result.stderr
    assert "Traceback" not in result.stderr
    assert fake.stats().calls["BatchWriteItem"] < 120 + 2 * 64
    fake.change(FaultPlan())
    assert mover.load(export, "copied").json()["status"] == "complete"
    table.assert_moved()


def test_a_table_that_takes_nothing_is_given_up(
    fake: FakeServer, aws: Endpoint, bucket: str, accounts: Accounts
) -> None:
    """Only while it is stopped: an interrupted run that makes no progress still ends within ten seconds."""
    Table(fake, accounts, 500)
    mover = Mover(fake.url, aws, bucket)
    export = mover.exported("orders")
    fake.change(FaultPlan(faults=(Fault(kind=FaultKind.THROTTLE, operations=("BatchWriteItem",)),)))
    with commands.start(
        "ddb-import", export, "copied", account=DESTINATION, endpoint=fake.url, s3_endpoint=aws
    ) as process:
        _wait_until(lambda: fake.stats().faults.get("throttle", 0) > 5)
        process.send_signal(signal.SIGTERM)
        asked = time.monotonic()
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 143, errors
    assert time.monotonic() - asked < 10
    assert "Resume with:" in errors


def test_a_worker_that_is_killed_is_replaced(
    fake: FakeServer, aws: Endpoint, bucket: str, accounts: Accounts
) -> None:
    """Its shards are loaded again from their checkpoints, in the same run."""
    table = Table(fake, accounts)
    export = Mover(fake.url, aws, bucket).exported("orders")
    with commands.start(
        "ddb-import",
        *(export, "copied", "--max-wcu", 800, "--processes", 2),
        account=DESTINATION,
        endpoint=fake.url,
        s3_endpoint=aws,
    ) as process:
        worker = _a_worker(process.pid)
        _wait_until(lambda: fake.stats().tables[f"{DESTINATION}/copied"].items > ITEMS // 20)
        os.kill(worker, signal.SIGKILL)
        output, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    assert f"{ITEMS:,} items" in output or "items written" in output
    table.assert_moved()


def _wait_until(happened: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not happened():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.05)


def _a_worker(parent: int) -> int:
    """A process that the parent started to do its work; the resource tracker is none."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
        workers = [
            child for child in children if b"spawn_main" in Path(f"/proc/{child}/cmdline").read_bytes()
        ]
        if workers:
            return int(workers[0])
        time.sleep(0.05)
    raise AssertionError("no worker was started")


S3_FAULTS = {
    "slow-down": {"error": {"code": "SlowDown", "status": 503}, "probability": 0.12},
    "internal-error": {"error": {"code": "InternalError", "status": 500}, "probability": 0.12},
    "reset": {"reset": True, "probability": 0.15},
    "cut-answers": {"response": {"abort_frac": 0.5}, "probability": 0.15},
    "slow": {"latency": {"min": 100, "max": 300}, "probability": 0.3},
}


@pytest.mark.parametrize("fault", S3_FAULTS.values(), ids=S3_FAULTS.keys())
def test_survives_what_s3_does(
    fault: dict[str, object],
    aws: Endpoint,
    bucket: str,
    accounts: Accounts,
    unique_name: Callable[[], str],
) -> None:
    """Uploads and downloads are retried below both commands."""
    source, destination = unique_name(), unique_name()
    create_table(accounts.dynamodb(aws, SOURCE), source)
    create_table(accounts.dynamodb(aws, DESTINATION), destination)
    fill(accounts.dynamodb(aws, SOURCE), source, varied_items(500))
    with fault_proxy(aws) as proxy:
        mover = Mover(aws, proxy.url, bucket)
        proxy.rules({"service": "s3", **fault})
        export = mover.exported(source, "--segments", 4)  # every request may wait for seconds
        result = mover.load(export, destination).json()
        assert proxy.fired() > 0
    assert result["items_written"] + result["items_skipped"] == 500
    assert_same_tables(
        (accounts.dynamodb(aws, SOURCE), source), (accounts.dynamodb(aws, DESTINATION), destination)
    )


def test_a_shard_that_is_damaged_on_its_way_is_read_again(
    aws: Endpoint, bucket: str, accounts: Accounts, unique_name: Callable[[], str]
) -> None:
    """The object proves to be whole, so it was the way: the shard is loaded from its beginning once more."""
    source, destination = unique_name(), unique_name()
    create_table(accounts.dynamodb(aws, SOURCE), source)
    create_table(accounts.dynamodb(aws, DESTINATION), destination)
    fill(accounts.dynamodb(aws, SOURCE), source, varied_items(500))
    export = Mover(aws, aws, bucket).exported(source, "--segments", 1)
    with fault_proxy(aws) as proxy:
        proxy.rules(
            {
                "service": "s3",
                "operation": "GetObject",
                "headers": {"range": ""},
                "times": 1,
                "response": {"corrupt_bytes": 64},
            }
        )
        # what the damage makes of the lines may be more rejects than a run bears
        mover = Mover(aws, proxy.url, bucket)
        result = mover.load(export, destination, "--max-rejects", "100%").json()
        assert proxy.fired() == 1
    assert (result["status"], result["items_written"]) == ("complete", 500)
    assert_same_tables(
        (accounts.dynamodb(aws, SOURCE), source), (accounts.dynamodb(aws, DESTINATION), destination)
    )


def test_a_full_disk_stops_before_anything_is_written(
    aws: Endpoint, bucket: str, accounts: Accounts, unique_name: Callable[[], str], tmp_path: Path
) -> None:
    """The state's folder can't be written: a clear error, no half-written file, no item in the table."""
    source, destination = unique_name(), unique_name()
    create_table(accounts.dynamodb(aws, SOURCE), source)
    create_table(accounts.dynamodb(aws, DESTINATION), destination)
    fill(accounts.dynamodb(aws, SOURCE), source, varied_items(50))
    export = Mover(aws, aws, bucket).exported(source)
    line = commands.command_line("ddb-import", export, destination, "--state", tmp_path, endpoint=aws)
    done = subprocess.run(
        ["bash", "-c", f"ulimit -f 0; exec {shlex.join(line)}"],
        env=clean_environment() | credentials(DESTINATION),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert f"Could not write {tmp_path}/" in done.stderr
    assert "Traceback" not in done.stderr
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


@pytest.mark.soak
def test_soak(fake: FakeServer, aws: Endpoint, bucket: str, accounts: Accounts) -> None:
    """Minutes of random faults of every kind at once, with a fixed seed, on both services."""
    table = Table(fake, accounts, 20_000)
    chance = random.Random(2026)
    with fault_proxy(aws) as proxy:
        mover = Mover(fake.url, proxy.url, bucket)
        proxy.rules(
            {"service": "s3", "error": {"code": "SlowDown", "status": 503}, "probability": 0.05},
            {"service": "s3", "reset": True, "probability": 0.03},
        )
        fake.change(
            FaultPlan(seed=chance.randrange(1 << 30), faults=MIXED, partitions=8, wcu_per_partition=100.0)
        )
        export = mover.exported("orders", "--shard-size", "200kB", "--max-rcu", 60)
        result = mover.load(export, "copied").json()
    injected = sum(fake.stats().faults.values())
    fake.change(FaultPlan())
    assert result["items_written"] == 20_000
    assert injected > 100
    table.assert_moved()
