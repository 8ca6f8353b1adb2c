"""A run may be killed at any moment; resumed, it finishes exactly."""

import json
import os
import random
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from ddb_shared.runtime.runner import WORKER_DEATHS
from e2e.conftest import Mover
from support import commands
from support.accounts import Accounts
from support.environment import DESTINATION, REGION, SOURCE
from support.fingerprints import assert_same_tables
from support.services import Endpoint
from support.tables import create_table, fill
from support.varied import varied_items

ITEMS = 4_000
# A few rounds in `make test`, the rest in `make soak`.
ROUNDS = [
    pytest.param(range(3), id="0-2"),
    pytest.param(range(3, 12), id="3-11", marks=pytest.mark.soak(minutes=3)),
    pytest.param(range(12, 20), id="12-19", marks=pytest.mark.soak(minutes=3)),
]
# 100 to 200 pages of half a unit each on MiniStack: five seconds or more, with checkpoints from the first one on
SLOW_EXPORT = ("--segments", 100, "--max-rcu", 12)
SLOW_IMPORT = ("--max-wcu", 400)


class Lab:
    """A source table with items, an empty destination table, and the bucket between them, all on MiniStack."""

    def __init__(
        self, aws: Endpoint, bucket: str, accounts: Accounts, unique_name: Callable[[], str]
    ) -> None:
        self.aws = aws
        self.bucket = bucket
        self.mover = Mover(aws, aws, bucket)
        self.source, self.destination = unique_name(), unique_name()
        self._from, self._to = accounts.dynamodb(aws, SOURCE), accounts.dynamodb(aws, DESTINATION)
        self.s3 = accounts.s3(aws, DESTINATION)
        create_table(self._from, self.source)
        create_table(self._to, self.destination)
        fill(self._from, self.source, varied_items(ITEMS))

    def empty_destination(self, name: str) -> str:
        create_table(self._to, name)
        return name

    def remake_source(self) -> None:
        self._from.delete_table(TableName=self.source)
        create_table(self._from, self.source)

    def remake_destination(self) -> None:
        self._to.delete_table(TableName=self.destination)
        create_table(self._to, self.destination)

    def start(self, command: str, account: str, *arguments: object) -> subprocess.Popen[str]:
        return commands.start(command, *arguments, "--json", account=account, endpoint=self.aws)

    def assert_moved(self, destination: str | None = None) -> None:
        assert_same_tables((self._from, self.source), (self._to, destination or self.destination))

    def exports(self) -> list[str]:
        """The locations of all exports below the bucket, by their `_started`."""
        keys = [entry["Key"] for entry in self._objects()]
        return [
            f"s3://{self.bucket}/{key.removesuffix('_started')}" for key in keys if key.endswith("/_started")
        ]

    def has_checkpoint(self) -> bool:
        """Whether some export has saved a segment."""
        return self.checkpoints("") > 0

    def checkpoints(self, prefix: str) -> int:
        """The segments that exports below a prefix have saved."""
        keys = [entry["Key"] for entry in self._objects()]
        return sum("/segments/" in key for key in keys if key.startswith(prefix))

    def has_items(self) -> bool:
        """Whether an import has written a good part of the items."""
        return self.items(self.destination) > ITEMS // 2

    def items(self, destination: str) -> int:
        """The items of a table of the destination; MiniStack's count is live."""
        return int(self._to.describe_table(TableName=destination)["Table"]["ItemCount"])

    def object_keys(self) -> list[str]:
        """The keys of all objects of the bucket."""
        return [entry["Key"] for entry in self._objects()]

    def data(self, key: str) -> bytes:
        """The bytes of one object."""
        return bytes(self.s3.get_object(Bucket=self.bucket, Key=key)["Body"].read())

    def manifest(self, export: str) -> dict[str, Any]:
        manifest = json.loads(self.data(export.removeprefix(f"s3://{self.bucket}/") + "manifest.json"))
        assert isinstance(manifest, dict)
        return manifest

    def assert_clean(self, export: str) -> None:
        """No shard is listed twice, no shard lies there unlisted, no upload is left open."""
        manifest = self.manifest(export)
        listed = [shard["key"] for shard in manifest["shards"]]
        assert len(listed) == len(set(listed))
        storage = export.removeprefix(f"s3://{self.bucket}/")
        assert {
            entry["Key"] for entry in self._objects() if entry["Key"].startswith(storage + "data/")
        } == set(listed)
        assert "Uploads" not in self.s3.list_multipart_uploads(Bucket=self.bucket, Prefix=storage)
        assert manifest["items"] == ITEMS

    def _objects(self) -> list[dict[str, Any]]:
        pages = self.s3.get_paginator("list_objects_v2").paginate(Bucket=self.bucket)
        return [entry for page in pages for entry in page.get("Contents", ())]


