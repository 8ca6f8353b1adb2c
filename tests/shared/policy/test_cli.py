"""The command line of ddb-policy."""

import json

import click
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


def printed(*options: str) -> str:
    result = click.testing.CliRunner().invoke(
        command, [*OPTIONS, *options], catch_exceptions=False, standalone_mode=False
    )
    if result.exception:
        raise result.exception
    return result.output


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


def test_policies_that_are_too_long_for_a_role_are_warned_of() -> None:
    """A hundred tables by their names exceed IAM's quota, and a pattern does not; the documents are printed in any case."""
    runner = click.testing.CliRunner()
    names = [word for number in range(100) for word in ("--table", f"Orders-of-customer-{number:03d}")]
    named = runner.invoke(command, [*OPTIONS, *names])
    assert 0 == named.exit_code
    assert "Orders-of-customer-099" in json.dumps(json.loads(named.stdout)["source_policy"])
    assert "source_policy has" in named.stderr
    assert "destination_policy has" in named.stderr
    assert "--table 'prod*'" in named.stderr
    assert "" == runner.invoke(command, [*OPTIONS, "--table", "Orders-of-customer-*"]).stderr


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--source-role", "a role"], "neither a role name nor a role ARN"),
        (["--source-role", "arn:aws:iam::333333333333:role/x"], "a role of account 333333333333"),
        (["--bucket", "arn:aws:s3:eu-west-1:111111111111:accesspoint/moves"], "access point by its ARN"),
        (["--kms-key-arn", "alias/mine"], "not a KMS key ARN"),
        (["--table-kms-key-arn", "alias/mine"], "--table-kms-key-arn 'alias/mine' is not a KMS key ARN"),
    ],
)
def test_wrong_names_are_refused(options: list[str], said: str) -> None:
    """With what is wrong, before anything is printed."""
    with pytest.raises(UsageError, match=said):
        printed(*options)


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("--source-account", "1"),
        ("--destination-account", "22222222222x"),
        ("--region", "eu west"),
        ("--table", "a b"),
        ("--destination-table", "arn:aws:dynamodb:eu-west-1:222222222222:table/Orders"),
        ("--bucket", "Bucket/*"),
        ("--prefix", "a*"),
        ("--prefix", "${aws:username}"),
    ],
)
def test_values_are_checked(option: str, value: str) -> None:
    """A wildcard in a name would allow more than was meant."""
    with pytest.raises((click.UsageError, UsageError), match=f"{option[2:]}|{value[:3]}"):
        printed(option, value)
