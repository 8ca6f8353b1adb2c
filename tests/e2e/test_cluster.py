"""The same work on a Dask cluster: a scheduler and workers as real processes, which come and go."""

import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from distributed import Client

from ddb_shared.runtime.cluster_survey import no_inspection
from ddb_shared.runtime.cluster_watch import LOOK_SECONDS, Watch
from support import commands
from support.accounts import Accounts
from support.cluster import Dask, Worker, dask_cluster, settled_parts
from support.environment import DESTINATION, SOURCE, credentials
from support.proxy import Proxy, fault_proxy
from support.services import Endpoint
from support.tables import assert_same_items, create_table, fill, read_all
from support.varied import varied_items

SIZES = [
    pytest.param(4_000, marks=pytest.mark.slow),
    pytest.param(200_000, marks=[pytest.mark.soak(minutes=5), pytest.mark.timeout(1_800)]),
]
# Until a run is disturbed, so that it lasts until then: milliseconds a request, well below the time-out of a read.
SLOW = {"ddb-export": 1_000, "ddb-import": 1_000, "ddb-verify": 10_000}
# More than two workers open at a time.
SEGMENTS = 64


class Field:
    """Tables, a bucket of MiniStack, and a cluster; commands reach the tables at `url`, by default without a detour."""

    def __init__(
        self,
        engine: Endpoint,
        aws: Endpoint,
        bucket: str,
        accounts: Accounts,
        dask: Dask,
        *,
        url: str | None = None,
    ) -> None:
        self.engine = engine
        self.aws = aws
        self.bucket = bucket
        self.dask = dask
        self.url = url or engine.url
        self.accounts = accounts

    def tables(self, account: str) -> Any:
        return self.accounts.dynamodb(self.engine, account)

    def has_objects(self) -> bool:
        """Whether the bucket holds anything but probes."""
        listed = self.accounts.s3(self.aws, DESTINATION).list_objects_v2(Bucket=self.bucket)
        return any(not entry["Key"].endswith("probe.json") for entry in listed.get("Contents", ()))

    def start(self, command: str, account: str, *arguments: object) -> "subprocess.Popen[str]":
        return commands.start(
            command,
            *arguments,
            "--scheduler",
            self.dask.address,
            "--json",
            account=account,
            endpoint=self.url,
            s3_endpoint=self.aws,
        )

    def run(self, command: str, account: str, *arguments: object, check: bool = True) -> commands.Result:
        return commands.run(
            command,
            *arguments,
            "--scheduler",
            self.dask.address,
            "--json",
            account=account,
            endpoint=self.url,
            s3_endpoint=self.aws,
            check=check,
        )


@pytest.fixture
def dask(tmp_path: Path) -> Iterator[Dask]:
    with dask_cluster(tmp_path) as cluster:
        yield cluster


@pytest.fixture
def field(dask: Dask, ddb_local: Endpoint, aws: Endpoint, bucket: str, accounts: Accounts) -> Field:
    return Field(ddb_local, aws, bucket, accounts, dask)


@pytest.fixture
def aws_field(dask: Dask, aws: Endpoint, bucket: str, accounts: Accounts) -> Field:
    return Field(aws, aws, bucket, accounts, dask)


def disturbed(field: Field, proxy: Proxy, command: str, account: str, *arguments: object) -> dict[str, Any]:
    """The result of a command that has two workers: one is killed and one is added while both are at work.

    The new one is given work, also where all of it was dealt before.
    """
    latency = {"min": SLOW[command], "max": SLOW[command]}
    slow = [
        {"service": "dynamodb", "operation": name, "latency": latency} for name in ("Scan", "BatchWriteItem")
    ]
    proxy.rules(*slow)
    workers = [field.dask.start_worker(credentials(account)) for _ in range(2)]
    with Client(field.dask.address, set_as_default=False) as client:
        with field.start(command, account, *arguments) as process:
            await_work(client, process, workers)
            workers[0].kill()
            added = field.dask.start_worker(credentials(account))
            await_work(client, process, [added])
            proxy.rules()
            out, errors = process.communicate(timeout=600)
        assert process.returncode == 0, errors
        settled = settled_parts(client)
    assert settled[added.address] > 0 or command == "ddb-verify", errors  # whose parts are in its results
    for worker in (workers[1], added):
        worker.kill()
    return dict(commands.Result((command,), process.returncode, out, errors).json())


def await_work(client: Client, process: "subprocess.Popen[str]", workers: list[Worker]) -> None:
    """Waits until the workers have a job."""
    deadline = time.monotonic() + 120
    while not all(client.processing().get(worker.address) for worker in workers):
        assert process.poll() is None, f"it ended before it was disturbed: {process.communicate()}"
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.parametrize("items", SIZES)
def test_a_table_moves_while_workers_are_lost_and_added(
    items: int,
    dask: Dask,
    ddb_local: Endpoint,
    aws: Endpoint,
    bucket: str,
    accounts: Accounts,
    unique_name: Callable[[], str],
) -> None:
    """Exported, imported and verified; each command loses a worker by kill -9 and gets another. Equal item by item."""
    with fault_proxy(ddb_local) as proxy:
        field = Field(ddb_local, aws, bucket, accounts, dask, url=proxy.url)
        source, destination = unique_name(), unique_name()
        create_table(field.tables(SOURCE), source)
        create_table(field.tables(DESTINATION), destination)
        fill(field.tables(SOURCE), source, varied_items(items))
        place = f"s3://{bucket}/moves"
        exported = disturbed(field, proxy, "ddb-export", SOURCE, source, place, "--segments", SEGMENTS)
        assert (exported["status"], exported["items"]) == ("complete", items)
        words = (exported["export"], destination)
        loaded = disturbed(field, proxy, "ddb-import", DESTINATION, *words)
        assert (loaded["status"], loaded["items_written"]) == ("complete", items)
        verified = disturbed(field, proxy, "ddb-verify", DESTINATION, *words)
        assert (verified["verdict"], verified["items_table"]) == ("identical", items)
    assert_same_items(
        read_all(field.tables(SOURCE), source), read_all(field.tables(DESTINATION), destination)
    )


