"""`--method pitr` has DynamoDB export a table, waits, and leaves an export that is imported as any other.

DynamoDB's exports are those of support.native_jobs, whose answers botocore's model of the service accepts; table and bucket are MiniStack's.
"""

import datetime as dt
import json
import shlex
import signal
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import pytest

from e2e.conftest import Mover
from support import commands
from support.accounts import Accounts
from support.environment import DESTINATION, SOURCE
from support.native_jobs import NativeJobs, native_jobs
from support.owner_guard import owner_guard
from support.services import Endpoint
from support.tables import assert_same_items, create_table, fill, read_all
from support.varied import varied_items

OWNER = ("--bucket-owner", DESTINATION)


@dataclass
class World:
    """A table with items, point-in-time recovery on, and DynamoDB's own exports."""

    jobs: NativeJobs
    mover: Mover
    accounts: Accounts
    table: str
    items: int = 40

    @property
    def source(self) -> Any:
        return self.accounts.dynamodb(self.mover.aws, SOURCE)

    @property
    def s3(self) -> Any:
        return self.accounts.s3(self.mover.aws, DESTINATION)

    @property
    def where(self) -> str:
        return f"s3://{self.mover.bucket}/moves"

    def export(self, *words: object, **options: Any) -> commands.Result:
        """`ddb-export TABLE …` with `--method pitr`, in the source's account."""
        given = (self.table, self.where, "--method", "pitr", *OWNER, *words)
        return self.run(*given, **options)

    def run(self, *words: object, **options: Any) -> commands.Result:
        return commands.run(
            "ddb-export", *words, "--json", endpoint=self.jobs.url, s3_endpoint=self.mover.aws, **options
        )

    def start(self, *words: object) -> subprocess.Popen[str]:
        given = (self.table, self.where, "--method", "pitr", *OWNER, *words)
        return commands.start("ddb-export", *given, endpoint=self.jobs.url, s3_endpoint=self.mover.aws)

    def file(self, url: str) -> Any:
        """A stored JSON file."""
        key = url.removeprefix(f"s3://{self.mover.bucket}/")
        return json.loads(self.s3.get_object(Bucket=self.mover.bucket, Key=key)["Body"].read())

    def switch_pitr(self, *, on: bool) -> None:
        self.source.update_continuous_backups(
            TableName=self.table, PointInTimeRecoverySpecification={"PointInTimeRecoveryEnabled": on}
        )


@pytest.fixture
def world(
    aws_mover: Mover, aws: Endpoint, accounts: Accounts, unique_name: Callable[[], str]
) -> Iterator[World]:
    table = unique_name()
    create_table(accounts.dynamodb(aws, SOURCE), table)
    fill(accounts.dynamodb(aws, SOURCE), table, varied_items(40))
    with native_jobs(aws, accounts) as jobs:
        world = World(jobs, aws_mover, accounts, table)
        world.switch_pitr(on=True)
        yield world


def test_an_export_by_dynamodb_is_imported_with_its_table(
    world: World, unique_name: Callable[[], str]
) -> None:
    """Into the other account's bucket; our manifest holds the definition, AWS's stand beside it, nothing is scanned."""
    result = world.export().json()
    assert (result["status"], result["items"], result["consumed_rcu"]) == ("complete", 40, 0.0)
    assert result["manifest"] == result["export"] + "manifest.json"
    assert result["export"].startswith(f"{world.where}/AWSDynamoDB/")
    (request,) = world.jobs.requests("ExportTableToPointInTime")
    assert (request["S3BucketOwner"], request["S3Prefix"]) == (DESTINATION, "moves")
    manifest = world.file(result["manifest"])
    assert (manifest["method"], manifest["consumed_rcu"]) == ("pitr", 0.0)
    assert manifest["table"]["TableName"] == world.table
    assert all(shard["stored_bytes"] > 0 for shard in manifest["shards"])
    copy = unique_name()
    loaded = world.mover.load(result["export"], copy, "--create-table", "--verify").json()
    assert (loaded["items_written"], loaded["verification"]["verdict"]) == (40, "identical")
    destination = world.accounts.dynamodb(world.mover.aws, DESTINATION)
    assert_same_items(read_all(world.source, world.table), read_all(destination, copy))


