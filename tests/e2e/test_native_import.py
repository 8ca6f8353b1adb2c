"""`--engine import-table` and `--engine bulk` have DynamoDB load an export.

ImportTable is MiniStack's own, a reader of our shards that knows nothing of us; StartBulkPutItems is that of support.native_jobs, whose answers
botocore's model of the service accepts.
"""

import datetime as dt
import json
import signal
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from e2e.conftest import Mover
from support import commands
from support.accounts import Accounts
from support.aws_exports import full_export
from support.environment import DESTINATION, SOURCE
from support.fingerprints import assert_same_tables
from support.native_jobs import NativeJobs, native_jobs
from support.services import Endpoint
from support.tables import SIMPLE_KEY, assert_same_items, create_table, fill, read_all
from support.varied import varied_items

ITEMS = 120
LOCAL_INDEX = {
    "IndexName": "by-total",
    "KeySchema": [{"AttributeName": "pk", "KeyType": "HASH"}, {"AttributeName": "total", "KeyType": "RANGE"}],
    "Projection": {"ProjectionType": "ALL"},
}
DEFINITIONS = [
    {"AttributeName": name, "AttributeType": kind}
    for name, kind in (("pk", "S"), ("sk", "N"), ("total", "N"))
]


@dataclass
class World:
    """A table with items, and what loads its export."""

    jobs: NativeJobs
    mover: Mover
    accounts: Accounts
    table: str

    @property
    def source(self) -> Any:
        return self.accounts.dynamodb(self.mover.aws, SOURCE)

    @property
    def destination(self) -> Any:
        return self.accounts.dynamodb(self.mover.aws, DESTINATION)

    @property
    def s3(self) -> Any:
        return self.accounts.s3(self.mover.aws, DESTINATION)

    def load(self, *words: object, **options: Any) -> commands.Result:
        """`ddb-import` with the destination's credentials."""
        return commands.run(
            "ddb-import", *words, "--json", account=DESTINATION, endpoint=self.jobs.url, s3_endpoint=self.mover.aws, **options
        )  # fmt: skip

    def start(self, *words: object) -> subprocess.Popen[str]:
        return commands.start(
            "ddb-import", *words, account=DESTINATION, endpoint=self.jobs.url, s3_endpoint=self.mover.aws
        )

    def plan(self, export: str, table: str) -> tuple[str, dict[str, Any]]:
        """The stored plan of an import, and its key."""
        prefix = export.removeprefix(f"s3://{self.mover.bucket}/")
        key = f"{prefix}import/{DESTINATION}.eu-west-1.{table}/plan.json"
        plan: dict[str, Any] = json.loads(
            self.s3.get_object(Bucket=self.mover.bucket, Key=key)["Body"].read()
        )
        return key, plan

    def assert_loaded(self, copy: str) -> None:
        assert_same_tables((self.source, self.table), (self.destination, copy))


@pytest.fixture
def world(
    aws_mover: Mover, aws: Endpoint, accounts: Accounts, unique_name: Callable[[], str]
) -> Iterator[World]:
    table = unique_name()
    create_table(accounts.dynamodb(aws, SOURCE), table)
    fill(accounts.dynamodb(aws, SOURCE), table, varied_items(ITEMS))
    with native_jobs(aws, accounts) as jobs:
        yield World(jobs, aws_mover, accounts, table)


IMPORT_TABLE = ("--engine", "import-table", "--create-table")
BULK = ("--engine", "bulk")


