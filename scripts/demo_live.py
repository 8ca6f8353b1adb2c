"""The demo's move of a table in use: writers write until the cut-over, which is measured and proved."""

import contextlib
import json
import random
import re
import time
from typing import Any

from demo_stage import (
    EXPORTS,
    ROLES,
    TABLE,
    Command,
    Stage,
    compare,
    make_bucket,
    make_roles,
    open_bucket,
    print_policies,
    seed,
    step,
)
from support.environment import DESTINATION, SOURCE
from support.varied import varied_items
from support.writers import Writers

EXPORT = f"ddb-export {TABLE} {EXPORTS} --profile exporter --bucket-owner {DESTINATION} --follow"
IMPORT = f"ddb-import $E {TABLE} --profile importer --create-table --follow"
FINISH = f"ddb-export --finish $E --profile exporter --bucket-owner {DESTINATION}"
CHANGES_SHOWN = 300
"""So many changes are applied before the cut-over begins: a few seconds of the writers."""
PAUSE_SECONDS = 0.02
"""Of each of three writers: some hundred writes a second, which leave the local AWS time for the move."""
STREAM_ACTIONS = ["dynamodb:DescribeStream", "dynamodb:GetShardIterator", "dynamodb:GetRecords"]
STREAM_LIMIT = "It also allows the reads of one stream only to who may read all streams: so the exporter may read all of them."

_APPLIED = re.compile(r"^\S+ changes.*?: ([\d,]+) changes", re.MULTILINE)


def move_in_use(stage: Stage, items: int) -> None:
    """Seed, start the writers and both sides, stop the writers, finish, compare."""
    with step(f"account {SOURCE} has the table {TABLE} of {items:,} items, account {DESTINATION} a bucket"):
        seed(stage, items)
        make_bucket(stage)
    with step("Print and deploy the policies"):
        documents = print_policies(stage, "--follow")
        make_roles(stage, documents)
        _allow_streams(stage)
        open_bucket(stage, documents)
    with contextlib.ExitStack() as running:
        writers = running.enter_context(
            Writers(
                stage.client(SOURCE), TABLE, key=lambda rng: _key(rng, items), pause_seconds=PAUSE_SECONDS
            )
        )
        with step("An application puts, updates and deletes items of the table, and does not stop"):
            writers.wait_for(50)
            print(f"{writers.count:,} writes so far")
        with step("Source side: export the table and capture its changes, until --finish"):
            export = running.enter_context(stage.background(EXPORT, "export"))
            _await_location(stage, export)
        with step("Destination side: load the export, then apply the changes"):
            load = running.enter_context(stage.background(IMPORT, "import"))
            load.wait_until(lambda: _applied(load) >= CHANGES_SHOWN, f"{CHANGES_SHOWN} changes applied")
            print(f"{load.log.splitlines()[-1]}\n{writers.count:,} writes so far")
        with step(
            "Compare while the application writes: what is captured and applied so far is in the new table"
        ):
            stage.shell(f"ddb-verify $E {TABLE} --profile importer --so-far")
        with step("As long as the application writes, the move cannot be finished"):
            code = stage.shell(FINISH, check=False)
            assert code == 1, "it should have been refused"
        with step("The application stops"):
            writers.stop()
            print(f"{writers.count:,} writes in all")
        _cut_over(stage, export, load)
    with step(
        "Verify: the new table holds exactly the export with its changes; only what changed since is read again"
    ):
        stage.shell(f"ddb-verify $E {TABLE} --profile importer")
    with step("Compare both tables item by item, without ddb-transfer: two scans by boto3"):
        print(f"{compare(stage):,} items, all of them equal")


def _allow_streams(stage: Stage) -> None:
    """MiniStack checks these actions against all resources."""
    statement = {"Effect": "Allow", "Action": STREAM_ACTIONS, "Resource": "*"}
    stage.accounts.client("iam", stage.aws, SOURCE).put_role_policy(
        RoleName=ROLES[SOURCE],
        PolicyName="streams-of-the-local-aws",
        PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [statement]}),
    )
    print(STREAM_LIMIT)


def _key(rng: random.Random, items: int) -> dict[str, Any]:
    """The key of any item of the table."""
    (item,) = varied_items(1, start=rng.randrange(items))
    return {name: item[name] for name in ("pk", "sk")}


def _await_location(stage: Stage, export: Command) -> None:
    """The export has begun to capture: its location is the variable E."""
    export.wait_until(lambda: export.out.endswith("\n"), "a location")
    stage.shell("cat export.out", into="E")
    stage.shell("echo $E")


def _applied(load: Command) -> int:
    """How many changes are applied, by the import's progress in its log."""
    found = _APPLIED.findall(load.log)
    return int(found[-1].replace(",", "")) if found else 0


def _cut_over(stage: Stage, export: Command, load: Command) -> None:
    """Closes the capture, and waits for both sides to end."""
    with step("Source side: close the capture. Both commands in the background end by themselves"):
        began = time.monotonic()
        stage.shell(FINISH)
        load.finish()
        seconds = time.monotonic() - began
        export.finish()
        print(f"{seconds:.1f} s from --finish to the end of the import, which says:")
        print(load.out.strip())
