"""`--dry-run` checks everything, writes nothing but its probe, and prints the command that runs the plan."""

import re
import shlex
from collections.abc import Callable

import msgspec

from ddb_shared.runtime.lease import Lease
from e2e.conftest import Mover
from support.accounts import Accounts
from support.environment import DESTINATION, REGION, SOURCE
from support.services import Endpoint
from support.tables import KeySpec, create_table, fill
from support.varied import varied_items

BUCKET_CHECKS = ["identity", "bucket owner", "region"]
PLACE_CHECKS = ["write and read", "encryption"]
EXPORT_CHECKS = [
    *BUCKET_CHECKS,
    "table",
    "read rate",
    "point-in-time recovery",
    "object ownership",
    *PLACE_CHECKS,
]
TABLE_CHECKS = ["table", "write rate", "item limits", "source", "destination", "point-in-time recovery"]
# What the run finds out as it begins, without a check of that name.
PLANNED_CHECKS = ["export", "saved state", "other imports"]
IMPORT_CHECKS = [
    *BUCKET_CHECKS,
    "export",
    *TABLE_CHECKS,
    "saved state",
    "other imports",
    *PLACE_CHECKS,
]


def keys(accounts: Accounts, aws: Endpoint, bucket: str) -> set[str]:
    listed = accounts.s3(aws, DESTINATION).list_objects_v2(Bucket=bucket).get("Contents", ())
    return {entry["Key"] for entry in listed}


def test_plan_and_run_of_an_export_and_its_import(
    aws_mover: Mover, aws: Endpoint, accounts: Accounts, unique_name: Callable[[], str]
) -> None:
    """The printed commands do what the plans say."""
    source, copy = unique_name(), unique_name()
    create_table(accounts.dynamodb(aws, SOURCE), source)
    fill(accounts.dynamodb(aws, SOURCE), source, varied_items(50))
    plan = aws_mover.export(source, f"s3://{aws_mover.bucket}/moves", "--dry-run", "--max-rcu", 100).json()
    assert plan["status"] == "planned"
    assert [check["name"] for check in plan["checks"]] == EXPORT_CHECKS
    assert {"moves/AWSDynamoDB/probe.json"} == keys(accounts, aws, aws_mover.bucket)
    assert "your Region (eu-west-1) may differ" in plan["prices"]
    assert plan["cost_usd"] > 0
    assert plan["seconds"] > 0
    export = aws_mover.export(*shlex.split(plan["command"])[1:]).json()["export"]

    before = keys(accounts, aws, aws_mover.bucket)
    create = (export, copy, "--create-table", "--warm-write-units", 10_000)
    plan = aws_mover.load(*create, "--dry-run").json()
    assert (plan["status"], plan["items"]) == ("planned", 50)
    names = [*BUCKET_CHECKS, "export", *(name for name in TABLE_CHECKS if name != "source"), "earlier import"]
    assert [check["name"] for check in plan["checks"]] == [*names, *PLACE_CHECKS]
    key = export.removeprefix(f"s3://{aws_mover.bucket}/")
    assert keys(accounts, aws, aws_mover.bucket) - before == {f"{key}import/probe.json"}
    assert f'"TableName":"{copy}"' in plan["creates"][0]
    warming = "Warm throughput is charged once, for 6,000 write units per second"
    assert [warming in note and "is not in the price list" in note for note in plan["notes"]].count(True) == 1
    assert copy not in accounts.dynamodb(aws, DESTINATION).list_tables()["TableNames"]
    result = aws_mover.load(*shlex.split(plan["command"])[1:])
    assert (result.json()["status"], result.json()["items_written"]) == ("complete", 50)
    assert warming in result.stderr
    plan = aws_mover.load(*create, "--dry-run").json()
    found = {check["name"]: check["found"] for check in plan["checks"]}
    assert list(found) == [*BUCKET_CHECKS, "export", "definition", *IMPORT_CHECKS[4:]]
    assert "already contains items" in found["destination"]
    assert found["saved state"].startswith("complete since 20")


def test_a_run_makes_the_checks_of_its_plan(
    aws_mover: Mover, aws: Endpoint, accounts: Accounts, unique_name: Callable[[], str]
) -> None:
    """In the same order, before it writes; the log tells what each found."""
    source, copy = unique_name(), unique_name()
    create_table(accounts.dynamodb(aws, SOURCE), source)
    create_table(accounts.dynamodb(aws, DESTINATION), copy)
    result = aws_mover.export(source, f"s3://{aws_mover.bucket}", "--log-level", "info")
    assert logged(result.stderr) == EXPORT_CHECKS
    imported = aws_mover.load(result.json()["export"], copy, "--log-level", "info")
    assert logged(imported.stderr) == [name for name in IMPORT_CHECKS if name not in PLANNED_CHECKS]


