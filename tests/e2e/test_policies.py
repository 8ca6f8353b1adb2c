"""The commands work under exactly the policies that ddb-policy prints, and each action in them is needed.

MiniStack with AUTH=true evaluates the policies and verifies signatures; roles are assumed by users of each account.
"""

import copy
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from support import commands
from support.accounts import Accounts
from support.environment import DESTINATION, REGION, SOURCE
from support.services import Endpoint, local_aws
from support.tables import create_table, fill
from support.varied import varied_items

ROLES = {SOURCE: "ddb-exporter", DESTINATION: "ddb-importer"}
BUCKET, PREFIX, TABLE, COPY = "policy-bucket", "moves", "Orders", "Copy"
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
)


# AWS checks these against the table whose ARN they name; MiniStack looks for a table's name, finds none and checks "*".
CHECKED_AGAINST_ALL = [
    "dynamodb:ListTagsOfResource",
    "dynamodb:GetResourcePolicy",
    "dynamodb:TagResource",
    "dynamodb:PutResourcePolicy",
]


def widened(documents: dict[str, Any]) -> dict[str, Any]:
    """The documents with those actions allowed on everything."""
    changed = copy.deepcopy(documents)
    for side in ("source", "destination"):
        statement = {"Effect": "Allow", "Action": CHECKED_AGAINST_ALL, "Resource": "*"}
        changed[f"{side}_policy"]["Statement"].append(statement)
    return changed


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
        for statement in changed[document]["Statement"]:
            statement["Action"] = [name for name in statement["Action"] if name != action] or [
                "sts:TagSession"
            ]
        self.apply(changed)

    def iam(self, account: str) -> Any:
        return self.accounts.client("iam", self.aws, account)

    @property
    def s3(self) -> Any:
        return self.accounts.s3(self.aws, DESTINATION)

    def run(
        self, account: str, *words: object, check: bool = True, external_id: str = EXTERNAL_ID
    ) -> commands.Result:
        """Runs a command as a user of the account who assumes its role."""
        role = f"arn:aws:iam::{account}:role/{ROLES[account]}"
        command, *rest = words
        return commands.run(
            str(command),
            *rest,
            *("--role-arn", role, "--external-id", external_id, "--processes", 1, "--json"),
            endpoint=self.aws,
            env=self.users[account],
            check=check,
        )

    def export(self, *words: object, **options: Any) -> commands.Result:
        return self.run(SOURCE, "ddb-export", *(words or (TABLE, f"s3://{BUCKET}/{PREFIX}")), **options)

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
    result = fresh.load(export, "--create-table").json()
    assert (result["status"], result["items_written"]) == ("complete", 60)
    assert all(difference["note"].startswith("unknown") for difference in result["drift"])
    again = fresh.load(export, "--restart", "--on-existing", "skip").json()
    assert (again["items_written"], again["items_skipped"]) == (0, 60)
    verdict = fresh.run(DESTINATION, "ddb-verify", export, COPY).json()
    assert verdict["verdict"] == "identical"


def test_the_external_id_is_demanded(fresh: World) -> None:
    """Another one is refused, and the message names the trust policy."""
    result = fresh.export(check=False, external_id="guessed")
    assert result.exit_code == 1
    assert "sts:AssumeRole" in result.stderr
    assert "trust policy" in result.stderr


NEEDED_BY_EXPORT = [
    ("source_policy", "dynamodb:DescribeTable"),
    ("source_policy", "dynamodb:Scan"),
    ("source_policy", "s3:PutObject"),
    ("source_policy", "s3:GetObject"),
    ("source_policy", "s3:ListBucket"),
    ("bucket_policy", "s3:PutObject"),
    ("bucket_policy", "s3:GetObject"),
    ("bucket_policy", "s3:ListBucket"),
]
RECORDED_AS_UNKNOWN = [
    "dynamodb:DescribeTimeToLive",
    "dynamodb:DescribeContinuousBackups",
    "dynamodb:ListTagsOfResource",
    "dynamodb:GetResourcePolicy",
    "dynamodb:DescribeKinesisStreamingDestination",
    "dynamodb:DescribeContributorInsights",
]


