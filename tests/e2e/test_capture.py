"""A table in use: exported while it is written to, followed, and closed with proof; base and changes make it exactly."""

import contextlib
import io
import json
import random
import re
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pyarrow.parquet
import pytest

from ddb_export.capture import gate, silence
from ddb_shared.aws.clients import Aws, AwsOptions
from ddb_shared.command.invocation import Invocation
from ddb_shared.errors import StateError
from ddb_shared.runtime import lease as leases
from ddb_shared.runtime.stop import Stop
from ddb_shared.storage.s3 import S3Storage
from support import commands
from support.accounts import Accounts
from support.environment import DESTINATION, REGION, SOURCE, credentials
from support.memory import data_of
from support.replay import as_table, base, changes, replay
from support.services import Endpoint
from support.tables import COMPOSITE_KEY, assert_same_items, create_table, fill, read_all
from support.writers import Writers

ITEMS = 400
STREAM = {"StreamEnabled": True, "StreamViewType": "NEW_AND_OLD_IMAGES"}


class Lab:
    """A table of items at one engine, a bucket at MiniStack, and the commands of the source side."""

    def __init__(self, engine: Endpoint, aws: Endpoint, bucket: str, accounts: Accounts, table: str) -> None:
        self.engine = engine
        self.aws = aws
        self.bucket = bucket
        self.table = table
        self.client = accounts.dynamodb(engine, SOURCE)
        self.s3 = accounts.s3(aws, DESTINATION)
        create_table(self.client, table)
        items = [
            {"pk": {"S": f"key-{n}"}, "sk": {"N": str(n % 3)}, "old": {"N": str(n)}} for n in range(ITEMS)
        ]
        fill(self.client, table, items)

    def start(self, *arguments: object) -> subprocess.Popen[str]:
        return commands.start(
            "ddb-export", *arguments, account=SOURCE, endpoint=self.engine, s3_endpoint=self.aws
        )

    @contextmanager
    def following(self, *more: object) -> Iterator[tuple[subprocess.Popen[str], str]]:
        """An export that follows, and its location, as soon as the command prints it."""
        line = (self.table, f"s3://{self.bucket}/moves", "--follow", "--segments", 4, *more)
        with self.start(*line) as process:
            try:
                assert process.stdout is not None
                location = process.stdout.readline().strip()
                assert location.startswith(f"s3://{self.bucket}/"), finished(process)
                yield process, location
            finally:
                process.kill()

    def run(self, *arguments: object, check: bool = True) -> commands.Result:
        return commands.run(
            "ddb-export", *arguments, account=SOURCE, endpoint=self.engine, s3_endpoint=self.aws, check=check
        )

    def storage(self, location: str) -> S3Storage:
        return S3Storage(self.s3, self.bucket, location.removeprefix(f"s3://{self.bucket}/"))

    def wait_for(self, location: str, name: str, seconds: float = 60.0) -> None:
        """Returns once a file of the export is there."""
        deadline, storage = time.monotonic() + seconds, self.storage(location)
        while storage.read(name) is None:
            assert time.monotonic() < deadline, f"{name} is not there"
            time.sleep(0.1)

    def wait_for_lease(self, location: str, seconds: float = 60.0) -> None:
        """Returns once a run holds the export's lease."""
        deadline, storage = time.monotonic() + seconds, self.storage(location)
        while (found := leases.read(storage)) is None or not found.is_held:
            assert time.monotonic() < deadline, "no run holds the lease"
            time.sleep(0.1)

    def wait_for_changes(self, location: str, count: int, seconds: float = 60.0) -> None:
        """Returns once so many changes are captured."""
        deadline, storage = time.monotonic() + seconds, self.storage(location)
        while len(changes(storage)) < count:
            assert time.monotonic() < deadline, f"{len(changes(storage))} changes"
            time.sleep(0.2)

    def assert_equal(self, location: str) -> None:
        """Base and changes of the export are the table, item by item."""
        storage = self.storage(location)
        made = replay(storage, COMPOSITE_KEY, base(storage, COMPOSITE_KEY))
        assert_same_items(read_all(self.client, self.table), made)

    def assert_reported(self, location: str, finished: dict[str, Any]) -> None:
        """The report of the export tells what was captured, and how that ended."""
        page = data_of(self.storage(location), "report.html").decode()
        for text in (
            f" {finished['changes']:,} changes were captured.",
            f"closed at {finished['closed_at']}",
            f"{finished['proof']}: ",
            f"{self.table} --follow",
        ):
            assert text in page

    def stream_is_enabled(self) -> bool:
        table = self.client.describe_table(TableName=self.table)["Table"]
        return bool(table.get("StreamSpecification", {}).get("StreamEnabled"))


