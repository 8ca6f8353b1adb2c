"""The commands work under exactly the policies that ddb-policy prints, and each action in them is needed.

MiniStack with AUTH=true evaluates the policies and verifies signatures; roles are assumed by users of each account.
"""

import copy
import json
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import boto3
import pytest

from support import commands
from support.accounts import CONFIG, Accounts
from support.aws_exports import Form, change_line, full_export, incremental_export
from support.environment import DESTINATION, REGION, SOURCE
from support.services import Endpoint, local_aws
from support.tables import create_table, fill
from support.unprovable import UNPROVABLE
from support.varied import varied_items

ROLES = {SOURCE: "ddb-exporter", DESTINATION: "ddb-importer"}
BUCKET, PREFIX, TABLE, COPY = "policy-bucket", "moves", "Orders", "Copy"
# every setting that the destination can take
CREATE = ("--create-table", "--with-resource-policy")
EXTERNAL_ID = "agreed"
POLICY_OPTIONS = (
    *(
        "--source-account",
        SOURCE,
        "--destination-account",
        DESTINATION,
        "--bucket",
        BUCKET,
        "--prefix",
        PREFIX,
    ),
    *("--table", TABLE, "--destination-table", COPY, "--region", REGION, "--external-id", EXTERNAL_ID),
    *("--method", "scan", "--method", "pitr", "--follow"),
    *("--engine", "batch-write", "--engine", "import-table", "--engine", "bulk"),
)
KEY_VARIABLES = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
KEY = f"arn:aws:kms:{REGION}:{DESTINATION}:key/1234"


# AWS checks these against the table whose ARN they name; MiniStack looks for a table's name, finds none and checks "*".
CHECKED_AGAINST_ALL = [
    "dynamodb:ListTagsOfResource",
    "dynamodb:GetResourcePolicy",
    "dynamodb:TagResource",
    "dynamodb:PutResourcePolicy",
    "dynamodb:DeleteResourcePolicy",
    "dynamodb:DescribeStream",
    "dynamodb:GetShardIterator",
    "dynamodb:GetRecords",
    "dynamodb:ExportTableToPointInTime",
    "dynamodb:DescribeExport",
    "dynamodb:DescribeImport",
    "dynamodb:ImportTable",
]


def widened(documents: dict[str, Any]) -> dict[str, Any]:
    """The documents with those actions allowed on everything."""
    changed = copy.deepcopy(documents)
    for side in ("source", "destination"):
        statement = {"Effect": "Allow", "Action": CHECKED_AGAINST_ALL, "Resource": "*"}
        changed[f"{side}_policy"]["Statement"].append(statement)
    return changed


def _without(statement: dict[str, Any], action: str) -> bool:
    """Takes the action out of the statement; False where nothing is left of it."""
    statement["Action"] = [name for name in statement["Action"] if name != action]
    return bool(statement["Action"])