@pytest.mark.parametrize(("document", "action"), NEEDED_BY_EXPORT)
def test_each_action_of_the_export_is_needed(fresh: World, document: str, action: str) -> None:
    """Without it the export fails, and says which action of which policy is missing."""
    fresh.without(document, action)
    _assert_refused(fresh.export(check=False), document, action)


@pytest.mark.parametrize("action", RECORDED_AS_UNKNOWN)
def test_a_setting_that_may_not_be_read_is_reported(fresh: World, action: str) -> None:
    """The export goes on and says what is unknown."""
    fresh.without("source_policy", action)
    result = fresh.export()
    assert "recorded as unknown" in result.stderr
    assert action in result.stderr


@pytest.mark.parametrize("document", ["source_policy", "bucket_policy"])
@pytest.mark.parametrize("action", ["s3:ListBucketMultipartUploads", "s3:AbortMultipartUpload"])
def test_each_action_of_a_resume_is_needed(fresh: World, document: str, action: str) -> None:
    """A killed export leaves an upload behind, which its resume has to find and abort."""
    folder = _unfinished(fresh)
    fresh.without(document, action)
    _assert_refused(fresh.export("--resume", folder, check=False), document, action)
    fresh.apply(fresh.documents)
    assert fresh.export("--resume", folder).json()["status"] == "complete"


def _unfinished(world: World) -> str:
    """An export as a kill leaves it: begun, with an open upload and no manifest."""
    folder = str(world.export().json()["export"])
    key = folder.removeprefix(f"s3://{BUCKET}/")
    names = ["manifest.json", *(f"segments/{segment:04d}.json" for segment in range(16))]
    for name in names:
        world.s3.delete_object(Bucket=BUCKET, Key=key + name)
    world.s3.create_multipart_upload(Bucket=BUCKET, Key=key + "data/0000-000000.json.gz")
    return folder


@pytest.mark.parametrize(
    ("action", "words"),
    [
        ("s3:GetObject", ()),
        ("s3:ListBucket", ()),
        ("s3:PutObject", ()),
        ("dynamodb:DescribeTable", ()),
        ("dynamodb:BatchWriteItem", ()),
        ("dynamodb:PutItem", ("--on-existing", "skip")),
        ("dynamodb:CreateTable", ()),
        ("dynamodb:UpdateTable", ()),
        ("dynamodb:TagResource", ()),
        ("dynamodb:UpdateTimeToLive", ()),
        ("dynamodb:UpdateContinuousBackups", ()),
        ("dynamodb:UpdateContributorInsights", ()),
        ("dynamodb:PutResourcePolicy", ()),
    ],
)
def test_each_action_of_the_import_is_needed(
    fresh: World, export: str, action: str, words: tuple[str, ...]
) -> None:
    """Without it the import fails, and says which action of which policy is missing; with it, it goes on."""
    fresh.without("destination_policy", action)
    _assert_refused(
        fresh.load(export, "--create-table", "--restart", *words, check=False), "destination_policy", action
    )


@pytest.mark.parametrize("action", RECORDED_AS_UNKNOWN)
def test_what_the_import_may_not_read_is_reported(fresh: World, export: str, action: str) -> None:
    """A setting of the destination that can't be read is not touched."""
    fresh.without("destination_policy", action)
    result = fresh.load(export, "--create-table", "--restart").json()
    assert [action in difference["note"] for difference in result["drift"]].count(True) >= (
        action != "dynamodb:DescribeKinesisStreamingDestination"  # the source has none, so nothing is missed
    )


def _assert_refused(result: commands.Result, document: str, action: str) -> None:
    assert result.exit_code == 1, str(result)
    assert action in result.stderr
    assert document in result.stderr
    assert "Traceback" not in result.stderr
