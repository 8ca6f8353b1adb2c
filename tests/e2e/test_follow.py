"""A table that is written to is copied: base and changes, applied as they are captured, until the capture is closed."""

import json
import os
import random
import re
import signal
import subprocess
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import msgspec
import pytest

from ddb_import.verify import passes
from ddb_import.verify.options import Repair, VerifyOptions
from ddb_import.verify.result import Verdict
from ddb_import.verify.run import run_verify
from ddb_shared.aws.clients import Aws, AwsOptions
from ddb_shared.command.options import Common
from ddb_shared.format import changes as log
from ddb_shared.runtime.display import ProgressOptions, Style
from ddb_shared.runtime.stop import Stop
from ddb_shared.storage.s3 import S3Storage
from e2e.conftest import Mover
from e2e.test_resume import wait_until
from support import commands
from support.accounts import Accounts
from support.change_log import Change, ChangeLog
from support.environment import DESTINATION, REGION, SECRET, SOURCE
from support.services import Endpoint
from support.tables import SIMPLE_KEY, Table, assert_same_items, by_key, create_table, fill, read_all

ITEMS = 300


def item(number: int, version: int = 0) -> dict[str, Any]:
    return {"pk": {"S": f"k{number}"}, "v": {"N": str(version)}, "data": {"B": bytes([version % 256])}}


class Lab:
    """A base export of a source table, a log beside it that the test writes, and a table of the destination."""

    def __init__(self, mover: Mover, accounts: Accounts, names: tuple[str, str], *words: object) -> None:
        self.mover = mover
        self.source, self.table = names
        self.items = {number: item(number) for number in range(ITEMS)}
        self.s3 = accounts.s3(mover.aws, DESTINATION)
        from_, self.to = accounts.dynamodb(mover.engine, SOURCE), accounts.dynamodb(mover.engine, DESTINATION)
        create_table(from_, self.source, SIMPLE_KEY)
        fill(from_, self.source, self.items.values())
        self.export_again(*words)
        self._chance = random.Random(7)
        self._version = 0

    def export_again(self, *words: object) -> None:
        """The base, and an empty log beside it."""
        self.export = self.mover.exported(self.source, *words)
        prefix = self.export.removeprefix(f"s3://{self.mover.bucket}/")
        self.storage = S3Storage(self.s3, self.mover.bucket, prefix)
        self.log = ChangeLog(self.storage)

    def create_table(self) -> None:
        create_table(self.to, self.table, SIMPLE_KEY)

    def capture(self, changes: int = 50, keys: int = ITEMS + 50) -> None:
        """A record of random changes, which the model takes as well."""
        made = []
        for _ in range(changes):
            number = self._chance.randrange(keys)
            keys_of = {"pk": {"S": f"k{number}"}}
            if self._chance.random() < 0.3:
                self.items.pop(number, None)
                made.append(Change(keys_of, None))
            else:
                self._version += 1
                self.items[number] = item(number, self._version)
                made.append(Change(keys_of, self.items[number]))
        self.log.append(made)

    def load(self, *words: object, **options: Any) -> commands.Result:
        return self.mover.load(self.export, self.table, *words, **options)

    def verify(self, *words: object) -> commands.Result:
        """ddb-verify of the export and the table, whatever its exit code."""
        words = (self.export, self.table, "--json", *words)
        services = {"endpoint": self.mover.engine, "s3_endpoint": self.mover.aws}
        return commands.run("ddb-verify", *words, account=DESTINATION, check=False, **services)  # type: ignore[arg-type]

    def verify_text(self) -> str:
        """The result as people see it."""
        services = {"endpoint": self.mover.engine, "s3_endpoint": self.mover.aws}
        words = (self.export, self.table)
        return commands.run("ddb-verify", *words, account=DESTINATION, check=False, **services).stdout  # type: ignore[arg-type]

    def start(self, *words: object) -> subprocess.Popen[str]:
        words = (self.export, self.table, "--json", *words)
        services = {"endpoint": self.mover.engine, "s3_endpoint": self.mover.aws}
        return commands.start("ddb-import", *words, account=DESTINATION, **services)  # type: ignore[arg-type]

    def applied(self) -> dict[str, Any]:
        """The state of the follow; empty before it is first stored."""
        found = [
            stored.data
            for entry in self.storage.list("import/")
            if entry.name.endswith("/apply.json") and (stored := self.storage.read(entry.name))
        ]
        state = json.loads(found[0]) if found else {}
        assert isinstance(state, dict)
        return state

    def report(self) -> str:
        """The page of the import."""
        (name,) = [
            entry.name for entry in self.storage.list("import/") if entry.name.endswith("/report.html")
        ]
        stored = self.storage.read(name)
        assert stored is not None
        return stored.data.decode()

    def time_to_live(self) -> str:
        found = self.to.describe_time_to_live(TableName=self.table)["TimeToLiveDescription"]
        return str(found["TimeToLiveStatus"])

    def expected(self) -> Table:
        return by_key(self.items.values(), SIMPLE_KEY)

    def assert_holds(self, expected: Table) -> None:
        assert_same_items(expected, read_all(self.to, self.table))