@dataclass
class World:
    """Two accounts with nothing but what ddb-policy gives them."""

    aws: Endpoint
    accounts: Accounts
    documents: dict[str, Any]
    users: dict[str, dict[str, str]] = field(default_factory=dict)

    def apply(self, documents: dict[str, Any]) -> None:
        """Puts the policies in force."""
        for account, side in ((SOURCE, "source"), (DESTINATION, "destination")):
            self.iam(account).put_role_policy(
                RoleName=ROLES[account],
                PolicyName="p",
                PolicyDocument=json.dumps(documents[f"{side}_policy"]),
            )
        self.s3.put_bucket_policy(Bucket=BUCKET, Policy=json.dumps(documents["bucket_policy"]))

    def without(self, document: str, action: str) -> None:
        """All policies in force but for one action of one of them."""
        changed = widened(self.documents)
        kept = [s for s in changed[document]["Statement"] if _without(s, action)]
        changed[document]["Statement"] = kept
        self.apply(changed)

    def iam(self, account: str) -> Any:
        return self.accounts.client("iam", self.aws, account)

    @property
    def s3(self) -> Any:
        return self.accounts.s3(self.aws, DESTINATION)

    def run(
        self,
        account: str,
        *words: object,
        check: bool = True,
        external_id: str = EXTERNAL_ID,
        user: str | None = None,
    ) -> commands.Result:
        """Runs a command as a user of the account who assumes its role."""
        role = f"arn:aws:iam::{account}:role/{ROLES[account]}"
        command, *rest = words
        return commands.run(
            str(command),
            *rest,
            *("--role-arn", role, "--external-id", external_id, "--processes", 1, "--json"),
            endpoint=self.aws,
            env=self.users[user or account],
            check=check,
        )

    def export(self, *words: object, **options: Any) -> commands.Result:
        return self.run(SOURCE, "ddb-export", *(words or (TABLE, f"s3://{BUCKET}/{PREFIX}")), **options)

    def verify(self, *words: object, **options: Any) -> commands.Result:
        return self.run(DESTINATION, "ddb-verify", *words, **options)

    def tables(self) -> list[str]:
        """The destination's tables."""
        found: list[str] = self.accounts.dynamodb(self.aws, DESTINATION).list_tables()["TableNames"]
        return found

    def keys(self) -> set[str]:
        """What lies in the bucket."""
        pages = self.s3.get_paginator("list_objects_v2").paginate(Bucket=BUCKET)
        return {entry["Key"] for page in pages for entry in page.get("Contents", ())}

    def load(self, export: str, *words: object, **options: Any) -> commands.Result:
        return self.run(DESTINATION, "ddb-import", export, COPY, *words, **options)


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    """A server that enforces policies, roles and users of both accounts, the bucket, and the source's table."""
    with local_aws({"AUTH": "true"}) as aws:
        accounts = Accounts()
        documents = json.loads(commands.run("ddb-policy", *POLICY_OPTIONS).stdout)
        world = World(aws, accounts, documents)
        accounts.s3(aws, DESTINATION).create_bucket(
            Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": REGION}
        )
        for account, side in ((SOURCE, "source"), (DESTINATION, "destination")):
            iam = world.iam(account)
            trust = json.dumps(documents[f"{side}_trust"])
            iam.create_role(RoleName=ROLES[account], AssumeRolePolicyDocument=trust)
            world.users[account] = _user(iam, f"arn:aws:iam::{account}:role/{ROLES[account]}")
        world.s3.put_bucket_lifecycle_configuration(
            Bucket=BUCKET, LifecycleConfiguration=documents["lifecycle"]
        )
        _make_source(accounts.dynamodb(aws, SOURCE))
        yield world
        accounts.close()


def _user(iam: Any, role: str) -> dict[str, str]:
    """The environment of a new user who may do nothing but assume the role."""
    iam.create_user(UserName="mover")
    statement = {"Effect": "Allow", "Action": "sts:AssumeRole", "Resource": role}
    policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    iam.put_user_policy(UserName="mover", PolicyName="assume", PolicyDocument=policy)
    key = iam.create_access_key(UserName="mover")["AccessKey"]
    return {
        "AWS_ACCESS_KEY_ID": key["AccessKeyId"],
        "AWS_SECRET_ACCESS_KEY": key["SecretAccessKey"],
        "AWS_DEFAULT_REGION": REGION,
    }


def _make_source(client: Any) -> None:
    create_table(client, TABLE, StreamSpecification={"StreamEnabled": True, "StreamViewType": "NEW_IMAGE"})
    fill(client, TABLE, varied_items(60))
    arn = client.describe_table(TableName=TABLE)["Table"]["TableArn"]
    client.update_time_to_live(
        TableName=TABLE, TimeToLiveSpecification={"Enabled": True, "AttributeName": "expires"}
    )
    client.tag_resource(ResourceArn=arn, Tags=[{"Key": "team", "Value": "blue"}])
    client.update_continuous_backups(
        TableName=TABLE, PointInTimeRecoverySpecification={"PointInTimeRecoveryEnabled": True}
    )
    client.update_contributor_insights(TableName=TABLE, ContributorInsightsAction="ENABLE")
    _put_policy(client, arn)


def _put_policy(client: Any, arn: str) -> None:
    statement = {
        "Effect": "Allow",
        "Principal": {"AWS": SOURCE},
        "Action": "dynamodb:GetItem",
        "Resource": arn,
    }
    policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    client.put_resource_policy(ResourceArn=arn, Policy=policy)


@pytest.fixture
def fresh(world: World) -> World:
    """All policies in force, and no copy of the table."""
    world.apply(world.documents)
    client = world.accounts.dynamodb(world.aws, DESTINATION)
    if COPY in client.list_tables()["TableNames"]:
        # MiniStack keeps these for the next table of the name
        client.update_contributor_insights(TableName=COPY, ContributorInsightsAction="DISABLE")
        client.delete_resource_policy(ResourceArn=client.describe_table(TableName=COPY)["Table"]["TableArn"])
        client.delete_table(TableName=COPY)
    return world


