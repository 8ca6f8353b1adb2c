"""Measures an import into a table of 8 partitions of 1,000 WCU each, of a scan-ordered export: `python scripts/bench/partitions.py`.

The table is the tests' fake, which throttles by the hash of the partition key and scans in its order; the export is made by
ddb-export from such a table. `interleaved` is ddb-import as it is; `in order` is the same loader with one shard open at a
time, in the order of the scan; in `skewed`, half of all items share one partition key, so that at best 2,000 WCU a
second get through, 1,000 of them into one partition. Rates are by the fake's own clock.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Final

sys.path.append(str(Path(__file__).resolve().parents[2] / "tests"))

from services import open_stub

from ddb_import import load
from ddb_import.options import OnExisting
from ddb_shared import manifest as manifests
from ddb_shared.aws import Aws, AwsOptions
from ddb_shared.progress import Tick
from support.accounts import Accounts
from support.environment import DESTINATION, REGION, SOURCE, clean_environment, credentials
from support.fake_dynamodb import Consumption, FakeServer, FaultPlan, fake_dynamodb
from support.tables import create_table

PARTITIONS: Final = 8
PARTITION_WCU: Final = 1_000.0
TABLE_WCU: Final = PARTITIONS * PARTITION_WCU
SKEWED_WCU: Final = 2 * PARTITION_WCU
# Before, a rate is still being found; after so large a share of the items, some partitions have none left.
WARM_SECONDS: Final = 5.0
STEADY_SHARE: Final = 0.9
SECONDS: Final = 30.0  # of work for each variant, at the best that the table could do
BATCH: Final = 10_000
BIN: Final = str(Path(sys.executable).parent)


@dataclass(frozen=True, kw_only=True)
class Row:
    """One import. Rates are WCU a second: `steady` after WARM_SECONDS and before the last tenth, `overall` of the whole.

    `of_best` is the share of `best`, what the partitions let through at the most: by `steady`, or by `overall` where the
    table is skewed. `refused` is units sent back per unit written.
    """

    variant: str
    workers: int
    items: int
    seconds: float
    steady: float
    overall: float
    best: float
    of_best: float
    refused: float


@dataclass(frozen=True, slots=True)
class Lab:
    """The fake as DynamoDB, the stub as S3, and the export of one table in it."""

    fake: FakeServer
    s3_url: str
    export: str

    @property
    def aws(self) -> AwsOptions:
        """The destination's side."""
        return AwsOptions(region=REGION, endpoint_url=self.fake.url, s3_endpoint_url=self.s3_url)

    def measure(self, variant: str, workers: int, items: int, *, best: float = TABLE_WCU) -> Row:
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
        return Row(
            variant=variant,
            workers=workers,
            items=items,
            seconds=found.writes[-1][0] - found.writes[0][0],
            steady=steady,
            overall=overall,
            best=best,
            of_best=(steady if best == TABLE_WCU else overall) / best,
            refused=stats.refused / stats.consumed_wcu,
        )

    def _load_in_order(self, table: str) -> None:
        os.environ |= clean_environment() | credentials(DESTINATION)
        s3 = Aws(self.aws).s3
        folder = manifests.export_folder(s3, self.export)
        shards = sorted(manifests.read(folder).shards, key=lambda shard: shard.key)
        task = load.LoadTask(
            aws=self.aws,
            table=table,
            key_names=("pk", "sk"),
            bucket=folder.bucket,
            prefix=folder.prefix,
            state_url=f"s3://{folder.bucket}/in-order/",
            shards=tuple(shards),
            unproven=frozenset(),
            on_existing=OnExisting.OVERWRITE,
            max_wcu=None,
        )
        at_once, load.OPEN_SHARDS = load.OPEN_SHARDS, 1  # type: ignore[misc] # for this measurement alone
        load.load_shards(task, Deaf())
        load.OPEN_SHARDS = at_once  # type: ignore[misc]


class Deaf:
    """A parent that listens to nothing."""

    def report(self, tick: Tick) -> None:
        pass

    def stopping(self) -> bool:
        return False

    def workers(self) -> int:
        return 1


