"""From another terminal: exports are listed, an import's status is asked for, and the rate of what runs is changed."""

import re
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from e2e.test_resume import ITEMS, Lab, lab, wait_until
from support import commands
from support.environment import DESTINATION, SOURCE
from support.services import Endpoint

__all__ = ["lab"]


def ask(lab: Lab, command: str, account: str, *arguments: object, **options: Any) -> dict[str, Any]:
    """What a command prints as JSON."""
    return commands.run(command, *arguments, "--json", account=account, endpoint=lab.aws, **options).json()


def test_an_import_is_paused_and_continued_in_all_processes(lab: Lab) -> None:
    """Nothing is written while it is paused; it continues at the new rate and is exact. The status tells all along."""
    export = lab.mover.exported(lab.source, "--segments", 8)
    before = ask(lab, "ddb-import", DESTINATION, "--status", export, lab.destination)
    assert ("not started", 0, ITEMS) == (before["status"], before["items_done"], before["items_total"])
    assert before["command"] == f"ddb-import {export} {lab.destination} --endpoint-url {lab.aws.url}"

    # some minutes of work, so that it still runs when a command on a busy machine has started
    options = ("--processes", 2, "--max-wcu", 40, "--progress", "log")
    with lab.start("ddb-import", DESTINATION, export, lab.destination, *options) as process:
        wait_until(lambda: lab.items(lab.destination) > 0)
        paused = ask(lab, "ddb-import", DESTINATION, "--control", export, lab.destination, "--pause")
        assert ("applied", True, "") == (paused["status"], paused["paused"], paused["cap"])
        # what was on its way when the workers heard of it may still be written
        written = [-1, lab.items(lab.destination)]
        while written[-1] != written[-2]:
            status = ask(lab, "ddb-import", DESTINATION, "--status", export, lab.destination)
            written.append(lab.items(lab.destination))
        assert written[-1] < ITEMS
        assert status["status"] == "running"
        assert re.fullmatch(r"\S+ on \S+ \(process \d+\) since \S+Z", status["holder"])
        assert status["command"].startswith("ddb-import ")
        assert "--max-wcu 40" in status["command"]
        more = ("--control", export, lab.destination, "--continue", "--max-wcu", "unlimited")
        continued = ask(lab, "ddb-import", DESTINATION, *more)
        assert (False, "unlimited") == (continued["paused"], continued["cap"])
        _, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    assert "Paused since " in errors
    lab.assert_moved()

    after = ask(lab, "ddb-import", DESTINATION, "--status", export, lab.destination)
    assert ("complete", ITEMS, 0) == (after["status"], after["items_done"], after["items_rejected"])
    assert after["shards_done"] == after["shards_total"]
    assert after["command"] == f"ddb-verify {export} {lab.destination} --endpoint-url {lab.aws.url}"


def test_an_export_is_paused_slowed_and_continued(lab: Lab) -> None:
    """The same of an export, which is listed as unfinished meanwhile and as complete at its end."""
    place = f"s3://{lab.bucket}/moves"
    segments = 200
    options = ("--segments", segments, "--max-rcu", 6, "--processes", 2, "--progress", "log")
    with lab.start("ddb-export", SOURCE, lab.source, place, *options) as process:
        wait_until(lab.has_checkpoint)
        (export,) = lab.exports()
        ask(lab, "ddb-export", SOURCE, "--control", export, "--pause")
        counts = [-1, lab.checkpoints("moves/")]
        while counts[-1] != counts[-2]:
            listing = ask(lab, "ddb-export", SOURCE, "--list", place)
            counts.append(lab.checkpoints("moves/"))
        assert counts[-1] < segments
        (listed,) = listing["exports"]
        assert (export, "unfinished", None) == (listed["export"], listed["status"], listed["finished"])
        assert listed["table"].endswith(f"table/{lab.source}")
        applied = ask(lab, "ddb-export", SOURCE, "--control", export, "--max-rcu", 2000)
        assert (True, "2000") == (applied["paused"], applied["cap"])
        applied = ask(lab, "ddb-export", SOURCE, "--control", export, "--continue")
        assert (False, "2000") == (applied["paused"], applied["cap"])
        _, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    lab.assert_clean(export)
    (listed,) = ask(lab, "ddb-export", SOURCE, "--list", place)["exports"]
    manifest = lab.manifest(export)
    assert ("complete", ITEMS, manifest["bytes"], manifest["finished_at"]) == (
        listed["status"], listed["items"], listed["bytes"], listed["finished"],
    )  # fmt: skip
    refused = commands.run(
        "ddb-export", "--control", export, "--pause", account=SOURCE, endpoint=lab.aws, check=False
    )
    assert refused.exit_code == 1
    assert re.search(r"Nothing is running at s3://.*; the last run ended at ", refused.stderr)


