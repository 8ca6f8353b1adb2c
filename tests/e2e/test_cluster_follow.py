"""Captured changes are applied on a Dask cluster: by one worker at a time, in order for each key, whoever is lost."""

import random
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from distributed import Client

from ddb_import.apply.follow import FollowTask, follow_changes
from ddb_import.apply.state import ApplyState, read_apply
from ddb_shared.aws.clients import AwsOptions
from ddb_shared.runtime import cluster_worker
from ddb_shared.runtime.cluster import Cluster
from ddb_shared.runtime.lease import HeldLease, Validity
from ddb_shared.runtime.runner import ignore
from ddb_shared.runtime.stop import Stop
from ddb_shared.storage.s3 import S3Storage
from ddb_shared.table.description import KeyAttribute
from ddb_shared.times import Instant
from e2e.conftest import Mover
from e2e.test_follow import Lab
from e2e.test_resume import wait_until
from support.accounts import Accounts
from support.change_log import Change, ChangeLog
from support.cluster import Dask, Worker, dask_cluster
from support.environment import DESTINATION, REGION, credentials
from support.services import Endpoint
from support.tables import SIMPLE_KEY, assert_same_items, by_key, create_table, read_all

KEYS = 12


@pytest.fixture
def dask(tmp_path: Path) -> Iterator[Dask]:
    with dask_cluster(tmp_path) as cluster:
        yield cluster


class Changes:
    """A captured log in a bucket, what the table holds once it is applied, and the task of the worker that does it."""

    def __init__(self, aws: Endpoint, s3: Any, bucket: str, table: str) -> None:
        self.storage = S3Storage(s3, bucket, "export/")
        self.state = S3Storage(s3, bucket, "export/import/")
        self.items: dict[int, dict[str, Any]] = {}
        self.log = ChangeLog(self.storage)
        self.task = FollowTask(
            aws=AwsOptions(region=REGION, endpoint_url=aws.url),
            table=table,
            key=(KeyAttribute("pk", "S", "HASH"),),
            bucket=bucket,
            prefix="export/",
            state_url=self.state.url,
            max_wcu=None,
            run=1,
        )
        self._chance = random.Random(3)
        self._version = 0

    def capture(self, changes: int = 100) -> None:
        """A record of changes to a few keys."""
        made = []
        for _ in range(changes):
            self._version += 1
            number = self._chance.randrange(KEYS)
            key = {"pk": {"S": f"k{number}"}}
            if self._chance.random() < 0.2:
                self.items.pop(number, None)
                made.append(Change(key, None))
            else:
                self.items[number] = key | {"v": {"N": str(self._version)}}
                made.append(Change(key, self.items[number]))
        self.log.append(made)

    def applied(self) -> ApplyState:
        return read_apply(self.state, 1)


def test_another_worker_takes_over_from_the_last_checkpoint(
    dask: Dask,
    aws: Endpoint,
    bucket: str,
    accounts: Accounts,
    unique_name: Callable[[], str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Two workers, one of which has the changes; it is killed by kill -9 while more come. The other one begins once the lost one may write no more."""
    monkeypatch.setattr(cluster_worker, "GRANT_SECONDS", 6.0)  # else it takes 20 s
    table = accounts.dynamodb(aws, DESTINATION)
    create_table(table, name := unique_name(), SIMPLE_KEY)
    changes = Changes(aws, accounts.s3(aws, DESTINATION), bucket, name)
    changes.log.begin()
    changes.capture()
    workers = [dask.start_worker(credentials(DESTINATION)) for _ in range(2)]
    lease, stop = HeldLease("test", Validity(Instant.now(), 600.0)), Stop()
    with Client(dask.address, set_as_default=False) as client, ThreadPoolExecutor(1) as pool:
        following = pool.submit(
            Cluster(dask.address).run, follow_changes, [changes.task], ignore, stop, lease=lease
        )
        wait_until(lambda: following.done() or changes.applied().applied == 1)
        (busy,) = who_works(client, workers)
        busy.kill()
        changes.capture()
        wait_until(
            lambda: following.done() or ((at_work := who_works(client, workers)) != [] and at_work != [busy])
        )
        changes.capture()
        changes.log.close()
        following.result(60)
    assert changes.applied().changes_applied == changes.log.changes
    assert_same_items(by_key(changes.items.values(), SIMPLE_KEY), read_all(table, name))


def who_works(client: Client, workers: list[Worker]) -> list[Worker]:
    """The workers that have a job."""
    jobs = client.processing()
    return [worker for worker in workers if jobs.get(worker.address)]


def test_a_follow_with_a_scheduler(
    dask: Dask, aws: Endpoint, bucket: str, accounts: Accounts, unique_name: Callable[[], str]
) -> None:
    """The whole command: base and changes are written by the workers, which have the credentials."""
    lab = Lab(Mover(aws, aws, bucket), accounts, (unique_name(), unique_name()))
    lab.create_table()
    lab.log.begin()
    lab.capture()
    dask.start_worker(credentials(DESTINATION))
    with lab.start("--follow", "--scheduler", dask.address) as process:
        wait_until(lambda: process.poll() is not None or lab.applied().get("applied", 0) >= 1)
        lab.capture()
        lab.log.close()
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    assert lab.applied()["changes_applied"] == 100
    lab.assert_holds(lab.expected())
