"""CreateTable requests are what AWS takes, and make the table that was described."""

from collections.abc import Callable
from typing import Any

import botocore.session
import pytest
from botocore.validate import ParamValidator
from hypothesis import given
from hypothesis import strategies as st

from ddb_import.definition.create_request import create_request, warmed_units, write_rate
from ddb_import.definition.desired import AWS_KEY, desired_spec
from ddb_import.definition.table_spec import TableSpec, kind_of, spec_of
from ddb_shared.errors import UsageError
from ddb_shared.table.settings import Setting
from support.accounts import Accounts
from support.environment import DESTINATION, SOURCE
from support.services import Endpoint

KEY = "arn:aws:kms:eu-west-1:111111111111:key/1-2"
SHAPE = (
    botocore.session.get_session().get_service_model("dynamodb").operation_model("CreateTable").input_shape
)
NAMES = [f"a{number}" for number in range(8)]


def described(**members: Any) -> dict[str, Any]:
    """What DescribeTable says of a small table that was never on-demand."""
    return {
        "TableName": "T",
        "TableArn": "arn:aws:dynamodb:eu-west-1:111111111111:table/T",
        "TableStatus": "ACTIVE",
        "KeySchema": [{"AttributeName": "pk", "KeyType": "HASH"}],
        "AttributeDefinitions": [{"AttributeName": "pk", "AttributeType": "S"}],
        "ProvisionedThroughput": {
            "NumberOfDecreasesToday": 2,
            "LastIncreaseDateTime": "2026-01-01T00:00:00.000Z",
            "ReadCapacityUnits": 5,
            "WriteCapacityUnits": 6,
        },
        **members,
    }


ON_DEMAND = {
    "BillingModeSummary": {"BillingMode": "PAY_PER_REQUEST", "LastUpdateToPayPerRequestDateTime": "x"},
    "ProvisionedThroughput": {"ReadCapacityUnits": 0, "WriteCapacityUnits": 0},
}


def request(
    description: dict[str, Any],
    *,
    billing_mode: str | None = None,
    kms_keys: dict[str, str] | None = None,
    with_indexes: bool = True,
    warm_write_units: int | None = None,
) -> dict[str, Any]:
    desired = desired_spec(spec_of(description, {}), billing_mode=billing_mode, kms_keys=kms_keys or {})
    made = create_request("T", desired.values, with_indexes=with_indexes, warm_write_units=warm_write_units)
    report = ParamValidator().validate(made, SHAPE)
    assert not report.has_errors(), report.generate_report()
    return made


def test_a_table_without_billing_summary_is_provisioned() -> None:
    """AWS shows the summary only for tables that were on-demand once; of the throughput only the units are taken."""
    made = request(described())
    assert made["BillingMode"] == "PROVISIONED"
    assert made["ProvisionedThroughput"] == {"ReadCapacityUnits": 5, "WriteCapacityUnits": 6}


def test_an_on_demand_table_has_no_units() -> None:
    """0/0 and -1 mean none, in the table and in its indexes."""
    index = {
        "IndexName": "by-i",
        "IndexStatus": "ACTIVE",
        "KeySchema": [{"AttributeName": "pk", "KeyType": "HASH"}],
        "Projection": {"ProjectionType": "ALL"},
        "ProvisionedThroughput": {"ReadCapacityUnits": 0, "WriteCapacityUnits": 0},
        "OnDemandThroughput": {"MaxReadRequestUnits": 10, "MaxWriteRequestUnits": -1},
    }
    made = request(
        described(
            **ON_DEMAND,
            GlobalSecondaryIndexes=[index],
            OnDemandThroughput={"MaxReadRequestUnits": -1, "MaxWriteRequestUnits": -1},
        )
    )
    assert made["BillingMode"] == "PAY_PER_REQUEST"
    assert not {"ProvisionedThroughput", "OnDemandThroughput", "WarmThroughput"} & made.keys()
    assert made["GlobalSecondaryIndexes"] == [
        {
            "IndexName": "by-i",
            "KeySchema": [{"AttributeName": "pk", "KeyType": "HASH"}],
            "Projection": {"ProjectionType": "ALL"},
            "OnDemandThroughput": {"MaxReadRequestUnits": 10},
        }
    ]


def test_provisioned_becomes_on_demand_but_not_the_other_way() -> None:
    """There are no units to copy from an on-demand table."""
    made = request(described(), billing_mode="PAY_PER_REQUEST")
    assert made["BillingMode"] == "PAY_PER_REQUEST"
    assert "ProvisionedThroughput" not in made
    with pytest.raises(UsageError, match="no provisioned capacity"):
        request(described(**ON_DEMAND), billing_mode="PROVISIONED")