def test_import_table_makes_the_table_with_its_items_and_settings(
    world: World, unique_name: Callable[[], str]
) -> None:
    """MiniStack's ImportTable reads `data/` of a real export of ours; what it cannot set is set afterwards; every item is equal."""
    client, copy = world.source, unique_name()
    arn = client.describe_table(TableName=world.table)["Table"]["TableArn"]
    client.tag_resource(ResourceArn=arn, Tags=[{"Key": "team", "Value": "blue"}])
    client.update_time_to_live(
        TableName=world.table, TimeToLiveSpecification={"Enabled": True, "AttributeName": "expires"}
    )
    export = world.mover.exported(world.table, "--segments", 3, "--shard-size", "2kB")
    result = world.load(export, copy, *IMPORT_TABLE, "--verify")
    document = result.json()
    assert (document["status"], document["items_written"], document["consumed_wcu"]) == (
        "complete",
        ITEMS,
        0.0,
    )
    assert (document["engine"], ":import" in document["job"].replace("/", ":")) == ("import-table", True)
    assert document["verification"]["verdict"] == "identical"
    assert_same_items(read_all(world.source, world.table), read_all(world.destination, copy))
    made = world.destination.describe_time_to_live(TableName=copy)["TimeToLiveDescription"]
    assert made["AttributeName"] == "expires"
    arn = world.destination.describe_table(TableName=copy)["Table"]["TableArn"]
    assert world.destination.list_tags_of_resource(ResourceArn=arn)["Tags"] == [
        {"Key": "team", "Value": "blue"}
    ]
    again = world.load(export, copy, *IMPORT_TABLE).json()
    assert (again["items_written"], again["items_resumed"], again["job"]) == (0, ITEMS, document["job"])
    status = world.load(export, copy, "--status").json()
    assert (status["status"], status["items_done"], status["job"]) == ("complete", ITEMS, document["job"])
    world.destination.delete_table(TableName=copy)
    gone = world.load(export, copy, *IMPORT_TABLE, check=False)
    assert (gone.exit_code, "does not exist any more" in gone.stderr) == (1, True), gone
    assert copy not in world.destination.list_tables()["TableNames"]
    made_again = world.load(export, copy, *IMPORT_TABLE, "--restart").json()
    assert (made_again["items_written"], made_again["job"] != document["job"]) == (ITEMS, True)


def test_an_interrupted_import_goes_on_and_is_finished_later(
    world: World, unique_name: Callable[[], str]
) -> None:
    """Ctrl-C says that DynamoDB continues; the same command waits for the same import."""
    copy, export = unique_name(), world.mover.exported(world.table)
    with world.start(export, copy, *IMPORT_TABLE) as process:
        _wait_for_line(process, "IN_PROGRESS")
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "cannot be cancelled" in err
    result = world.load(export, copy, *IMPORT_TABLE).json()
    assert (result["status"], result["items_written"]) == ("complete", ITEMS)
    assert len(world.destination.list_imports()["ImportSummaryList"]) >= 1
    arns = {
        one["ImportArn"]
        for one in world.destination.list_imports(PageSize=25)["ImportSummaryList"]
        if one["ImportArn"].split("/")[1] == copy
    }
    assert arns == {result["job"]}
    world.assert_loaded(copy)


def test_an_import_whose_answer_was_lost_is_found_by_its_token(
    world: World, unique_name: Callable[[], str]
) -> None:
    """Its token is stored before it is asked for."""
    copy, export = unique_name(), world.mover.exported(world.table)
    first = world.load(export, copy, *IMPORT_TABLE).json()
    key, plan = world.plan(export, copy)
    lost = plan | {"completed_at": "", "table_id": "", "native": plan["native"] | {"arn": "", "written": 0}}
    world.s3.put_object(Bucket=world.mover.bucket, Key=key, Body=json.dumps(lost).encode())
    again = world.load(export, copy, *IMPORT_TABLE).json()
    assert (again["job"], again["items_written"]) == (first["job"], ITEMS)


def test_an_import_whose_table_is_gone_makes_no_other(world: World, unique_name: Callable[[], str]) -> None:
    """It ended while no command waited for it, and its table was deleted: an empty table in its place would be no import."""
    copy, export = unique_name(), world.mover.exported(world.table)
    world.load(export, copy, *IMPORT_TABLE)
    key, plan = world.plan(export, copy)
    unseen = plan | {"completed_at": "", "native": plan["native"] | {"written": 0}}
    world.s3.put_object(Bucket=world.mover.bucket, Key=key, Body=json.dumps(unseen).encode())
    world.destination.delete_table(TableName=copy)
    gone = world.load(export, copy, *IMPORT_TABLE, check=False)
    assert (gone.exit_code, "does not exist any more" in gone.stderr) == (1, True), gone
    assert copy not in world.destination.list_tables()["TableNames"]
    assert world.load(export, copy, *IMPORT_TABLE, "--restart").json()["items_written"] == ITEMS


