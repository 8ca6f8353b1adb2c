"""Two definitions are compared setting by setting; policies are put into the destination's terms."""

from typing import Any

import pytest

from ddb_import.definition.desired import AWS_KEY, TableIdentity, changed_texts, desired_at, rewrite
from ddb_import.definition.drift import drift, is_compatible, missing
from ddb_import.definition.table_spec import TableSpec, spec_of
from ddb_shared.table.settings import Setting

KEY = [["pk", "S", "HASH"]]
SOURCE = TableIdentity("arn:aws:dynamodb:eu-west-1:111111111111:table/Orders", "111111111111")
DESTINATION = TableIdentity(
    "arn:aws:dynamodb:us-east-1:222222222222:table/Copy",
    "222222222222",
    "arn:aws:dynamodb:us-east-1:222222222222:table/Copy/stream/2026-02-02T02:02:02.222",
)


def test_every_kind_of_difference_is_told() -> None:
    """What will be set, what is left, what can't be copied, what is unknown on either side."""
    desired = TableSpec(
        {
            "key": KEY,
            "time_to_live": "exp",
            "capacity": {"ReadCapacityUnits": 5},
            "tag:a": "1",
            "replica:eu-west-2": "",
        }
        | {"table_class": "X", "kinesis_destination:arn": "MILLISECOND"},
        {"resource_policy": "denied"},
    )
    actual = TableSpec(
        {"key": KEY, "capacity": {"ReadCapacityUnits": 9}, "deletion_protection": True, "table_class": "X"},
        {"tag": "denied too"},
    )
    told = {d.setting: (d.note, str(d)) for d in drift(desired, actual, applied=frozenset({"time_to_live"}))}
    assert told["time_to_live"][0] == "set after the load"
    assert told["time_to_live"][1] == 'time_to_live: source "exp", destination not set; set after the load'
    assert told["capacity"][0] == "not changed"
    assert told["deletion_protection"][0] == "not changed: set in the destination only"
    assert "belongs to the source account" in told["kinesis_destination:arn"][0]
    assert "not copied" in told["replica:eu-west-2"][0]
    assert (
        told["resource_policy"][1] == "resource_policy: not copied: could not be read at export time: denied"
    )
    assert told["tag"][1] == "tag: could not be read in the destination: denied too"
    assert {"key", "table_class", "tag:a"}.isdisjoint(told)


def test_only_what_is_lacking_is_set() -> None:
    """A setting that the destination has otherwise is its own, and one that can't be read is left alone."""
    desired = TableSpec({"tag:a": "1", "tag:b": "2", "stream": "NEW_IMAGE"}, {})
    assert missing(desired, TableSpec({"tag:a": "other"}), "tag") == {"tag:b": "2"}
    assert missing(desired, TableSpec({}, {"tag": "denied"}), "tag") == {}
    assert missing(desired, TableSpec({"stream": "KEYS_ONLY"}), "stream") == {}


@pytest.mark.parametrize(
    ("key", "fits"),
    [
        (KEY, True),
        ([["pk", "N", "HASH"]], False),
        ([["id", "S", "HASH"]], False),
        ([*KEY, ["sk", "S", "RANGE"]], False),
    ],
)
def test_items_fit_only_the_same_key(key: Any, fits: bool) -> None:
    """Names, types and roles decide."""
    assert is_compatible(TableSpec({"key": KEY}), TableSpec({"key": key})) is fits


@pytest.mark.parametrize("desired", ["abc", AWS_KEY, "alias/x", "arn:aws:kms:r:2:key/abc"])
def test_a_key_is_known_again_by_its_arn(desired: str) -> None:
    """DescribeTable shows ARNs, whatever name the key was asked for by."""
    assert [] == drift(
        TableSpec({"encryption": desired}), TableSpec({"encryption": "arn:aws:kms:r:2:key/abc"})
    )
    assert drift(TableSpec({"encryption": desired}), TableSpec({})) != []


def test_policies_are_rewritten() -> None:
    """The table's ARN with its indexes, the account's number, and nothing that only looks alike."""
    policy = {
        "Statement": [
            {
                "Principal": {"AWS": ["arn:aws:iam::111111111111:role/app", "111111111111", "333333333333"]},
                "Resource": [SOURCE.arn, SOURCE.arn + "/index/*", SOURCE.arn + "2"],
                "Condition": {"NumericEquals": {"x": 1111111111112}},
            }
        ]
    }
    statement = rewrite(policy, SOURCE, DESTINATION)["Statement"][0]
    assert statement["Principal"]["AWS"] == [
        "arn:aws:iam::222222222222:role/app",
        "222222222222",
        "333333333333",
    ]
    assert statement["Resource"] == [
        DESTINATION.arn,
        DESTINATION.arn + "/index/*",
        "arn:aws:dynamodb:eu-west-1:222222222222:table/Orders2",
    ]
    assert statement["Condition"] == {"NumericEquals": {"x": 1111111111112}}
    assert (SOURCE.arn, DESTINATION.arn) in set(changed_texts(policy, SOURCE, DESTINATION))


def test_a_stream_s_policy_names_the_new_stream() -> None:
    """A stream is named by its time of birth."""
    policy = {"Resource": SOURCE.arn + "/stream/2026-01-01T01:01:01.111"}
    placed = desired_at(TableSpec({"stream_policy": policy}), SOURCE, DESTINATION)
    assert placed.values["stream_policy"] == {"Resource": DESTINATION.stream_arn}


def test_settings_that_are_off_have_no_entry() -> None:
    """Off, absent and AWS's own tags are the same: nothing to copy."""
    description = {
        "TableName": "T",
        "KeySchema": [{"AttributeName": "pk", "KeyType": "HASH"}],
        "AttributeDefinitions": [{"AttributeName": "pk", "AttributeType": "S"}],
        "BillingModeSummary": {"BillingMode": "PAY_PER_REQUEST"},
        "StreamSpecification": {"StreamEnabled": False},
        "TableClassSummary": {"TableClass": "STANDARD"},
        "SSEDescription": {"Status": "DISABLED"},
    }
    settings = {
        "time_to_live": Setting({"TimeToLiveStatus": "DISABLED"}),
        "point_in_time_recovery": Setting({"PointInTimeRecoveryStatus": "DISABLED"}),
        "tags": Setting([{"Key": "aws:cloudformation:stack-name", "Value": "x"}]),
        "kinesis_destinations": Setting([{"StreamArn": "arn", "DestinationStatus": "DISABLED"}]),
        "contributor_insights": Setting([{"ContributorInsightsStatus": "DISABLED"}]),
        "resource_policy": Setting(),
        "scalable_targets": Setting(unknown="denied"),
    }
    form = spec_of(description, settings)
    assert form.values == {"key": KEY, "billing_mode": "PAY_PER_REQUEST"}
    assert form.unknown["scalable_target"] == "denied"
    assert "not recorded" in form.unknown["stream_policy"]
