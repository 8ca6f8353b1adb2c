"""An export of 100,000 shards and 10 TB: whoever begins, resumes or asks spends seconds and some hundred MiB on it, not hours."""

import json
import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from support import commands
from support.environment import DESTINATION, clean_environment
from support.large_export import BUCKET, EXPORT_ID, ROOT, SHARD_ITEMS, SHARDS, SUMMARISED, TABLE

ROOT_FOLDER = Path(__file__).parents[2]
EXPORT = f"s3://{BUCKET}/{ROOT}{EXPORT_ID}/"
MAX_CPU_SECONDS = 30.0
MAX_MIB = 500.0
TICKS = os.sysconf("SC_CLK_TCK")


class Service:
    """The export's S3, and a DynamoDB, in a process whose CPU is not counted."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def settle(self) -> None:
        """All shards but 1,000 are done, of which 1,000 are in no summary."""
        self._opener.open(self.url + "/_stub/settle", timeout=120).close()

    def begun(self) -> int:
        """How often a shard or a page of the table was asked for."""
        with self._opener.open(self.url + "/_stub/begun", timeout=120) as answer:
            return int(json.loads(answer.read()))


@pytest.fixture(scope="module")
def service() -> Iterator[Service]:
    environment = clean_environment() | {
        "PYTHONPATH": f"{ROOT_FOLDER / 'tests'}{os.pathsep}{ROOT_FOLDER / 'scripts'}"
    }
    with subprocess.Popen(
        [sys.executable, "-m", "support.large_export"],
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        yield Service(process.stdout.readline().strip())
        process.communicate()


def cost(pid: int) -> tuple[float, float]:
    """CPU-seconds and peak MiB of one process, without its children."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    status = Path(f"/proc/{pid}/status").read_text().splitlines()
    peak = next(line.split()[1] for line in status if line.startswith("VmHWM:"))
    return (int(fields[11]) + int(fields[12])) / TICKS, int(peak) / 1024


@contextmanager
def cheap(service: Service, command: str) -> Iterator[commands.Running]:
    """A command until it loads or compares; what its own process has taken by then is within the limits."""
    before = service.begun()
    arguments = (EXPORT, TABLE, "--processes", 2, "--progress", "none")
    with commands.start(command, *arguments, account=DESTINATION, endpoint=service.url) as process:
        deadline = time.monotonic() + 300
        while service.begun() == before:
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < deadline
            time.sleep(0.1)
        seconds, mib = cost(process.pid)
        yield process
        process.kill()
    assert seconds <= MAX_CPU_SECONDS
    assert mib <= MAX_MIB


def asked(service: Service, *words: object) -> dict[str, object]:
    """What a command that ends by itself prints; its peak is that of the largest child of this process, so it is not looked at."""
    before = os.times()
    result = commands.run(*map(str, words), "--json", account=DESTINATION, endpoint=service.url).json()
    spent = os.times()
    seconds = spent.children_user + spent.children_system - before.children_user - before.children_system
    assert seconds <= MAX_CPU_SECONDS
    return result


@pytest.mark.soak
def test_a_hundred_thousand_shards_are_begun_resumed_listed_and_verified(service: Service) -> None:
    """In 30 CPU-seconds and 500 MiB each; the checkpoints that a summary names are not read."""
    with cheap(service, "ddb-import"):
        pass
    service.settle()
    with cheap(service, "ddb-import"):
        status = asked(service, "ddb-import", "--status", EXPORT, TABLE)
        done = SUMMARISED + 1_000
        assert (SHARDS, done) == (status["shards_total"], status["shards_done"])
        assert (SHARDS * SHARD_ITEMS, done * SHARD_ITEMS) == (status["items_total"], status["items_done"])
    listed = asked(service, "ddb-export", "--list", f"s3://{BUCKET}/{ROOT.split('/')[0]}")
    assert [EXPORT] == [export["export"] for export in listed["exports"]]  # type: ignore[attr-defined]
    with cheap(service, "ddb-verify"):
        pass
