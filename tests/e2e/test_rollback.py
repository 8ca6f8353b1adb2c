"""After a cut-over, what is written to the new table is carried back to the old one; only where both were proved equal."""

import contextlib
import json
import subprocess
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from ddb_shared.format import changes as log
from ddb_shared.format.changes import StreamRecord
from ddb_shared.storage.s3 import S3Storage
from e2e.conftest import Mover
from e2e.test_resume import wait_until
from support import commands
from support.accounts import Accounts
from support.environment import DESTINATION, SOURCE
from support.tables import SIMPLE_KEY, assert_same_items, create_table, fill, read_all

ITEMS = 60


def item(number: int, version: int = 0) -> dict[str, Any]:
    return {"pk": {"S": f"k{number}"}, "v": {"N": str(version)}}


class Move:
    """A table that was moved: the old one is left as it was, the new one is in use."""

    def __init__(self, mover: Mover, accounts: Accounts, old: str, new: str) -> None:
        self.mover, self.old, self.new = mover, old, new
        self.from_, self.to = (accounts.dynamodb(mover.engine, account) for account in (SOURCE, DESTINATION))
        self.s3 = accounts.s3(mover.aws, DESTINATION)
        create_table(self.from_, old, SIMPLE_KEY)
        fill(self.from_, old, map(item, range(ITEMS)))
        create_table(self.to, new, SIMPLE_KEY)
        self.export = ""

    def copy(self) -> None:
        """The items of the old table, to the new one."""
        self.export = self.mover.exported(self.old)
        self.mover.load(self.export, self.new)

    def copy_live(self, stack: contextlib.ExitStack) -> tuple[subprocess.Popen[str], subprocess.Popen[str]]:
        """The same with the changes that are made meanwhile: both sides, which run until the capture is closed."""
        place = f"s3://{self.mover.bucket}/moves"
        export = stack.enter_context(self.mover.start("ddb-export", SOURCE, self.old, place, "--follow"))
        assert export.stdout is not None
        self.export = export.stdout.readline().strip()
        words = (self.export, self.new, "--follow", "--verify", "--json")
        return export, stack.enter_context(self.mover.start("ddb-import", DESTINATION, *words))

    def capture(self) -> tuple[subprocess.Popen[str], str]:
        """The capture of the new table's changes, and its location."""
        place = f"s3://{self.mover.bucket}/moves"
        process = self.mover.start("ddb-export", DESTINATION, self.new, place, "--follow", "--changes-only")
        assert process.stdout is not None
        return process, process.stdout.readline().strip()

    def verify(self, *words: object, check: bool = True) -> commands.Result:
        words = (self.export, self.new, "--json", *words)
        return self._run("ddb-verify", *words, account=DESTINATION, check=check)

    def verify_so_far(self) -> None:
        """Once the base is loaded, while changes are applied."""
        wait_until(lambda: self.verify("--so-far", check=False).exit_code == 0)

    def back(self, reverse: str, *words: object, check: bool = True) -> commands.Result:
        return self._run("ddb-import", reverse, self.old, "--json", *words, account=SOURCE, check=check)

    def start_back(self, reverse: str) -> subprocess.Popen[str]:
        return self.mover.start("ddb-import", SOURCE, reverse, self.old, "--follow", "--json")

    def finish(self, reverse: str) -> None:
        self._run("ddb-export", "--finish", reverse, account=DESTINATION)

    def storage(self, export: str) -> S3Storage:
        return S3Storage(self.s3, self.mover.bucket, export.removeprefix(f"s3://{self.mover.bucket}/"))

    def assert_equal(self) -> None:
        assert_same_items(read_all(self.to, self.new), read_all(self.from_, self.old))

    def _run(self, command: str, *words: object, account: str, check: bool = True) -> commands.Result:
        engine, aws = self.mover.engine, self.mover.aws
        return commands.run(command, *words, account=account, endpoint=engine, s3_endpoint=aws, check=check)