def test_keys_of_many_attributes_keep_their_order() -> None:
    """A global index has up to four partition and four sort attributes; an unused definition is dropped."""
    roles = [("d", "HASH"), ("b", "HASH"), ("c", "RANGE"), ("a", "RANGE")]
    schema = [{"AttributeName": name, "KeyType": role} for name, role in roles]
    definitions = [{"AttributeName": name, "AttributeType": "N"} for name in ("a", "b", "c", "d", "unused")]
    index = {"IndexName": "by-i", "KeySchema": schema, "Projection": {"ProjectionType": "KEYS_ONLY"}}
    description = described(
        AttributeDefinitions=[{"AttributeName": "pk", "AttributeType": "S"}, *definitions],
        GlobalSecondaryIndexes=[index],
    )
    made = request(description)
    assert made["GlobalSecondaryIndexes"][0]["KeySchema"] == schema
    assert {"pk", "a", "b", "c", "d"} == {entry["AttributeName"] for entry in made["AttributeDefinitions"]}
    later = request(description, with_indexes=False)
    assert "GlobalSecondaryIndexes" not in later
    assert later["AttributeDefinitions"] == [{"AttributeName": "pk", "AttributeType": "S"}]


def test_an_index_that_is_being_deleted_is_not_made() -> None:
    """It is on its way out."""
    index = {
        "IndexName": "by-i",
        "IndexStatus": "DELETING",
        "KeySchema": [{"AttributeName": "pk", "KeyType": "HASH"}],
    }
    assert "GlobalSecondaryIndexes" not in request(described(GlobalSecondaryIndexes=[index]))


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ({KEY: "arn:aws:kms:eu-west-1:222222222222:key/3"}, "arn:aws:kms:eu-west-1:222222222222:key/3"),
        ({"1-2": "alias/tables"}, "alias/tables"),
        ({KEY: AWS_KEY}, None),
    ],
)
def test_a_kms_key_needs_one_of_the_destination(keys: dict[str, str], expected: str | None) -> None:
    """By the source's ARN or id; AWS's own key is asked for without a name."""
    encrypted = described(SSEDescription={"Status": "ENABLED", "SSEType": "KMS", "KMSMasterKeyArn": KEY})
    with pytest.raises(UsageError, match="--map-kms"):
        request(encrypted)
    made = request(encrypted, kms_keys=keys)["SSESpecification"]
    assert (made["Enabled"], made["SSEType"], made.get("KMSMasterKeyId")) == (True, "KMS", expected)


def test_what_is_set_after_the_load_is_not_in_the_request() -> None:
    """Streams, deletion protection and tags wait; table class and warm throughput do not."""
    made = request(
        described(
            StreamSpecification={"StreamEnabled": True, "StreamViewType": "NEW_IMAGE"},
            DeletionProtectionEnabled=True,
            TableClassSummary={"TableClass": "STANDARD_INFREQUENT_ACCESS"},
        ),
        warm_write_units=12_000,
    )
    assert not {"StreamSpecification", "DeletionProtectionEnabled", "Tags"} & made.keys()
    assert made["TableClass"] == "STANDARD_INFREQUENT_ACCESS"
    assert made["WarmThroughput"] == {"WriteUnitsPerSecond": 12_000}


@pytest.mark.parametrize(("billing", "expected"), [({}, 9_994 + 9_993), (ON_DEMAND, 6_000 + 6_000)])
def test_what_warming_is_charged_for(billing: dict[str, Any], expected: int) -> None:
    """The units above what the table and each of its indexes have anyway: their own, or 4,000 on demand."""
    index = {
        "IndexName": "by-pk",
        "KeySchema": [{"AttributeName": "pk", "KeyType": "HASH"}],
        "Projection": {"ProjectionType": "ALL"},
        "ProvisionedThroughput": {"ReadCapacityUnits": 7, "WriteCapacityUnits": 7},
    }
    table = described(GlobalSecondaryIndexes=[index], **billing)
    assert warmed_units(request(table, warm_write_units=10_000)) == expected
    assert warmed_units(request(table)) == 0


def test_what_a_new_table_takes_at_once() -> None:
    """What is provisioned; on demand 4,000 write units a second, or what it is warmed to."""
    assert write_rate(request(described())) == 6
    assert write_rate(request(described(**ON_DEMAND))) == 4_000
    assert write_rate(request(described(**ON_DEMAND), warm_write_units=9_000)) == 9_000