@pytest.fixture(scope="module")
def export(world: World) -> str:
    """An export that knows every setting that MiniStack knows."""
    world.apply(widened(world.documents))
    return str(world.export().json()["export"])


def test_the_whole_move(fresh: World) -> None:
    """Export, create, load, load again by conditional puts, verify, under exactly these policies."""
    export = str(fresh.export().json()["export"])
    result = fresh.load(export, *CREATE).json()
    assert (result["status"], result["items_written"]) == ("complete", 60)
    assert all("could not be read" in difference["note"] for difference in result["drift"])
    again = fresh.load(export, "--restart", "--on-existing", "skip").json()
    assert (again["items_written"], again["items_skipped"]) == (0, 60)
    verdict = fresh.run(DESTINATION, "ddb-verify", export, COPY).json()
    assert verdict["verdict"] == "identical"


def _native_exports(world: World) -> tuple[str, str]:
    """A full export and an increment as AWS writes them, with the source's rights or others."""
    key = {"pk": {"S": "a"}, "sk": {"N": "1"}}
    start, end = "2026-01-01T00:00:00.000Z", "2026-01-01T00:15:00.000Z"
    full = full_export([key], f"{PREFIX}/", form=Form(time=start, export_id="01715685260608-00000001"))
    change = change_line(key, key | {"v": {"N": "2"}})
    form = Form(window=(start, end, "NEW_IMAGE"), export_id="01715685260609-00000002")
    increment = incremental_export([change], f"{PREFIX}/", form=form)
    return full.put(world.s3, BUCKET), increment.put(world.s3, BUCKET)


def test_exports_of_aws_and_their_increments(fresh: World) -> None:
    """Loaded under exactly these policies, with the record of what the table has had."""
    create_table(fresh.accounts.dynamodb(fresh.aws, DESTINATION), COPY)
    full, increment = _native_exports(fresh)
    result = fresh.run(DESTINATION, "ddb-import", full, increment, COPY, "--restart").json()
    assert (result["items_written"], result["changes_applied"]) == (1, 1)
    assert f"{PREFIX}/import/{DESTINATION}.{REGION}.{COPY}/applied.json" in set(fresh.keys())


@pytest.mark.parametrize("action", ["s3:GetObject", "s3:PutObject"])
def test_the_record_of_exports_needs_its_folder(fresh: World, action: str) -> None:
    """Without it the import fails before it loads anything, and says which policy to change."""
    create_table(fresh.accounts.dynamodb(fresh.aws, DESTINATION), COPY)
    full, _ = _native_exports(fresh)
    documents = widened(fresh.documents)
    for statement in documents["destination_policy"]["Statement"]:
        if action in statement["Action"]:
            statement["Resource"] = [
                name for name in statement["Resource"] if not name.endswith(f"{PREFIX}/import/*")
            ]
    fresh.apply(documents)
    _assert_refused(fresh.load(full, "--restart", check=False), "destination_policy", action)
    assert not fresh.accounts.dynamodb(fresh.aws, DESTINATION).scan(TableName=COPY)["Items"]


def test_nothing_is_asked_for_that_is_not_allowed(fresh: World) -> None:
    """No command calls an action that ddb-policy leaves out, whether it would fail or only report it."""
    fresh.apply(widened(fresh.documents))
    exported = fresh.export()
    export = str(exported.json()["export"])
    done = [exported, fresh.load(export, *CREATE, "--verify"), fresh.verify(export, COPY)]
    told = [line for result in done for line in result.stderr.splitlines()]
    assert not [
        line for line in told if "refused" in line and "Scal" not in line and "ScheduledActions" not in line
    ]
    assert not [line for line in told if "missing" in line or "not authorized" in line]


@pytest.mark.parametrize("document", ["source_policy", "bucket_policy"])
def test_the_exporter_cannot_forge_a_checkpoint(fresh: World, export: str, document: str) -> None:
    """Each of the two policies denies it by itself, in a state that exists and in one that does not yet."""
    changed = widened(fresh.documents)
    (other,) = {"source_policy", "bucket_policy"} - {document}
    changed[other]["Statement"] = [one for one in changed[other]["Statement"] if one["Effect"] == "Allow"]
    fresh.apply(changed)
    prefix = export.removeprefix(f"s3://{BUCKET}/")
    s3 = _as_exporter(fresh)
    s3.put_object(Bucket=BUCKET, Key=f"{prefix}segments/9999.json", Body=b"{}")
    state = f"import/{DESTINATION}.{REGION}.{COPY}"
    forged = (
        f"{prefix}{state}/shards/0000-000000.json",
        f"{prefix}{state}/control.json",
        f"{prefix}import/probe.json",
        f"{PREFIX}/{state}/applied.json",
    )
    for key in forged:
        with pytest.raises(s3.exceptions.ClientError, match="AccessDenied"):
            s3.put_object(Bucket=BUCKET, Key=key, Body=b"{}")
    fresh.s3.delete_object(Bucket=BUCKET, Key=f"{prefix}segments/9999.json")