def test_a_failed_import_is_a_failure(world: World, unique_name: Callable[[], str]) -> None:
    """An item that DynamoDB refuses ends it FAILED, with the good items in a table that nobody deletes but the user."""
    copy = unique_name()
    export = full_export([{"pk": {"S": "a"}}, {"other": {"S": "b"}}]).put(world.s3, world.mover.bucket)
    words = (export, copy, *IMPORT_TABLE, "--key", "pk:S")
    result = world.load(*words, check=False)
    assert result.exit_code == 1
    assert "ItemValidationError" in result.stderr
    assert "1 of 2 items imported, 1 errors" in result.stderr
    assert "/aws-dynamodb/imports" in result.stderr
    assert len(read_all(world.destination, copy)) == 1
    again = world.load(*words, check=False)
    assert (again.exit_code, "Delete it and import again" in again.stderr) == (1, True)
    finished = world.load(export, copy, "--restart", "--on-existing", "overwrite", check=False)
    assert (finished.exit_code, finished.json()["items_rejected"]) == (3, 1)


def test_what_import_table_cannot_make_is_refused(world: World, unique_name: Callable[[], str]) -> None:
    """Local indexes would be lost for good; the message names the road that keeps them. Nothing is made."""
    source, copy = unique_name(), unique_name()
    create_table(world.source, source, LocalSecondaryIndexes=[LOCAL_INDEX], AttributeDefinitions=DEFINITIONS)
    fill(world.source, source, varied_items(5))
    export = world.mover.exported(source)
    refused = world.load(export, copy, *IMPORT_TABLE, check=False)
    assert (refused.exit_code, "by-total" in refused.stderr, "--engine bulk" in refused.stderr) == (
        2,
        True,
        True,
    )
    assert copy not in world.destination.list_tables()["TableNames"]
    loaded = world.load(export, copy, *BULK, "--create-table").json()
    assert loaded["items_written"] == 5
    assert_same_tables((world.source, source), (world.destination, copy))


def test_import_table_wants_a_new_table(world: World, unique_name: Callable[[], str]) -> None:
    """One that exists is never replaced."""
    copy, export = unique_name(), world.mover.exported(world.table)
    create_table(world.destination, copy)
    refused = world.load(export, copy, *IMPORT_TABLE, check=False)
    assert (refused.exit_code, "ImportTable makes its table" in refused.stderr) == (1, True)


@pytest.mark.parametrize("engine", [IMPORT_TABLE, (*BULK, "--create-table")], ids=["import-table", "bulk"])
def test_a_file_that_is_not_of_the_export_is_found(
    world: World, unique_name: Callable[[], str], engine: tuple[str, ...]
) -> None:
    """An engine takes every object below the prefix."""
    copy, export = unique_name(), world.mover.exported(world.table)
    key = export.removeprefix(f"s3://{world.mover.bucket}/") + "data/notes.txt"
    world.s3.put_object(Bucket=world.mover.bucket, Key=key, Body=b"x")
    refused = world.load(export, copy, *engine, check=False)
    assert (refused.exit_code, "data/notes.txt" in refused.stderr) == (1, True)


def test_a_copy_that_was_altered_is_found_before_anything_is_loaded(
    world: World, unique_name: Callable[[], str]
) -> None:
    """DynamoDB checks no checksum of ours: what is not as S3 stored it is read first."""
    copy = unique_name()
    export = full_export(list(varied_items(20)), files=1)
    (key,) = [key for key, data in export.files.items() if "/data/" in key and len(data) > 40]
    items = [item | {"forged": {"S": "x"}} for item in varied_items(20)]
    forged = replace(export, files=export.files | {key: full_export(items, files=1).files[key]})
    url = forged.put(world.s3, world.mover.bucket)
    refused = world.load(url, copy, *IMPORT_TABLE, "--key", "pk:S,sk:N", check=False)
    assert (refused.exit_code, "is damaged" in refused.stderr) == (1, True)
    assert copy not in world.destination.list_tables()["TableNames"]


