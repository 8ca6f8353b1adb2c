"""`ddb-export` of several tables, tied together by the file of a move."""

import signal
from collections.abc import Callable

import pytest

from e2e.several_tables import ITEMS, KEYS, Lab, items_of
from support import commands
from support.accounts import Accounts
from support.environment import DESTINATION, SOURCE
from support.services import Endpoint
from support.tables import COMPOSITE_KEY, SIMPLE_KEY, create_table, fill

MOVE = "s3://bucket/moves/01732000000000-00000000.json"


@pytest.fixture
def lab(aws: Endpoint, bucket: str, accounts: Accounts, unique_name: Callable[[], str]) -> Lab:
    return Lab(aws, bucket, accounts, unique_name())


def test_a_pattern_exports_every_table_that_matches(lab: Lab) -> None:
    """By name, each once, each an ordinary export, and the move's file names them all."""
    result = lab.export(lab.pattern, lab.tables[1])
    found = result.json()
    assert ("complete", lab.tables) == (found["status"], [one["table"] for one in found["exports"]])
    assert [ITEMS] * 3 == [one["items"] for one in found["exports"]]
    assert f"Table 2 of 3: {lab.tables[1]}" in result.stderr
    record = lab.record(found["move"])
    assert [one["export"] for one in found["exports"]] == [one["export"] for one in record["exports"]]
    listing = lab.mover.export("--list", lab.place).json()
    assert [(one["status"], one["tables"]) for one in listing["moves"]] == [("complete", lab.tables)]
    again = lab.mover.export("--resume", found["move"])
    assert again.json()["exports"] == [
        one | {"seconds": again.json()["exports"][index]["seconds"]}
        for index, one in enumerate(found["exports"])
    ]


def test_the_location_of_a_move_is_all_that_is_on_stdout(lab: Lab) -> None:
    """So that `M=$(ddb-export …)` works; the table of all tables is on stderr."""
    result = commands.run("ddb-export", *lab.tables, lab.place, endpoint=lab.aws)
    (location,) = result.stdout.splitlines()
    assert lab.record(location)["given"] == lab.tables
    assert "3 of 3 tables exported." in result.stderr


def test_a_table_that_fails_does_not_stop_the_others(lab: Lab) -> None:
    """The exit code tells, the table names it, and a resume exports what is missing."""
    lab.export(lab.pattern)
    (move,) = lab.moves()
    record = lab.record(move)
    second = record["exports"][1]
    forget(lab, second["export"])
    lab.source.delete_table(TableName=lab.tables[1])
    failed = lab.mover.export("--resume", move, check=False)
    assert failed.exit_code == 1
    assert ["complete", "failed", "complete"] == [one["status"] for one in failed.json()["exports"]]
    assert "does not exist" in failed.json()["exports"][1]["error"]
    assert lab.tables[1] in failed.stderr
    create_table(lab.source, lab.tables[1], KEYS[1])
    listing = commands.run("ddb-export", "--list", lab.place, endpoint=lab.aws).stdout
    assert f"ddb-export --resume {move}" in listing
    done = lab.mover.export("--resume", move).json()
    assert [ITEMS, 0, ITEMS] == [one["items"] for one in done["exports"]]
    assert second["export"] == done["exports"][1]["export"]


def forget(lab: Lab, export: str, only: str = "") -> None:
    """Deletes the objects of an export, or those of this name."""
    folder = export.removeprefix(f"s3://{lab.bucket}/")
    for key in lab.objects():
        if key.startswith(folder) and key.endswith(only):
            lab.s3.delete_object(Bucket=lab.bucket, Key=key)


def test_a_resume_with_another_account_exports_nothing_of_it(lab: Lab) -> None:
    """A table that was not begun, and whose name the other account has as well, is not taken from there."""
    found = lab.export(lab.pattern).json()
    second = found["exports"][1]["export"]
    forget(lab, second)
    create_table(lab.destination, lab.tables[1], KEYS[1])
    fill(lab.destination, lab.tables[1], items_of(KEYS[1], 1))
    words = ("--resume", found["move"], "--json")
    result = commands.run("ddb-export", *words, account=DESTINATION, endpoint=lab.aws, check=False)
    assert (1, ["complete", "failed", "complete"]) == (
        result.exit_code,
        [one["status"] for one in result.json()["exports"]],
    )
    failed = result.json()["exports"][1]
    assert f"with these credentials and this Region {lab.tables[1]} is arn:aws:dynamodb" in failed["error"]
    assert "--region" in failed["remedy"]
    assert not [key for key in lab.objects() if f"s3://{lab.bucket}/{key}".startswith(second)]
    done = lab.mover.export("--resume", found["move"]).json()
    assert [ITEMS] * 3 == [one["items"] for one in done["exports"]]


def test_an_export_that_lacks_only_the_record_of_its_start_is_not_started_over(lab: Lab) -> None:
    """Its manifest proves that it is complete."""
    found = lab.export(lab.pattern).json()
    forget(lab, found["exports"][1]["export"], "/_started")
    again = lab.mover.export("--resume", found["move"]).json()
    assert [ITEMS] * 3 == [one["items"] for one in again["exports"]]
    assert found["exports"][1]["consumed_rcu"] == again["exports"][1]["consumed_rcu"]