def test_the_debug_log_holds_no_secret(fresh: World) -> None:
    """Neither the keys of the assumed role nor an item; each line of ours has a time stamp."""
    log = fresh.export(TABLE, f"s3://{BUCKET}/{PREFIX}", "--log-level", "debug").stderr
    assert re.search(r"^\S+Z DEBUG DescribeTable took \d+ ms$", log, re.MULTILINE)
    assert not re.search("SecretAccessKey|SessionToken|X-Amz-Security-Token|LastEvaluatedKey|botocore", log)


def _as_exporter(world: World) -> Any:
    """S3 as the exporter's role sees it."""
    user = world.users[SOURCE]
    login = boto3.Session(*(user[name] for name in KEY_VARIABLES), region_name=REGION)
    role = login.client("sts", endpoint_url=world.aws.url, config=CONFIG).assume_role(
        RoleArn=f"arn:aws:iam::{SOURCE}:role/{ROLES[SOURCE]}",
        RoleSessionName="forger",
        ExternalId=EXTERNAL_ID,
    )["Credentials"]
    session = boto3.Session(
        role["AccessKeyId"], role["SecretAccessKey"], role["SessionToken"], region_name=REGION
    )
    return session.client("s3", endpoint_url=world.aws.url, config=CONFIG)


Needed = tuple[str, str]
"""A document of ddb-policy and an action in it."""

EXPORT: list[Needed] = [
    ("source_policy", "dynamodb:DescribeTable"),
    ("source_policy", "dynamodb:Scan"),
    ("source_policy", "s3:PutObject"),
    ("source_policy", "s3:GetObject"),
    ("source_policy", "s3:ListBucket"),
    ("bucket_policy", "s3:PutObject"),
    ("bucket_policy", "s3:GetObject"),
    ("bucket_policy", "s3:ListBucket"),
]
RESUME: list[Needed] = [
    (document, action)
    for document in ("source_policy", "bucket_policy")
    for action in ("s3:ListBucketMultipartUploads", "s3:AbortMultipartUpload")
]
SETTINGS = [
    "dynamodb:DescribeTimeToLive",
    "dynamodb:DescribeContinuousBackups",
    "dynamodb:ListTagsOfResource",
    "dynamodb:GetResourcePolicy",
    "dynamodb:DescribeKinesisStreamingDestination",
    "dynamodb:DescribeContributorInsights",
]
REPORTED_BY_EXPORT: list[Needed] = [
    *(("source_policy", action) for action in SETTINGS),
    ("source_policy", "s3:GetBucketOwnershipControls"),
    ("bucket_policy", "s3:GetBucketOwnershipControls"),
]
NATIVE = {
    "dynamodb:ExportTableToPointInTime": ("--bucket-owner", DESTINATION),
    "dynamodb:DescribeExport": ("--bucket-owner", DESTINATION),
    "dynamodb:DescribeContinuousBackups": ("--bucket-owner", DESTINATION),
    "dynamodb:UpdateContinuousBackups": ("--enable-pitr",),
}
NATIVE_IMPORT = {
    "dynamodb:ImportTable": "import-table",
    "dynamodb:DescribeImport": "import-table",
    "dynamodb:StartBulkPutItems": "bulk",
}
# What looks for a job that an earlier command has started: by its ARN, or by a token that is old.
FOUND_AGAIN = {
    "dynamodb:ListImports": {"arn": "", "requested_at": "2024-05-14T11:14:20.608Z"},
    "dynamodb:DescribeBulkOperation": {
        "arn": f"arn:aws:dynamodb:{REGION}:{DESTINATION}:table/{COPY}/bulk-operation/1"
    },
    "dynamodb:ListBulkOperations": {"arn": "", "requested_at": "2024-05-14T11:14:20.608Z"},
}
REPORTED_BY_IMPORT: list[Needed] = [("destination_policy", action) for action in SETTINGS]
IMPORT = {
    "s3:GetObject": (),
    "s3:ListBucket": (),
    "s3:PutObject": (),
    "dynamodb:DescribeTable": (),
    "dynamodb:BatchWriteItem": (),
    "dynamodb:PutItem": ("--on-existing", "skip"),
    "dynamodb:CreateTable": (),
    "dynamodb:UpdateTable": (),
    "dynamodb:TagResource": (),
    "dynamodb:UpdateTimeToLive": (),
    "dynamodb:UpdateContinuousBackups": (),
    "dynamodb:UpdateContributorInsights": (),
    "dynamodb:PutResourcePolicy": (),
}
VERIFY = {
    "s3:GetObject": (),
    "s3:ListBucket": (),
    "s3:PutObject": (),
    "dynamodb:DescribeTable": (),
    "dynamodb:Scan": (),
    "dynamodb:BatchGetItem": (),
    "dynamodb:PutItem": ("--repair", "--yes"),
    "dynamodb:DeleteItem": ("--repair", "--yes", "--delete-extra"),
}
COMPARE = ["dynamodb:DescribeTable", "dynamodb:Scan", "dynamodb:BatchGetItem"]
TRUST: list[Needed] = [("source_trust", "sts:AssumeRole"), ("destination_trust", "sts:AssumeRole")]
FOLLOW = [
    "dynamodb:DescribeStream",
    "dynamodb:GetShardIterator",
    "dynamodb:GetRecords",
    "dynamodb:UpdateTable",
]
BLOCK = {"dynamodb:PutResourcePolicy": "--finish", "dynamodb:DeleteResourcePolicy": "--unblock"}
PROVEN: set[Needed] = {
    *EXPORT,
    *RESUME,
    *REPORTED_BY_EXPORT,
    *REPORTED_BY_IMPORT,
    *TRUST,
    *(("source_policy", action) for action in (*NATIVE, "dynamodb:ListExports")),
    *(("source_policy", action) for action in (*FOLLOW, *BLOCK)),
    *(("destination_policy", action) for action in (*NATIVE_IMPORT, *FOUND_AGAIN, *IMPORT, *VERIFY)),
    *(("source_policy", action) for action in COMPARE),
}


