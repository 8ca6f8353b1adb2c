"""Several tables move while they are written to, with one cut-over for all of them."""

import contextlib
import json
import random
import subprocess
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from e2e.conftest import Mover
from e2e.test_live_move import finished, killed, location_of
from e2e.test_resume import wait_until
from support import commands
from support.accounts import Accounts
from support.environment import DESTINATION, SOURCE
from support.tables import assert_same_items, create_table, fill, read_all
from support.writers import Writers

ITEMS = 60
KILLS = 6


class Lab:
    """Three tables of the source that are written to, and one process of each side at a time."""

    def __init__(self, mover: Mover, accounts: Accounts, name: str) -> None:
        self.mover = mover
        self.pattern, self.place = f"{name}-*", f"s3://{mover.bucket}/data"
        self.tables = [f"{name}-{letter}" for letter in "abc"]
        self.from_, self.to = (accounts.dynamodb(mover.engine, account) for account in (SOURCE, DESTINATION))
        self.s3 = accounts.s3(mover.aws, DESTINATION)
        self.location = ""
        self._lives = contextlib.ExitStack()
        for table in self.tables:
            create_table(self.from_, table)
            items = [
                {"pk": {"S": f"key-{n}"}, "sk": {"N": str(n % 3)}, "old": {"N": str(n)}} for n in range(ITEMS)
            ]
            fill(self.from_, table, items)
        self.writers = [
            self._lives.enter_context(Writers(self.from_, table, threads=1, keys=40, seed=number))
            for number, table in enumerate(self.tables)
        ]

    def close(self) -> None:
        self._lives.close()

    def follow(self, *words: object) -> subprocess.Popen[str]:
        """The source side; it has begun."""
        process = self.begin(*words)
        self.location = location_of(process, self.location)
        return process

    def begin(self, *words: object) -> subprocess.Popen[str]:
        """The source side."""
        line = ("--resume", self.location) if self.location else (self.pattern, self.place, "--follow")
        return self._lives.enter_context(self.mover.running("ddb-export", SOURCE, *line, *words))

    def load(self, *words: object) -> subprocess.Popen[str]:
        """The destination side."""
        line = (self.location, "--create-table", "--follow", "--json", *words)
        return self._lives.enter_context(self.mover.running("ddb-import", DESTINATION, *line))

    def end(self, *words: object, check: bool = True) -> commands.Result:
        """--finish, --cancel or --unblock."""
        return self.mover.export(*words, check=check)

    def wait_for_bases(self) -> None:
        """Returns once the base of every table is complete."""
        wait_until(lambda: sum(key.endswith("/manifest.json") for key in self.objects()) == len(self.tables))

    def objects(self) -> list[str]:
        """The keys of all objects of the bucket."""
        pages = self.s3.get_paginator("list_objects_v2").paginate(Bucket=self.mover.bucket)
        return [entry["Key"] for page in pages for entry in page.get("Contents", ())]

    def exports(self) -> list[str]:
        """The exports of the move, in the order of the tables."""
        key = self.location.removeprefix(f"s3://{self.mover.bucket}/")
        record = json.loads(self.s3.get_object(Bucket=self.mover.bucket, Key=key)["Body"].read())
        return [str(one["export"]) for one in record["exports"]]

    def write(self, more: int = 20) -> None:
        for writers in self.writers:
            writers.wait_for(more)

    def stop_writers(self) -> None:
        for writers in self.writers:
            writers.stop()

    def listed(self) -> dict[str, Any]:
        """The move as --list shows it."""
        (found,) = self.mover.export("--list", self.place).json()["moves"]
        assert isinstance(found, dict)
        return found

    def streams(self) -> list[bool]:
        """Whether each table's stream is enabled."""
        tables = [self.from_.describe_table(TableName=table)["Table"] for table in self.tables]
        return [bool(table.get("StreamSpecification", {}).get("StreamEnabled")) for table in tables]

    def assert_equal(self) -> None:
        for table in self.tables:
            assert_same_items(read_all(self.from_, table), read_all(self.to, table))


@pytest.fixture
def lab(mover: Mover, accounts: Accounts, unique_name: Callable[[], str]) -> Iterator[Lab]:
    with contextlib.closing(Lab(mover, accounts, unique_name())) as lab:
        yield lab


@pytest.fixture
def aws_lab(aws_mover: Mover, accounts: Accounts, unique_name: Callable[[], str]) -> Iterator[Lab]:
    """With the tables on MiniStack."""
    with contextlib.closing(Lab(aws_mover, accounts, unique_name())) as lab:
        yield lab


