"""Every call to S3 says whose bucket it is meant for, and a bucket of another owner is refused before anything is written."""

import os
from collections.abc import Callable, Iterator

import pytest

from e2e.conftest import Mover
from support.accounts import Accounts
from support.environment import DESTINATION, REGION, SOURCE
from support.owner_guard import OwnerGuard, owner_guard
from support.services import Endpoint
from support.tables import create_table, fill
from support.varied import varied_items

STRANGER = "333333333333"
CALLS = {
    "GET ownershipControls",
    "GET list-type",
    "GET uploads",
    "GET object",
    "PUT object",
    "POST uploads",
    "PUT uploadId",
    "POST uploadId",
    "DELETE uploadId",
}
"""Every kind of call that the commands make: the ownership setting, lists, reads, writes, and uploads from begin to end."""


@pytest.fixture
def guard(aws: Endpoint) -> Iterator[OwnerGuard]:
    """An S3 that knows that all buckets belong to the destination."""
    with owner_guard(aws, DESTINATION) as running:
        yield running


@pytest.fixture
def source(aws: Endpoint, accounts: Accounts, unique_name: Callable[[], str]) -> str:
    """A table of 60 items in the source account."""
    name = unique_name()
    create_table(accounts.dynamodb(aws, SOURCE), name)
    fill(accounts.dynamodb(aws, SOURCE), name, varied_items(60))
    return name


def test_every_call_names_the_owner(
    guard: OwnerGuard, aws: Endpoint, bucket: str, accounts: Accounts, source: str
) -> None:
    """Export, resume, import, verification and repair: not one call goes to a bucket whoever owns it."""
    mover = Mover(aws, guard.url, bucket)
    place, s3, client = (
        f"s3://{bucket}/moves",
        accounts.s3(aws, DESTINATION),
        accounts.dynamodb(aws, DESTINATION),
    )
    large = [item | {"large": {"B": os.urandom(300_000)}} for item in varied_items(5, start=60)]
    fill(accounts.dynamodb(aws, SOURCE), source, large)  # more than one request stores
    options = ("--segments", "1", "--compression", "none", "--bucket-owner", DESTINATION)
    export = str(mover.export(source, place, *options).json()["export"])
    key = export.removeprefix(f"s3://{bucket}/")
    s3.delete_object(Bucket=bucket, Key=f"{key}manifest.json")
    s3.create_multipart_upload(Bucket=bucket, Key=f"{key}data/0000-000000.json.gz")
    mover.export("--resume", export, "--bucket-owner", DESTINATION)
    copy = f"{source}-copy"[-60:]
    done = mover.load(export, copy, "--create-table", "--verify").json()
    assert (done["items_written"], done["verification"]["verdict"]) == (65, "identical")
    item = client.scan(TableName=copy, Limit=1)["Items"][0]
    client.delete_item(TableName=copy, Key={name: item[name] for name in ("pk", "sk")})
    fixed = mover._run("ddb-verify", DESTINATION, export, copy, "--repair", "--yes").json()
    assert (fixed["before"]["missing"], fixed["missing"], fixed["repaired"]) == (1, 0, 1)
    assert (guard.nameless, guard.calls) == (set(), CALLS)


def test_the_bucket_of_the_state_has_an_owner_of_its_own(
    guard: OwnerGuard,
    aws: Endpoint,
    bucket: str,
    accounts: Accounts,
    source: str,
    unique_name: Callable[[], str],
) -> None:
    """The export lies in a stranger's bucket, which may only be read, the state in the caller's: both are checked."""
    state, copy = unique_name(), f"{source}-copy"[-60:]
    accounts.s3(aws, DESTINATION).create_bucket(
        Bucket=state, CreateBucketConfiguration={"LocationConstraint": REGION}
    )
    mover = Mover(aws, guard.url, bucket)
    export = mover.exported(source, "--bucket-owner", DESTINATION)
    guard.owners = {bucket: STRANGER, state: DESTINATION}
    words = (
        export,
        copy,
        "--create-table",
        "--verify",
        "--state",
        f"s3://{state}/x",
        "--bucket-owner",
        STRANGER,
    )
    refused = mover.load(*words, "--state-owner", SOURCE, check=False)
    assert f"Access denied to bucket {state}, or account {SOURCE} does not own it" in refused.stderr
    assert copy not in accounts.dynamodb(aws, DESTINATION).list_tables()["TableNames"]
    done = mover.load(*words).json()
    assert (done["status"], done["verification"]["verdict"]) == ("complete", "identical")
    assert guard.nameless == set()


@pytest.mark.parametrize("command", ["ddb-export", "ddb-export --resume", "ddb-import", "ddb-verify"])
def test_a_strangers_bucket_is_refused(
    guard: OwnerGuard, aws: Endpoint, bucket: str, accounts: Accounts, source: str, command: str
) -> None:
    """S3 says no more than 403; the message names the owner that was expected and the option that says so."""
    s3 = accounts.s3(aws, DESTINATION)
    storage = f"s3://{bucket}/AWSDynamoDB/01715685260608-c488b4e1/"
    words = {
        "ddb-export": (source, f"s3://{bucket}"),
        "ddb-export --resume": ("--resume", storage),
        "ddb-import": (storage, "Copy", "--create-table"),
        "ddb-verify": (storage, "Copy"),
    }[command]
    account = SOURCE if command.startswith("ddb-export") else DESTINATION
    mover = Mover(aws, guard.url, bucket)
    result = mover._run(
        command.split(maxsplit=1)[0], account, *words, "--bucket-owner", STRANGER, check=False
    )
    assert result.exit_code == 1, str(result)
    assert f"Access denied to bucket {bucket}, or account {STRANGER} does not own it" in result.stderr
    assert "either --bucket-owner is wrong" in result.stderr
    assert "Contents" not in s3.list_objects_v2(Bucket=bucket)
    assert "Traceback" not in result.stderr
