"""Several tables move by one command on each side: imported, looked at and verified by the location of the move."""

from collections.abc import Callable
from pathlib import Path

import pytest

from e2e.several_tables import ITEMS, KEYS, Lab, items_of
from support import commands
from support.accounts import Accounts
from support.environment import DESTINATION, SOURCE
from support.fingerprints import assert_same_tables
from support.services import Endpoint
from support.tables import COMPOSITE_KEY, create_table, fill


@pytest.fixture
def lab(aws: Endpoint, bucket: str, accounts: Accounts, unique_name: Callable[[], str]) -> Lab:
    return Lab(aws, bucket, accounts, unique_name())


def verify(lab: Lab, *words: object, check: bool = True) -> commands.Result:
    return commands.run("ddb-verify", *words, "--json", account=DESTINATION, endpoint=lab.aws, check=check)


def test_a_move_from_end_to_end(lab: Lab, tmp_path: Path) -> None:
    """One command each: created under new names, loaded, looked at, verified; the same command again loads nothing."""
    move = lab.export(lab.pattern).json()["move"]
    rename = ("--rename", f"{lab.pattern}=new-{lab.pattern}")
    copies = [f"new-{table}" for table in lab.tables]
    result = lab.mover.load(move, "--create-table", *rename)
    found = result.json()
    assert ("complete", lab.tables) == (found["status"], [one["source"] for one in found["tables"]])
    assert copies == [one["table"] for one in found["tables"]]
    assert [ITEMS] * 3 == [one["result"]["items_written"] for one in found["tables"]]
    assert f"Table 3 of 3: {copies[2]} (from {lab.tables[2]})" in result.stderr
    for table, copy in zip(lab.tables, copies, strict=True):
        assert_same_tables((lab.source, table), (lab.destination, copy))
    again = lab.mover.load(move, "--create-table", *rename).json()
    assert [(0, ITEMS)] * 3 == [
        (one["result"]["items_written"], one["result"]["items_resumed"]) for one in again["tables"]
    ]
    status = lab.mover.load(move, "--status", *rename).json()
    assert ("complete", [ITEMS] * 3) == (
        status["status"],
        [one["import"]["items_done"] for one in status["tables"]],
    )
    page = tmp_path / "report.html"
    proof = verify(lab, move, *rename, "--tables-at-once", 2, "--report", page).json()
    assert ("identical", ["identical"] * 3) == (
        proof["verdict"],
        [one["verdict"] for one in proof["tables"]],
    )
    assert "Verification of 3 tables" in page.read_text()
    assert [f"{move.removesuffix('.json')}/report.html"] == [
        f"s3://{lab.bucket}/{key}" for key in lab.objects() if "/moves/" in key and key.endswith(".html")
    ]


def test_tables_are_never_compared_with_their_own_exports(lab: Lab) -> None:
    """A forgotten --rename, or the source's credentials, prove nothing: no verdict, no proof, and what to do."""
    move = lab.export(lab.pattern).json()["move"]
    account = {"account": SOURCE, "endpoint": lab.aws, "check": False}
    result = commands.run("ddb-verify", move, "--json", **account)  # type: ignore[arg-type]
    found = result.json()
    assert (1, "incomplete") == (result.exit_code, found["verdict"])
    assert ["incomplete"] * 3 == [one["verdict"] for one in found["tables"]]
    assert all("is the exported table itself" in one["reason"] for one in found["tables"])
    assert 3 == result.stderr.count("give the --rename of the import")
    assert not [key for key in lab.objects() if "/import/" in key]


