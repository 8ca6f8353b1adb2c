"""A table of the source account, a bucket of the destination's, and DynamoDB's own jobs between them: what tests of those jobs begin with."""

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from support import commands
from support.accounts import Accounts
from support.environment import DESTINATION, SOURCE
from support.fingerprints import assert_same_tables
from support.native_jobs import NativeJobs, native_jobs
from support.services import Endpoint
from support.tables import create_table, fill
from support.varied import varied_items

_ACCOUNTS = {"ddb-export": SOURCE, "ddb-import": DESTINATION}


@dataclass
class NativeWorld:
    """A table with items. Tables are at `jobs`, which serves DynamoDB's own jobs before `aws`, the bucket is at `aws`."""

    jobs: NativeJobs
    accounts: Accounts
    aws: Endpoint
    bucket: str
    table: str

    @property
    def source(self) -> Any:
        return self.accounts.dynamodb(self.aws, SOURCE)

    @property
    def destination(self) -> Any:
        return self.accounts.dynamodb(self.aws, DESTINATION)

    @property
    def s3(self) -> Any:
        return self.accounts.s3(self.aws, DESTINATION)

    @property
    def where(self) -> str:
        """The place of exports."""
        return f"s3://{self.bucket}/moves"

    def export(self, *words: object, **options: Any) -> commands.Result:
        """`ddb-export --method pitr` of the table into the other account's bucket."""
        return self.run("ddb-export", *self._pitr(*words), **options)

    def start_export(self, *words: object) -> subprocess.Popen[str]:
        """The same in the background."""
        return self.start("ddb-export", *self._pitr(*words))

    def run(self, command: str, *words: object, **options: Any) -> commands.Result:
        """A command with its account's credentials."""
        return commands.run(command, *words, "--json", **self._at(command), **options)

    def start(self, command: str, *words: object) -> subprocess.Popen[str]:
        """The same in the background, without --json."""
        return commands.start(command, *words, **self._at(command))

    def load(self, *words: object, **options: Any) -> commands.Result:
        """`ddb-import` with the destination's credentials."""
        return self.run("ddb-import", *words, **options)

    def scanned(self, *words: object, table: str = "") -> str:
        """The location of an export of the table, or of another one, by a scan."""
        return str(self.run("ddb-export", table or self.table, self.where, *words).json()["export"])

    def switch_pitr(self, *, on: bool) -> None:
        """Point-in-time recovery of the table."""
        self.source.update_continuous_backups(
            TableName=self.table, PointInTimeRecoverySpecification={"PointInTimeRecoveryEnabled": on}
        )

    def plan(self, export: str, table: str) -> tuple[str, Any]:
        """The key of the stored plan of an import, and the plan."""
        url = f"{export}import/{DESTINATION}.eu-west-1.{table}/plan.json"
        return self.key(url), self.file(url)

    def assert_loaded(self, copy: str) -> None:
        """Every item of the copy is that of the table."""
        assert_same_tables((self.source, self.table), (self.destination, copy))

    def file(self, url: str) -> Any:
        """A stored JSON file."""
        return json.loads(self.text(url))

    def text(self, url: str) -> str:
        """A stored file."""
        return str(self.s3.get_object(Bucket=self.bucket, Key=self.key(url))["Body"].read().decode())

    def key(self, url: str) -> str:
        """The key of an object of the bucket."""
        return url.removeprefix(f"s3://{self.bucket}/")

    def _pitr(self, *words: object) -> tuple[object, ...]:
        return (self.table, self.where, "--method", "pitr", "--bucket-owner", DESTINATION, *words)

    def _at(self, command: str) -> dict[str, Any]:
        return {"account": _ACCOUNTS[command], "endpoint": self.jobs.url, "s3_endpoint": self.aws}


@contextmanager
def native_world(
    aws: Endpoint, accounts: Accounts, bucket: str, table: str, *, items: int
) -> Iterator[NativeWorld]:
    """A new table of so many items, and the running jobs."""
    create_table(accounts.dynamodb(aws, SOURCE), table)
    fill(accounts.dynamodb(aws, SOURCE), table, varied_items(items))
    with native_jobs(aws, accounts) as jobs:
        yield NativeWorld(jobs, accounts, aws, bucket, table)


def wait_for_line(process: subprocess.Popen[str], text: str) -> None:
    """Reads stderr up to the line that holds the text."""
    assert process.stderr is not None
    for line in process.stderr:
        if text in line:
            return
    raise AssertionError(f"{text!r} was never printed")