@pytest.fixture
def lab(aws: Endpoint, bucket: str, accounts: Accounts, unique_name: Callable[[], str]) -> Lab:
    return Lab(aws, bucket, accounts, unique_name)


def wait_until(happened: Callable[[], bool], seconds: float = 60) -> None:
    """Looks ten times a second."""
    deadline = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.1)


def interrupt(
    process: subprocess.Popen[str], number: int, once: Callable[[], bool]
) -> tuple[int, str, float]:
    """Sends a signal once something has happened; returns exit code, standard error and the seconds until the end."""
    with process:
        wait_until(once)
        process.send_signal(number)
        asked = time.monotonic()
        _, errors = process.communicate(timeout=60)
    return process.returncode, errors, time.monotonic() - asked


def printed_command(errors: str) -> list[str]:
    """The words of the command that an interrupted run printed."""
    return [line for line in errors.splitlines() if line.startswith("  ddb-")][-1].split()


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupted_export_is_resumed_by_the_command_it_prints(lab: Lab, number: int, code: int) -> None:
    """It ends within ten seconds, keeps what it has, and the resumed export is exact."""
    process = lab.start("ddb-export", SOURCE, lab.source, f"s3://{lab.bucket}", *SLOW_EXPORT)
    exit_code, errors, seconds = interrupt(process, number, lab.has_checkpoint)
    assert (exit_code, seconds < 10) == (code, True), errors
    command, *words = printed_command(errors)
    assert words[0] == "--resume"
    result = commands.run(command, *words, "--json", account=SOURCE).json()
    assert (result["status"], result["items"]) == ("complete", ITEMS)
    lab.assert_clean(result["export"])
    lab.mover.load(result["export"], lab.destination)
    lab.assert_moved()


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupted_import_is_resumed_by_the_command_it_prints(lab: Lab, number: int, code: int) -> None:
    """It says how much it skipped; written and skipped are the whole."""
    export = lab.mover.exported(lab.source)
    process = lab.start("ddb-import", DESTINATION, export, lab.destination, *SLOW_IMPORT)
    exit_code, errors, seconds = interrupt(process, number, lab.has_items)
    assert (exit_code, seconds < 10) == (code, True), errors
    command, *words = printed_command(errors)
    result = commands.run(command, *words, "--json", account=DESTINATION).json()
    assert result["items_written"] + result["items_resumed"] == ITEMS
    assert result["items_resumed"] > 0
    lab.assert_moved()


def test_a_second_sigint_ends_at_once_still_resumable(lab: Lab) -> None:
    """Nobody has to wait for an orderly end; it says how to continue, and nothing else comes after."""
    export = lab.mover.exported(lab.source)
    with lab.start("ddb-import", DESTINATION, export, lab.destination, *SLOW_IMPORT) as process:
        wait_until(lab.has_items)
        process.send_signal(signal.SIGINT)
        time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        asked = time.monotonic()
        _, errors = process.communicate(timeout=10)
        took = time.monotonic() - asked
    assert (process.returncode, took < 2) == (130, True)
    assert "Stopping: " in errors
    assert printed_command(errors)[:3] == ["ddb-import", export, lab.destination]
    assert errors.rstrip().endswith(" ".join(printed_command(errors)))
    assert not [word for word in ("resource_tracker", "Traceback", "Warning: ") if word in errors]
    lab.mover.load(export, lab.destination)
    lab.assert_moved()