def test_a_bulk_put_loads_into_a_table_that_exists(world: World, unique_name: Callable[[], str]) -> None:
    """With its own cap; the same command again loads nothing."""
    copy, export = unique_name(), world.mover.exported(world.table)
    create_table(world.destination, copy)
    words = (export, copy, *BULK, "--max-wcu", 2_000, "--verify")
    result = world.load(*words).json()
    assert (result["status"], result["items_written"], result["engine"]) == ("complete", ITEMS, "bulk")
    assert result["verification"]["verdict"] == "identical"
    (request,) = world.jobs.requests("StartBulkPutItems")
    assert (request["MaxWriteRequestUnits"], request["InputS3Configuration"]["S3BucketOwner"]) == (
        2_000,
        DESTINATION,
    )
    assert request["InputS3Configuration"]["S3KeyPrefix"].endswith("/data/")
    world.assert_loaded(copy)
    again = world.load(*words).json()
    assert (again["items_written"], again["items_resumed"], len(world.jobs.jobs)) == (0, ITEMS, 1)


def test_items_that_a_bulk_put_refuses_are_rejects(world: World, unique_name: Callable[[], str]) -> None:
    """Exit 3, never 0; the count and the place of DynamoDB's report."""
    copy = unique_name()
    create_table(world.destination, copy, SIMPLE_KEY)
    export = full_export([{"pk": {"S": "a"}}, {"other": {"S": "b"}}, {"pk": {"S": "c"}}]).put(
        world.s3, world.mover.bucket
    )
    result = world.load(export, copy, *BULK, check=False)
    assert (result.exit_code, result.json()["status"]) == (3, "rejects")
    assert (result.json()["items_written"], result.json()["items_rejected"]) == (2, 1)
    report = result.json()["rejects"]
    listed = world.s3.list_objects_v2(
        Bucket=world.mover.bucket, Prefix=report.removeprefix(f"s3://{world.mover.bucket}/")
    )
    assert listed["KeyCount"] == 1
    assert f"/import/{DESTINATION}.eu-west-1.{copy}/bulk/" in report


def test_ctrl_c_cancels_a_bulk_put_and_the_next_command_starts_another(
    world: World, unique_name: Callable[[], str]
) -> None:
    """What is written stays; puts may be repeated."""
    copy, export = unique_name(), world.mover.exported(world.table)
    create_table(world.destination, copy)
    world.jobs.held.set()
    with world.start(export, copy, *BULK) as process:
        _wait_for_line(process, "IN_PROGRESS")
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
    assert (process.returncode, "stay in the table" in err) == (130, True)
    assert [job["BulkOperationStatus"] for job in world.jobs.jobs.values()] == ["CANCELLING"]
    world.jobs.held.clear()
    world.accounts.dynamodb(world.jobs.url, DESTINATION).describe_bulk_operation(
        BulkOperationArn=next(iter(world.jobs.jobs))
    )
    result = world.load(export, copy, *BULK)
    assert (result.json()["items_written"], len(world.jobs.jobs)) == (ITEMS, 2)
    assert "CANCELLED" in result.stderr
    world.assert_loaded(copy)


def test_sigterm_leaves_a_bulk_put_running(world: World, unique_name: Callable[[], str]) -> None:
    """As when a container ends: the same command waits for the same operation."""
    copy, export = unique_name(), world.mover.exported(world.table)
    create_table(world.destination, copy)
    world.jobs.held.set()
    with world.start(export, copy, *BULK) as process:
        _wait_for_line(process, "IN_PROGRESS")
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate(timeout=60)
    assert (process.returncode, "continues" in err) == (143, True)
    world.jobs.held.clear()
    assert world.load(export, copy, *BULK).json()["items_written"] == ITEMS
    assert len(world.jobs.jobs) == 1


def test_a_failed_bulk_put_is_a_failure(world: World, unique_name: Callable[[], str]) -> None:
    """Exit 1; the next command starts another."""
    copy, export = unique_name(), world.mover.exported(world.table)
    create_table(world.destination, copy)
    world.jobs.failure = "S3AccessDenied"
    failed = world.load(export, copy, *BULK, check=False)
    assert (failed.exit_code, "S3AccessDenied" in failed.stderr) == (1, True)
    other = world.load(export, copy, check=False)
    assert (other.exit_code, "--engine bulk" in other.stderr) == (1, True)
    world.jobs.failure = ""
    assert world.load(export, copy, *BULK).json()["items_written"] == ITEMS