def test_a_worker_without_credentials_is_named_before_anything_is_written(
    field: Field, unique_name: Callable[[], str]
) -> None:
    """The other one has some; no task was given to either."""
    create_table(field.tables(SOURCE), table := unique_name())
    field.dask.start_worker(credentials(SOURCE))
    without = field.dask.start_worker({})
    refused = field.run("ddb-export", SOURCE, table, f"s3://{field.bucket}/moves", check=False)
    assert refused.exit_code == 1
    assert f"{without.address}: Could not" in refused.json()["error"], refused.stderr
    assert "credentials" in refused.json()["error"]
    assert not field.has_objects()


def test_a_worker_with_credentials_of_another_account_is_named(
    field: Field, aws_field: Field, unique_name: Callable[[], str]
) -> None:
    """It would read or write the table of the same name in that account."""
    create_table(aws_field.tables(SOURCE), table := unique_name())
    other = field.dask.start_worker(credentials(DESTINATION))
    refused = aws_field.run("ddb-export", SOURCE, table, f"s3://{field.bucket}/moves", check=False)
    assert refused.exit_code == 1
    expected = (
        f"{other.address}: its credentials are of account {DESTINATION}, and this command's of {SOURCE}"
    )
    assert expected in refused.json()["error"], refused.stderr


# Dask runs a preload twice.
NO_PACKAGE = "from distributed import versions\nversions.version = None\n"
OTHER_PACKAGE = """
from distributed import versions
def version(name, real=versions.version):
    return "0.0.1" if name == "ddb-transfer" else real(name)
versions.version = version
"""
OTHER_PYTHON = """
from distributed import versions
def info(real=versions.get_system_info):
    return real() | {"python": "3.9.1.final.0"}
versions.get_system_info = info
"""
OTHER_CODE = """
from ddb_shared.runtime import cluster_survey
cluster_survey.fingerprint = lambda: "another"
"""


@pytest.mark.parametrize(
    ("preload", "expected"),
    [
        pytest.param(NO_PACKAGE, "ddb-transfer is not installed there", id="no package"),
        pytest.param(OTHER_PACKAGE, "it has ddb-transfer 0.0.1, and this command is", id="another package"),
        pytest.param(OTHER_PYTHON, "it runs Python 3.9, and this command 3.", id="another Python"),
        pytest.param(OTHER_CODE, "its ddb-transfer has the same version, but other code", id="other code"),
    ],
)
def test_a_worker_that_cannot_do_the_work_is_named(
    preload: str, expected: str, dask: Dask, tmp_path: Path
) -> None:
    """A real worker that is told to tell what such a one would."""
    script = tmp_path / "pretend.py"
    script.write_text(preload)
    worker = dask.start_worker(credentials(SOURCE), "--preload", str(script))
    refused = commands.run(
        "ddb-export", "orders", "s3://bucket", "--scheduler", dask.address, "--json", check=False
    )
    assert refused.exit_code == 1
    assert f"{worker.address}: {expected}" in refused.json()["error"], refused.stderr
    assert "Traceback" not in refused.stderr


def test_a_cluster_without_workers(dask: Dask) -> None:
    """Says how to start some."""
    refused = commands.run("ddb-export", "orders", "s3://bucket", "--scheduler", dask.address, check=False)
    assert refused.exit_code == 1
    assert "has no workers" in refused.stderr


def test_a_scheduler_that_does_not_answer() -> None:
    """Says so, and where it looked."""
    result = commands.run(
        "ddb-export", "orders", "s3://bucket", "--scheduler", "tcp://127.0.0.1:9", check=False
    )
    assert result.exit_code == 1
    assert "No Dask scheduler answers at tcp://127.0.0.1:9" in result.stderr
    assert "Traceback" not in result.stderr


def test_a_worker_that_hangs_keeps_nobody_waiting(dask: Dask) -> None:
    """One that joins is used, and the scheduler is heard all the time: an inspection asks only those that it is about."""
    hung = dask.start_worker({})
    hung.suspend()
    with Client(dask.address, set_as_default=False) as client:
        watch = Watch(client, no_inspection)
        watch.start()
        await_observed(lambda: hung.address in watch.addresses)
        added = dask.start_worker({})
        taken: list[str] = []

        def has_taken() -> bool:
            taken.extend(watch.take(2))
            return bool(taken)

        await_observed(has_taken)
        await_observed(lambda: watch.silent_seconds() < LOOK_SECONDS)
        watch.end()
    assert taken == [added.address]


def await_observed(condition: Callable[[], bool]) -> None:
    """Waits until it holds; well before a connection to a dead worker is given up."""
    deadline = time.monotonic() + 25
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_scheduler_file_that_is_not_there() -> None:
    """A word that is no address has to be a file."""
    result = commands.run("ddb-export", "orders", "s3://bucket", "--scheduler", "scheduler.json", check=False)
    assert result.exit_code == 2
    assert "'scheduler.json' is neither an address nor a scheduler file" in result.stderr
