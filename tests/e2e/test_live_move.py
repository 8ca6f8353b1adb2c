"""A table moves while it is written to: both sides run, are killed and resumed, and the copy is equal item by item."""

import contextlib
import json
import random
import subprocess
import time
from collections.abc import Callable
from typing import Any

import pytest

from e2e.conftest import Mover
from e2e.test_resume import wait_until
from support import commands
from support.accounts import Accounts
from support.environment import DESTINATION, SOURCE
from support.tables import assert_same_items, create_table, fill, read_all
from support.writers import Writers

ITEMS = 400


class Move:
    """A source that is written to, an empty destination, and one process of each side at a time."""

    def __init__(self, mover: Mover, accounts: Accounts, source: str, destination: str) -> None:
        self.mover = mover
        self.source, self.destination = source, destination
        self.from_, self.to = (accounts.dynamodb(mover.engine, account) for account in (SOURCE, DESTINATION))
        self.location = ""
        self._lives = contextlib.ExitStack()
        create_table(self.from_, source)
        create_table(self.to, destination)
        items = [
            {"pk": {"S": f"key-{n}"}, "sk": {"N": str(n % 3)}, "old": {"N": str(n)}} for n in range(ITEMS)
        ]
        fill(self.from_, source, items)

    def __enter__(self) -> "Move":
        return self

    def __exit__(self, *_: object) -> None:
        self._lives.close()

    def export(self) -> subprocess.Popen[str]:
        """The source side; it has begun to capture."""
        words = (
            ("--resume", self.location)
            if self.location
            else (self.source, f"s3://{self.mover.bucket}/moves", "--follow")
        )
        process = self._lives.enter_context(self.mover.running("ddb-export", SOURCE, *words))
        self.location = location_of(process, self.location)
        return process

    def load(self) -> subprocess.Popen[str]:
        """The destination side."""
        words = (self.location, self.destination, "--follow", "--verify", "--json")
        return self._lives.enter_context(self.mover.running("ddb-import", DESTINATION, *words))

    def verify(self, *given: object) -> commands.Result:
        """Base and changes against the destination."""
        words = (self.location, self.destination, "--json", *given)
        services = {"endpoint": self.mover.engine, "s3_endpoint": self.mover.aws}
        return commands.run("ddb-verify", *words, account=DESTINATION, check=False, **services)  # type: ignore[arg-type]

    def assert_equal(self) -> None:
        assert_same_items(read_all(self.from_, self.source), read_all(self.to, self.destination))


def location_of(process: subprocess.Popen[str], before: str) -> str:
    """What an export that follows prints once it has begun: of a resumed one, what the earlier run has printed."""
    assert process.stdout is not None
    location = process.stdout.readline().strip()
    assert location.startswith("s3://"), finished(process)
    assert before in {"", location}
    return location


def finished(process: subprocess.Popen[str]) -> commands.Result:
    stdout, stderr = process.communicate(timeout=150)
    return commands.Result((), process.returncode, stdout, stderr)


def killed(process: subprocess.Popen[str], rng: random.Random) -> None:
    """Kill -9 at a random moment, unless it has ended before."""
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(rng.uniform(0.5, 7.0))
    assert process.poll() in {None, 0}, finished(process)
    process.kill()
    process.wait()


ROUNDS = [
    pytest.param(range(2), id="0-1"),
    pytest.param(range(2, 10), id="2-9", marks=pytest.mark.soak),
]


@pytest.mark.slow
@pytest.mark.parametrize("seeds", ROUNDS)
def test_a_move_under_load_may_be_killed_at_any_moment(
    mover: Mover, accounts: Accounts, unique_name: Callable[[], str], seeds: range
) -> None:
    """Both sides, each at moments of its own; within a minute of --finish the importer has ended, and the tables are equal."""
    with (
        Move(mover, accounts, unique_name(), unique_name()) as move,
        Writers(move.from_, move.source) as writers,
    ):
        export, load = move.export(), move.load()
        for seed in seeds:
            rng = random.Random(seed)
            killed(export, rng)
            writers.wait_for(20)
            killed(load, rng)
            export, load = move.export(), move.load()
        writers.wait_for(100)
        wait_until(lambda: move.verify("--so-far").exit_code == 0)
        writers.wait_for(100)
        writers.stop()
        began = time.monotonic()
        closed = move.mover.export("--finish", move.location).json()
        exported, loaded = finished(export), finished(load)
        seconds = time.monotonic() - began
        assert (0, 0) == (exported.exit_code, loaded.exit_code), f"{exported}\n{loaded}"
        result: dict[str, Any] = json.loads(loaded.stdout)
        assert ("complete", closed["changes"]) == (
            result["status"],
            result["changes_applied"] + result.get("changes_superseded", 0),
        )
        move.assert_equal()
        assert (result["verification"]["verdict"], result["verification"]["changes"]) == (
            "identical",
            closed["changes"],
        )
        assert result["verification"]["earlier"], "only what changed since was compared"
        move.to.put_item(
            TableName=move.destination,
            Item={"pk": {"S": "key-0"}, "sk": {"N": "0"}, "altered": {"BOOL": True}},
        )
        altered = move.verify("--full")
        assert (altered.exit_code, altered.json()["different"] + altered.json()["extra"]) == (4, 1), altered
        assert seconds < 120, f"{seconds:.0f} s from --finish to the end"
