"""The policy documents grant what the commands need, and no more."""

import json
import re
from typing import Any

import click
import click.testing
import pytest

from ddb_shared.policy.cli import command

OPTIONS = [
    *(
        "--source-account",
        "111111111111",
        "--destination-account",
        "222222222222",
        "--bucket",
        "shared-bucket",
    ),
    *("--prefix", "/moves/", "--table", "Orders", "--region", "eu-west-1"),
]
KEY = "arn:aws:kms:eu-west-1:222222222222:key/1234"
KEYS = [
    "bucket_policy",
    "source_policy",
    "destination_policy",
    "source_trust",
    "destination_trust",
    "kms_key_statement",
    "lifecycle",
]
STATE = [
    "arn:aws:s3:::shared-bucket/moves/AWSDynamoDB/*/import/*",
    "arn:aws:s3:::shared-bucket/moves/import/*",
]


def printed(*options: str) -> str:
    result = click.testing.CliRunner().invoke(
        command, [*OPTIONS, *options], catch_exceptions=False, standalone_mode=False
    )
    if result.exception:
        raise result.exception
    return result.output


def documents(*options: str) -> dict[str, Any]:
    found = json.loads(printed(*options))
    assert isinstance(found, dict)
    return found


def actions(document: dict[str, Any]) -> set[str]:
    return {action for statement in document["Statement"] for action in statement["Action"]}


def test_one_object_of_documents() -> None:
    """The keys are fixed; without a key there is no key statement."""
    assert list(documents()) == KEYS
    assert documents()["kms_key_statement"] is None
    assert documents("--kms-key-arn", KEY)["kms_key_statement"]["Version"] == "2012-10-17"


def test_nobody_may_delete_and_nothing_is_wild() -> None:
    """No wildcard in an action; the exporter writes nothing but objects; the importer only below its state.

    Items alone may be deleted, by `ddb-verify --repair --delete-extra`.
    """
    found = documents()
    for name in ("bucket_policy", "source_policy", "destination_policy"):
        of_document = actions(found[name]) - (
            {"dynamodb:DeleteItem"} if name == "destination_policy" else set()
        )
        assert not [action for action in of_document if "*" in action or "Delete" in action]
    assert {"dynamodb:DescribeTable", "dynamodb:Scan"} <= actions(found["source_policy"])
    assert not [
        action
        for action in actions(found["source_policy"])
        if re.search(r"dynamodb:.*(Put|Write|Update)", action)
    ]
    writes = [s for s in found["destination_policy"]["Statement"] if "s3:PutObject" in s["Action"]]
    assert [s["Resource"] for s in writes] == [STATE]


def test_the_keys_of_the_tables() -> None:
    """Each side may use the key of its own table, through DynamoDB alone: to read the one, to make the other."""
    other = KEY.replace("222222222222", "111111111111")
    found = documents("--table-kms-key-arn", other, "--destination-table-kms-key-arn", KEY)
    (read,) = (s for s in found["source_policy"]["Statement"] if s["Sid"] == "UseTableKey")
    assert (read["Action"], read["Resource"]) == (["kms:Decrypt"], [other])
    assert read["Condition"] == {"StringEquals": {"kms:ViaService": "dynamodb.eu-west-1.amazonaws.com"}}
    (make,) = (s for s in found["destination_policy"]["Statement"] if s["Sid"] == "UseTableKey")
    assert ("kms:CreateGrant" in make["Action"], make["Resource"]) == (True, [KEY])
    assert "UseTableKey" not in json.dumps(documents())


@pytest.mark.parametrize(
    ("arn", "service"),
    [
        ("arn:aws:kms:us-east-2:222222222222:key/1234", "us-east-2.amazonaws.com"),
        ("arn:aws-cn:kms:cn-north-1:222222222222:key/1234", "cn-north-1.amazonaws.com.cn"),
    ],
)
def test_a_key_is_used_in_its_own_region(arn: str, service: str) -> None:
    """Its region and partition are in its ARN; the tables' region says nothing about it."""
    found = documents(
        "--kms-key-arn", arn, "--table-kms-key-arn", arn, "--destination-table-kms-key-arn", arn
    )
    via = set(re.findall(r'"kms:ViaService": "([^"]+)"', json.dumps(found)))
    assert via == {f"s3.{service}", f"dynamodb.{service}"}