def test_stdout_holds_the_location_alone(world: World) -> None:
    """As of a scan, so that `E=$(ddb-export …)` works."""
    with world.start() as process:
        out, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    assert out.startswith(f"{world.where}/AWSDynamoDB/")
    assert out.count("\n") == 1


def test_an_interrupted_export_goes_on_and_is_completed_later(world: World) -> None:
    """Ctrl-C says that AWS continues, and prints the command that waits for it; nothing is started twice."""
    world.jobs.held.set()
    with world.start() as process:
        _wait_for_line(process, "IN_PROGRESS")
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "cannot be cancelled" in err
    (command,) = [line.strip() for line in err.splitlines() if line.strip().startswith("ddb-export --resume")]
    world.jobs.held.clear()
    result = world.run(*shlex.split(command)[1:]).json()
    assert (result["status"], result["items"]) == ("complete", 40)
    assert len(world.jobs.jobs) == 1
    again = world.run("--resume", result["export"]).json()
    assert (again["export"], again["items"]) == (result["export"], 40)


def test_a_request_that_lost_its_answer_is_found_again(world: World) -> None:
    """It is stored with its token before it is sent: the same token finds the export that it has started."""
    result = world.export().json()
    listed = world.s3.list_objects_v2(Bucket=world.mover.bucket, Prefix="moves/AWSDynamoDB/requests/")
    (key,) = [entry["Key"] for entry in listed["Contents"]]
    again = world.run("--resume", f"s3://{world.mover.bucket}/{key}").json()
    assert again["export"] == result["export"]
    assert len(world.jobs.jobs) == 1
    assert len(world.jobs.requests("ExportTableToPointInTime")) == 2


def test_two_exports_are_two(world: World) -> None:
    """A second export with the same options is not taken for the first one."""
    assert world.export().json()["export"] != world.export().json()["export"]
    assert len(world.jobs.jobs) == 2


def test_a_failed_export_is_a_failure(world: World) -> None:
    """Exit 1 with AWS's code and message, and what to do."""
    world.jobs.failure = "S3NoSuchBucket"
    result = world.export(check=False)
    assert result.exit_code == 1
    assert "FAILED of the export" in result.stderr
    assert "S3NoSuchBucket: the test says so" in result.stderr
    assert "--bucket-owner" in result.stderr
    assert result.json()["status"] == "failed"


def test_without_backups_it_says_how_to_switch_them_on(world: World) -> None:
    """And what they cost; --enable-pitr does it."""
    world.switch_pitr(on=False)
    refused = world.export(check=False)
    assert refused.exit_code == 1
    assert "--enable-pitr" in refused.stderr
    assert "charged by the size of the table" in refused.stderr
    assert not world.jobs.jobs
    result = world.export("--enable-pitr")
    assert result.json()["items"] == 40
    assert "Switching on point-in-time recovery" in result.stderr


def test_a_bucket_of_another_account_needs_its_owner(world: World) -> None:
    """DynamoDB takes it to be the caller's; the check finds out before anything is asked of DynamoDB."""
    with owner_guard(world.mover.aws, DESTINATION) as guard:  # type: ignore[arg-type]
        result = commands.run(
            "ddb-export", world.table, world.where, "--method", "pitr", endpoint=world.jobs.url, s3_endpoint=guard.url, check=False
        )  # fmt: skip
    assert result.exit_code == 1
    assert "Give --bucket-owner ACCOUNT" in result.stderr
    assert not world.jobs.requests("ExportTableToPointInTime")