MakeLab = Callable[..., Lab]


@pytest.fixture
def make_lab(mover: Mover, accounts: Accounts, unique_name: Callable[[], str]) -> MakeLab:
    return lambda *words: Lab(mover, accounts, (unique_name(), unique_name()), *words)


@pytest.fixture
def lab(aws: Endpoint, bucket: str, accounts: Accounts, unique_name: Callable[[], str]) -> Lab:
    """With both tables on MiniStack."""
    return Lab(Mover(aws, aws, bucket), accounts, (unique_name(), unique_name()))


def test_an_import_that_begins_before_the_base_is_there(make_lab: MakeLab) -> None:
    """It waits for the base, loads it, applies what was captured meanwhile and what comes, and ends when the log is closed."""
    lab = make_lab()
    lab.create_table()
    manifest = lab.storage.read("manifest.json")
    assert manifest is not None
    lab.s3.delete_object(Bucket=lab.mover.bucket, Key=lab.storage.key("manifest.json"))
    lab.log.begin()
    lab.capture()
    _assert_status(lab, status="not started", items_total=None, changes=50, changes_applied=0)
    with lab.start("--follow", "--progress", "log") as process:
        assert process.stderr is not None
        lab.capture()
        lab.storage.write("manifest.json", manifest.data)
        wait_until(lambda: lab.applied().get("applied", 0) >= 2)
        lab.capture()
        wait_until(lambda: lab.applied().get("applied", 0) >= 3)
        lab.assert_holds(lab.expected())
        _assert_status(lab, status="running", items_done=ITEMS, changes=150, changes_applied=150)
        assert process.poll() is None
        lab.capture()
        lab.log.close()
        output, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    result = json.loads(output)
    assert (result["status"], result["items_written"], result["changes_applied"]) == ("complete", ITEMS, 200)
    cut_over = result["cut_over"]
    assert (cut_over["captured"], cut_over["applied"], cut_over["proof"]) == (200, 200, log.DISABLED)
    lab.assert_holds(lab.expected())
    _assert_status(lab, status="complete", items_done=ITEMS, changes=200, changes_applied=200)
    page = lab.report()
    for text in (
        f"Loaded: {ITEMS} items of the export and 200 changes.",
        "200 captured, 200 applied, 0 rejected",
        "2: changes",
    ):
        assert text in page
    again = lab.load("--follow").json()
    assert (again["items_written"], again["items_resumed"], again["changes_applied"]) == (0, ITEMS, 200)


def _assert_status(lab: Lab, **expected: object) -> None:
    """What --status tells of the follow, as JSON."""
    status = lab.load("--status").json()
    assert expected == {name: status[name] for name in expected}, status


