"""`--engine import-table` and `--engine bulk` have DynamoDB load an export.

ImportTable is MiniStack's own, a reader of our shards that knows nothing of us; StartBulkPutItems is that of support.native_jobs, whose answers
botocore's model of the service accepts.
"""

import datetime as dt
import json
import signal
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from support import browser, commands
from support.accounts import Accounts
from support.aws_exports import full_export
from support.environment import DESTINATION, SOURCE
from support.fingerprints import assert_same_tables
from support.native_world import NativeWorld, native_world, wait_for_line
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


@pytest.fixture
def world(
    aws: Endpoint, accounts: Accounts, bucket: str, unique_name: Callable[[], str]
) -> Iterator[NativeWorld]:
    with native_world(aws, accounts, bucket, unique_name(), items=ITEMS) as world:
        yield world


IMPORT_TABLE = ("--engine", "import-table", "--create-table")
BULK = ("--engine", "bulk")


def test_import_table_makes_the_table_with_its_items_and_settings(
    world: NativeWorld, unique_name: Callable[[], str]
) -> None:
    """MiniStack's ImportTable reads `data/` of a real export of ours; what it cannot set is set afterwards; every item is equal."""
    client, copy = world.source, unique_name()
    arn = client.describe_table(TableName=world.table)["Table"]["TableArn"]
    client.tag_resource(ResourceArn=arn, Tags=[{"Key": "team", "Value": "blue"}])
    client.update_time_to_live(
        TableName=world.table, TimeToLiveSpecification={"Enabled": True, "AttributeName": "expires"}
    )
    export = world.scanned("--segments", 3, "--shard-size", "2kB")
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


@pytest.mark.parametrize(
    ("options", "said", "cost"),
    [
        (IMPORT_TABLE, ("DynamoDB itself (import-table): arn:", "none"), "Import by DynamoDB"),
        (BULK, ("DynamoDB itself (bulk): arn:", "unknown: DynamoDB does not tell"), "Bulk put by DynamoDB"),
    ],
)
def test_an_import_by_dynamodb_leaves_its_report_and_metrics(
    options: tuple[str, ...],
    said: tuple[str, ...],
    cost: str,
    world: NativeWorld,
    unique_name: Callable[[], str],
    tmp_path: Path,
) -> None:
    """By whom, when, by which job and at what price; write units are none or unknown, and never those of our own writes."""
    export, copy = world.scanned(), unique_name()
    if options == BULK:
        create_table(world.destination, copy)
    path, metrics = tmp_path / "mine.html", tmp_path / "ddb.prom"
    world.load(export, copy, *options, "--report", path, "--metrics", metrics)
    page = path.read_text()
    for text in (*said, cost, f"Loaded: {ITEMS} items of the export.", f"ddb-import {export} {copy} "):
        assert text in page
    assert 'unknown</td></tr>\n<tr><th scope="row">Finished' not in page
    assert "Write units on demand" not in page
    assert "Throttling by reason" not in page
    if not browser.missing():
        assert browser.assert_shown(path) == f"Import into {copy}"
    values = {
        one.name: one.value
        for family in text_string_to_metric_families(metrics.read_text())
        for one in family.samples
    }
    assert (values["ddb_transfer_items_total"], values["ddb_transfer_items_expected"]) == (ITEMS, ITEMS)
    assert values["ddb_transfer_running"] == 0
    assert not values.keys() & {"ddb_transfer_capacity_units_total", "ddb_transfer_shards_total"}


def test_an_interrupted_import_goes_on_and_is_finished_later(
    world: NativeWorld, unique_name: Callable[[], str]
) -> None:
    """Ctrl-C says that DynamoDB continues; the same command waits for the same import."""
    copy, export = unique_name(), world.scanned()
    world.jobs.held.set()
    with world.start("ddb-import", export, copy, *IMPORT_TABLE) as process:
        wait_for_line(process, "IN_PROGRESS")
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
    world.jobs.held.clear()
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
    world: NativeWorld, unique_name: Callable[[], str]
) -> None:
    """Its token is stored before it is asked for."""
    copy, export = unique_name(), world.scanned()
    first = world.load(export, copy, *IMPORT_TABLE).json()
    key, plan = world.plan(export, copy)
    lost = plan | {"completed_at": "", "table_id": "", "native": plan["native"] | {"arn": "", "written": 0}}
    world.s3.put_object(Bucket=world.bucket, Key=key, Body=json.dumps(lost).encode())
    again = world.load(export, copy, *IMPORT_TABLE).json()
    assert (again["job"], again["items_written"]) == (first["job"], ITEMS)