def test_the_exporter_is_denied_to_write_import_state() -> None:
    """By its own policy and by the bucket's; not where one role is on both sides, which has to write it."""
    found = documents()
    for name in ("source_policy", "bucket_policy"):
        (deny,) = (one for one in found[name]["Statement"] if one["Effect"] == "Deny")
        assert (deny["Action"], deny["Resource"]) == (["s3:PutObject", "s3:PutObjectAcl"], STATE)
    same = ["--destination-account", "111111111111", "--destination-role", "ddb-exporter"]
    assert "Deny" not in json.dumps(documents(*same))


def test_service_linked_roles_may_be_created() -> None:
    """Autoscaling and contributor insights each need theirs, which AWS creates with the caller's permission."""
    statements = documents()["destination_policy"]["Statement"]
    made = [one for one in statements if one["Action"] == ["iam:CreateServiceLinkedRole"]]
    services = [one["Condition"]["StringEquals"]["iam:AWSServiceName"] for one in made]
    assert services == [
        "dynamodb.application-autoscaling.amazonaws.com",
        "contributorinsights.dynamodb.amazonaws.com",
    ]
    assert all(f"/{name}/*" in one["Resource"][0] for name, one in zip(services, made, strict=True))


def test_the_external_id_is_a_condition_of_both_trusts() -> None:
    """Against a deputy that is talked into another's role."""
    for side in ("source", "destination"):
        (statement,) = documents("--external-id", "agreed")[f"{side}_trust"]["Statement"]
        assert statement["Condition"] == {"StringEquals": {"sts:ExternalId": "agreed"}}
        assert "Condition" not in documents()[f"{side}_trust"]["Statement"][0]


def test_tables_by_pattern() -> None:
    """IAM knows the wildcards; ListTables is granted where a pattern asks for it, and each side has its tables."""
    assert "dynamodb:ListTables" not in actions(documents()["source_policy"])
    found = documents("--table", "prod-*", "--destination-table", "new-*")
    assert "dynamodb:ListTables" in actions(found["source_policy"])
    tables = "arn:aws:dynamodb:eu-west-1:111111111111:table/"
    (read,) = [one for one in found["source_policy"]["Statement"] if one["Sid"] == "ReadTable"]
    assert [f"{tables}Orders", f"{tables}prod-*"] == read["Resource"]
    (load,) = [one for one in found["destination_policy"]["Statement"] if one["Sid"] == "LoadTable"]
    assert ["arn:aws:dynamodb:eu-west-1:222222222222:table/new-*"] == load["Resource"]


def test_the_files_of_moves() -> None:
    """The exporter writes them, the importer reads them; what is stored below another prefix named moves is not meant."""
    found, moves = documents(), "arn:aws:s3:::shared-bucket/moves/moves/0*"
    of_sid = {
        (name, statement["Sid"]): statement
        for name, document in found.items()
        if name in {"bucket_policy", "source_policy", "destination_policy"}
        for statement in document["Statement"]
    }
    assert moves in of_sid["bucket_policy", "WriteExports"]["Resource"]
    assert moves in of_sid["source_policy", "WriteExports"]["Resource"]
    assert moves in of_sid["destination_policy", "ReadExport"]["Resource"]
    assert moves not in of_sid["destination_policy", "KeepImportState"]["Resource"]
    for name in ("bucket_policy", "source_policy", "destination_policy"):
        prefixes = of_sid[name, "ListExports"]["Condition"]["StringLike"]["s3:prefix"]
        assert ["moves/AWSDynamoDB/*", "moves/moves/0*"] == prefixes