def test_no_action_is_forgotten() -> None:
    """Every action of every document is proven here, or stands with its reason in the list of those that can't be."""
    keys = ("--kms-key-arn", KEY, "--table-kms-key-arn", KEY, "--destination-table-kms-key-arn", KEY)
    found = json.loads(commands.run("ddb-policy", *POLICY_OPTIONS, *keys).stdout)
    del found["lifecycle"]  # rules, not permissions
    printed = {
        (name, action)
        for name, document in found.items()
        for statement in document["Statement"]
        for action in ([statement["Action"]] if isinstance(statement["Action"], str) else statement["Action"])
    }
    assert PROVEN.isdisjoint(UNPROVABLE)
    assert printed == PROVEN | UNPROVABLE.keys()


def test_several_tables_by_a_pattern(fresh: World) -> None:
    """Under exactly the policies that are printed for the pattern; ListTables is needed for it."""
    words = ["Ord*" if word == TABLE else word for word in POLICY_OPTIONS]
    documents = json.loads(commands.run("ddb-policy", *words).stdout)
    fresh.apply(documents)
    place = ("Ord*", f"s3://{BUCKET}/{PREFIX}")
    found = fresh.export(*place).json()
    assert ("complete", [TABLE]) == (found["status"], [one["table"] for one in found["exports"]])
    move, rename = found["move"], ("--rename", f"{TABLE}={COPY}")
    loaded = fresh.run(DESTINATION, "ddb-import", move, *CREATE, *rename).json()
    assert ("complete", 60) == (loaded["status"], loaded["tables"][0]["result"]["items_written"])
    assert fresh.verify(move, *rename).json()["verdict"] == "identical"
    listed = fresh.export("--list", place[1]).json()
    assert move in [one["move"] for one in listed["moves"]]
    source = documents["source_policy"]
    source["Statement"] = [one for one in source["Statement"] if _without(one, "dynamodb:ListTables")]
    fresh.apply(documents)
    _assert_refused(fresh.export(*place, check=False), "source_policy", "dynamodb:ListTables")


@pytest.mark.parametrize(
    ("document", "account"), [("source_trust", SOURCE), ("destination_trust", DESTINATION)]
)
def test_the_external_id_is_demanded(fresh: World, export: str, document: str, account: str) -> None:
    """Another one is refused, and the message names the trust policy."""
    words = (TABLE, f"s3://{BUCKET}/{PREFIX}") if account == SOURCE else (export, COPY)
    command = "ddb-export" if account == SOURCE else "ddb-import"
    result = fresh.run(account, command, *words, check=False, external_id="guessed")
    _assert_refused(result, document, "sts:AssumeRole")