def test_an_import_whose_table_is_gone_makes_no_other(
    world: NativeWorld, unique_name: Callable[[], str]
) -> None:
    """It ended while no command waited for it, and its table was deleted: an empty table in its place would be no import."""
    copy, export = unique_name(), world.scanned()
    world.load(export, copy, *IMPORT_TABLE)
    key, plan = world.plan(export, copy)
    unseen = plan | {"completed_at": "", "native": plan["native"] | {"written": 0}}
    world.s3.put_object(Bucket=world.bucket, Key=key, Body=json.dumps(unseen).encode())
    world.destination.delete_table(TableName=copy)
    gone = world.load(export, copy, *IMPORT_TABLE, check=False)
    assert (gone.exit_code, "does not exist any more" in gone.stderr) == (1, True), gone
    assert copy not in world.destination.list_tables()["TableNames"]
    assert world.load(export, copy, *IMPORT_TABLE, "--restart").json()["items_written"] == ITEMS


def test_a_failed_import_is_a_failure(world: NativeWorld, unique_name: Callable[[], str]) -> None:
    """An item that DynamoDB refuses ends it FAILED, with the good items in a table that nobody deletes but the user."""
    copy = unique_name()
    export = full_export([{"pk": {"S": "a"}}, {"other": {"S": "b"}}]).put(world.s3, world.bucket)
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


def test_what_import_table_cannot_make_is_refused(world: NativeWorld, unique_name: Callable[[], str]) -> None:
    """Local indexes would be lost for good; the message names the road that keeps them. Nothing is made."""
    source, copy = unique_name(), unique_name()
    create_table(world.source, source, LocalSecondaryIndexes=[LOCAL_INDEX], AttributeDefinitions=DEFINITIONS)
    fill(world.source, source, varied_items(5))
    export = world.scanned(table=source)
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


def test_import_table_wants_a_new_table(world: NativeWorld, unique_name: Callable[[], str]) -> None:
    """One that exists is never replaced."""
    copy, export = unique_name(), world.scanned()
    create_table(world.destination, copy)
    refused = world.load(export, copy, *IMPORT_TABLE, check=False)
    assert (refused.exit_code, "ImportTable makes its table" in refused.stderr) == (1, True)


@pytest.mark.parametrize("engine", [IMPORT_TABLE, (*BULK, "--create-table")], ids=["import-table", "bulk"])
def test_a_file_that_is_not_of_the_export_is_found(
    world: NativeWorld, unique_name: Callable[[], str], engine: tuple[str, ...]
) -> None:
    """An engine takes every object below the prefix."""
    copy, export = unique_name(), world.scanned()
    key = world.key(export) + "data/notes.txt"
    world.s3.put_object(Bucket=world.bucket, Key=key, Body=b"x")
    refused = world.load(export, copy, *engine, check=False)
    assert (refused.exit_code, "data/notes.txt" in refused.stderr) == (1, True)


def test_a_copy_that_was_altered_is_found_before_anything_is_loaded(
    world: NativeWorld, unique_name: Callable[[], str]
) -> None:
    """DynamoDB checks no checksum of ours: what is not as S3 stored it is read first."""
    copy = unique_name()
    export = full_export(list(varied_items(20)), files=1)
    (key,) = [key for key, data in export.files.items() if "/data/" in key and len(data) > 40]
    items = [item | {"forged": {"S": "x"}} for item in varied_items(20)]
    forged = replace(export, files=export.files | {key: full_export(items, files=1).files[key]})
    url = forged.put(world.s3, world.bucket)
    refused = world.load(url, copy, *IMPORT_TABLE, "--key", "pk:S,sk:N", check=False)
    assert (refused.exit_code, "is damaged" in refused.stderr) == (1, True)
    assert copy not in world.destination.list_tables()["TableNames"]


def test_a_bulk_put_loads_into_a_table_that_exists(
    world: NativeWorld, unique_name: Callable[[], str]
) -> None:
    """With its own cap; the same command again loads nothing."""
    copy, export = unique_name(), world.scanned()
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


