"""AWS's incremental exports bring a table from a full export to a later time, window by window."""

import datetime as dt
import gzip
import json
import os
import random
import signal
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from ddb_shared.format.increment import NEW_AND_OLD_IMAGES, NEW_IMAGE
from ddb_shared.times import time_text
from e2e.conftest import Mover
from e2e.test_consent import exists
from e2e.test_dry_run import ELSEWHERE, found_by
from e2e.test_resume import wait_until
from support import commands
from support.accounts import Accounts
from support.aws_exports import TABLE_ID, Form, change_line, full_export, incremental_export, ion_change_line
from support.environment import DESTINATION
from support.services import Endpoint
from support.tables import Table, assert_same_items, by_key, create_table, read_all

START = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
WINDOW = dt.timedelta(minutes=15)
KEYS = 120


def item(number: int, version: int) -> dict[str, Any]:
    return {
        "pk": {"S": f"k{number}"},
        "sk": {"N": str(number % 7)},
        "v": {"N": str(version)},
        "data": {"B": bytes([version % 256])},
    }


class History:
    """A table that changes, as a model, and AWS's exports of it."""

    def __init__(self, s3: Any, bucket: str, seed: int) -> None:
        self.now = START
        self.output_format = "DYNAMODB_JSON"
        self._s3 = s3
        self.bucket = bucket
        self._exports = 0
        self.items = {number: item(number, 0) for number in range(0, KEYS, 2)}
        self._chance = random.Random(seed)
        self._version = 0

    def full(self) -> str:
        form = Form(self.output_format, self._new_id(), time=time_text(self.now), bucket=self.bucket)
        return full_export(list(self.items.values()), "native/", form=form).put(self._s3, self.bucket)

    def window(self, view: str = NEW_AND_OLD_IMAGES, changes: int = 60) -> str:
        """Puts, updates and deletes for a quarter of an hour; returns the increment of that time."""
        before = dict(self.items)
        for _ in range(changes):
            number = self._chance.randrange(KEYS)
            if self._chance.random() < 0.3:
                self.items.pop(number, None)
            else:
                self._version += 1
                self.items[number] = item(number, self._version)
        line_of = ion_change_line if self.output_format == "ION" else change_line
        lines = [
            line_of(
                {name: (before.get(number) or self.items[number])[name] for name in ("pk", "sk")},
                self.items.get(number),
                before.get(number) if view == NEW_AND_OLD_IMAGES else None,
            )
            for number in sorted(before.keys() | self.items.keys())
            if before.get(number) != self.items.get(number)
        ]
        start, self.now = self.now, self.now + WINDOW
        return self.increment(lines, start, view)

    def increment(self, lines: list[bytes], start: dt.datetime, view: str, table_id: str = TABLE_ID) -> str:
        """Stores the increment of a window."""
        window = (time_text(start), time_text(start + WINDOW), view)
        form = Form(self.output_format, self._new_id(), window=window, bucket=self.bucket, table_id=table_id)
        return incremental_export(lines, "native/", form=form).put(self._s3, self.bucket)

    def _new_id(self) -> str:
        self._exports += 1
        return f"017156{self._exports:08d}-{self._exports:08x}"

    def expected(self) -> Table:
        return by_key(self.items.values())


class Lab:
    """The exports in a bucket, and a table of the destination."""

    def __init__(self, mover: Mover, accounts: Accounts, table: str) -> None:
        self.mover = mover
        self.table = table
        self.client = accounts.dynamodb(mover.engine, DESTINATION)
        self.s3 = accounts.s3(mover.aws, DESTINATION)
        create_table(self.client, table)

    def history(self, seed: int) -> History:
        return History(self.s3, self.mover.bucket, seed)

    def load(self, *words: object, **options: Any) -> Any:
        return self.mover.load(*words, self.table, **options)

    def data_files(self, url: str) -> list[str]:
        """The keys of an export's data files."""
        prefix = url.removeprefix(f"s3://{self.mover.bucket}/")
        listing = self.s3.get_object(Bucket=self.mover.bucket, Key=f"{prefix}manifest-files.json")
        return [json.loads(line)["dataFileS3Key"] for line in listing["Body"].read().splitlines()]

    def state_keys(self) -> list[str]:
        """The keys of what belongs to imports into tables."""
        listed = self.s3.list_objects_v2(Bucket=self.mover.bucket, Prefix="native/import/")
        return [entry["Key"] for entry in listed.get("Contents", ())]

    def exports_applied(self) -> list[str]:
        """The exports in the record, if there is one yet."""
        found = any(key.endswith("applied.json") for key in self.state_keys())
        return [entry["export"] for entry in self.applied()["exports"]] if found else []

    def applied(self) -> dict[str, Any]:
        """The record beside the exports."""
        (key,) = (key for key in self.state_keys() if key.endswith("applied.json"))
        record = json.loads(self.s3.get_object(Bucket=self.mover.bucket, Key=key)["Body"].read())
        assert isinstance(record, dict)
        return record

    def assert_holds(self, expected: Table) -> None:
        assert_same_items(expected, read_all(self.client, self.table))