@pytest.mark.parametrize("command", ["ddb-import", "ddb-export"])
def test_a_run_whose_workers_die_again_and_again_ends(lab: Lab, command: str) -> None:
    """After five deaths, with the command that resumes it, and nothing of it is left running."""
    if command == "ddb-import":
        words: list[object] = [lab.mover.exported(lab.source), lab.destination]
        account = DESTINATION
    else:
        words, account = [lab.source, f"s3://{lab.bucket}"], SOURCE
    deaths = set[int]()
    with lab.start(command, account, *words, "--processes", 2) as process:
        deadline = time.monotonic() + 120
        while process.poll() is None:
            assert time.monotonic() < deadline, "it did not end"
            for worker in set(members(process.pid, "spawn_main")) - deaths:
                with suppress(ProcessLookupError):
                    os.kill(worker, signal.SIGKILL)
                    deaths.add(worker)
            time.sleep(0.01)
        output, errors = process.communicate(timeout=60)
    assert process.returncode == 1, errors
    assert f"killed {WORKER_DEATHS} times" in json.loads(output)["error"]
    assert len(deaths) >= WORKER_DEATHS
    assert printed_command(errors)[0] == command
    wait_until(lambda: not members(process.pid), 15)


def members(session: int, word: str = "") -> list[int]:
    """The processes of a session that live and whose command line has this word."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        with suppress(FileNotFoundError, ProcessLookupError):
            state, _, _, theirs = (path / "stat").read_text().rpartition(")")[2].split()[:4]
            if int(theirs) == session and state != "Z" and word in (path / "cmdline").read_text():
                found.append(int(path.name))
    return found


def _killed(process: subprocess.Popen[str], chance: random.Random, reached: Callable[[], bool]) -> bool:
    """Kills the command, or it and its workers, once a random point is reached; False where it had ended before."""
    with process:
        wait_until(lambda: reached() or process.poll() is not None, 120)
        time.sleep(chance.uniform(0, 0.5))
        whole_group = chance.random() < 0.5
        if process.poll() is None:
            (os.killpg if whole_group else os.kill)(process.pid, signal.SIGKILL)
        process.communicate(timeout=60)
    return process.returncode == -signal.SIGKILL


@pytest.mark.slow
@pytest.mark.parametrize("seeds", ROUNDS)
def test_exports_killed_at_random_moments(lab: Lab, seeds: Sequence[int]) -> None:
    """SIGKILL at random points: each export that has begun is finished by --resume, exactly."""
    kills = 0
    for seed in seeds:
        chance = random.Random(seed)
        point = chance.randrange(20)
        process = lab.start("ddb-export", SOURCE, lab.source, f"s3://{lab.bucket}/{seed}", *SLOW_EXPORT)
        kills += _killed(process, chance, lambda: lab.checkpoints(f"{seed}/") >= point)  # noqa: B023
    for export in lab.exports():
        resumed = lab.mover.export("--resume", export, check=False)
        assert resumed.exit_code == 0 or "is complete" in resumed.stderr, str(resumed)
        lab.assert_clean(export)
    assert kills >= len(seeds) // 2
    lab.mover.load(lab.exports()[-1], lab.destination)
    lab.assert_moved()


@pytest.mark.slow
@pytest.mark.parametrize("seeds", ROUNDS)
def test_imports_killed_at_random_moments(
    lab: Lab, seeds: Sequence[int], unique_name: Callable[[], str]
) -> None:
    """SIGKILL again and again, and resumed each time: at the end the tables are equal."""
    # more shards than are open at once: some are done, and so recorded, long before the end
    export = lab.mover.exported(lab.source, "--segments", 40)
    kills = skipped = 0
    for seed in seeds:
        chance = random.Random(seed)
        destination = lab.empty_destination(unique_name())
        point = chance.randrange(ITEMS * 3 // 4)
        process = lab.start("ddb-import", DESTINATION, export, destination, *SLOW_IMPORT)
        kills += _killed(process, chance, lambda: lab.items(destination) >= point)  # noqa: B023
        result = lab.mover.load(export, destination).json()
        assert result["items_written"] + result["items_resumed"] == ITEMS
        skipped += result["items_resumed"]
        lab.assert_moved(destination)
    assert kills >= len(seeds) // 2
    assert skipped > 0


def test_a_resumed_export_refuses_what_is_another(lab: Lab) -> None:
    """Another table under the same name, and other options."""
    process = lab.start("ddb-export", SOURCE, lab.source, f"s3://{lab.bucket}", *SLOW_EXPORT)
    interrupt(process, signal.SIGTERM, lab.has_checkpoint)
    (export,) = lab.exports()
    other_options = lab.mover.export("--resume", export, "--segments", 5, check=False)
    assert other_options.exit_code == 2
    assert "--segments is 5, but the export was started with 100" in other_options.stderr
    other_table = lab.mover.export("--resume", export, "another-table", check=False)
    assert other_table.exit_code == 1
    lab.remake_source()
    remade = lab.mover.export("--resume", export, check=False)
    assert remade.exit_code == 1
    assert "The table was recreated, or it is another table" in remade.stderr


def test_state_of_another_table_needs_restart(lab: Lab) -> None:
    """A destination that was recreated has none of the items that the checkpoints count."""
    export = lab.mover.exported(lab.source)
    lab.mover.load(export, lab.destination)
    lab.remake_destination()
    refused = lab.mover.load(export, lab.destination, check=False)
    assert refused.exit_code == 1
    assert "--restart" in refused.stderr
    again = lab.mover.load(export, lab.destination, "--restart").json()
    assert (again["items_written"], again["items_resumed"]) == (ITEMS, 0)
    lab.assert_moved()


def test_a_second_import_is_told_who_runs(lab: Lab) -> None:
    """The lease keeps two imports of one export into one table apart; the first is not disturbed."""
    export = lab.mover.exported(lab.source)
    with lab.start("ddb-import", DESTINATION, export, lab.destination, "--max-wcu", 50) as first:
        wait_until(lambda: lab.items(lab.destination) > 0)
        second = lab.mover.load(export, lab.destination, check=False)
        before = lab.items(lab.destination)
        exit_code, errors, _ = interrupt(first, signal.SIGINT, lambda: lab.items(lab.destination) > before)
    assert second.exit_code == 1
    assert f"process {first.pid}" in second.stderr
    assert "already being imported into this table" in second.stderr
    assert exit_code == 130, errors
    result = lab.mover.load(export, lab.destination).json()
    assert result["items_written"] + result["items_resumed"] == ITEMS
    lab.assert_moved()


def test_a_second_resume_is_told_who_runs(lab: Lab) -> None:
    """It would abort the uploads of the first, and both would write the same shards; the first continues and is exact."""
    process = lab.start("ddb-export", SOURCE, lab.source, f"s3://{lab.bucket}", *SLOW_EXPORT)
    interrupt(process, signal.SIGTERM, lab.has_checkpoint)
    (export,) = lab.exports()
    before = lab.checkpoints("")
    with lab.start("ddb-export", SOURCE, "--resume", export, "--max-rcu", 12) as first:
        wait_until(lambda: lab.checkpoints("") > before)
        second = lab.mover.export("--resume", export, check=False)
        _, errors = first.communicate(timeout=60)
    assert second.exit_code == 1
    assert f"The export {export} is already being written by" in second.stderr
    assert f"process {first.pid}" in second.stderr
    assert first.returncode == 0, errors
    lab.assert_clean(export)
    lab.mover.load(export, lab.destination)
    lab.assert_moved()


def test_a_shard_that_was_replaced_behind_its_checkpoint_ends_the_export(lab: Lab) -> None:
    """What was in flight when another run took over can land late; no manifest vouches for it."""
    process = lab.start("ddb-export", SOURCE, lab.source, f"s3://{lab.bucket}", *SLOW_EXPORT)
    interrupt(process, signal.SIGTERM, lab.has_checkpoint)
    (export,) = lab.exports()
    folder = export.removeprefix(f"s3://{lab.bucket}/")
    checkpoint = next(key for key in lab.object_keys() if key.startswith(f"{folder}segments/"))
    shard = json.loads(lab.data(checkpoint))["shards"][0]["key"]
    stored = lab.data(shard)
    for replaced in (stored[:-1], stored[:-1] + bytes([stored[-1] ^ 1])):  # another size, and other bytes
        lab.s3.put_object(Bucket=lab.bucket, Key=shard, Body=replaced)
        resumed = lab.mover.export("--resume", export, check=False)
        assert resumed.exit_code == 1
        assert f"{shard} was replaced after it was written" in resumed.stderr
    assert f"{folder}manifest.json" not in lab.object_keys()
    lab.s3.put_object(Bucket=lab.bucket, Key=shard, Body=stored)  # restored from a copy, with another ETag
    assert lab.mover.export("--resume", export).exit_code == 0
    lab.assert_clean(export)


def test_an_import_that_lost_its_lease_ends_and_leaves_the_state_to_its_successor(lab: Lab) -> None:
    """It was stopped for long, and another run has taken over: the first renewal after that says so."""
    export = lab.mover.exported(lab.source)
    state = f"{export.removeprefix(f's3://{lab.bucket}/')}import/{DESTINATION}.{REGION}.{lab.destination}/"
    with lab.start("ddb-import", DESTINATION, export, lab.destination, "--max-wcu", 40) as process:
        wait_until(lambda: lab.items(lab.destination) > 0)
        os.killpg(process.pid, signal.SIGSTOP)
        successor = json.loads(lab.data(state + "lease.json")) | {"nonce": "another", "host": "elsewhere"}
        lab.s3.put_object(Bucket=lab.bucket, Key=state + "lease.json", Body=json.dumps(successor))
        os.killpg(process.pid, signal.SIGCONT)
        output, errors = process.communicate(timeout=60)
    assert process.returncode == 1
    assert json.loads(output)["status"] == "failed"
    assert f"{state}lease.json was lost, and nothing is written without it" in errors
    assert "Traceback" not in errors
    assert successor == json.loads(lab.data(state + "lease.json"))
    assert not json.loads(lab.data(state + "plan.json"))["completed_at"]


def test_an_export_that_lost_its_lease_says_how_to_resume_it(lab: Lab) -> None:
    """The same command would begin a new one."""
    process = lab.start("ddb-export", SOURCE, lab.source, f"s3://{lab.bucket}", *SLOW_EXPORT)
    with process:
        wait_until(lab.has_checkpoint)
        (export,) = lab.exports()
        key = f"{export.removeprefix(f's3://{lab.bucket}/')}lease.json"
        os.killpg(process.pid, signal.SIGSTOP)
        successor = json.loads(lab.data(key)) | {"nonce": "another", "host": "elsewhere"}
        lab.s3.put_object(Bucket=lab.bucket, Key=key, Body=json.dumps(successor))
        os.killpg(process.pid, signal.SIGCONT)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 1
    assert f"{key} was lost, and nothing is written without it" in errors
    assert "run the same command again" not in errors
    command = printed_command(errors)
    assert (command[0], export in command) == ("ddb-export", True)
    assert "--resume" in command


@pytest.mark.soak
def test_an_import_that_was_stopped_for_longer_than_its_lease_writes_nothing_more(lab: Lab) -> None:
    """Another import takes over after a minute and finishes; the first wakes up and does not replace what has changed since."""
    export = lab.mover.exported(lab.source)
    with lab.start("ddb-import", DESTINATION, export, lab.destination, "--max-wcu", 40) as process:
        wait_until(lambda: lab.items(lab.destination) > 0)
        os.killpg(process.pid, signal.SIGSTOP)
        wait_until(lambda: lab.mover.load(export, lab.destination, check=False).exit_code == 0, 120)
        lab.remake_destination()
        os.killpg(process.pid, signal.SIGCONT)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "was lost, and nothing is written without it" in errors
    # what was sent before the stop may have been confirmed only now, with nothing sent after it
    assert lab.items(lab.destination) == 0


def test_existing_items_are_skipped_on_request(lab: Lab) -> None:
    """With --on-existing skip an item of the table stays as it is."""
    export = lab.mover.exported(lab.source)
    lab.mover.load(export, lab.destination)
    result = lab.mover.load(export, lab.destination, "--restart", "--on-existing", "skip").json()
    assert (result["items_written"], result["items_skipped"]) == (0, ITEMS)
    lab.assert_moved()


def test_state_may_lie_in_a_local_folder(lab: Lab, tmp_path: Any) -> None:
    """Where the destination may only read the bucket."""
    export = lab.mover.exported(lab.source)
    process = lab.start("ddb-import", DESTINATION, export, lab.destination, *SLOW_IMPORT, "--state", tmp_path)
    interrupt(process, signal.SIGINT, lab.has_items)
    result = lab.mover.load(export, lab.destination, "--state", tmp_path).json()
    assert result["items_written"] + result["items_resumed"] == ITEMS
    assert result["items_resumed"] > 0
    assert not [key for key in lab.manifest(export)["shards"] if "import/" in key["key"]]
    lab.assert_moved()
