"""A scheduler that dies in mid-run ends the run with an error that names it."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from ddb_shared.errors import ServiceError
from ddb_shared.runtime.cluster import Cluster
from ddb_shared.runtime.runner import RunContext
from e2e.test_resume import wait_until
from support import tasks
from support.cluster import dask_cluster
from support.environment import ROOT
from support.tasks import Count

PATH = {"PYTHONPATH": str(ROOT / "tests")}


def test_a_scheduler_that_dies_ends_the_run(tmp_path: Path) -> None:
    """Once Dask has given up to connect again, after ten seconds: long before the patience with one that is silent ends."""
    task = Count(tmp_path, seconds=0.1)
    with dask_cluster(tmp_path, variables=PATH) as dask, ThreadPoolExecutor(1) as pool:
        dask.start_worker(PATH)
        run = pool.submit(
            Cluster(dask.address).deal, tasks.count_parts, task, list(range(9_999)), RunContext()
        )
        wait_until(lambda: run.done() or (tmp_path / "part-3").exists())
        dask.kill()
        with pytest.raises(ServiceError, match=f"connection was lost: Dask scheduler {dask.address}"):
            run.result(120)
