"""`--method pitr` has DynamoDB export a table, waits, and leaves an export that is imported as any other.

DynamoDB's exports are those of support.native_jobs, whose answers botocore's model of the service accepts; table and bucket are MiniStack's.
"""

import datetime as dt
import json
import shlex
import signal
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from support import browser, commands
from support.accounts import Accounts
from support.environment import DESTINATION
from support.native_world import NativeWorld, native_world, wait_for_line
from support.owner_guard import owner_guard
from support.services import Endpoint
from support.tables import assert_same_items, read_all


@pytest.fixture
def world(
    aws: Endpoint, accounts: Accounts, bucket: str, unique_name: Callable[[], str]
) -> Iterator[NativeWorld]:
    with native_world(aws, accounts, bucket, unique_name(), items=40) as world:
        world.switch_pitr(on=True)
        yield world


def test_an_export_by_dynamodb_is_imported_with_its_table(
    world: NativeWorld, unique_name: Callable[[], str]
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
    loaded = world.load(result["export"], copy, "--create-table", "--verify").json()
    assert (loaded["items_written"], loaded["verification"]["verdict"]) == (40, "identical")
    destination = world.destination
    assert_same_items(read_all(world.source, world.table), read_all(destination, copy))


def test_stdout_holds_the_location_alone(world: NativeWorld) -> None:
    """As of a scan, so that `E=$(ddb-export …)` works."""
    with world.start_export() as process:
        out, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    assert out.startswith(f"{world.where}/AWSDynamoDB/")
    assert out.count("\n") == 1


def test_an_export_by_dynamodb_leaves_its_report_and_metrics(world: NativeWorld, tmp_path: Path) -> None:
    """Full and incremental: what, of when, by whom, at what price; what DynamoDB does not tell is not called zero."""
    copy, metrics = tmp_path / "mine.html", tmp_path / "ddb.prom"
    full = world.export("--report", copy, "--metrics", metrics)
    export = full.json()["export"]
    assert f"Report: {export}report.html" in full.stderr
    page = copy.read_text()
    assert page == world.text(f"{export}report.html")
    for text in (
        f"table/{world.table}", "Complete: 40 items.", full.json()["export_time"], " on ", "none: DynamoDB reads its own backups",
        "Export by DynamoDB", "S3 requests (PUT, LIST)", f"ddb-export {world.table} ", f"ddb-verify {export} {world.table}",
    ):  # fmt: skip
        assert text in page
    if not browser.missing():
        assert browser.assert_shown(copy) == f"Export of {world.table} by DynamoDB"
    families = {family.name for family in text_string_to_metric_families(metrics.read_text())}
    assert {"ddb_transfer_items", "ddb_transfer_elapsed_seconds", "ddb_transfer_running"} <= families
    assert not families & {"ddb_transfer_capacity_units", "ddb_transfer_throttled", "ddb_transfer_shards"}
    world.source.put_item(TableName=world.table, Item={"pk": {"S": "new"}, "sk": {"N": "1"}})
    world.jobs.latest += dt.timedelta(hours=1)
    increment = world.export("--since", export).json()
    page = world.text(f"{increment['export']}report.html")
    assert "Complete: 1 changed item." in page
    assert f"from {increment['window'][0]} to {increment['window'][1]}" in page
    assert "ddb-verify" not in page


def test_metrics_tell_that_an_export_by_dynamodb_runs(world: NativeWorld, tmp_path: Path) -> None:
    """As long as the command waits; its report names each of the commands that have waited."""
    metrics = tmp_path / "ddb.prom"
    world.jobs.held.set()
    with world.start_export("--metrics", metrics) as process:
        wait_for_line(process, "IN_PROGRESS")
        assert sample(metrics, "ddb_transfer_running") == 1
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
    assert sample(metrics, "ddb_transfer_running") == 0
    (command,) = [line.strip() for line in err.splitlines() if line.strip().startswith("ddb-export --resume")]
    world.jobs.held.clear()
    result = world.run("ddb-export", *shlex.split(command)[1:]).json()
    page = world.text(f"{result['export']}report.html")
    assert "<h2>Runs</h2>" in page
    assert "run 2" in page


def test_an_interrupted_export_goes_on_and_is_completed_later(world: NativeWorld) -> None:
    """Ctrl-C says that AWS continues, and prints the command that waits for it; nothing is started twice."""
    world.jobs.held.set()
    with world.start_export() as process:
        wait_for_line(process, "IN_PROGRESS")
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "cannot be cancelled" in err
    (command,) = [line.strip() for line in err.splitlines() if line.strip().startswith("ddb-export --resume")]
    world.jobs.held.clear()
    result = world.run("ddb-export", *shlex.split(command)[1:]).json()
    assert (result["status"], result["items"]) == ("complete", 40)
    assert len(world.jobs.jobs) == 1
    again = world.run("ddb-export", "--resume", result["export"]).json()
    assert (again["export"], again["items"]) == (result["export"], 40)


def test_a_request_that_lost_its_answer_is_found_again(world: NativeWorld) -> None:
    """It is stored with its token before it is sent: the same token finds the export that it has started."""
    result = world.export().json()
    listed = world.s3.list_objects_v2(Bucket=world.bucket, Prefix="moves/AWSDynamoDB/requests/")
    (key,) = [entry["Key"] for entry in listed["Contents"]]
    again = world.run("ddb-export", "--resume", f"s3://{world.bucket}/{key}").json()
    assert again["export"] == result["export"]
    assert len(world.jobs.jobs) == 1
    assert len(world.jobs.requests("ExportTableToPointInTime")) == 2


def test_two_exports_are_two(world: NativeWorld) -> None:
    """A second export with the same options is not taken for the first one."""
    assert world.export().json()["export"] != world.export().json()["export"]
    assert len(world.jobs.jobs) == 2


def test_a_failed_export_is_a_failure(world: NativeWorld) -> None:
    """Exit 1 with AWS's code and message, and what to do."""
    world.jobs.failure = "S3NoSuchBucket"
    result = world.export(check=False)
    assert result.exit_code == 1
    assert "FAILED for the export" in result.stderr
    assert "S3NoSuchBucket: the test says so" in result.stderr
    assert "--bucket-owner" in result.stderr
    assert result.json()["status"] == "failed"


def test_without_backups_it_says_how_to_switch_them_on(world: NativeWorld) -> None:
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


def test_a_bucket_of_another_account_needs_its_owner(world: NativeWorld) -> None:
    """DynamoDB takes it to be the caller's; the check finds out before anything is asked of DynamoDB."""
    with owner_guard(world.aws, DESTINATION) as guard:
        result = commands.run(
            "ddb-export", world.table, world.where, "--method", "pitr", endpoint=world.jobs.url, s3_endpoint=guard.url, check=False
        )  # fmt: skip
    assert result.exit_code == 1
    assert "Give --bucket-owner ACCOUNT" in result.stderr
    assert not world.jobs.requests("ExportTableToPointInTime")


def test_a_part_of_a_table_is_exported_and_called_a_part(
    world: NativeWorld, unique_name: Callable[[], str]
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
    loaded = world.load(result["export"], unique_name(), "--create-table")
    assert "holds a part of the table" in loaded.stderr


def test_the_next_increment_continues_an_export(world: NativeWorld) -> None:
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


def test_an_export_without_our_manifest_is_completed_first(world: NativeWorld) -> None:
    """Killed after DynamoDB had ended: the table's definition is in our manifest alone, and an increment is no reason to lose it."""
    full = world.export().json()
    key = world.key(full["manifest"])
    world.s3.delete_object(Bucket=world.bucket, Key=key)
    world.jobs.latest += dt.timedelta(hours=1)
    lines = world.export("--since", full["export"]).stdout.splitlines()
    assert [full["export"]] == [json.loads(line)["export"] for line in lines][:-1]
    assert world.file(full["manifest"])["table"]["TableName"] == world.table
    assert len(world.jobs.jobs) == 2  # the full one was not asked for again


def test_a_chain_of_increments_until_interrupted(world: NativeWorld) -> None:
    """A full export, then each quarter of an hour; every location on a line of its own; the command that continues is printed."""
    world.jobs.window = dt.timedelta(minutes=15)
    with world.start_export("--every", "15m") as process:
        assert process.stdout is not None
        lines = [process.stdout.readline().strip() for _ in range(4)]
        world.jobs.window = None
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


def test_only_an_export_of_dynamodb_is_continued(world: NativeWorld) -> None:
    """A scan is of no single time."""
    scanned = world.scanned()
    refused = world.export("--since", scanned, check=False)
    assert refused.exit_code == 1
    assert "is not an export that DynamoDB made" in refused.stderr


def sample(metrics: Path, name: str) -> float:
    """The only sample of a metric."""
    (found,) = [
        one
        for family in text_string_to_metric_families(metrics.read_text())
        for one in family.samples
        if one.name == name
    ]
    return float(found.value)