def test_items_that_a_bulk_put_refuses_are_rejects(
    world: NativeWorld, unique_name: Callable[[], str]
) -> None:
    """Exit 3, never 0; the count and the place of DynamoDB's report."""
    copy = unique_name()
    create_table(world.destination, copy, SIMPLE_KEY)
    export = full_export([{"pk": {"S": "a"}}, {"other": {"S": "b"}}, {"pk": {"S": "c"}}]).put(
        world.s3, world.bucket
    )
    result = world.load(export, copy, *BULK, check=False)
    assert (result.exit_code, result.json()["status"]) == (3, "rejects")
    assert (result.json()["items_written"], result.json()["items_rejected"]) == (2, 1)
    report = result.json()["rejects"]
    listed = world.s3.list_objects_v2(Bucket=world.bucket, Prefix=world.key(report))
    assert listed["KeyCount"] == 1
    assert f"/import/{DESTINATION}.eu-west-1.{copy}/bulk/" in report


def test_ctrl_c_cancels_a_bulk_put_and_the_next_command_starts_another(
    world: NativeWorld, unique_name: Callable[[], str]
) -> None:
    """Once the first one is over: what is written stays, and puts may be repeated."""
    copy, export = unique_name(), world.scanned()
    create_table(world.destination, copy)
    world.jobs.held.set()
    with world.start("ddb-import", export, copy, *BULK) as process:
        wait_for_line(process, "IN_PROGRESS")
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
    assert (process.returncode, "stay in the table" in err) == (130, True)
    assert [job["BulkOperationStatus"] for job in world.jobs.jobs.values()] == ["CANCELLING"]
    world.jobs.held.clear()
    result = world.load(export, copy, *BULK)
    assert (result.json()["items_written"], len(world.jobs.jobs)) == (ITEMS, 2)
    assert "is being cancelled. Its end is waited for" in result.stderr
    assert "is CANCELLED" in result.stderr
    world.assert_loaded(copy)


def test_sigterm_leaves_a_bulk_put_running(world: NativeWorld, unique_name: Callable[[], str]) -> None:
    """As when a container ends: the same command waits for the same operation."""
    copy, export = unique_name(), world.scanned()
    create_table(world.destination, copy)
    world.jobs.held.set()
    with world.start("ddb-import", export, copy, *BULK) as process:
        wait_for_line(process, "IN_PROGRESS")
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate(timeout=60)
    assert (process.returncode, "continues" in err) == (143, True)
    world.jobs.held.clear()
    assert world.load(export, copy, *BULK).json()["items_written"] == ITEMS
    assert len(world.jobs.jobs) == 1


def test_a_failed_bulk_put_is_a_failure(world: NativeWorld, unique_name: Callable[[], str]) -> None:
    """Exit 1; the next command starts another."""
    copy, export = unique_name(), world.scanned()
    create_table(world.destination, copy)
    world.jobs.failure = "S3AccessDenied"
    failed = world.load(export, copy, *BULK, check=False)
    assert (failed.exit_code, "S3AccessDenied" in failed.stderr) == (1, True)
    other = world.load(export, copy, check=False)
    assert (other.exit_code, "--engine bulk" in other.stderr) == (1, True)
    world.jobs.failure = ""
    assert world.load(export, copy, *BULK).json()["items_written"] == ITEMS


def test_a_bulk_put_that_lost_items_is_repaired_by_restart(
    world: NativeWorld, unique_name: Callable[[], str]
) -> None:
    """DynamoDB may give up an object in its middle and call the job COMPLETED: exit 1, again and again, with what to do."""
    copy, export = unique_name(), world.scanned()
    create_table(world.destination, copy)
    world.jobs.unread = 1
    for _ in range(2):
        failed = world.load(export, copy, *BULK, check=False)
        assert (failed.exit_code, "the counts do not add up" in failed.stderr) == (1, True)
        assert all(word in failed.stderr for word in ("ddb-verify", "--restart"))
    world.jobs.unread = 0
    repaired = world.load(export, copy, *BULK, "--restart", "--verify").json()
    assert (repaired["items_written"], repaired["verification"]["verdict"]) == (ITEMS, "identical")
    world.assert_loaded(copy)