def rates(found: Consumption) -> tuple[float, float]:
    """WCU a second of the whole, and of the steady part."""
    total = sum(units for _, units in found.writes)
    began, ended = found.writes[0][0], found.writes[-1][0]
    done = steady = 0.0
    until = ended
    for moment, units in found.writes:
        done += units
        steady += units if moment > began + WARM_SECONDS else 0.0
        if done >= total * STEADY_SHARE:
            until = moment
            break
    return total / max(ended - began, 0.01), steady / max(until - began - WARM_SECONDS, 0.01)


@contextmanager
def lab_of(count: int, *, skewed: bool, partition_wcu: float = PARTITION_WCU) -> Iterator[Lab]:
    """A lab with the export of so many items."""
    plan = FaultPlan(partitions=PARTITIONS, wcu_per_partition=partition_wcu)
    with open_stub() as s3, fake_dynamodb(plan) as fake, closing(Accounts()) as accounts:
        create_table(accounts.dynamodb(fake.url, SOURCE), "source")
        for start in range(0, count, BATCH):
            numbers = range(start, min(start + BATCH, count))
            fake.load(SOURCE, "source", [item(number, skewed=skewed) for number in numbers])
        words = ("ddb-export", "source", "s3://bench/moves", "--json")
        exported = run(words, SOURCE, fake.url, s3.url)
        assert exported["items"] == count
        yield Lab(fake, s3.url, exported["export"])


def item(number: int, *, skewed: bool) -> dict[str, Any]:
    """An item of 1 WCU; of a skewed table, every other one has the same partition key."""
    key = "hot" if skewed and number % 2 else f"customer#{number:09d}"
    return {"pk": {"S": key}, "sk": {"N": str(number)}, "v": {"S": "some text, as long as nothing"}}


def run(words: Sequence[str], account: str, url: str, s3_url: str) -> dict[str, Any]:
    """Runs a command and returns its result."""
    environment = clean_environment() | credentials(account)
    environment |= {"AWS_ENDPOINT_URL": url, "AWS_ENDPOINT_URL_S3": s3_url}
    environment["PATH"] = f"{BIN}{os.pathsep}{environment['PATH']}"
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            [*words, "--progress", "none"],
            env=environment,
            cwd=folder,
            capture_output=True,
            text=True,
            check=False,
        )
    if done.returncode:
        raise RuntimeError(f"{words[0]} ended with {done.returncode}: {done.stderr}")
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def measure(seconds: float = SECONDS) -> list[Row]:
    """All variants, with items for so many seconds each at the best that the table could do."""
    rows = []
    count = int(TABLE_WCU * seconds)
    with lab_of(count, skewed=False) as lab:
        rows += [lab.measure("interleaved", workers, count) for workers in (1, 2, 4)]
    few = int(PARTITION_WCU * seconds)
    with lab_of(few, skewed=False) as lab:
        rows.append(lab.measure("in order", 1, few))
    half = int(SKEWED_WCU * seconds)
    with lab_of(half, skewed=True) as lab:
        rows += [lab.measure("skewed", workers, half, best=SKEWED_WCU) for workers in (1, 2)]
    return rows


def table(rows: Sequence[Row]) -> str:
    """Aligned text."""
    title = "variant      workers    items  seconds  steady WCU/s  overall   best  of best  refused"
    lines = [
        f"{row.variant:<12} {row.workers:>7} {row.items:>8,} {row.seconds:>8.1f} {row.steady:>13,.0f} "
        f"{row.overall:>8,.0f} {row.best:>6,.0f} {row.of_best:>8.1%} {row.refused:>8.1%}"
        for row in rows
    ]
    return "\n".join([title, *lines])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--seconds", type=float, default=SECONDS, help="of work for each, at best [%(default)g]"
    )
    parser.add_argument("--csv", type=Path, help="append the rows to this file")
    options = parser.parse_args()
    rows = measure(options.seconds)
    print(table(rows))
    if options.csv:
        new = not options.csv.exists()
        with options.csv.open("a", newline="") as file:
            writer = csv.DictWriter(file, [field.name for field in fields(Row)])
            if new:
                writer.writeheader()
            writer.writerows(map(asdict, rows))


if __name__ == "__main__":
    main()