def test_nothing_is_exported_unless_every_table_can_be(lab: Lab) -> None:
    """A table that does not exist, a pattern without a match, and a rate that does not apply end it before the first write."""
    for words, message in (
        (
            (lab.pattern, "no-such-table"),
            "This table does not exist in eu-west-1 in this account: no-such-table.",
        ),
        (
            ("no-such-table", lab.pattern, "nor-this"),
            "These tables do not exist in eu-west-1 in this account: no-such-table, nor-this. Nothing was exported.",
        ),
        ((lab.pattern, "no-such-*", "nor-*"), "No table matches 'no-such-*', 'nor-*' among the"),
        ((lab.pattern, "--max-rcu", "50%"), f"  {lab.tables[2]}: "),
    ):
        result = lab.export(*words, check=False)
        assert (result.exit_code, message in result.json()["error"]) == (1, True), str(result)
    assert not [key for key in lab.objects() if not key.endswith("/probe.json")]


def test_a_killed_export_of_several_tables_is_resumed(lab: Lab) -> None:
    """Killed within the second table: the first is kept, the second finished, the third begun."""
    fill(lab.source, lab.tables[1], items_of(COMPOSITE_KEY, 3_000))
    slow = ("--segments", 8, "--max-rcu", 3)
    with commands.start("ddb-export", lab.pattern, lab.place, *slow, endpoint=lab.aws) as running:
        while running.poll() is None:
            if sum(key.endswith("/_started") for key in lab.objects()) == 2:
                break
        assert running.poll() is None
        running.kill()
    (move,) = lab.moves()
    result = lab.mover.export("--resume", move).json()
    assert [ITEMS, 3_000, ITEMS] == [one["items"] for one in result["exports"]]


def test_a_move_is_not_exported_twice_at_a_time(lab: Lab) -> None:
    """A second resume is refused while one runs, says who runs it, and changes nothing."""
    fill(lab.source, lab.tables[0], items_of(SIMPLE_KEY, 3_000))
    slow = ("--segments", 8, "--max-rcu", 3)
    with commands.start("ddb-export", lab.pattern, lab.place, *slow, endpoint=lab.aws) as running:
        while running.poll() is None and not any(key.endswith("/_started") for key in lab.objects()):
            pass
        (move,) = lab.moves()
        second = lab.mover.export("--resume", move, check=False)
        assert running.poll() is None
        running.send_signal(signal.SIGINT)
        running.communicate()
    assert (1, True) == (second.exit_code, "is already being exported by" in second.json()["error"])
    assert sum(key.endswith("/_started") for key in lab.objects()) == 1
    assert [move] == [one["move"] for one in lab.mover.export("--list", lab.place).json()["moves"]]
    done = lab.mover.export("--resume", move).json()
    assert [3_000, ITEMS, ITEMS] == [one["items"] for one in done["exports"]]


def test_ctrl_c_ends_the_move_with_its_own_resume_command(lab: Lab) -> None:
    """Not with that of the table which it was at; the rest is not begun."""
    fill(lab.source, lab.tables[0], items_of(SIMPLE_KEY, 3_000))
    slow = ("--segments", 8, "--max-rcu", 3)
    with commands.start("ddb-export", lab.pattern, lab.place, *slow, endpoint=lab.aws) as running:
        while running.poll() is None and not any(key.endswith("/_started") for key in lab.objects()):
            pass
        running.send_signal(signal.SIGINT)
        _, told = running.communicate()
    (move,) = lab.moves()
    assert (130, True) == (running.returncode, f"--resume {move} --max-rcu 3" in told), told
    assert sum(key.endswith("/_started") for key in lab.objects()) == 1


def test_a_dry_run_plans_every_table(lab: Lab) -> None:
    """And writes nothing but the probe."""
    found = lab.export(lab.pattern, "--dry-run").json()
    assert ("planned", lab.tables, 3) == (found["status"], found["tables"], len(found["plans"]))
    shown = commands.run(
        "ddb-export", lab.pattern, lab.place, "--dry-run", account=SOURCE, endpoint=lab.mover.aws
    ).stdout
    lines = [" ".join(line.split()) for line in shown.splitlines()]
    assert "Routes, for each table by itself:" in lines
    assert any(line.startswith("scan + batch-write 3 of 3 about") for line in lines), shown
    assert any("pitr + bulk, estimate: each job of DynamoDB" in line for line in lines), shown
    assert not [key for key in lab.objects() if not key.endswith("/probe.json")]


@pytest.mark.parametrize("words", [("--ddl", "athena"), ("--control",)], ids=str)
def test_a_move_is_not_taken_for_an_export(aws: Endpoint, words: tuple[str, ...]) -> None:
    """Exit code 2, and the message says where its exports are named."""
    more = ("--pause",) if words == ("--control",) else ()
    result = commands.run("ddb-export", *words, MOVE, *more, "--json", endpoint=aws, check=False)
    assert (2, True) == (result.exit_code, "is a move of several tables" in result.json()["error"])


def test_a_move_keeps_the_format_that_it_was_started_with(lab: Lab) -> None:
    """A resume that asks for another one is refused; tables that were not begun get the move's."""
    move = lab.export(lab.pattern, "--compression", "none").json()["move"]
    assert {key.rpartition(".")[2] for key in lab.objects() if "/data/" in key} == {"json"}
    result = lab.mover.export("--resume", move, "--compression", "zstd", check=False)
    assert (2, True) == (result.exit_code, "was started with --compression none" in result.json()["error"])


def test_the_copy_of_a_move_reads_the_exports_beside_it(lab: Lab) -> None:
    """Wherever the whole folder was copied to; what stands in the file cannot point elsewhere."""
    move = lab.export(lab.pattern).json()["move"]
    assert move.startswith(f"{lab.place}/moves/")
    for key in lab.objects():
        source = {"Bucket": lab.bucket, "Key": key}
        lab.s3.copy_object(Bucket=lab.bucket, Key=key.replace("data/", "copy/", 1), CopySource=source)
    copy = lab.mover.export("--resume", move.replace("/data/", "/copy/"), check=False).json()
    assert all("/copy/AWSDynamoDB/" in one["export"] for one in copy["exports"])