def test_a_bulk_put_asks_as_our_own_writes_do(world: NativeWorld, unique_name: Callable[[], str]) -> None:
    """A table that holds items needs the user's word, also one that was recreated since; the exported table is refused."""
    copy, export = unique_name(), world.scanned()
    create_table(world.destination, copy)
    fill(world.destination, copy, varied_items(1))
    for restart in ((), ("--restart",)):
        refused = world.load(export, copy, *BULK, *restart, check=False)
        assert (refused.exit_code, "already contains items; nothing was written" in refused.stderr) == (
            1,
            True,
        )
        assert "--on-existing overwrite" in refused.stderr
    own = commands.run(
        "ddb-import", export, world.table, *BULK, "--on-existing", "overwrite", "--restart",
        account=SOURCE, endpoint=world.jobs.url, s3_endpoint=world.aws, check=False,
    )  # fmt: skip
    assert (own.exit_code, "is the exported table itself" in own.stderr) == (1, True)
    assert world.jobs.requests("StartBulkPutItems") == []
    assert world.load(export, copy, *BULK, "--on-existing", "overwrite").json()["items_written"] == ITEMS
    world.destination.delete_table(TableName=copy)
    create_table(world.destination, copy)
    fill(world.destination, copy, varied_items(1))
    recreated = world.load(export, copy, *BULK, "--restart", check=False)
    assert (recreated.exit_code, "already contains items" in recreated.stderr) == (1, True)
    assert len(world.jobs.requests("StartBulkPutItems")) == 1


@pytest.mark.parametrize(
    ("words", "told"), [(("--max-wcu", "500"), "1,024"), (("--state", "STATE"), "is a local folder")]
)
def test_what_a_bulk_put_cannot_do_is_refused(
    world: NativeWorld, unique_name: Callable[[], str], tmp_path: Path, words: tuple[str, ...], told: str
) -> None:
    """A cap below DynamoDB's least, and a report on a disk: before anything is loaded."""
    copy, export = unique_name(), world.scanned()
    create_table(world.destination, copy)
    given = [str(tmp_path) if word == "STATE" else word for word in words]
    refused = world.load(export, copy, *BULK, *given, check=False)
    assert (refused.exit_code, told in refused.stderr) == (2, True), refused.stderr
    assert read_all(world.destination, copy) == {}


def test_parquet_is_not_for_the_engines(world: NativeWorld, unique_name: Callable[[], str]) -> None:
    """They take JSON lines and Ion."""
    export = world.scanned("--format", "parquet")
    refused = world.load(export, unique_name(), *IMPORT_TABLE, check=False)
    assert (refused.exit_code, "this export is Parquet" in refused.stderr) == (2, True)


def test_the_native_route_with_increments(world: NativeWorld, unique_name: Callable[[], str]) -> None:
    """DynamoDB exports, DynamoDB imports, and the changes since are applied: the copy is equal to the table as it is then."""
    world.source.update_continuous_backups(
        TableName=world.table, PointInTimeRecoverySpecification={"PointInTimeRecoveryEnabled": True}
    )

    def export(*words: object) -> str:
        result = world.export(*words)
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
    world.destination.delete_table(TableName=copy)
    refused = world.load(export(), copy, *IMPORT_TABLE, check=False)
    assert (refused.exit_code, "which does not exist any more" in refused.stderr) == (1, True), str(refused)
    tables = world.destination.list_tables()["TableNames"]
    assert copy not in tables, "nothing is made of what is refused"


def test_auto_says_what_it_takes_and_why(world: NativeWorld, unique_name: Callable[[], str]) -> None:
    """A small export is loaded by batch writes; the plan compares the engines."""
    copy, export = unique_name(), world.scanned()
    words = (export, copy, "--engine", "auto", "--create-table")
    plan = world.load(*words, "--dry-run").json()
    routes = {route["route"]: route for route in plan["routes"]}
    assert {name: route["possible"] for name, route in routes.items()} == {
        "batch-write": True,
        "import-table": True,
        "bulk": True,
        "global table in two accounts": False,
    }
    assert "another Region than the source's" in routes["global table in two accounts"]["why"]
    assert all(route["seconds"] is not None and route["basis"] for route in routes.values())
    assert any("Engine batch-write: batch writes take about" in note for note in plan["notes"])
    result = world.load(*words)
    assert "Engine batch-write: batch writes take about" in result.stderr
    assert result.json()["engine"] == "batch-write"
    refused = world.load(export, copy, "--engine", "import-table", "--create-table", "--dry-run", check=False)
    failed = {check["name"]: check["found"] for check in refused.json()["checks"] if check["ok"] is False}
    assert (refused.exit_code, list(failed)) == (1, ["engine"])
    assert "exists" in failed["engine"]
