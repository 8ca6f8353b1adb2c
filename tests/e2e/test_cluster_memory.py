"""What a run leaves at the scheduler of a cluster, which serves for months: nothing."""

import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from distributed import Client

from ddb_shared.runtime.cluster import Cluster
from ddb_shared.runtime.runner import RunContext
from e2e.test_resume import wait_until
from support import tasks
from support.cluster import Dask, dask_cluster
from support.environment import ROOT, clean_environment
from support.tasks import Count

PATH = {"PYTHONPATH": str(ROOT / "tests")}
# A worker takes silence for the end of its parent after a second, not after 40.
IMPATIENT = """
from ddb_shared.runtime import cluster_line
cluster_line.ASK_SECONDS, cluster_line.SILENCE_SECONDS = 0.2, 1.0
"""


@pytest.fixture
def dask(tmp_path: Path) -> Iterator[Dask]:
    with dask_cluster(tmp_path, variables=PATH) as cluster:
        yield cluster


@pytest.fixture
def client(dask: Dask) -> Iterator[Client]:
    with Client(dask.address, set_as_default=False) as client:
        yield client


def left_behind(client: Client) -> tuple[list[str], list[str]]:
    """The queues and the tasks of the scheduler."""

    def found(dask_scheduler: Any) -> tuple[list[str], list[str]]:
        return list(dask_scheduler.extensions["queues"].queues), list(dask_scheduler.tasks)

    queues, keys = client.run_on_scheduler(found)
    return list(queues), list(keys)


def test_a_run_leaves_nothing(dask: Dask, client: Client, tmp_path: Path) -> None:
    """Of a worker that was killed neither: its queue is deleted with the others."""
    workers = [dask.start_worker(PATH) for _ in range(2)]
    task = Count(tmp_path, seconds=0.02)
    with ThreadPoolExecutor(1) as pool:
        run = pool.submit(Cluster(dask.address).deal, tasks.count_parts, task, list(range(200)), RunContext())
        wait_until(lambda: run.done() or all(client.processing().get(worker.address) for worker in workers))
        workers[0].kill()
        run.result(120)
    wait_until(lambda: left_behind(client) == ([], []), 15)
    log = "".join(file.read_text() for file in tmp_path.glob("dask_scheduler-*.log"))
    assert "Traceback" not in log


def test_a_worker_whose_parent_is_killed_ends_by_itself(dask: Dask, client: Client, tmp_path: Path) -> None:
    """Within its patience; it takes its queue with it."""
    (preload := tmp_path / "impatient.py").write_text(IMPATIENT)
    worker = dask.start_worker(PATH, "--preload", str(preload))
    program = (
        "import pathlib, sys; from support import tasks; from ddb_shared.runtime.cluster import Cluster; "
        "from ddb_shared.runtime.runner import RunContext; "
        "Cluster(sys.argv[1]).deal(tasks.count_parts, tasks.Count(pathlib.Path(sys.argv[2]), seconds=0.1), [*range(9999)], RunContext())"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, dask.address, str(tmp_path)], env=clean_environment() | PATH
    ) as parent:
        wait_until(lambda: (tmp_path / "part-5").exists() or parent.poll() is not None)
        queues, keys = left_behind(client)
        assert len(queues) == len(keys) == 1
        parent.kill()
    wait_until(lambda: left_behind(client) == ([], []), 15)
    assert client.run(lambda: True) == {worker.address: True}