def finished(process: subprocess.Popen[str]) -> commands.Result:
    """The end of a process that was started."""
    stdout, stderr = process.communicate(timeout=120)
    return commands.Result(("ddb-export",), process.returncode, stdout, stderr)


@pytest.fixture
def lab(
    engine: Endpoint, aws: Endpoint, bucket: str, accounts: Accounts, unique_name: Callable[[], str]
) -> Lab:
    """The table at each engine in turn."""
    return Lab(engine, aws, bucket, accounts, unique_name())


@pytest.fixture
def aws_lab(aws: Endpoint, bucket: str, accounts: Accounts, unique_name: Callable[[], str]) -> Lab:
    """The table at MiniStack."""
    return Lab(aws, aws, bucket, accounts, unique_name())


def test_a_table_is_followed_until_its_writers_stop(lab: Lab) -> None:
    """Writers write all the time; the end is a proof, and base and changes are the table."""
    with Writers(lab.client, lab.table) as writers, lab.following() as (process, location):
        lab.wait_for(location, "manifest.json")
        writers.wait_for(150)
        writers.stop()
        result = lab.run("--finish", location, "--json").json()
        export = finished(process)
    assert (0, "") == (export.exit_code, export.stdout), str(export)
    assert ("closed", "stream disabled", location) == (result["status"], result["proof"], result["export"])
    assert len(changes(lab.storage(location))) == result["changes"] > 0
    assert f"{result['changes']:,} changes captured" in export.stderr
    lab.assert_reported(location, result)
    assert not lab.stream_is_enabled()
    lab.assert_equal(location)
    assert result == lab.run("--finish", location, "--json").json() | {"seconds": result["seconds"]}


def test_writers_are_blocked_and_allowed_again(aws_lab: Lab) -> None:
    """The block is part of the proof; the policy of before comes back byte for byte, and one that was changed keeps the change."""
    lab = aws_lab
    arn = lab.client.describe_table(TableName=lab.table)["Table"]["TableArn"]
    reader = {
        "Sid": "Read",
        "Effect": "Allow",
        "Principal": {"AWS": SOURCE},
        "Action": "dynamodb:GetItem",
        "Resource": arn,
    }
    text = json.dumps({"Version": "2012-10-17", "Statement": reader}, indent=3)
    lab.client.put_resource_policy(ResourceArn=arn, Policy=text)
    with lab.following() as (process, location):
        lab.wait_for(location, "manifest.json")
        result = lab.run("--finish", location, "--block-writes", "--json").json()
        assert 0 == finished(process).exit_code
    assert ("writes blocked", True) == (result["proof"], result["writes_blocked"])
    blocked = lab.client.get_resource_policy(ResourceArn=arn)["Policy"]
    ours = re.sub(r"\W", "", location.rstrip("/").rpartition("/")[2])
    assert [reader["Sid"], f"DdbTransferBlockWrites{ours}"] == [
        one["Sid"] for one in json.loads(blocked)["Statement"]
    ]
    assert "unblocked" == lab.run("--unblock", location, "--json").json()["status"]
    assert text == lab.client.get_resource_policy(ResourceArn=arn)["Policy"]
    assert "not blocked" == lab.run("--unblock", location, "--json").json()["status"]
    other = {**reader, "Sid": "Other"}
    policy = json.loads(blocked) | {"Statement": [*json.loads(blocked)["Statement"], other]}
    lab.client.put_resource_policy(ResourceArn=arn, Policy=json.dumps(policy))
    lab.run("--unblock", location)
    left = json.loads(lab.client.get_resource_policy(ResourceArn=arn)["Policy"])
    assert [reader, other] == left["Statement"]