def test_only_some_tables_and_as_text(lab: Lab) -> None:
    """Names and patterns of the source; one table of all tables is on stdout."""
    move = lab.export(lab.pattern).json()["move"]
    only = ("--only", f"{lab.prefix}-[ab]", "--only", lab.tables[2])
    names = ("--create-table", "--rename", f"{lab.tables[2]}=third-{lab.prefix}")
    account = {"account": DESTINATION, "endpoint": lab.aws}
    text = commands.run("ddb-import", move, *only[2:], *names, "--verify", **account).stdout  # type: ignore[arg-type]
    assert "1 of 1 tables complete." in text
    assert f"third-{lab.prefix}" in text
    text = commands.run("ddb-import", move, "--status", **account).stdout  # type: ignore[arg-type]
    assert text.count("not started") == 3
    assert f"next: ddb-import {move} --endpoint-url" in text
    text = commands.run("ddb-verify", move, *only[2:], *names[1:], **account).stdout  # type: ignore[arg-type]
    assert "Verdict: IDENTICAL; 1 of 1 tables identical." in text


def test_tables_that_are_only_defined_are_not_complete(lab: Lab) -> None:
    """--definition-only creates the tables; that nothing was loaded is told, and the next command loads them."""
    move = lab.export(lab.pattern).json()["move"]
    words = (move, "--create-table", "--definition-only")
    found = lab.mover.load(*words).json()
    assert ("defined", ["defined"] * 3) == (found["status"], [one["status"] for one in found["tables"]])
    text = commands.run("ddb-import", *words, account=DESTINATION, endpoint=lab.aws).stdout
    assert "3 of 3 tables are ready; nothing was loaded." in text
    loaded = lab.mover.load(*words[:2]).json()
    assert ("complete", [ITEMS] * 3) == (
        loaded["status"],
        [one["result"]["items_written"] for one in loaded["tables"]],
    )


def test_what_fails_does_not_stop_the_others(lab: Lab) -> None:
    """A table whose export is missing, and one that holds items already: each says what to do, and the exit code tells."""
    move = lab.export(lab.pattern).json()["move"]
    first = lab.record(move)["exports"][0]["export"].removeprefix(f"s3://{lab.bucket}/")
    lab.s3.delete_object(Bucket=lab.bucket, Key=f"{first}manifest.json")
    create_table(lab.destination, lab.tables[1], KEYS[1])
    fill(lab.destination, lab.tables[1], items_of(KEYS[1], 1))
    result = lab.mover.load(move, "--create-table", check=False)
    found = result.json()
    assert (1, "incomplete") == (result.exit_code, found["status"])
    assert ["failed", "failed", "complete"] == [one["status"] for one in found["tables"]]
    assert f"ddb-export --resume {move}" in found["tables"][0]["remedy"]
    assert "--on-existing" in found["tables"][1]["remedy"]
    assert f"Error: table {lab.tables[1]}" in result.stderr
    status = lab.mover.load(move, "--status").json()
    assert ["not exported", "not started", "complete"] == [one["status"] for one in status["tables"]]
    proof = verify(lab, move, check=False)
    assert (1, "incomplete") == (proof.exit_code, proof.json()["verdict"])
    assert ["incomplete", "different", "identical"] == [one["verdict"] for one in proof.json()["tables"]]


def test_the_export_of_another_table_is_not_loaded(lab: Lab) -> None:
    """What stands in the folder of a table must be an export of that table, by its ARN."""
    found = lab.export(lab.pattern).json()
    for key in [
        key for key in lab.objects() if found["exports"][0]["export"].endswith(key.rpartition("/")[0] + "/")
    ]:
        data = lab.s3.get_object(Bucket=lab.bucket, Key=key)["Body"].read()
        other = data.replace(f":{SOURCE}:table".encode(), b":333333333333:table")
        lab.s3.put_object(Bucket=lab.bucket, Key=key, Body=other)
    result = lab.mover.load(found["move"], "--create-table", check=False).json()
    assert ["failed", "complete", "complete"] == [one["status"] for one in result["tables"]]
    assert "333333333333" in result["tables"][0]["error"]
    assert lab.tables[0] not in lab.destination.list_tables()["TableNames"]