def test_an_interrupted_import_says_how_to_continue(lab: Lab) -> None:
    """The status names the very command that was run."""
    export = lab.mover.exported(lab.source)
    with lab.start("ddb-import", DESTINATION, export, lab.destination, "--max-wcu", 800) as process:
        wait_until(lambda: lab.items(lab.destination) > 0)
        process.terminate()
        process.communicate(timeout=60)
    status = ask(lab, "ddb-import", DESTINATION, "--status", export, lab.destination)
    assert status["status"] == "interrupted"
    assert 0 < status["items_done"] < ITEMS
    assert "--max-wcu 800" in status["command"]
    by_arn = f"arn:aws:dynamodb:eu-west-1:{DESTINATION}:table/{lab.destination}"
    assert status == ask(lab, "ddb-import", DESTINATION, export, by_arn, "--status")


@pytest.mark.parametrize(
    ("command", "arguments", "message"),
    [
        ("ddb-export", ("T", "s3://bucket", "--pause"), "--pause and --continue belong to --control."),
        ("ddb-export", ("--control", "s3://bucket/x"), "--control changes nothing."),
        ("ddb-import", ("--control", "s3://bucket/x", "Orders", "--pause", "--continue"), "contradict"),
    ],
)
def test_a_control_that_cannot_be_is_refused(command: str, arguments: tuple[str, ...], message: str) -> None:
    """Before anything is asked of AWS."""
    result = commands.run(command, *arguments, check=False)
    assert result.exit_code == 2
    assert message in result.stderr


def test_the_next_command_has_the_access_options_and_the_state(lab: Lab, tmp_path: Path) -> None:
    """As they were given: it is for the same caller, whom it would not reach the same services and state without them."""
    export = lab.mover.exported(lab.source)
    access = ("--region", "eu-west-1", "--bucket-owner", DESTINATION, "--state", tmp_path)
    status = ask(lab, "ddb-import", DESTINATION, "--status", export, lab.destination, "--quiet", *access)
    program, *words = shlex.split(status["command"])
    assert (program, words[:2]) == ("ddb-import", [export, lab.destination])
    given = ["--endpoint-url", lab.aws.url, *map(str, access)]
    assert sorted(words[2:]) == sorted(given)


def test_a_listing_that_is_denied_names_the_policies_of_both_sides(aws: Endpoint, closed_bucket: str) -> None:
    """Either side lists, so nobody knows whose policy lacks it."""
    result = commands.run(
        "ddb-export", "--list", f"s3://{closed_bucket}/moves", account=SOURCE, endpoint=aws, check=False
    )
    assert result.exit_code == 1
    assert "source_policy or destination_policy of ddb-policy" in result.stderr


def test_a_prefix_without_exports_lists_none(lab: Lab, unique_name: Callable[[], str]) -> None:
    """A missing bucket is an error, an empty prefix is not."""
    assert {"exports": [], "moves": []} == ask(
        lab, "ddb-export", SOURCE, "--list", f"s3://{lab.bucket}/empty"
    )
    missing = f"s3://{unique_name()}/x"
    result = commands.run("ddb-export", "--list", missing, account=SOURCE, endpoint=lab.aws, check=False)
    assert result.exit_code == 1
    assert "does not exist" in result.stderr