@pytest.fixture
def lab(
    ddb_local: Endpoint, aws: Endpoint, bucket: str, accounts: Accounts, unique_name: Callable[[], str]
) -> Lab:
    return Lab(Mover(ddb_local, aws, bucket), accounts, unique_name())


def test_a_full_export_and_a_day_of_increments(lab: Lab) -> None:
    """96 windows of 15 minutes of both views, given at once and in any order: the table is what the source was at the end."""
    history = lab.history(seed=1)
    full = history.full()
    windows = [history.window(NEW_IMAGE if number % 2 else NEW_AND_OLD_IMAGES) for number in range(96)]
    random.Random(2).shuffle(windows)
    result = lab.load(full, *windows).json()
    assert (result["status"], result["items_written"]) == ("complete", KEYS // 2)
    assert result["changes_applied"] > 96 * 10
    lab.assert_holds(history.expected())


def test_increments_in_ion(lab: Lab) -> None:
    """After a full export in Ion, and among those in JSON: puts and deletes of both views; a line of another form is a reject."""
    history = lab.history(seed=5)
    history.output_format = "ION"
    urls = [history.full(), history.window(), history.window(NEW_IMAGE)]
    history.output_format = "DYNAMODB_JSON"
    urls.append(history.window())
    lab.load(*urls)
    lab.assert_holds(history.expected())
    history.output_format = "ION"
    broken = [b"$ion_1_0 {Record:{Keys:{pk:$dynamodb_SS::[],sk:1.}}}\n", b"$ion_1_0 {Change:{}}\n"]
    start, history.now = history.now, history.now + WINDOW
    result = lab.load(history.increment(broken, start, NEW_AND_OLD_IMAGES), check=False)
    assert (3, 2) == (result.exit_code, result.json()["items_rejected"])
    lab.assert_holds(history.expected())


def test_later_increments_continue_the_record(lab: Lab) -> None:
    """Without --on-existing; what the table has had is not applied again, and what is missing is named."""
    history = lab.history(seed=3)
    full, first = history.full(), history.window()
    lab.load(full, first)
    second, third = history.window(), history.window(NEW_IMAGE)
    refused = lab.load(third, check=False)
    assert refused.exit_code == 1
    assert "The window 2026-01-01T00:15:00.000Z to 2026-01-01T00:30:00.000Z is missing" in refused.stderr
    result = lab.load(third, first, second).json()
    assert (result["status"], result["items_written"]) == ("complete", 0)
    lab.assert_holds(history.expected())
    again = lab.load(full, first, second, third)
    assert "has had everything up to 2026-01-01T00:45:00.000Z" in again.stderr
    assert again.json()["items_resumed"] == KEYS // 2
    record = lab.applied()
    assert (record["through"], len(record["exports"])) == ("2026-01-01T00:45:00.000Z", 4)
    lab.assert_holds(history.expected())


def test_what_cannot_be_loaded_is_refused_before_a_table_is_created(
    lab: Lab, unique_name: Callable[[], str]
) -> None:
    """A window that is missing; and the record of an earlier table of that name, which another full export does not continue."""
    history, create = lab.history(seed=5), ("--create-table", "--key", "pk:S,sk:N")
    full, _, later = history.full(), history.window(), history.window()
    other = history.full()
    for exports, told in (((full, later), "is missing"), ((other,), "which does not exist any more")):
        name = unique_name()
        if exports == (other,):
            lab.mover.load(full, name, *create)
            lab.client.delete_table(TableName=name)
        for words in ((), ("--dry-run",)):
            refused = lab.mover.load(*exports, name, *create, *words, check=False)
            assert (refused.exit_code, told in refused.stdout + refused.stderr) == (1, True), str(refused)
        assert not exists(lab.client, name)
    result = lab.mover.load(other, name, *create, "--restart").json()
    assert (result["status"], exists(lab.client, name)) == ("complete", True)


def test_a_dry_run_checks_the_record_and_every_bucket(lab: Lab, unique_name: Callable[[], str]) -> None:
    """Also who imports at the moment; where a window is missing, what depends on it is not called ok."""
    history, other = lab.history(seed=6), unique_name()
    lab.s3.create_bucket(Bucket=other, CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    full, first = history.full(), history.window()
    history.bucket = other
    second, third = history.window(), history.window()
    lab.load(full, first)
    plan = found_by(lab.mover, full, first, second, lab.table, "--bucket-owner", DESTINATION)
    assert {f"bucket owner of {other}", f"region of {other}", "record of exports"} <= plan.keys()
    assert plan["order of exports"] == (True, "1 to load, 2 loaded before")
    assert plan["saved state"] == (True, "no earlier import")
    gap = found_by(lab.mover, third, lab.table, "--bucket-owner", DESTINATION)
    assert [name for name, (ok, _) in gap.items() if ok is False] == ["order of exports"]
    assert gap["saved state"] == (None, "not checked, since another check has failed")
    (key,) = [key for key in lab.state_keys() if key.endswith("applied.json")]
    lease = key.replace("applied.json", "lease.json")
    lab.s3.put_object(Bucket=lab.mover.bucket, Key=lease, Body=msgspec.json.encode(ELSEWHERE))
    ok, told = found_by(lab.mover, full, first, second, lab.table)["other imports"]
    assert (ok, "Exports are already being imported into this table by bob on far" in told) == (False, True)


def test_killed_increments_are_resumed(lab: Lab) -> None:
    """SIGKILL in the middle of one: the same command finishes it and those after it, with nothing of the user's word."""
    history = lab.history(seed=4)
    full = history.full()
    windows = [history.window(changes=300) for _ in range(3)]
    words = (full, *windows, lab.table)
    slow = ("--max-wcu", 40)
    with commands.start(
        "ddb-import",
        *words,
        *slow,
        account=DESTINATION,
        endpoint=lab.mover.engine,
        s3_endpoint=lab.mover.aws,
    ) as process:
        wait_until(lambda: len(lab.exports_applied()) >= 2 or process.poll() is not None)
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
    assert process.returncode == -signal.SIGKILL
    lab.load(*words[:-1])
    assert [full, *windows] == [entry["export"] for entry in lab.applied()["exports"]]
    lab.assert_holds(history.expected())


def test_a_data_file_that_is_altered_or_missing_is_named(lab: Lab) -> None:
    """Its checksum is in the manifest; nothing of the increment is written."""
    history = lab.history(seed=5)
    lab.load(history.full())
    before = history.expected()
    window = history.window()
    (key,) = lab.data_files(window)
    stored = lab.s3.get_object(Bucket=lab.mover.bucket, Key=key)["Body"].read()
    lines = gzip.decompress(stored).splitlines(keepends=True)
    altered = gzip.compress(b"".join(lines[::-1]), mtime=0)
    lab.s3.put_object(Bucket=lab.mover.bucket, Key=key, Body=altered)
    refused = lab.load(window, check=False)
    assert (refused.exit_code, key in refused.stderr) == (1, True), refused.stderr
    lab.assert_holds(before)
    lab.s3.delete_object(Bucket=lab.mover.bucket, Key=key)
    refused = lab.load(window, check=False)
    assert (refused.exit_code, f"{key} is missing" in refused.stderr) == (1, True), refused.stderr
    lab.s3.put_object(Bucket=lab.mover.bucket, Key=key, Body=stored)
    lab.load(window)
    lab.assert_holds(history.expected())


def test_a_later_change_supersedes_a_reject(lab: Lab) -> None:
    """An item that was refused and then changed is never written as it was, also not by --from-rejects."""
    index: dict[str, Any] = {
        "AttributeDefinitions": [
            {"AttributeName": "pk", "AttributeType": "S"},
            {"AttributeName": "sk", "AttributeType": "N"},
            {"AttributeName": "size", "AttributeType": "N"},
        ],
        "GlobalSecondaryIndexes": [
            {
                "IndexName": "by-size",
                "KeySchema": [{"AttributeName": "size", "KeyType": "HASH"}],
                "Projection": {"ProjectionType": "KEYS_ONLY"},
            }
        ],
    }
    lab.client.delete_table(TableName=lab.table)
    create_table(lab.client, lab.table, **index)
    history = lab.history(seed=6)
    bad = {"size": {"S": "an index wants a number"}}
    for number in (0, 2, 4):
        history.items[number] |= bad
    full = history.full()
    first = lab.load(full, check=False)
    assert (first.exit_code, first.json()["items_rejected"]) == (3, 3)
    # one of them changes for the better, one is deleted, one stays as it was
    history.items[0], old = item(0, 1), history.items[0]
    gone = history.items.pop(2)
    key = ("pk", "sk")
    lines = [
        change_line({name: old[name] for name in key}, history.items[0], old),
        change_line({name: gone[name] for name in key}, None, gone),
    ]
    window = history.increment(lines, history.now, NEW_AND_OLD_IMAGES)
    applied = lab.load(window).json()
    assert (applied["status"], applied["changes_applied"]) == ("complete", 2)
    again = lab.load(full, "--from-rejects", check=False)
    assert (again.exit_code, again.json()["items_rejected"], again.json()["rejects_superseded"]) == (3, 1, 2)
    lab.assert_holds(by_key(value for number, value in history.items.items() if number != 4))