def test_no_table_is_loaded_into_another_source(lab: Lab) -> None:
    """In one account, a wrong --rename could name a table that was exported itself; refused before any write."""
    move = lab.export(lab.pattern).json()["move"]
    result = commands.run(
        "ddb-import",
        *(move, "--create-table", "--on-existing", "overwrite", "--json"),
        *("--only", lab.tables[0], "--rename", f"{lab.tables[0]}={lab.tables[1]}"),
        *("--bucket-owner", DESTINATION),
        account=SOURCE,
        endpoint=lab.aws,
        check=False,
    )
    assert (2, True) == (result.exit_code, "which the move was exported from" in result.json()["error"])
    assert not [key for key in lab.objects() if "/import/" in key]


def test_two_tables_never_become_one(lab: Lab) -> None:
    """Nor is a name that matches nothing passed over: nothing is written, and the tables are named."""
    move = lab.export(lab.pattern).json()["move"]
    one = lab.tables
    for words, message in (
        (("--rename", f"{one[0]}={one[1]}"), f"{one[0]} and {one[1]} into {one[1]}"),
        (
            ("--rename", f"{lab.prefix}*=new*", "--only", "nothing-*"),
            "No table of the move matches --only nothing-*",
        ),
        (("--rename", "prod-*=new-*"), "No table of the move matches --rename prod-*=new-*"),
    ):
        result = lab.mover.load(move, "--create-table", *words, check=False)
        assert (2, True) == (result.exit_code, message in result.json()["error"]), str(result)
    assert not [key for key in lab.objects() if "/import/" in key]


def test_a_killed_import_of_several_tables_is_resumed(lab: Lab) -> None:
    """Killed within the second table: the same command keeps the first, finishes the second and loads the third."""
    fill(lab.source, lab.tables[1], items_of(COMPOSITE_KEY, 2_000))
    move = lab.export(lab.pattern).json()["move"]
    words = (move, "--create-table", "--max-wcu", 300)
    with commands.start("ddb-import", *words, account=DESTINATION, endpoint=lab.aws) as running:
        while running.poll() is None and sum(key.endswith("/plan.json") for key in lab.objects()) < 2:
            pass
        assert running.poll() is None
        running.kill()
    result = lab.mover.load(*words[:2]).json()
    assert "complete" == result["status"]
    done = [one["result"] for one in result["tables"]]
    assert [ITEMS, 2_000, ITEMS] == [one["items_written"] + one["items_resumed"] for one in done]
    assert ITEMS == done[0]["items_resumed"]
    for table in lab.tables:
        assert_same_tables((lab.source, table), (lab.destination, table))


def test_a_dry_run_plans_every_table(lab: Lab) -> None:
    """And creates none of them."""
    move = lab.export(lab.pattern).json()["move"]
    found = lab.mover.load(move, "--create-table", "--dry-run").json()
    assert ("planned", lab.tables, 3) == (found["status"], found["tables"], len(found["plans"]))
    assert not set(lab.tables) & set(lab.destination.list_tables()["TableNames"])


def test_a_dry_run_plans_the_tables_that_are_exported_and_names_the_others(lab: Lab) -> None:
    """One export that is not complete keeps the others from no plan."""
    move = lab.export(lab.pattern).json()["move"]
    (first, *_) = (one["export"] for one in lab.record(move)["exports"])
    key = first.removeprefix(f"s3://{lab.bucket}/") + "manifest.json"
    lab.s3.delete_object(Bucket=lab.bucket, Key=key)
    result = lab.mover.load(move, "--create-table", "--dry-run", check=False)
    found = result.json()
    assert (1, "refused") == (result.exit_code, found["status"])
    assert ["refused", "planned", "planned"] == [one["status"] for one in found["plans"]]
    (check,) = found["plans"][0]["checks"]
    assert f"The export of {lab.tables[0]} is not complete" in check["found"]
    assert f"ddb-export --resume {move}" in check["found"]