def test_a_stream_of_others_is_used_and_stays(lab: Lab) -> None:
    """From its oldest change on, which is older than the export; there is only silence to prove the end by."""
    lab.client.update_table(TableName=lab.table, StreamSpecification=STREAM)
    with Writers(lab.client, lab.table) as writers:
        writers.wait_for(50)
        with lab.following() as (process, location):
            lab.wait_for(location, "manifest.json")
            writers.stop()
            result = lab.run("--finish", location, "--json").json()
            assert 0 == finished(process).exit_code
    assert ("quiet", True) == (result["proof"], lab.stream_is_enabled())
    assert result["changes"] >= 40
    lab.assert_equal(location)


@pytest.mark.parametrize("view", ["KEYS_ONLY", "OLD_IMAGE"])
def test_a_stream_without_new_images_is_refused(aws_lab: Lab, view: str) -> None:
    """With the way out, and before anything is written: its records would be deletions."""
    aws_lab.client.update_table(
        TableName=aws_lab.table, StreamSpecification={"StreamEnabled": True, "StreamViewType": view}
    )
    result = aws_lab.run(aws_lab.table, f"s3://{aws_lab.bucket}/moves", "--follow", check=False)
    assert (1, "") == (result.exit_code, result.stdout), str(result)
    assert f"has the view {view}" in result.stderr
    assert "StreamEnabled=false" in result.stderr
    keys = [entry["Key"] for entry in aws_lab.s3.list_objects_v2(Bucket=aws_lab.bucket).get("Contents", ())]
    assert all(key.endswith("probe.json") for key in keys)


def test_a_follow_that_was_killed_is_finished_without_it(lab: Lab) -> None:
    """--finish takes the lease of the dead run and reads the stream by itself; killed too, it is given again."""
    with Writers(lab.client, lab.table) as writers:
        with lab.following() as (process, location):
            lab.wait_for(location, "manifest.json")
            process.kill()
            process.wait()
        writers.wait_for(100)
        writers.stop()
    for seconds in (1.5, 7.0):
        with lab.start("--finish", location) as finish:
            with contextlib.suppress(subprocess.TimeoutExpired):
                finish.wait(seconds)
            finish.kill()
    result = lab.run("--finish", location, "--json").json()
    assert "stream disabled" == result["proof"]
    lab.assert_equal(location)
    lab.assert_reported(location, result)
    resumed = lab.run("--resume", location, "--json").json()
    assert ("complete", result["changes"]) == (resumed["status"], resumed["changes"])


ROUNDS = [
    pytest.param(range(2), id="0-1"),
    pytest.param(range(2, 12), id="2-11", marks=pytest.mark.soak),
]


@pytest.mark.parametrize("seeds", ROUNDS)
def test_a_capture_may_be_killed_at_any_moment(lab: Lab, seeds: range) -> None:
    """Kill -9 at random moments, resumed each time while the writers continue: nothing is lost, nothing is in the log twice."""
    with Writers(lab.client, lab.table) as writers, contextlib.ExitStack() as lives:
        process, location = lives.enter_context(lab.following())
        for seed in seeds:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(random.Random(seed).uniform(0.1, 6.0))
            process.kill()
            process.wait()
            process = lives.enter_context(lab.start("--resume", location))
            lives.callback(process.kill)
        assert process.stdout is not None
        assert (
            location == process.stdout.readline().strip()
        )  # else --finish could be first, and capture by itself
        lab.wait_for(location, "manifest.json")
        writers.stop()
        lab.run("--finish", location)
        export = finished(process)
    assert 0 == export.exit_code, str(export)
    lab.assert_equal(location)


def test_a_resumed_follow_prints_its_location_and_goes_on(aws_lab: Lab) -> None:
    """Interrupted by a signal it exits with 130 and says how, and by when, to continue; with --json the result is one object."""
    lab = aws_lab
    with Writers(lab.client, lab.table) as writers:
        with lab.following() as (process, location):
            lab.wait_for(location, "manifest.json")
            process.send_signal(signal.SIGINT)
            interrupted = finished(process)
        assert (130, "") == (interrupted.exit_code, interrupted.stdout), str(interrupted)
        assert "Within 24 hours" in interrupted.stderr
        assert f"ddb-export --resume {location}" in interrupted.stderr
        writers.wait_for(30)
        with lab.start("--resume", location) as again:
            assert again.stdout is not None
            assert location == again.stdout.readline().strip()
            again.send_signal(signal.SIGTERM)
            assert 143 == finished(again).exit_code
        with lab.start("--resume", location, "--json") as last:
            lab.wait_for_lease(location)  # else --finish could be first, and capture by itself
            writers.stop()
            result = lab.run("--finish", location, "--json").json()
            export = json.loads(finished(last).stdout)
    assert ("complete", location, result["changes"]) == (
        export["status"],
        export["export"],
        export["changes"],
    )
    lab.assert_equal(location)