@pytest.mark.parametrize(
    ("words", "told"), [(("--max-wcu", "500"), "1,024"), (("--state", "STATE"), "is a local folder")]
)
def test_what_a_bulk_put_cannot_do_is_refused(
    world: World, unique_name: Callable[[], str], tmp_path: Path, words: tuple[str, ...], told: str
) -> None:
    """A cap below DynamoDB's least, and a report on a disk: before anything is loaded."""
    copy, export = unique_name(), world.mover.exported(world.table)
    create_table(world.destination, copy)
    given = [str(tmp_path) if word == "STATE" else word for word in words]
    refused = world.load(export, copy, *BULK, *given, check=False)
    assert (refused.exit_code, told in refused.stderr) == (2, True), refused.stderr
    assert read_all(world.destination, copy) == {}


def test_parquet_is_not_for_the_engines(world: World, unique_name: Callable[[], str]) -> None:
    """They take JSON lines and Ion."""
    export = world.mover.exported(world.table, "--format", "parquet")
    refused = world.load(export, unique_name(), *IMPORT_TABLE, check=False)
    assert (refused.exit_code, "this export is Parquet" in refused.stderr) == (2, True)


def test_the_native_route_with_increments(world: World, unique_name: Callable[[], str]) -> None:
    """DynamoDB exports, DynamoDB imports, and the changes since are applied: the copy is equal to the table as it is then."""
    world.source.update_continuous_backups(
        TableName=world.table, PointInTimeRecoverySpecification={"PointInTimeRecoveryEnabled": True}
    )

    def export(*words: object) -> str:
        given = (
            world.table,
            f"s3://{world.mover.bucket}/moves",
            "--method",
            "pitr",
            "--bucket-owner",
            DESTINATION,
        )
        result = commands.run(
            "ddb-export", *given, *words, "--json", endpoint=world.jobs.url, s3_endpoint=world.mover.aws
        )
        return str(result.json()["export"])

    full, copy = export(), unique_name()
    world.source.put_item(TableName=world.table, Item={"pk": {"S": "new"}, "sk": {"N": "1"}})
    gone = world.source.scan(TableName=world.table, Limit=1)["Items"][0]
    world.source.delete_item(TableName=world.table, Key={name: gone[name] for name in ("pk", "sk")})
    world.jobs.latest += dt.timedelta(hours=1)
    increment = export("--since", full)
    result = world.load(full, increment, copy, *IMPORT_TABLE).json()
    assert (result["items_written"], result["changes_applied"], result["engine"]) == (
        ITEMS,
        2,
        "import-table",
    )
    world.assert_loaded(copy)
    world.source.put_item(TableName=world.table, Item={"pk": {"S": "later"}, "sk": {"N": "1"}})
    world.jobs.latest += dt.timedelta(hours=1)
    assert world.load(export("--since", increment), copy).json()["changes_applied"] == 1
    world.assert_loaded(copy)


def test_auto_says_what_it_takes_and_why(world: World, unique_name: Callable[[], str]) -> None:
    """A small export is loaded by batch writes; the plan compares the engines."""
    copy, export = unique_name(), world.mover.exported(world.table)
    words = (export, copy, "--engine", "auto", "--create-table")
    plan = world.load(*words, "--dry-run").json()
    routes = {route["route"]: route for route in plan["routes"]}
    assert {name: route["possible"] for name, route in routes.items()} == {
        "batch-write": True,
        "import-table": True,
        "bulk": True,
        "global table in two accounts": None,
    }
    assert any("Engine batch-write: batch writes take about" in note for note in plan["notes"])
    result = world.load(*words)
    assert "Engine batch-write: batch writes take about" in result.stderr
    assert result.json()["engine"] == "batch-write"
    refused = world.load(export, copy, "--engine", "import-table", "--create-table", "--dry-run", check=False)
    failed = {check["name"]: check["found"] for check in refused.json()["checks"] if check["ok"] is False}
    assert (refused.exit_code, list(failed)) == (1, ["engine"])
    assert "exists" in failed["engine"]


def _wait_for_line(process: subprocess.Popen[str], text: str) -> None:
    assert process.stderr is not None
    for line in process.stderr:
        if text in line:
            return
    raise AssertionError(f"{text!r} was never printed")
