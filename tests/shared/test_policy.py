"""ddb-policy's documents are what AWS takes, in each format; names are checked."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import click.testing
import pytest

from ddb_shared.errors import UsageError
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
    """No wildcard in an action; the exporter writes nothing but objects; the importer only below its state."""
    found = documents()
    for name in ("bucket_policy", "source_policy", "destination_policy"):
        assert not [action for action in actions(found[name]) if "*" in action or "Delete" in action]
    assert {"dynamodb:DescribeTable", "dynamodb:Scan"} <= actions(found["source_policy"])
    assert not [
        action
        for action in actions(found["source_policy"])
        if re.search(r"dynamodb:.*(Put|Write|Update)", action)
    ]
    writes = [s for s in found["destination_policy"]["Statement"] if "s3:PutObject" in s["Action"]]
    assert [s["Resource"] for s in writes] == [["arn:aws:s3:::shared-bucket/moves/AWSDynamoDB/*/import/*"]]


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


def test_the_external_id_is_a_condition_of_both_trusts() -> None:
    """Against a deputy that is talked into another's role."""
    for side in ("source", "destination"):
        (statement,) = documents("--external-id", "agreed")[f"{side}_trust"]["Statement"]
        assert statement["Condition"] == {"StringEquals": {"sts:ExternalId": "agreed"}}
        assert "Condition" not in documents()[f"{side}_trust"]["Statement"][0]


def test_roles_by_name_or_by_arn() -> None:
    """An ARN brings its account; a table of another name and a prefix of none are named as they are."""
    role = "arn:aws:iam::333333333333:role/movers/out"
    result = click.testing.CliRunner().invoke(
        command,
        [
            *("--source-role", role, "--destination-role", "arn:aws:iam::222222222222:role/in"),
            *("--bucket", "shared-bucket", "--table", "Orders", "--destination-table", "Copy"),
            *("--region", "eu-west-1"),
        ],
    )
    found = json.loads(result.output)
    condition = found["bucket_policy"]["Statement"][0]["Condition"]["ArnEquals"]["aws:PrincipalArn"]
    assert condition == [role, "arn:aws:iam::333333333333:root"]
    assert "arn:aws:s3:::shared-bucket/AWSDynamoDB/*" in found["source_policy"]["Statement"][3]["Resource"]
    assert "table/Copy" in json.dumps(found["destination_policy"])


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--source-account", "1"], "12 digits"),
        (["--source-role", "a role"], "neither a role's name nor its ARN"),
        (["--source-role", "arn:aws:iam::333333333333:role/x"], "a role of account 333333333333"),
        (["--kms-key-arn", "alias/mine"], "not the ARN of a key"),
        (["--table-kms-key-arn", "alias/mine"], "--table-kms-key-arn 'alias/mine' is not the ARN of a key"),
    ],
)
def test_wrong_names_are_refused(options: list[str], said: str) -> None:
    """With what is wrong, before anything is printed."""
    with pytest.raises(UsageError, match=said):
        printed(*options)


@pytest.mark.parametrize(
    "options", [[], ["--kms-key-arn", KEY, "--destination-table-kms-key-arn", KEY, "--external-id", "agreed"]]
)
def test_cfn_lint_has_nothing_to_say(tmp_path: Path, options: list[str]) -> None:
    """Not even a warning, save that a template that names its role must be told so when it is deployed."""
    template = tmp_path / "template.json"
    template.write_text(printed("--format", "cloudformation", *options))
    lint = Path(sys.executable).with_name("cfn-lint")
    done = subprocess.run([lint, template], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, ""), done.stdout + done.stderr


@pytest.mark.skipif(not shutil.which("terraform"), reason="terraform is not installed")
@pytest.mark.parametrize("options", [[], ["--kms-key-arn", KEY, "--external-id", "${x} %{y}"]])
def test_terraform_can_parse_it(tmp_path: Path, options: list[str]) -> None:
    """`terraform fmt` parses the file, without a provider or a network."""
    file = tmp_path / "main.tf"
    file.write_text(printed("--format", "terraform", *options))
    done = subprocess.run(
        ["terraform", "fmt", "-no-color", str(file)],
        capture_output=True,
        text=True,
        check=False,
        env={"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": str(tmp_path), "CHECKPOINT_DISABLE": "1"},
    )
    assert done.returncode == 0, done.stderr
    assert "$${x}" in file.read_text() or not options