def test_what_cannot_be_finished_is_refused(aws_lab: Lab) -> None:
    """An export that does not follow, a base that is unfinished, a cancelled follow, no export; the stream is untouched."""
    lab = aws_lab
    plain = lab.run(lab.table, f"s3://{lab.bucket}/moves").stdout.strip()
    for option in ("--finish", "--cancel", "--unblock"):
        refused = lab.run(option, plain, check=False)
        assert (1, True) == (refused.exit_code, "does not follow its table" in refused.stderr), str(refused)
    with lab.following() as (process, location):
        lab.wait_for(location, "manifest.json")
        process.kill()
        process.wait()
    key = location.removeprefix(f"s3://{lab.bucket}/") + "manifest.json"
    manifest = lab.s3.get_object(Bucket=lab.bucket, Key=key)["Body"].read()
    lab.s3.delete_object(Bucket=lab.bucket, Key=key)
    refused = lab.run("--finish", location, check=False)
    assert (1, True) == (refused.exit_code, "is unfinished" in refused.stderr), str(refused)
    assert lab.stream_is_enabled()
    lab.s3.put_object(Bucket=lab.bucket, Key=key, Body=manifest)
    cancelled = lab.run("--cancel", location, "--json").json()
    assert ("cancelled", True, False) == (
        cancelled["status"],
        cancelled["stream_disabled"],
        lab.stream_is_enabled(),
    )
    assert "cancelled" == lab.run("--cancel", location, "--json").json()["status"]
    refused = lab.run("--finish", location, check=False)
    assert (1, True) == (refused.exit_code, "was cancelled" in refused.stderr), str(refused)
    assert "complete" == lab.run("--resume", location, "--json").json()["status"]


def test_a_stream_that_others_have_disabled_is_not_finished(aws_lab: Lab) -> None:
    """What was written since is in no stream, also where no run was there to see it."""
    with aws_lab.following() as (process, location):
        aws_lab.wait_for(location, "manifest.json")
        process.kill()
        finished(process)
    aws_lab.client.update_table(TableName=aws_lab.table, StreamSpecification={"StreamEnabled": False})
    refused = aws_lab.run("--finish", location, check=False)
    assert (1, True) == (refused.exit_code, "not by --finish" in refused.stderr), str(refused)


def test_a_cancelled_follow_ends_its_run(aws_lab: Lab) -> None:
    """With an error: its changes are not complete."""
    with aws_lab.following() as (process, location):
        aws_lab.wait_for(location, "manifest.json")
        aws_lab.run("--cancel", location)
        export = finished(process)
    assert (1, True) == (export.exit_code, "was cancelled" in export.stderr), str(export)


