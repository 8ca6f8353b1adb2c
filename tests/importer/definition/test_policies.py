"""Who would gain access with a policy that came in an export."""

from typing import Any

import pytest

from ddb_import.definition.policies import EVERYONE, policy_note, principals_outside

OURS = {"111111111111", "222222222222"}


def policy(*principals: Any) -> dict[str, Any]:
    return {
        "Version": "2012-10-17",
        "Statement": [{"Effect": "Allow", "Principal": one} for one in principals],
    }


@pytest.mark.parametrize(
    "principal",
    [
        {"AWS": "111111111111"},
        {"AWS": "arn:aws:iam::222222222222:root"},
        {"AWS": ["arn:aws:iam::111111111111:role/path/app", "arn:aws:sts::222222222222:assumed-role/app/x"]},
        {"AWS": "arn:aws-cn:iam::111111111111:user/ann"},
        {},
    ],
)
def test_principals_of_both_accounts(principal: Any) -> None:
    """Roles, users, sessions and accounts as a whole."""
    assert [] == list(principals_outside(policy(principal), OURS))


@pytest.mark.parametrize(
    ("principal", "named"),
    [
        ("*", [EVERYONE]),
        ({"AWS": "*"}, [EVERYONE]),
        ({"AWS": ["111111111111", "333333333333"]}, ["333333333333"]),
        ({"AWS": "arn:aws:iam::333333333333:role/111111111111"}, ["arn:aws:iam::333333333333:role/111111111111"]),
        ({"AWS": "AIDAJQABLZS4A3QDU576Q"}, ["AIDAJQABLZS4A3QDU576Q"]),
        ({"AWS": "1111111111110"}, ["1111111111110"]),
        ({"Service": ["glue.amazonaws.com"]}, ["Service glue.amazonaws.com"]),
        ({"Federated": "arn:aws:iam::111111111111:saml-provider/x"}, ["Federated arn:aws:iam::111111111111:saml-provider/x"]),
        ({"CanonicalUser": "79a5"}, ["CanonicalUser 79a5"]),
        ({"AWS": [{"x": 1}]}, ['{"x": 1}']),
        (["111111111111"], ['["111111111111"]']),
        (7, ["7"]),
    ],
)  # fmt: skip
def test_principals_outside(principal: Any, named: list[str]) -> None:
    """Whatever is not known to be of one of the accounts; a form that nobody knows is shown as it is."""
    assert named == list(principals_outside(policy(principal), OURS))
    assert named == list(principals_outside({"Statement": {"Principal": principal}}, OURS))


def test_all_but_some_is_named() -> None:
    """NotPrincipal with Allow is everyone else."""
    statement = {"Effect": "Allow", "NotPrincipal": {"AWS": "111111111111"}}
    assert ["everyone but 111111111111"] == list(principals_outside({"Statement": [statement]}, OURS))
    assert ['(not a statement: "x")'] == list(principals_outside({"Statement": ["x"]}, OURS))
    assert [] == list(principals_outside(None, OURS))


def test_the_note_holds_the_whole_policy() -> None:
    """What it says, what changes in it, and what becomes of it; control characters of foreign origin are escaped."""
    long = policy({"AWS": "*"}) | {"Id": "x" * 20_000 + "\x1b[2J"}
    note = policy_note("resource_policy", long, accounts=OURS, changes={("a", "b")}, is_applied=False)
    assert "x" * 20_000 + "\\u001b[2J" in note
    assert "is not set; --with-resource-policy sets it" in note
    assert "  a -> b" in note
    assert note.endswith(f"outside of the accounts 111111111111 and 222222222222:\n  {EVERYONE}")
    applied = policy_note("resource_policy", policy(), accounts=OURS, changes=set(), is_applied=True)
    assert "is set after the load" in applied
    assert "Warning" not in applied
