"""A table that cannot be described: what to look at first."""

import boto3
import pytest
from botocore.stub import Stubber

from ddb_shared.errors import AccessError
from ddb_shared.table.description import describe


@pytest.mark.parametrize(
    ("code", "told"), [("AccessDeniedException", True), ("ExpiredTokenException", False)]
)
def test_an_access_that_is_denied_may_be_a_wrong_name(code: str, told: bool) -> None:
    """A policy for one table in one Region denies a misspelt one; with credentials that have expired a name has nothing to do."""
    client = boto3.client(
        "dynamodb", region_name="eu-west-1", aws_access_key_id="x", aws_secret_access_key="x"
    )
    with Stubber(client) as stub:
        stub.add_client_error("describe_table", code, "not authorized", http_status_code=400)
        with pytest.raises(AccessError) as caught:
            describe(client, "Orderz")
    assert told == caught.value.remedy.startswith(
        "Check the table's name (Orderz) and the Region (eu-west-1)"
    )