def test_a_part_of_a_table_is_exported_and_called_a_part(
    world: World, unique_name: Callable[[], str]
) -> None:
    """DynamoDB filters and projects at no read cost; manifest and import say that it is not the whole table."""
    words = (
        *("--filter", "sk < :n", "--projection", "pk, sk, #s"),
        *(
            "--expression-attribute-names",
            '{"#s":"state"}',
            "--expression-attribute-values",
            '{":n":{"N":"10"}}',
        ),
    )
    result = world.export(*words).json()
    assert 0 < result["items"] < 40
    (request,) = world.jobs.requests("ExportTableToPointInTime")
    assert request["FilterSpecification"] == {
        "FilterExpression": "sk < :n",
        "ProjectionExpression": "pk, sk, #s",
        "ExpressionAttributeNames": {"#s": "state"},
        "ExpressionAttributeValues": {":n": {"N": "10"}},
    }
    assert world.file(result["manifest"])["part"] == request["FilterSpecification"]
    loaded = world.mover.load(result["export"], unique_name(), "--create-table")
    assert "holds a part of the table" in loaded.stderr


def test_the_next_increment_continues_an_export(world: World) -> None:
    """From the very time of the full export, to the latest that can be exported; then from there."""
    full = world.export().json()
    too_early = world.export("--since", full["export"], check=False)
    assert (too_early.exit_code, "15 minutes or more" in too_early.stderr) == (1, True)
    world.source.put_item(TableName=world.table, Item={"pk": {"S": "new"}, "sk": {"N": "1"}})
    world.jobs.latest += dt.timedelta(hours=1)
    first = world.export("--since", full["export"]).json()
    assert first["items"] == 1
    assert first["window"][0] == full["export_time"]
    assert first["manifest"].endswith("manifest-summary.json")
    world.jobs.latest += dt.timedelta(hours=30)
    rest = [json.loads(line) for line in world.export("--since", first["export"]).stdout.splitlines()]
    assert [first["window"][1], rest[0]["window"][1]] == [rest[0]["window"][0], rest[1]["window"][0]]
    assert len(rest) == 2  # 24 hours at most


def test_an_export_without_our_manifest_is_completed_first(world: World) -> None:
    """Killed after DynamoDB had ended: the table's definition is in our manifest alone, and an increment is no reason to lose it."""
    full = world.export().json()
    key = full["manifest"].removeprefix(f"s3://{world.mover.bucket}/")
    world.s3.delete_object(Bucket=world.mover.bucket, Key=key)
    world.jobs.latest += dt.timedelta(hours=1)
    lines = world.export("--since", full["export"]).stdout.splitlines()
    assert [full["export"]] == [json.loads(line)["export"] for line in lines][:-1]
    assert world.file(full["manifest"])["table"]["TableName"] == world.table
    assert len(world.jobs.jobs) == 2  # the full one was not asked for again


def test_a_chain_of_increments_until_interrupted(world: World) -> None:
    """A full export, then each quarter of an hour; every location on a line of its own; the command that continues is printed."""
    world.jobs.tick = dt.timedelta(minutes=5)
    with world.start("--every", "15m") as process:
        assert process.stdout is not None
        lines = [process.stdout.readline().strip() for _ in range(4)]
        world.jobs.tick = dt.timedelta(0)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert len(set(lines)) == 4
    windows = [
        (
            job["IncrementalExportSpecification"]["ExportFromTime"],
            job["IncrementalExportSpecification"]["ExportToTime"],
        )
        for job in world.jobs.jobs.values()
        if "IncrementalExportSpecification" in job
    ]
    assert all(after[0] == before[1] for before, after in pairwise(windows))
    assert {end - start for start, end in windows} == {dt.timedelta(minutes=15)}
    (command,) = {line.strip() for line in err.splitlines() if line.strip().startswith("ddb-export --since")}
    assert "--every" in command


def test_only_an_export_of_dynamodb_is_continued(world: World) -> None:
    """A scan is of no single time."""
    scanned = world.mover.exported(world.table)
    refused = world.export("--since", scanned, check=False)
    assert refused.exit_code == 1
    assert "is not an export that DynamoDB made" in refused.stderr


def _wait_for_line(process: subprocess.Popen[str], text: str) -> None:
    assert process.stderr is not None
    for line in process.stderr:
        if text in line:
            return
    raise AssertionError(f"{text!r} was never printed")
