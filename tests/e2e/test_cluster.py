"""The same work on a Dask cluster: a scheduler and workers as real processes."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest

from e2e.conftest import Mover
from support import commands
from support.accounts import Accounts
from support.environment import DESTINATION, SOURCE, clean_environment, credentials
from support.fingerprints import assert_same_tables
from support.services import Endpoint
from support.tables import create_table, fill
from support.varied import varied_items


@dataclass(frozen=True)
class Dask:
    """A running scheduler with one worker per account's credentials."""

    address: str
    worker: subprocess.Popen[str]


def _start(stack: ExitStack, folder: Path, account: str, module: str, *words: str) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-m", module, *words],
        env=clean_environment() | credentials(account) | {"DASK_TEMPORARY_DIRECTORY": str(folder)},
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    stack.callback(_end, process)
    return process


def _end(process: subprocess.Popen[str]) -> None:
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
    process.communicate()


def _await_line(process: subprocess.Popen[str], pattern: str) -> re.Match[str]:
    assert process.stderr is not None
    for line in process.stderr:
        if match := re.search(pattern, line):
            return match
    raise AssertionError(f"{process.args!r} ended without {pattern}")


@pytest.fixture(params=[SOURCE, DESTINATION], ids=["export", "import"])
def account(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def dask(account: str, tmp_path: Path) -> Iterator[Dask]:
    """A cluster of two threads with the account's credentials."""
    with ExitStack() as stack:
        local = ("--host", "127.0.0.1")
        start = partial(_start, stack, tmp_path, account)
        scheduler = start("distributed.cli.dask_scheduler", *local, "--port", "0", "--no-dashboard")
        address = _await_line(scheduler, r"Scheduler at:\s+(tcp://\S+)")[1]
        words = (address, *local, "--nthreads", "2", "--no-dashboard", "--no-nanny")
        worker = start("distributed.cli.dask_worker", *words)
        _await_line(worker, r"Registered to")
        yield Dask(address, worker)


def test_a_table_moves_over_a_cluster(
    dask: Dask,
    account: str,
    aws: Endpoint,
    bucket: str,
    accounts: Accounts,
    unique_name: Callable[[], str],
) -> None:
    """Each side runs on a cluster of its own account; progress comes back, and the tables are equal."""
    source, destination = unique_name(), unique_name()
    create_table(accounts.dynamodb(aws, SOURCE), source)
    create_table(accounts.dynamodb(aws, DESTINATION), destination)
    fill(accounts.dynamodb(aws, SOURCE), source, varied_items(1_000))
    mover = Mover(aws, aws, bucket)
    on_cluster = ("--scheduler", dask.address)
    export = mover.exported(source, *(on_cluster if account == SOURCE else ()))
    result = mover.load(export, destination, *(on_cluster if account == DESTINATION else ()))
    assert (result.json()["status"], result.json()["items_written"]) == ("complete", 1_000)
    assert "1,000 of 1,000 items" in result.stderr
    assert_same_tables(
        (accounts.dynamodb(aws, SOURCE), source), (accounts.dynamodb(aws, DESTINATION), destination)
    )


def test_a_scheduler_that_does_not_answer() -> None:
    """Says so, and where it looked."""
    result = commands.run(
        "ddb-export", "orders", "s3://bucket", "--scheduler", "tcp://127.0.0.1:9", check=False
    )
    assert result.exit_code == 1
    assert "No Dask scheduler answers at tcp://127.0.0.1:9" in result.stderr
    assert "Traceback" not in result.stderr