@pytest.mark.slow
def test_one_cut_over_for_all_tables(lab: Lab) -> None:
    """Both sides are killed and resumed under load; one --finish closes all captures, and every copy is its table."""
    export, load = lab.follow(), lab.load()
    lab.write()
    wait_until(lambda: any(key.endswith("/manifest.json") for key in lab.objects()))
    export.kill()
    export.wait()
    lab.write()
    export = lab.follow()
    wait_until(lambda: any(key.endswith("/apply.json") for key in lab.objects()))
    load.kill()
    load.wait()
    load = lab.load("--verify")
    lab.wait_for_bases()
    lab.write()
    assert ("following", lab.tables) == (lab.listed()["status"], lab.listed()["tables"])
    lab.stop_writers()
    closed = lab.end("--finish", lab.location).json()
    assert ("closed", lab.tables) == (closed["status"], [one["table"] for one in closed["exports"]])
    assert ["stream disabled"] * 3 == [one["result"]["proof"] for one in closed["exports"]]
    changes = [one["result"]["changes"] for one in closed["exports"]]
    exported, loaded = finished(export), finished(load)
    assert (0, True) == (exported.exit_code, "3 of 3 tables exported." in exported.stderr), exported
    assert f"{lab.tables[2]}: Capturing the changes" in exported.stderr
    assert 0 == loaded.exit_code, loaded
    found = loaded.json()
    assert ("complete", changes) == (
        found["status"],
        [one["result"]["cut_over"]["captured"] for one in found["tables"]],
    )
    assert ["identical"] * 3 == [one["result"]["verification"]["verdict"] for one in found["tables"]]
    lab.assert_equal()
    assert ("closed", [False] * 3) == (lab.listed()["status"], lab.streams())
    status = lab.mover.load(lab.location, "--status").json()
    assert ("complete", changes) == (
        status["status"],
        [one["import"]["changes_applied"] for one in status["tables"]],
    )
    resumed = lab.mover.export("--resume", lab.location).json()
    assert changes == [one["changes"] for one in resumed["exports"]]


@pytest.mark.soak
def test_kills_at_random_moments(lab: Lab) -> None:
    """Of each side several times, and of --finish once: every change arrives, and all tables are proven equal."""
    rng = random.Random(15)
    sides = {lab.follow: lab.follow(), lab.load: lab.load()}
    for _ in range(KILLS):
        lab.write()
        start = rng.choice(list(sides))
        killed(sides[start], rng)
        sides[start] = start()
    killed(sides[lab.load], rng)
    sides[lab.load] = lab.load("--verify")
    lab.wait_for_bases()
    lab.write()
    lab.stop_writers()
    with lab.mover.running("ddb-export", SOURCE, "--finish", lab.location) as finish:
        killed(finish, rng)
    assert "closed" == lab.end("--finish", lab.location).json()["status"]
    assert 0 == finished(sides[lab.follow]).exit_code
    loaded = finished(sides[lab.load])
    assert 0 == loaded.exit_code, loaded
    tables = loaded.json()["tables"]
    assert ["identical"] * 3 == [one["result"]["verification"]["verdict"] for one in tables]
    lab.assert_equal()
    assert "complete" == lab.mover.export("--resume", lab.location).json()["status"]


@pytest.mark.slow
def test_no_table_is_finished_while_one_is_written_to(aws_lab: Lab) -> None:
    """All streams are untouched, and the table is named. --block-writes and --unblock are about every table."""
    lab = aws_lab
    export = lab.follow()
    unfinished = lab.end("--finish", lab.location, check=False)
    assert (1, True) == (unfinished.exit_code, "some cannot be" in unfinished.json()["error"])
    lab.wait_for_bases()
    for quiet in lab.writers[1:]:
        quiet.stop()
    refused = lab.end("--finish", lab.location, check=False)
    error = refused.json()["error"]
    assert (1, True) == (refused.exit_code, f"{lab.tables[0]}: The table is still being written" in error)
    assert not any(table in error for table in lab.tables[1:])
    assert ([True] * 3, None) == (lab.streams(), export.poll())
    lab.stop_writers()
    closed = lab.end("--finish", lab.location, "--block-writes").json()
    assert ["writes blocked"] * 3 == [one["result"]["proof"] for one in closed["exports"]]
    assert 0 == finished(export).exit_code
    assert [True] * 3 == [one["result"]["writes_blocked"] for one in closed["exports"]]
    unblocked = lab.end("--unblock", lab.location).json()
    assert ["unblocked"] * 3 == [one["status"] for one in unblocked["exports"]]


def test_a_cancelled_move_begins_no_further_table(aws_lab: Lab) -> None:
    """Streams of ours are disabled, the run ends with an error, and a resume does too. A program knows where it is early."""
    lab = aws_lab
    export = lab.begin("--segments", 8, "--max-rcu", 1, "--json", "--log-format", "json")
    assert export.stderr is not None
    events = (json.loads(line) for line in export.stderr)
    lab.location = next(event["location"] for event in events if event["event"] == "location")
    wait_until(lambda: any(key.endswith("/stream.json") for key in lab.objects()))
    wait_until(lambda: any("/changes/log/" in key for key in lab.objects()))
    cancelled = lab.end("--cancel", lab.location).json()
    assert ("cancelled", ["cancelled"] * 3) == (
        cancelled["status"],
        [one["status"] for one in cancelled["exports"]],
    )
    assert (1, [False] * 3) == (finished(export).exit_code, lab.streams())
    assert "cancelled" == lab.listed()["status"]
    assert 1 == lab.mover.export("--resume", lab.location, check=False).exit_code
    assert 1 == sum(key.endswith("/stream.json") for key in lab.objects())


def test_a_move_without_follow_has_no_end_to_wait_for(aws_lab: Lab) -> None:
    """Exit code 1, and nothing is changed."""
    move = aws_lab.mover.export(aws_lab.pattern, aws_lab.place).json()["move"]
    for word in ("--finish", "--cancel", "--unblock"):
        result = aws_lab.end(word, move, check=False)
        assert (1, True) == (result.exit_code, "does not follow its tables" in result.json()["error"])