@pytest.mark.parametrize(("document", "action"), EXPORT)
def test_each_action_of_the_export_is_needed(fresh: World, document: str, action: str) -> None:
    """Without it the export fails, says which action of which policy is missing, and has not begun."""
    fresh.without(document, action)
    before = fresh.keys()
    _assert_refused(fresh.export(check=False), document, action)
    begun = {key for key in fresh.keys() - before if not key.endswith("/probe.json")}
    assert not begun or action == "dynamodb:Scan"  # which nothing but a scan can tell


@pytest.mark.parametrize(("document", "action"), REPORTED_BY_EXPORT)
def test_what_the_export_may_not_read_is_reported(fresh: World, document: str, action: str) -> None:
    """The export continues and says what is unknown."""
    fresh.without(document, action)
    result = fresh.export()
    assert "unknown" in result.stderr
    assert action in result.stderr


@pytest.mark.parametrize(("action", "words"), NATIVE.items())
def test_each_action_of_a_native_export_is_needed(fresh: World, action: str, words: tuple[str, ...]) -> None:
    """Without it the export fails, and says which action of which policy is missing. MiniStack's own export writes no file."""
    client = fresh.accounts.dynamodb(fresh.aws, SOURCE)
    recovery = {"PointInTimeRecoveryEnabled": "--enable-pitr" not in words}
    client.update_continuous_backups(TableName=TABLE, PointInTimeRecoverySpecification=recovery)
    fresh.without("source_policy", action)
    result = fresh.export(TABLE, f"s3://{BUCKET}/{PREFIX}", "--method", "pitr", *words, check=False)
    client.update_continuous_backups(
        TableName=TABLE, PointInTimeRecoverySpecification={"PointInTimeRecoveryEnabled": True}
    )
    _assert_refused(result, "source_policy", action)


@pytest.fixture
def without_stream(fresh: World) -> Iterator[World]:
    """The source's table without a stream; afterwards it has one again."""
    _switch_stream(fresh, enabled=False)
    yield fresh
    _switch_stream(fresh, enabled=True)


def _switch_stream(world: World, *, enabled: bool) -> None:
    client = world.accounts.dynamodb(world.aws, SOURCE)
    stream = client.describe_table(TableName=TABLE)["Table"].get("StreamSpecification", {})
    if stream.get("StreamEnabled", False) != enabled:
        wanted = (
            {"StreamEnabled": True, "StreamViewType": "NEW_IMAGE"} if enabled else {"StreamEnabled": False}
        )
        client.update_table(TableName=TABLE, StreamSpecification=wanted)


@pytest.mark.parametrize("action", FOLLOW)
def test_each_action_of_a_follow_is_needed(without_stream: World, action: str) -> None:
    """Without it the capture does not begin, or ends, with the action and the policy; to enable a stream is tried first."""
    without_stream.without("source_policy", action)
    result = without_stream.export(TABLE, f"s3://{BUCKET}/{PREFIX}", "--follow", check=False)
    _assert_refused(result, "source_policy", action)


def test_a_table_is_followed_and_its_writers_blocked(without_stream: World) -> None:
    """Under exactly these policies: the export, the gate with its block, and the way back; each is refused without its action."""
    world = without_stream
    world.apply(widened(world.documents))
    role = ("--role-arn", f"arn:aws:iam::{SOURCE}:role/{ROLES[SOURCE]}", "--external-id", EXTERNAL_ID)
    words = (TABLE, f"s3://{BUCKET}/{PREFIX}", "--follow", *role)
    with commands.start("ddb-export", *words, endpoint=world.aws, env=world.users[SOURCE]) as process:
        assert process.stdout is not None
        export = process.stdout.readline().strip()
        _wait_for(world, export.removeprefix(f"s3://{BUCKET}/") + "manifest.json")
        for action, option in BLOCK.items():
            world.without("source_policy", action)
            more = ("--block-writes",) if option == "--finish" else ()
            _assert_refused(world.export(option, export, *more, check=False), "source_policy", action)
            world.apply(widened(world.documents))
            done = world.export(option, export, *more).json()
            assert done["status"] == ("closed" if more else "unblocked")
            _remove_policy(world, option)
        stdout, stderr = process.communicate(timeout=60)
    assert (process.returncode, stdout) == (0, ""), stderr


def _wait_for(world: World, key: str) -> None:
    deadline = time.monotonic() + 60
    while not world.keys() >= {key}:
        assert time.monotonic() < deadline, f"{key} is not there"
        time.sleep(0.2)