@st.composite
def descriptions(draw: st.DrawFn) -> dict[str, Any]:
    """Tables with every mixture of keys, indexes, billing and unused attributes."""
    kinds = {name: draw(st.sampled_from("SNB")) for name in NAMES}

    def key(most_hash: int, most_range: int, first: str | None = None) -> list[dict[str, str]]:
        names = draw(st.permutations([name for name in NAMES if name != first]))
        hashes = draw(st.integers(1, most_hash))
        ranges = draw(st.integers(0, most_range))
        chosen = [first, *names][: hashes + ranges] if first else names[: hashes + ranges]
        return [
            {"AttributeName": name, "KeyType": "HASH" if number < hashes else "RANGE"}
            for number, name in enumerate(chosen)
        ]

    def index(name: str, schema: list[dict[str, str]]) -> dict[str, Any]:
        chosen = draw(st.sampled_from(["ALL", "KEYS_ONLY", "INCLUDE"]))
        attributes = {"NonKeyAttributes": ["y", "x"]} if chosen == "INCLUDE" else {}
        units = {"ReadCapacityUnits": 1, "WriteCapacityUnits": 2}
        return {
            "IndexName": name,
            "IndexArn": f"arn:{name}",
            "ItemCount": 3,
            "KeySchema": schema,
            "Projection": {"ProjectionType": chosen, **attributes},
            "ProvisionedThroughput": units,
        }

    table_key = key(1, 1)
    first = table_key[0]["AttributeName"]
    return described(
        **draw(st.sampled_from([{}, ON_DEMAND])),
        KeySchema=table_key,
        AttributeDefinitions=[{"AttributeName": n, "AttributeType": t} for n, t in kinds.items()],
        LocalSecondaryIndexes=[index(f"local-{n}", key(1, 1, first)) for n in range(draw(st.integers(0, 2)))],
        GlobalSecondaryIndexes=[index(f"global-{n}", key(4, 4)) for n in range(draw(st.integers(0, 3)))],
    )


@given(descriptions())
def test_the_request_is_valid_and_says_the_same(description: dict[str, Any]) -> None:
    """Botocore takes it, every definition is used, and read back it is the form it was made from."""
    made = request(description)
    schemas = [made["KeySchema"], *(index["KeySchema"] for index in _indexes(made))]
    used = {element["AttributeName"] for schema in schemas for element in schema}
    assert used == {entry["AttributeName"] for entry in made["AttributeDefinitions"]}
    again = made | {"BillingModeSummary": {"BillingMode": made["BillingMode"]}}
    assert spec_of(description, {}).values == spec_of(again, {}).values


def _indexes(made: dict[str, Any]) -> list[dict[str, Any]]:
    return [*made.get("LocalSecondaryIndexes", ()), *made.get("GlobalSecondaryIndexes", ())]


@pytest.mark.parametrize("billing_mode", ["PROVISIONED", "PAY_PER_REQUEST"])
def test_real_servers_make_the_described_table(
    engine: Endpoint, accounts: Accounts, unique_name: Callable[[], str], billing_mode: str
) -> None:
    """Table, local and global indexes come out as they were."""
    source, destination = unique_name(), unique_name()
    units = {"ReadCapacityUnits": 4, "WriteCapacityUnits": 5}
    capacity = {"ProvisionedThroughput": units} if billing_mode == "PROVISIONED" else {}
    projection = {"ProjectionType": "INCLUDE", "NonKeyAttributes": ["y", "x"]}
    keys = [{"AttributeName": "pk", "KeyType": "HASH"}, {"AttributeName": "sk", "KeyType": "RANGE"}]
    other = [{"AttributeName": "pk", "KeyType": "HASH"}, {"AttributeName": "at", "KeyType": "RANGE"}]
    accounts.dynamodb(engine, SOURCE).create_table(
        TableName=source,
        KeySchema=keys,
        AttributeDefinitions=[
            {"AttributeName": name, "AttributeType": kind}
            for name, kind in (("pk", "S"), ("sk", "N"), ("at", "B"))
        ],
        LocalSecondaryIndexes=[{"IndexName": "local", "KeySchema": other, "Projection": projection}],
        GlobalSecondaryIndexes=[
            {"IndexName": "global", "KeySchema": [dict(other[1], KeyType="HASH")], "Projection": projection}
            | capacity
        ],
        BillingMode=billing_mode,
        **capacity,
    )
    form = _form(accounts.dynamodb(engine, SOURCE), source)
    made = create_request(destination, form.values, with_indexes=True)
    accounts.dynamodb(engine, DESTINATION).create_table(**made)
    assert form.values == _form(accounts.dynamodb(engine, DESTINATION), destination).values
    assert {"key", "billing_mode", "local_index", "global_index"} <= {kind_of(name) for name in form.values}


def _form(client: Any, name: str) -> TableSpec:
    client.get_waiter("table_exists").wait(TableName=name, WaiterConfig={"Delay": 1, "MaxAttempts": 20})
    return spec_of(client.describe_table(TableName=name)["Table"], {"tags": Setting([])})