@pytest.fixture
def move(mover: Mover, accounts: Accounts, unique_name: Callable[[], str]) -> Move:
    return Move(mover, accounts, unique_name(), unique_name())


def ended(process: subprocess.Popen[str]) -> str:
    """What it has printed, once it has ended well."""
    output, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    return output


def test_a_move_with_changes_is_rolled_back(move: Move) -> None:
    """The verification at the end, of what changed since an earlier one, is the proof; what is altered afterwards is found."""
    with contextlib.ExitStack() as stack:
        export, load = move.copy_live(stack)
        capture, reverse = move.capture()
        stack.enter_context(capture)
        fill(move.from_, move.old, [item(number, 1) for number in range(50, 70)])
        early = move.verify(check=False)
        assert early.exit_code == 1, early
        move.verify_so_far()
        move.from_.delete_item(TableName=move.old, Key={"pk": {"S": "k5"}})
        move.mover.export("--finish", move.export)
        loaded = json.loads(ended(load))
        ended(export)
        assert loaded["changes_applied"] == 21
        verification = loaded["verification"]
        assert (verification["verdict"], verification["changes"]) == ("identical", 21)
        assert 1 <= verification["items_compared"] <= 21
        assert len(verification["earlier"]) == 1

        fill(move.to, move.new, [item(number, 2) for number in range(60, 80)])
        move.to.delete_item(TableName=move.new, Key={"pk": {"S": "k3"}})
        different = move.verify("--full", check=False)
        found = [different.json()[kind] for kind in ("missing", "different", "extra")]
        assert (different.exit_code, found) == (4, [1, 10, 10]), different
        back = stack.enter_context(move.start_back(reverse))
        move.finish(reverse)
        ended(back)
        ended(capture)
    move.assert_equal()


def test_a_move_is_rolled_back(move: Move) -> None:
    """Without a verification it is refused; with one, the old table follows the new one until that capture is closed."""
    move.copy()
    capture, reverse = move.capture()
    with capture:
        refused = move.back(reverse, "--follow", check=False)
        assert (refused.exit_code, "no verification of a move" in refused.stderr) == (1, True), refused.stderr
        move.verify()
        fill(move.to, move.new, [item(number, 1) for number in range(10, 80)])
        with move.start_back(reverse) as back:
            move.to.delete_item(TableName=move.new, Key={"pk": {"S": "k3"}})
            fill(move.to, move.new, [item(1, 2)])
            move.finish(reverse)
            output, errors = back.communicate(timeout=120)
        assert back.returncode == 0, errors
        _, captured = capture.communicate(timeout=60)
        assert capture.returncode == 0, captured
    result = json.loads(output)
    assert (result["items_written"], result["changes_applied"]) == (0, 72)
    move.assert_equal()


def test_what_proves_nothing_is_refused(move: Move) -> None:
    """A capture that began after the verification, one of another table, and a table that was not moved."""
    move.copy()
    move.verify()
    capture, reverse = move.capture()
    with capture:
        late = move.back(reverse, "--follow", check=False)
        assert (late.exit_code, "are in neither" in late.stderr) == (1, True), late.stderr
        capture.terminate()
        capture.communicate(timeout=60)
    storage = move.storage(reverse)
    stored = storage.read(log.STREAM)
    assert stored is not None
    record = log.decode(storage, log.STREAM, stored.data, StreamRecord)
    early = {"enabled_at": "2026-01-01T00:00:00.000Z"}
    for changes, refused in (
        (early, False),
        ({**early, "table_id": "another"}, True),
        ({**early, "table_arn": record.table_arn + "x"}, True),
    ):
        storage.write(log.STREAM, msgspec.json.encode(msgspec.structs.replace(record, **changes)))
        planned = move.back(reverse, "--follow", "--dry-run", "--rollback-of", move.export, check=False)
        (check,) = [one for one in planned.json()["checks"] if one["name"] == "rollback"]
        assert check["ok"] is not refused, check
