"""What whole commands tell beside their result, and where: for programs, with -q and with -v."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from e2e.conftest import Mover
from e2e.test_resume import Lab, lab, wait_until
from support import commands
from support.accounts import Accounts
from support.environment import SOURCE
from support.services import Endpoint
from support.tables import create_table, fill
from support.varied import varied_items

__all__ = ["lab"]


def running(metrics: Path) -> float | None:
    """What the metrics say of whether the command runs; None before there are any."""
    if not metrics.exists():
        return None
    families = text_string_to_metric_families(metrics.read_text())
    (sample,) = [
        sample for family in families for sample in family.samples if sample.name == "ddb_transfer_running"
    ]
    return float(sample.value)


def events(text: str) -> list[dict[str, Any]]:
    """The events of JSON lines, which have nothing else."""
    found = [json.loads(line) for line in text.splitlines()]
    assert all({"at", "level", "event", "message"} <= event.keys() for event in found)
    return found


def test_programs_can_read_all_that_a_command_tells(lab: Lab, tmp_path: Path) -> None:
    """Each line of stderr and of the log file is an object, that of the environment too; the metrics tell that it runs."""
    log, metrics = tmp_path / "run.jsonl", tmp_path / "ddb.prom"
    options = ("--segments", 40, "--processes", 2, "--progress", "jsonl", "--log-format", "json")
    with commands.start(
        "ddb-export", lab.source, f"s3://{lab.bucket}/moves", *options, "--log-file", log, "--metrics", metrics, "--json",
        account=SOURCE, endpoint=lab.aws, env={"DDB_EXPORT_MAX_RCU": "50"},
    ) as process:  # fmt: skip
        wait_until(lambda: running(metrics) == 1)
        output, errors = process.communicate(timeout=commands.TIMEOUT_SECONDS)
    assert process.returncode == 0, errors
    assert json.loads(output)["status"] == "complete"
    assert running(metrics) == 0
    for found in (events(errors), events(log.read_text())):
        assert {"environment_options", "identity", "progress", "report"} <= {
            event["event"] for event in found
        }
        (told,) = [event for event in found if event["event"] == "environment_options"]
        assert told["variables"] == ["DDB_EXPORT_MAX_RCU"]
        last = [event for event in found if event["event"] == "progress"][-1]
        assert (last["action"], last["cap"], last["percent"]) == ("export", 50, 100)


@pytest.fixture
def source(aws: Endpoint, accounts: Accounts, unique_name: Callable[[], str]) -> str:
    """A table of 20 items."""
    name = unique_name()
    create_table(accounts.dynamodb(aws, SOURCE), name)
    fill(accounts.dynamodb(aws, SOURCE), name, varied_items(20))
    return name


STAMP = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"
# What is told of any export that has an option from the environment.
NOTICES = ("Options from the environment: DDB_EXPORT_SEGMENTS.", "Exported 20 items", "Report: s3://")


@pytest.mark.parametrize(
    ("option", "has_notices", "has_log"),
    [("-q", False, False), ("--progress=log", True, False), ("-v", True, True)],
)
def test_quiet_and_verbose(
    option: str, has_notices: bool, has_log: bool, aws_mover: Mover, aws: Endpoint, source: str
) -> None:
    """Neither hides a warning or changes the result; -v logs what is checked, and each sentence has its time."""
    result = commands.run(
        "ddb-export", source, f"s3://{aws_mover.bucket}", option,
        account=SOURCE, endpoint=aws, env={"DDB_EXPORT_SEGMENTS": "4"},
    )  # fmt: skip
    assert "Warning: the bucket owner check is off" in result.stderr
    assert [has_notices] * len(NOTICES) == [notice in result.stderr for notice in NOTICES]
    assert ("export 100%: 20 of 20 items" in result.stderr) is has_notices
    assert (" INFO check " in result.stderr) is has_log
    for told in ("Warning: the bucket owner check is off", *NOTICES):
        assert bool(re.search(f"^{STAMP} {re.escape(told)}", result.stderr, re.MULTILINE)) is has_log
    location = rf"s3://{aws_mover.bucket}/AWSDynamoDB/[0-9a-f-]+/"
    assert re.fullmatch(rf"{location}\n", result.stdout)