def test_a_table_that_is_written_to_is_not_finished(aws_lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """The gate says how many changes arrived, and the stream stays as it is."""
    lab = aws_lab
    monkeypatch.setattr(silence, "REFUSE_SECONDS", 3.0)
    for name, value in credentials(SOURCE).items():
        monkeypatch.setenv(name, value)
    with Writers(lab.client, lab.table), lab.following() as (process, location):
        lab.wait_for(location, "manifest.json")
        aws = Aws(AwsOptions(region=REGION, endpoint_url=lab.aws.url))
        with pytest.raises(
            StateError, match=r"still being written: [\d,]+ changes arrived .* The stream is untouched"
        ):
            gate.finish(aws, location, Stop(), block_writes=False, caller=Invocation("ddb-export"))
        assert (None, True) == (process.poll(), lab.stream_is_enabled())
        assert lab.storage(location).read("changes/finish.json") is None


def test_changes_alone_are_captured(aws_lab: Lab) -> None:
    """For the way back: no base, and a manifest that says so; no manifest of AWS, which would be that of an empty table."""
    lab = aws_lab
    before = read_all(lab.client, lab.table)
    line = (lab.table, f"s3://{lab.bucket}/moves", "--follow", "--changes-only")
    with Writers(lab.client, lab.table) as writers, lab.start(*line) as process:
        assert process.stdout is not None
        writers_began = writers.count
        location = process.stdout.readline().strip()
        lab.wait_for(location, "manifest.json")
        writers.wait_for(60)
        writers.stop()
        lab.run("--finish", location)
        assert 0 == finished(process).exit_code
    storage = lab.storage(location)
    manifest = json.loads(data_of(storage, "manifest.json"))
    assert ("changes-only", 0, []) == (manifest["method"], manifest["items"], manifest["shards"])
    assert storage.read("manifest-summary.json") is None
    assert json.loads(data_of(storage, "changes/stream.json"))["changes_only"]
    assert 0 <= writers_began
    captured = replay(storage, COMPOSITE_KEY, before)
    after = read_all(lab.client, lab.table)
    touched = {COMPOSITE_KEY.of(change["Keys"]) for change in changes(storage)}
    assert {key: after.get(key) for key in touched} == {key: captured.get(key) for key in touched}
    assert len(touched) > 20


def test_a_base_in_parquet_has_changes_in_json_lines(aws_lab: Lab) -> None:
    """Both in one export; --list tells that it follows, and then that it is closed."""
    lab = aws_lab
    with (
        Writers(lab.client, lab.table) as writers,
        lab.following("--format", "parquet") as (process, location),
    ):
        lab.wait_for(location, "manifest.json")
        writers.wait_for(30)
        writers.stop()
        listing = ("--list", f"s3://{lab.bucket}/moves", "--json")
        assert ["following"] == [one["status"] for one in lab.run(*listing).json()["exports"]]
        result = lab.run("--finish", location, "--json").json()
        assert 0 == finished(process).exit_code
    (listed,) = lab.run(*listing).json()["exports"]
    assert ("closed", result["changes"]) == (listed["status"], listed["capture"]["changes"])
    names = [entry.name for entry in lab.storage(location).list("data/")]
    assert names
    assert all(name.endswith(".parquet") for name in names)
    lines = parquet_items(lab.storage(location), names)
    made = replay(lab.storage(location), COMPOSITE_KEY, as_table(lines, COMPOSITE_KEY))
    assert_same_items(read_all(lab.client, lab.table), made)


def parquet_items(storage: S3Storage, names: list[str]) -> list[dict[str, Any]]:
    """The items of Parquet shards, as another reader finds them."""
    tables = [pyarrow.parquet.read_table(io.BytesIO(data_of(storage, name))) for name in names]
    return [json.loads(text) for table in tables for text in table.column("item").to_pylist()]


def test_a_dry_run_tells_what_becomes_of_the_stream(aws_lab: Lab) -> None:
    """And changes nothing."""
    words = (aws_lab.table, f"s3://{aws_lab.bucket}/moves", "--follow", "--dry-run", "--json")
    checks = {check["name"]: check["found"] for check in aws_lab.run(*words).json()["checks"]}
    assert "one with the view NEW_IMAGE will be enabled" in checks["stream"]
    assert not aws_lab.stream_is_enabled()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("T", "s3://bucket", "--changes-only"), "belongs to --follow"),
        (("T", "s3://bucket", "--follow", "--finish", "s3://bucket/x"), "exclude each other"),
        (("--finish", "s3://bucket/x", "--cancel", "s3://bucket/x"), "exclude each other"),
        (("T", "s3://bucket", "--block-writes"), "belongs to --finish"),
        (("--resume", "s3://bucket/x", "--follow"), "exclude each other"),
        (("T", "s3://bucket", "--follow", "--changes-only", "--segments", 4), "scans nothing"),
        (("T", "s3://bucket", "--follow", "--method", "pitr"), "--method scan"),
        (("--finish", "bucket"), "Invalid S3 URL"),
    ],
)
def test_options_that_do_not_go_together_are_usage_errors(words: tuple[object, ...], said: str) -> None:
    """Exit code 2, before anything is asked of AWS."""
    result = commands.run("ddb-export", *words, check=False)
    assert (2, True) == (result.exit_code, said in result.stderr), str(result)