def test_an_export_that_is_not_closed_needs_a_word(lab: Lab) -> None:
    """Its base alone is older than the table; a closed one is loaded with its changes by the plain command."""
    lab.create_table()
    lab.log.begin()
    refused = lab.load(check=False)
    assert (refused.exit_code, "--follow" in refused.stderr, "--base-only" in refused.stderr) == (
        1,
        True,
        True,
    )
    base = lab.expected()
    lab.capture()
    result = lab.load("--base-only").json()
    assert (result["items_written"], result["changes_applied"]) == (ITEMS, None)
    _assert_status(lab, status="complete", changes=None, changes_applied=None)
    lab.assert_holds(base)
    lab.capture()
    lab.log.close()
    result = lab.load().json()
    assert (result["items_written"], result["items_resumed"], result["changes_applied"]) == (0, ITEMS, 100)
    lab.assert_holds(lab.expected())


def test_a_comparison_with_the_base_alone_needs_a_word(lab: Lab) -> None:
    """Before changes are applied it says so; afterwards they would be differences, and a repair would undo them."""
    lab.create_table()
    lab.log.begin()
    loaded = lab.load("--base-only", "--verify").json()
    assert loaded["verification"]["verdict"] == "identical"
    refused = lab.verify()
    assert (refused.exit_code, "ddb-export --finish" in refused.stderr) == (1, True), refused
    base = lab.verify("--base-only")
    assert (base.exit_code, base.json()["verdict"], "its base alone" in base.stderr) == (0, "identical", True)
    repair = ("--repair", "--yes")
    assert lab.verify("--base-only", *repair).exit_code == 1
    lab.capture()
    lab.log.close()
    lab.load()
    for words in ((), repair):
        refused = lab.verify("--base-only", *words)
        assert (refused.exit_code, "Leave --base-only out" in refused.stderr) == (1, True), refused
    lab.assert_holds(lab.expected())


def number_of(line: dict[str, Any]) -> int:
    return int(line["key"]["pk"]["S"].removeprefix("k"))


@pytest.mark.parametrize("words", [(), ("--format", "parquet")], ids=["jsonl", "parquet"])
def test_a_table_is_compared_with_base_and_changes(make_lab: MakeLab, words: tuple[str, ...]) -> None:
    """Equal after the import; what is altered, missing or extra then is named, and repaired to what base and changes say."""
    lab = make_lab(*words)
    lab.create_table()
    lab.log.begin()
    for _ in range(4):
        lab.capture()
    lab.log.close()
    lab.log.append([], begins=True)  # of a --finish that was late: records after the end do not count
    lab.load("--follow")
    same = lab.verify()
    found = same.json()
    assert (same.exit_code, found["verdict"], found["passes"]) == (0, "identical", 1), same
    assert (found["changes"], found["log_number"], found["log_applied"]) == (200, 4, 4)
    assert found["items_export"] == found["items_table"] == len(lab.items)
    assert found["digest_export"] == found["digest_table"]
    assert lab.verify("--sample", 50).json()["verdict"] == "identical"

    deleted = next(number for number in range(ITEMS) if number not in lab.items)
    changed = next(number for number, whole in lab.items.items() if whole["v"]["N"] != "0")
    unchanged = next(number for number, whole in lab.items.items() if whole["v"]["N"] == "0")
    altered = item(changed, 9_999)
    fill(lab.to, lab.table, [item(deleted), altered])
    lab.to.delete_item(TableName=lab.table, Key={"pk": {"S": f"k{unchanged}"}})
    different = lab.verify()
    found = different.json()
    assert (different.exit_code, found["verdict"]) == (4, "different")
    report = found["report"].removeprefix(lab.storage.url)
    stored = lab.storage.read(report)
    assert stored is not None
    lines = [json.loads(line) for line in stored.data.splitlines()]
    assert {("extra", deleted), ("different", changed), ("missing", unchanged)} == {
        (line["kind"], number_of(line)) for line in lines
    }
    assert lab.items[changed]["v"] == next(
        line["expected"]["v"] for line in lines if line["kind"] == "different"
    )
    repaired = lab.verify("--repair", "--yes", "--delete-extra").json()
    assert (repaired["verdict"], repaired["repaired"], repaired["deleted"]) == ("identical", 2, 1)
    lab.assert_holds(lab.expected())


