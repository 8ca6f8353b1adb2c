"""The section `hot_partitions`: an import of a scan-ordered export into a table of 8 partitions of 1,000 WCU each.

The table is the tests' fake, which throttles by the hash of the partition key and scans in its order; ddb-export exports
from such a table. `interleaved` is ddb-import as it is; `in order` is the same loader with one shard open at a time, in the
order of the scan; in `skewed`, half of all items share one partition key, so that at most 2,000 WCU per second are possible,
1,000 of them in one partition. Rates are measured by the fake's clock.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from bench.rows import Row
from bench.services import open_stub
from ddb_import import load
from ddb_import.options import OnExisting
from ddb_shared.aws.clients import Aws, AwsOptions
from ddb_shared.format import manifest as manifests
from ddb_shared.runtime.runner import RunContext, Serial
from support.accounts import Accounts
from support.environment import DESTINATION, REGION, SOURCE, clean_environment, credentials
from support.fake_dynamodb import Consumption, FakeServer, FaultPlan, fake_dynamodb
from support.tables import create_table

PARTITIONS: Final = 8
PARTITION_WCU: Final = 1_000.0
TABLE_WCU: Final = PARTITIONS * PARTITION_WCU
SKEWED_WCU: Final = 2 * PARTITION_WCU
# The rate is still adapting before this time; after this share of the items, some partitions have none left.
WARM_SECONDS: Final = 5.0
STEADY_SHARE: Final = 0.9
SECONDS: Final = 30.0  # of work for each variant, at the highest rate that the table allows
BATCH: Final = 10_000
BIN: Final = str(Path(sys.executable).parent)


@dataclass(frozen=True, kw_only=True)
class ImportRates:
    """One import. Rates are WCU per second: `steady` after WARM_SECONDS and before the last tenth, `overall` of all.

    `best` is the most that the partitions allow; `of_best` is the share of it, of `steady`, or of `overall` for a skewed
    table. `throttled` is throttled units per unit written.
    """

    variant: str
    workers: int
    items: int
    seconds: float
    steady: float
    overall: float
    best: float
    of_best: float
    throttled: float

    def row(self) -> Row:
        """The row of the table."""
        return Row(
            section="hot_partitions",
            contestant=f"{self.variant}, {self.workers} proc.",
            direction="import",
            shape="1 WCU",
            items=self.items,
            runs=1,
            wall_seconds=self.seconds,
            note=f"{self.of_best * self.best:,.0f} WCU/s, {self.of_best:.1%} of the best {self.best:,.0f}; "
            f"{self.overall:,.0f} overall; {self.throttled:.1%} of the units throttled",
        )


@dataclass(frozen=True, slots=True)
class PartitionLab:
    """The fake as DynamoDB, the stub as S3, and the export of one table in it."""

    fake: FakeServer
    s3_url: str
    export: str

    @property
    def aws(self) -> AwsOptions:
        """Access to both for the destination."""
        return AwsOptions(region=REGION, endpoint_url=self.fake.url, s3_endpoint_url=self.s3_url)

    def measure(self, variant: str, workers: int, items: int, *, best: float = TABLE_WCU) -> ImportRates:
        """Imports into a new table."""
        table = f"{variant.replace(' ', '-')}-{workers}"
        with closing(Accounts()) as accounts:
            create_table(accounts.dynamodb(self.fake.url, DESTINATION), table)
        if variant == "in order":
            self._load_in_order(table)
        else:
            words = ("ddb-import", self.export, table, "--processes", str(workers), "--json")
            written = run(words, DESTINATION, self.fake.url, self.s3_url)["items_written"]
            assert written == items, f"{written:,} of {items:,} items were written"
        stats = self.fake.table(DESTINATION, table)
        assert stats.items == items
        found = self.fake.consumption(DESTINATION, table)
        overall, steady = rates(found)
        return ImportRates(
            variant=variant,
            workers=workers,
            items=items,
            seconds=found.writes[-1][0] - found.writes[0][0],
            steady=steady,
            overall=overall,
            best=best,
            of_best=(steady if best == TABLE_WCU else overall) / best,
            throttled=stats.refused / stats.consumed_wcu,
        )

    def _load_in_order(self, table: str) -> None:
        os.environ |= clean_environment() | credentials(DESTINATION)
        s3 = Aws(self.aws).s3
        storage = manifests.export_storage(s3, self.export)
        shards = sorted(manifests.read(storage).shards, key=lambda shard: shard.key)
        task = load.LoadTask(
            aws=self.aws,
            table=table,
            key_names=("pk", "sk"),
            bucket=storage.bucket,
            prefix=storage.prefix,
            state_url=f"s3://{storage.bucket}/in-order/",
            on_existing=OnExisting.OVERWRITE,
            max_wcu=None,
            open_shards=1,
        )
        parts = [load.LoadPart(shard) for shard in shards]
        Serial().deal(load.load_shards, task, parts, RunContext())


def rates(found: Consumption) -> tuple[float, float]:
    """WCU per second of the whole import, and of its steady part."""
    total = sum(units for _, units in found.writes)
    started, ended = found.writes[0][0], found.writes[-1][0]
    done = steady = 0.0
    until = ended
    for moment, units in found.writes:
        done += units
        steady += units if moment > started + WARM_SECONDS else 0.0
        if done >= total * STEADY_SHARE:
            until = moment
            break
    return total / max(ended - started, 0.01), steady / max(until - started - WARM_SECONDS, 0.01)


@contextmanager
def lab_of(count: int, *, skewed: bool, partition_wcu: float = PARTITION_WCU) -> Iterator[PartitionLab]:
    """A lab with the export of a table of `count` items."""
    plan = FaultPlan(partitions=PARTITIONS, wcu_per_partition=partition_wcu)
    with open_stub() as s3, fake_dynamodb(plan) as fake, closing(Accounts()) as accounts:
        create_table(accounts.dynamodb(fake.url, SOURCE), "source")
        for start in range(0, count, BATCH):
            numbers = range(start, min(start + BATCH, count))
            fake.load(SOURCE, "source", [item(number, skewed=skewed) for number in numbers])
        words = ("ddb-export", "source", "s3://bench/moves", "--json")
        exported = run(words, SOURCE, fake.url, s3.url)
        assert exported["items"] == count
        yield PartitionLab(fake, s3.url, exported["export"])


def item(number: int, *, skewed: bool) -> dict[str, Any]:
    """An item of 1 WCU; in a skewed table every other one has the same partition key."""
    key = "hot" if skewed and number % 2 else f"customer#{number:09d}"
    return {"pk": {"S": key}, "sk": {"N": str(number)}, "v": {"S": "some text, as long as nothing"}}


def run(words: Sequence[str], account: str, url: str, s3_url: str) -> dict[str, Any]:
    """Runs a command and returns its result."""
    environment = clean_environment() | credentials(account)
    environment |= {"AWS_ENDPOINT_URL": url, "AWS_ENDPOINT_URL_S3": s3_url}
    environment["PATH"] = f"{BIN}{os.pathsep}{environment['PATH']}"
    with tempfile.TemporaryDirectory() as storage:
        done = subprocess.run(
            [*words, "--progress", "none"],
            env=environment,
            cwd=storage,
            capture_output=True,
            text=True,
            check=False,
        )
    if done.returncode:
        raise RuntimeError(f"{words[0]} ended with {done.returncode}: {done.stderr}")
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def measure(seconds: float = SECONDS) -> list[ImportRates]:
    """All variants, with `seconds` of work each at the highest rate that the table allows."""
    found = []
    count = int(TABLE_WCU * seconds)
    with lab_of(count, skewed=False) as lab:
        found += [lab.measure("interleaved", workers, count) for workers in (1, 2, 4)]
    few = int(PARTITION_WCU * seconds)
    with lab_of(few, skewed=False) as lab:
        found.append(lab.measure("in order", 1, few))
    half = int(SKEWED_WCU * seconds)
    with lab_of(half, skewed=True) as lab:
        found += [lab.measure("skewed", workers, half, best=SKEWED_WCU) for workers in (1, 2)]
    return found