def logged(stderr: str) -> list[str]:
    return re.findall(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z INFO check ([\w -]+):", stderr, re.MULTILINE)


def test_what_an_earlier_run_has_left_is_checked(
    aws_mover: Mover, aws: Endpoint, accounts: Accounts, unique_name: Callable[[], str]
) -> None:
    """As the run would find it: another run that holds the lease, and state that it cannot continue."""
    source, copy = unique_name(), unique_name()
    client, s3 = accounts.dynamodb(aws, DESTINATION), accounts.s3(aws, DESTINATION)
    create_table(accounts.dynamodb(aws, SOURCE), source)
    create_table(client, copy)
    items = list(varied_items(3))
    fill(accounts.dynamodb(aws, SOURCE), source, items)
    export = aws_mover.exported(source)
    assert found_by(aws_mover, export, copy)["saved state"] == (True, "no earlier import")
    aws_mover.load(export, copy)
    for item in items:
        client.delete_item(TableName=copy, Key={name: item[name] for name in ("pk", "sk")})
    ok, told = found_by(aws_mover, export, copy)["saved state"]
    assert (ok, "but the table is empty now" in told) == (False, True)
    client.delete_table(TableName=copy)
    create_table(client, copy)
    ok, told = found_by(aws_mover, export, copy)["saved state"]
    assert (ok, "(the table was recreated)" in told) == (False, True)
    assert found_by(aws_mover, export, copy, "--restart")["saved state"] == (
        True,
        "an earlier import is discarded",
    )
    folder = export.removeprefix(f"s3://{aws_mover.bucket}/")
    key = f"{folder}import/{DESTINATION}.{REGION}.{copy}/lease.json"
    s3.put_object(Bucket=aws_mover.bucket, Key=key, Body=msgspec.json.encode(ELSEWHERE))
    ok, told = found_by(aws_mover, export, copy, "--restart")["other imports"]
    assert (ok, "already being imported into this table by bob on far" in told) == (False, True)


ELSEWHERE = Lease(host="far", boot="b", pid=1, user="bob", since="2026-01-01T00:00:00Z", nonce="n")


def found_by(mover: Mover, *words: object) -> dict[str, tuple[bool | None, str]]:
    """What a dry run of an import finds, by check; it exits with 1 where one fails."""
    result = mover.load(*words, "--dry-run", check=False)
    found = {check["name"]: (check["ok"], check["found"]) for check in result.json()["checks"]}
    assert result.exit_code == (1 if any(ok is False for ok, _ in found.values()) else 0)
    return found


def test_every_failed_check_is_told(
    aws_mover: Mover, aws: Endpoint, accounts: Accounts, unique_name: Callable[[], str]
) -> None:
    """All of them, not only the first, and exit code 1."""
    source, other = unique_name(), unique_name()
    create_table(accounts.dynamodb(aws, SOURCE), source)
    create_table(accounts.dynamodb(aws, DESTINATION), other, KeySpec(hash_name="other"))
    export = aws_mover.exported(source)
    result = aws_mover.load(export, other, "--dry-run", check=False)
    failed = {check["name"]: check["found"] for check in result.json()["checks"] if check["ok"] is False}
    assert (result.exit_code, list(failed)) == (1, ["table"])
    assert "The key schema of table" in failed["table"]
    foreign = unique_name()
    accounts.s3(aws, "333333333333").create_bucket(
        Bucket=foreign, CreateBucketConfiguration={"LocationConstraint": "eu-west-1"}
    )
    result = aws_mover.export(source, f"s3://{foreign}", "--dry-run", check=False)
    failed = {check["name"]: check["found"] for check in result.json()["checks"] if check["ok"] is False}
    assert (result.exit_code, list(failed)) == (
        1,
        ["bucket owner", "region", "write and read", "encryption"],
    )


def test_a_key_must_be_an_arn(aws_mover: Mover) -> None:
    """An alias would be looked for in the caller's account."""
    result = aws_mover.export("any-table", f"s3://{aws_mover.bucket}", "--kms-key-id", "alias/x", check=False)
    assert result.exit_code == 2
    assert "not an ARN" in result.stderr


def test_objects_get_the_acl_that_the_bucket_needs(
    aws_mover: Mover, aws: Endpoint, accounts: Accounts, unique_name: Callable[[], str]
) -> None:
    """A bucket whose writers own their objects gets the ACL; the default one gets none."""
    source, s3 = unique_name(), accounts.s3(aws, DESTINATION)
    create_table(accounts.dynamodb(aws, SOURCE), source)
    plan = aws_mover.export(source, f"s3://{aws_mover.bucket}", "--dry-run").json()
    assert "not needed" in {check["name"]: check["found"] for check in plan["checks"]}["object ownership"]
    s3.put_bucket_ownership_controls(
        Bucket=aws_mover.bucket, OwnershipControls={"Rules": [{"ObjectOwnership": "ObjectWriter"}]}
    )
    own = commands_in_destination(aws_mover, accounts, aws, unique_name)
    assert "bucket-owner-full-control" in own


def commands_in_destination(
    mover: Mover, accounts: Accounts, aws: Endpoint, unique_name: Callable[[], str]
) -> str:
    """What an export by the bucket's own account finds of its ownership: MiniStack tells no other account."""
    table = unique_name()
    create_table(accounts.dynamodb(aws, DESTINATION), table)
    plan = mover._run("ddb-export", DESTINATION, table, f"s3://{mover.bucket}", "--dry-run").json()
    return str({check["name"]: check["found"] for check in plan["checks"]}["object ownership"])
