"""How the source table of a comparison is accessed."""

import dataclasses

from ddb_import.verify.options import SourceTable
from ddb_shared.aws.clients import AwsOptions
from ddb_shared.permissions import Side


def test_another_profile_takes_no_role_of_the_first_one() -> None:
    """A source of its own profile is read by that profile alone; without one, by the same identity."""
    aws = AwsOptions(region="eu-west-1", profile="new", role_arns=("arn:new",), mfa_serial="device")
    assert SourceTable(table="S", profile="old").aws(aws) == AwsOptions(
        region="eu-west-1", profile="old", side=Side.SOURCE
    )
    assert SourceTable(table="S", region="us-east-1").aws(aws) == dataclasses.replace(
        aws, region="us-east-1", side=Side.SOURCE
    )
