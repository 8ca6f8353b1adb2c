"""The table's resource policy: our statement is added and taken away, and nothing of anyone else's is lost."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from ddb_export.capture import blocking
from ddb_export.capture.blocking import POLICY, WRITES, block, is_blocked, statement_id, unblock
from ddb_shared.aws.clients import Aws, AwsOptions
from ddb_shared.errors import StateError, TableError
from ddb_shared.table.description import Table, describe
from support.accounts import Accounts
from support.environment import REGION, SECRET, SOURCE
from support.memory import MemoryFolder
from support.services import Endpoint
from support.tables import SIMPLE_KEY, create_table


class Lab:
    """A table at MiniStack, which keeps policies and their revisions."""

    def __init__(self, aws: Endpoint, client: Any, name: str) -> None:
        self.client = client
        self.aws = Aws(AwsOptions(region=REGION, endpoint_url=aws.url))
        self.storage = MemoryFolder()
        create_table(client, name, SIMPLE_KEY)
        self.table: Table = describe(client, name)

    @property
    def sid(self) -> str:
        return statement_id(self.storage)

    def block(self) -> str:
        return block(self.storage, self.aws, self.table)

    def unblock(self) -> bool:
        return unblock(self.storage, self.aws, self.table)

    def put(self, *statements: dict[str, Any]) -> str:
        text = json.dumps({"Version": "2012-10-17", "Id": "mine", "Statement": list(statements)}, indent=2)
        self.client.put_resource_policy(ResourceArn=self.table.arn, Policy=text)
        return text

    def policy(self) -> str:
        """The table's policy; "" where it has none."""
        try:
            return str(self.client.get_resource_policy(ResourceArn=self.table.arn)["Policy"])
        except self.client.exceptions.PolicyNotFoundException:
            return ""

    def statement(self, sid: str, effect: str = "Allow") -> dict[str, Any]:
        return {
            "Sid": sid, "Effect": effect, "Principal": {"AWS": SOURCE}, "Action": "dynamodb:GetItem", "Resource": self.table.arn,
        }  # fmt: skip


@pytest.fixture
def lab(
    aws: Endpoint, accounts: Accounts, unique_name: Callable[[], str], monkeypatch: pytest.MonkeyPatch
) -> Lab:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", SOURCE)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    return Lab(aws, accounts.dynamodb(aws, SOURCE), unique_name())


def sids(text: str) -> list[str]:
    return [statement["Sid"] for statement in json.loads(text)["Statement"]]


def test_a_table_without_a_policy_has_none_again(lab: Lab) -> None:
    """In between it denies every way to write, to everyone."""
    blocked_at = lab.block()
    (deny,) = json.loads(lab.policy())["Statement"]
    assert ("Deny", "*", list(WRITES), lab.table.arn) == (
        deny["Effect"],
        deny["Principal"],
        deny["Action"],
        deny["Resource"],
    )
    assert blocked_at == lab.block(), "a second time it does nothing"
    assert (True, "", False) == (lab.unblock(), lab.policy(), lab.unblock())


def test_a_policy_comes_back_as_it_was(lab: Lab) -> None:
    """Byte for byte, with what we do not know of it."""
    before = lab.put(lab.statement("Read"))
    lab.block()
    assert (["Read", lab.sid], "mine") == (sids(lab.policy()), json.loads(lab.policy())["Id"])
    lab.unblock()
    assert before == lab.policy()


@pytest.mark.parametrize("first", [0, 1])
def test_two_exports_block_one_table(lab: Lab, first: int) -> None:
    """Each has a statement of its own: the table can be written to once both are gone, in either order."""
    before = lab.put(lab.statement("Read"))
    folders = [lab.storage, MemoryFolder("AWSDynamoDB/01715685260608-0badcafe")]
    for folder in folders:
        block(folder, lab.aws, lab.table)
    names = [statement_id(folder) for folder in folders]
    assert ["Read", *names] == sids(lab.policy())
    assert all(name.isalnum() for name in names)
    blocked = [is_blocked(folder, lab.aws, lab.table) for folder in folders]
    assert unblock(folders[first], lab.aws, lab.table)
    assert ["Read", names[1 - first]] == sids(lab.policy())
    assert (blocked, False) == ([True, True], is_blocked(folders[first], lab.aws, lab.table))
    assert unblock(folders[1 - first], lab.aws, lab.table)
    assert json.loads(before) == json.loads(lab.policy())


def test_what_others_changed_meanwhile_stays(lab: Lab) -> None:
    """Our statement alone is taken away; if nothing is left, the policy is."""
    lab.put(lab.statement("Read"))
    lab.block()
    ours = json.loads(lab.policy())["Statement"][1]
    lab.put(lab.statement("Other"), ours)
    lab.unblock()
    assert ["Other"] == sids(lab.policy())
    lab.put(ours)
    lab.unblock()
    assert "" == lab.policy()


def test_a_crash_before_the_policy_is_put_makes_no_difference(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The record of the intent is replaced by the next try; what it says of the policy before is what holds."""
    first = lab.put(lab.statement("Read"))

    def crash(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(blocking, "_put", crash)
        with pytest.raises(KeyboardInterrupt):
            lab.block()
    assert (first, True, False) == (lab.policy(), POLICY in lab.storage.files, lab.unblock())
    second = lab.put(lab.statement("Later"))
    lab.block()
    lab.unblock()
    assert second == lab.policy()


def test_a_crash_after_the_policy_is_put_can_be_undone(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its revision is not known then; the statement is found by its name."""
    lab.put(lab.statement("Read"))

    def crash(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(blocking, "_wait", crash)
    with pytest.raises(KeyboardInterrupt):
        lab.block()
    assert ["Read", lab.sid] == sids(lab.policy())
    assert lab.block()
    assert lab.unblock()
    assert ["Read"] == sids(lab.policy())


def test_a_change_at_the_same_moment_is_told(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """The policy is replaced only if it is still the one that was read."""
    read = blocking._read

    def racing(aws: Aws, table: Table) -> Any:
        found = read(aws, table)
        lab.put(lab.statement("Racing"))
        return found

    monkeypatch.setattr(blocking, "_read", racing)
    with pytest.raises(StateError, match="changed by someone else"):
        lab.block()
    assert ["Racing"] == sids(lab.policy())


def test_a_block_whose_record_is_gone_is_not_repeated(lab: Lab) -> None:
    """What the policy was before is not known; --unblock removes the statement alone."""
    lab.block()
    lab.storage = MemoryFolder()
    with pytest.raises(StateError, match="is gone"):
        lab.block()


def test_a_global_table_cannot_be_blocked_here(lab: Lab) -> None:
    """The other Regions' writes come all the same."""
    lab.table.definition["Replicas"] = [{"RegionName": "us-east-1"}]
    with pytest.raises(TableError, match="global table"):
        lab.block()
    assert "" == lab.policy()