def _remove_policy(world: World, option: str) -> None:
    """Before --unblock: the table's own statement goes, so that nothing is left of its policy but the block."""
    client = world.accounts.dynamodb(world.aws, SOURCE)
    arn = client.describe_table(TableName=TABLE)["Table"]["TableArn"]
    if option == "--finish":
        policy = json.loads(client.get_resource_policy(ResourceArn=arn)["Policy"])
        policy["Statement"] = [
            one for one in policy["Statement"] if one.get("Sid", "").startswith("DdbTransferBlockWrites")
        ]
        client.put_resource_policy(ResourceArn=arn, Policy=json.dumps(policy))
    else:
        with pytest.raises(client.exceptions.PolicyNotFoundException):
            client.get_resource_policy(ResourceArn=arn)
        _put_policy(client, arn)


def test_looking_for_an_old_request_is_an_action(fresh: World) -> None:
    """A request whose token has expired is looked for among the table's exports."""
    fresh.apply(widened(fresh.documents))
    words = (TABLE, f"s3://{BUCKET}/{PREFIX}", "--method", "pitr", "--bucket-owner", DESTINATION)
    assert "manifest-summary.json is not there" in fresh.export(*words, check=False).stderr
    requests = f"{PREFIX}/AWSDynamoDB/requests/"
    stored_keys = fresh.keys()
    (key, *_) = sorted(one for one in stored_keys if one.startswith(requests))
    stored = json.loads(fresh.s3.get_object(Bucket=BUCKET, Key=key)["Body"].read())
    old = json.dumps(stored | {"requested_at": "2024-05-14T11:14:20.608Z"})
    fresh.s3.put_object(Bucket=BUCKET, Key=requests + "old.json", Body=old.encode())
    fresh.without("source_policy", "dynamodb:ListExports")
    result = fresh.export("--resume", f"s3://{BUCKET}/{requests}old.json", check=False)
    _assert_refused(result, "source_policy", "dynamodb:ListExports")


@pytest.mark.parametrize(("document", "action"), RESUME)
def test_each_action_of_a_resume_is_needed(fresh: World, document: str, action: str) -> None:
    """A killed export leaves an upload behind, which its resume has to find and abort."""
    storage = _unfinished(fresh)
    fresh.without(document, action)
    _assert_refused(fresh.export("--resume", storage, check=False), document, action)
    fresh.apply(fresh.documents)
    assert fresh.export("--resume", storage).json()["status"] == "complete"


def _unfinished(world: World) -> str:
    """An export as a kill leaves it: begun, with an open upload and no manifest."""
    storage = str(world.export().json()["export"])
    key = storage.removeprefix(f"s3://{BUCKET}/")
    names = ["manifest.json", *(f"segments/{segment:04d}.json" for segment in range(16))]
    for name in names:
        world.s3.delete_object(Bucket=BUCKET, Key=key + name)
    world.s3.create_multipart_upload(Bucket=BUCKET, Key=key + "data/0000-000000.json.gz")
    return storage


@pytest.mark.parametrize(("action", "words"), IMPORT.items())
def test_each_action_of_the_import_is_needed(
    fresh: World, export: str, action: str, words: tuple[str, ...]
) -> None:
    """Without it the import fails, and says which action of which policy is missing.

    What concerns the bucket is found out before the table is made.
    """
    fresh.without("destination_policy", action)
    result = fresh.load(export, *CREATE, "--restart", *words, check=False)
    _assert_refused(result, "destination_policy", action)
    assert COPY not in fresh.tables() or action.startswith("dynamodb:")


@pytest.mark.parametrize(("action", "engine"), NATIVE_IMPORT.items())
def test_each_action_of_a_native_import_is_needed(
    fresh: World, export: str, action: str, engine: str
) -> None:
    """Without it the import fails, and says which action of which policy is missing."""
    fresh.without("destination_policy", action)
    words = ("--engine", engine, "--create-table", "--restart")
    _assert_refused(fresh.load(export, *words, check=False), "destination_policy", action)


def test_dynamodb_loads_with_exactly_these_policies(fresh: World, export: str) -> None:
    """Table, items and settings."""
    fresh.apply(widened(fresh.documents))
    words = ("--engine", "import-table", "--create-table", "--restart")
    assert fresh.load(export, *words).json()["items_written"] == 60