def test_more_changed_items_than_fit_in_memory(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Their keys are taken in parts: the export is read once for each, the table once, and what differs is found all the same."""
    monkeypatch.setattr(passes, "MAX_KEYS", 130)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", DESTINATION)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    lab.create_table()
    lab.log.begin()
    for _ in range(3):
        lab.capture(100)
    lab.log.close()
    lab.load()
    url = str(getattr(lab.mover.aws, "url", lab.mover.aws))
    aws = AwsOptions(region=REGION, endpoint_url=url, s3_endpoint_url=url)
    common = Common(aws=aws, processes=1, progress=ProgressOptions(style=Style.NONE), as_json=True)
    options = VerifyOptions(common=common, export=lab.export, table=lab.table)
    same = run_verify(options, Aws(aws), Stop())
    assert (same.verdict, same.passes, same.items_export) == (Verdict.IDENTICAL, 1, len(lab.items))
    assert re.search(r"reads the export with its changes, 2 times and the table", capsys.readouterr().err)
    sample = run_verify(replace(options, sample=100), Aws(aws), Stop())
    assert (sample.verdict, sample.items_export) == (Verdict.IDENTICAL, len(lab.items))

    deleted = [number for number in range(ITEMS) if number not in lab.items][:10]
    held = sorted(lab.items)
    fill(lab.to, lab.table, [item(number) for number in deleted])
    fill(lab.to, lab.table, [item(number, 9_999) for number in held[:20]])
    for number in held[20:50]:
        lab.to.delete_item(TableName=lab.table, Key={"pk": {"S": f"k{number}"}})
    repaired = run_verify(
        replace(options, repair=Repair(delete_extra=True, confirmed=True)), Aws(aws), Stop()
    )
    found = repaired.before
    assert found is not None
    assert (found.verdict, found.extra, found.different, found.missing) == (Verdict.DIFFERENT, 10, 20, 30)
    assert (repaired.verdict, repaired.unnamed) == (Verdict.IDENTICAL, 0)
    lab.assert_holds(lab.expected())


def test_changes_that_are_not_applied_yet_are_told(lab: Lab) -> None:
    """They are differences, and no damage; a repair would be overwritten by the import that still has to apply them."""
    lab.create_table()
    lab.log.begin()
    lab.load("--base-only")
    lab.capture()
    lab.log.close()
    early = lab.verify()
    assert (early.exit_code, early.json()["log_applied"], early.json()["log_number"]) == (4, 0, 1)
    text = lab.verify_text()
    assert "let ddb-import end, then verify again" in text
    refused = lab.verify("--repair", "--yes")
    assert (refused.exit_code, "Let ddb-import EXPORT TABLE end first" in refused.stderr) == (1, True)
    loaded = lab.load("--verify").json()
    assert loaded["changes_applied"] == 50
    found = loaded["verification"]
    assert (found["verdict"], found["log_applied"], found["log_number"]) == ("identical", 1, 1)


def test_a_table_that_an_import_will_write_to_again_is_not_identical(lab: Lab) -> None:
    """Its state says that it has not applied all changes, and it would apply them over later writes: nothing is proved."""
    lab.create_table()
    lab.log.begin()
    lab.capture()
    lab.log.close()
    lab.load()
    (name,) = [entry.name for entry in lab.storage.list("import/") if entry.name.endswith("/apply.json")]
    lab.storage.write(name, json.dumps(lab.applied() | {"applied": 0}).encode())
    proof = name.replace("apply.json", "proof.json")
    result = lab.verify()
    assert (1, "incomplete") == (result.exit_code, result.json()["verdict"])
    assert "0 of 1 records as applied" in result.json()["reason"]
    assert lab.storage.read(proof) is None
    lab.load()
    assert "identical" == lab.verify().json()["verdict"]
    assert lab.storage.read(proof) is not None


def test_a_log_that_cannot_be_compared_with(lab: Lab) -> None:
    """One that was cancelled, one without a base, and one of which a file is missing."""
    lab.create_table()
    lab.log.begin()
    lab.load("--base-only")
    lab.capture()
    closed = lab.log.close(cancelled=True)
    refused = lab.verify()
    assert (refused.exit_code, "was cancelled" in refused.stderr) == (1, True), refused
    lab.storage.write(log.CLOSED, msgspec.json.encode(msgspec.structs.replace(closed, cancelled=False)))
    name = f"{log.CHANGES}000000000001-0badcafe.json.gz"
    lab.s3.delete_object(Bucket=lab.mover.bucket, Key=lab.storage.key(name))
    refused = lab.verify()
    assert (refused.exit_code, refused.json()["verdict"]) == (1, "incomplete")
    assert f"{name} is missing" in refused.stderr
    stream = log.read_stream(lab.storage)
    assert stream is not None
    lab.storage.write(log.STREAM, msgspec.json.encode(msgspec.structs.replace(stream, changes_only=True)))
    refused = lab.verify()
    assert (refused.exit_code, "changes and no base" in refused.stderr) == (1, True), refused


def test_a_base_that_skipped_items_is_not_followed(lab: Lab) -> None:
    """Where the table kept items of its own, base and changes do not add up."""
    lab.create_table()
    lab.log.begin()
    lab.load("--base-only", "--on-existing", "skip")
    lab.capture()
    lab.log.close()
    refused = lab.load(check=False)
    assert (refused.exit_code, "was loaded with --on-existing skip" in refused.stderr) == (1, True), refused
    assert lab.load("--restart", "--on-existing", "overwrite").json()["changes_applied"] == 50
    lab.assert_holds(lab.expected())


def test_a_parquet_base_with_its_changes(make_lab: MakeLab) -> None:
    """Changes are JSON lines in any case."""
    lab = make_lab("--format", "parquet")
    lab.create_table()
    lab.log.begin()
    lab.capture()
    lab.log.close()
    assert lab.load("--follow").json()["changes_applied"] == 50
    lab.assert_holds(lab.expected())


@pytest.mark.parametrize("again", [True, False])
def test_a_table_that_is_replaced_meanwhile_is_no_success(lab: Lab, again: bool) -> None:
    """Deleted, or recreated, while no change came: the base is gone, though nothing was refused."""
    lab.create_table()
    lab.log.begin()
    lab.capture()
    with lab.start("--follow") as process:
        wait_until(lambda: lab.applied().get("applied", 0) >= 1)
        lab.to.delete_table(TableName=lab.table)
        if again:
            lab.create_table()
        lab.log.close()
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 1, errors
    assert ("was recreated" if again else "was deleted") in errors
    assert "--restart" in errors
    refused = lab.load("--follow", check=False)
    assert refused.exit_code == 1, refused


def test_what_cannot_be_followed_is_told(lab: Lab) -> None:
    """An export without changes, options that contradict, a capture that was cancelled, a file that is altered."""
    lab.create_table()
    refused = lab.load("--follow", check=False)
    assert (refused.exit_code, "does not follow its table" in refused.stderr) == (1, True)
    for words in (("--follow", "--base-only"), ("--follow", "--from-rejects")):
        assert lab.load(*words, check=False).exit_code == 2
    lab.log.begin()
    refused = lab.load("--follow", "--on-existing", "skip", check=False)
    assert (refused.exit_code, "--on-existing skip" in refused.stderr) == (2, True)
    lab.capture()
    name = f"{log.CHANGES}000000000001-0badcafe.json.gz"
    stored = lab.storage.read(name)
    assert stored is not None
    lab.storage.write(name, stored.data[:-1] + b"x")
    altered = lab.load("--follow", check=False)
    assert (altered.exit_code, f"{name} is not what its record says" in altered.stderr) == (1, True), (
        altered.stderr
    )
    lab.log.close(cancelled=True)
    refused = lab.load("--follow", check=False)
    assert (refused.exit_code, "was cancelled" in refused.stderr) == (1, True)
    assert lab.load("--base-only").json()["items_resumed"] == ITEMS


def test_an_interrupted_follow_is_resumed_by_the_command_it_prints(lab: Lab) -> None:
    """SIGINT ends it within seconds, with what is confirmed saved."""
    lab.create_table()
    lab.log.begin()
    lab.capture()
    with lab.start("--follow") as process:
        wait_until(lambda: lab.applied().get("applied", 0) >= 1)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=30)
    assert process.returncode == 130, errors
    (command,) = [line for line in errors.splitlines() if line.startswith("  ddb-import")]
    assert "--follow" in command.split()
    lab.capture()
    _assert_status(lab, status="interrupted", changes=100, changes_applied=50, command=command.strip())
    lab.log.close()
    result = commands.run(*command.split(), account=DESTINATION).json()
    assert result["changes_applied"] == 100
    lab.assert_holds(lab.expected())


ROUNDS = [
    pytest.param(range(2), id="0-1"),
    pytest.param(range(2, 12), id="2-11", marks=pytest.mark.soak),
]


@pytest.mark.slow
@pytest.mark.parametrize("seeds", ROUNDS)
def test_follows_killed_at_random_moments(lab: Lab, seeds: range) -> None:
    """SIGKILL again and again while changes are captured: at the end the table is the model, and every change is counted."""
    lab.create_table()
    lab.log.begin()
    captured = 0
    for seed in seeds:
        chance = random.Random(seed)
        with lab.start("--follow", "--max-wcu", 400) as process:
            point = lab.applied().get("applied", 0) + chance.randrange(4)
            while lab.applied().get("applied", 0) < point:
                lab.capture(chance.randrange(1, 200), keys=60)
                captured += 1
                assert process.poll() is None
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
    lab.log.close()
    result = lab.load("--follow").json()
    assert result["changes_applied"] == lab.log.changes
    lab.assert_holds(lab.expected())


def test_rejected_changes_are_kept_and_exit_3(lab: Lab) -> None:
    """One that a later change supersedes is not counted; what stands is loaded by --from-rejects, once it is corrected."""
    index: dict[str, Any] = {
        "AttributeDefinitions": [
            {"AttributeName": "pk", "AttributeType": "S"},
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
    create_table(lab.to, lab.table, SIMPLE_KEY, **index)
    lab.log.begin()
    bad = {"size": {"S": "an index wants a number"}}
    keys = [{"pk": {"S": f"k{number}"}} for number in range(3)]
    lab.log.append(
        [Change(keys[0], item(0, 1) | bad), Change(keys[1], item(1, 1) | bad), Change(keys[2], None)]
    )
    lab.log.append([Change(keys[0], item(0, 2))])
    lab.log.close()
    result = lab.load("--follow", check=False)
    assert (result.exit_code, result.json()["items_rejected"], result.json()["changes_applied"]) == (3, 1, 3)
    (name,) = [entry.name for entry in lab.storage.list("import/") if entry.name.endswith("changes.jsonl")]
    stored = lab.storage.read(name)
    assert stored is not None
    (reject,) = stored.data.splitlines()
    corrected = json.loads(reject)
    del corrected["Item"]["size"]
    lab.storage.write(name, json.dumps(corrected).encode() + b"\n")
    loaded = lab.load("--from-rejects").json()
    assert (loaded["status"], loaded["items_rejected"]) == ("complete", 0)
    lab.items |= {0: item(0, 2), 1: item(1, 1)}
    del lab.items[2]
    lab.assert_holds(lab.expected())
    assert lab.applied()["changes_applied"] == 4


def test_time_to_live_waits_for_the_end(lab: Lab, accounts: Accounts) -> None:
    """A table that --create-table makes gets it once all changes are applied: it would delete what they are about."""
    source = accounts.dynamodb(lab.mover.engine, SOURCE)
    lifetime = {"Enabled": True, "AttributeName": "until"}
    source.update_time_to_live(TableName=lab.source, TimeToLiveSpecification=lifetime)
    lab.export_again()
    lab.log.begin()
    lab.capture()
    with lab.start("--follow", "--create-table") as process:
        wait_until(lambda: lab.applied().get("applied", 0) >= 1)
        assert lab.time_to_live() == "DISABLED"
        lab.log.close()
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    assert lab.time_to_live() == "ENABLED"
    lab.assert_holds(lab.expected())