@pytest.mark.parametrize(("action", "job"), FOUND_AGAIN.items())
def test_each_action_that_finds_a_job_again_is_needed(
    fresh: World, export: str, action: str, job: dict[str, str]
) -> None:
    """The plan says which job an earlier command has started, or with which token."""
    engine = "bulk" if "Bulk" in action else "import-table"
    words = ("--engine", engine, "--create-table")
    fresh.apply(widened(fresh.documents))
    fresh.load(
        export, *words, "--restart", check=False
    )  # MiniStack has no bulk put, but the plan is there by then
    key = f"{export.removeprefix(f's3://{BUCKET}/')}import/{DESTINATION}.{REGION}.{COPY}/plan.json"
    plan = json.loads(fresh.s3.get_object(Bucket=BUCKET, Key=key)["Body"].read())
    changed = plan | {"completed_at": "", "native": plan["native"] | job}
    fresh.s3.put_object(Bucket=BUCKET, Key=key, Body=json.dumps(changed).encode())
    fresh.without("destination_policy", action)
    _assert_refused(fresh.load(export, *words, check=False), "destination_policy", action)


@pytest.mark.parametrize(("document", "action"), REPORTED_BY_IMPORT)
def test_what_the_import_may_not_read_is_reported(
    fresh: World, export: str, document: str, action: str
) -> None:
    """A setting of the destination that can't be read is not touched."""
    fresh.without(document, action)
    result = fresh.load(export, *CREATE, "--restart").json()
    assert [action in difference["note"] for difference in result["drift"]].count(True) >= (
        action != "dynamodb:DescribeKinesisStreamingDestination"  # the source has none, so nothing is missed
    )


@pytest.fixture
def damaged(fresh: World, export: str) -> World:
    """A loaded copy of the table that lacks an item and has another one instead."""
    fresh.apply(widened(fresh.documents))
    fresh.load(export, *CREATE, "--restart")
    client = fresh.accounts.dynamodb(fresh.aws, DESTINATION)
    item = client.scan(TableName=COPY, Limit=1)["Items"][0]
    client.delete_item(TableName=COPY, Key={name: item[name] for name in ("pk", "sk")})
    client.put_item(TableName=COPY, Item=item | {"pk": {"S": "extra"}})
    return fresh


@pytest.mark.parametrize(("action", "words"), VERIFY.items())
def test_each_action_of_the_verification_is_needed(
    damaged: World, export: str, action: str, words: tuple[str, ...]
) -> None:
    """Without it the verification is incomplete, never a pass, and says which action of which policy is missing."""
    damaged.without("destination_policy", action)
    result = damaged.verify(export, COPY, *words, check=False)
    _assert_refused(result, "destination_policy", action)
    assert result.json()["verdict"] == "incomplete"


@pytest.mark.parametrize("action", COMPARE)
def test_each_action_of_a_comparison_of_tables_is_needed(damaged: World, action: str, tmp_path: Path) -> None:
    """The source's table is read by the source's role, so it is the source's policy that is named."""
    profile = tmp_path / "credentials"
    user = damaged.users[SOURCE]
    profile.write_text("[old]\n" + "".join(f"{name.lower()} = {user[name]}\n" for name in KEY_VARIABLES))
    damaged.users["both"] = damaged.users[DESTINATION] | {"AWS_SHARED_CREDENTIALS_FILE": str(profile)}
    words = (
        *("ddb-verify", "--tables", TABLE, COPY, "--source-profile", "old", "--state", tmp_path / "state"),
        *("--source-role-arn", f"arn:aws:iam::{SOURCE}:role/{ROLES[SOURCE]}"),
    )
    damaged.apply(damaged.documents)
    whole = damaged.run(DESTINATION, *words, user="both", check=False)
    assert (whole.exit_code, whole.json()["missing"]) == (4, 1), str(whole)
    damaged.without("source_policy", action)
    _assert_refused(damaged.run(DESTINATION, *words, user="both", check=False), "source_policy", action)


DOCUMENTS = [
    *("source_policy", "destination_policy", "bucket_policy", "kms_key_statement"),
    *("source_trust", "destination_trust"),
]


def _assert_refused(result: commands.Result, document: str, action: str) -> None:
    """One line for people, with the action and the document; others are named only where S3 does not say which one."""
    assert result.exit_code == 1, str(result)
    assert f"The action {action}" in result.stderr, result.stderr
    named = [name for name in DOCUMENTS if re.search(rf"\b{name}\b", result.stderr)]
    both = document == "bucket_policy" and "Both sides must allow it" in result.stderr
    assert named == (["source_policy", "bucket_policy"] if both else [document]), result.stderr
    assert "Traceback" not in result.stderr
