"""Denies writes to a table by its own resource policy, and takes that back.

https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/rbac-auth-iam-id-based-policies-DynamoDB.html. An explicit deny
overrides whatever allows a writer. What the policy was before is stored in the export first; only our statement is ever removed
from a policy that someone has changed since.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

import msgspec
from botocore.exceptions import ClientError

from ddb_shared.aws.clients import Aws
from ddb_shared.errors import StateError, TableError, map_errors
from ddb_shared.format.changes import CHANGES
from ddb_shared.format.manifest import FORMAT, export_id_of
from ddb_shared.storage.bucket import code_of
from ddb_shared.storage.s3 import S3Storage
from ddb_shared.table.description import Table
from ddb_shared.times import now_text

POLICY: Final = CHANGES + "policy.json"
_SID: Final = "DdbTransferBlockWrites"
# TransactWriteItems is allowed and denied by the operations in it; ExecuteStatement by the three of PartiQL.
WRITES: Final = (
    "dynamodb:PutItem",
    "dynamodb:UpdateItem",
    "dynamodb:DeleteItem",
    "dynamodb:BatchWriteItem",
    "dynamodb:PartiQLInsert",
    "dynamodb:PartiQLUpdate",
    "dynamodb:PartiQLDelete",
)
# A policy can be read back within seconds. It takes some time more until it is applied to all requests, and nobody says how long:
# https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_GetResourcePolicy.html
_VISIBLE_SECONDS: Final = 60.0
_POLL_SECONDS: Final = 1.0
_NO_POLICY: Final = "NO_POLICY"


class BlockRecord(msgspec.Struct, frozen=True, kw_only=True):
    """The table's policy before writes were blocked: its text, "" if it had none. `revision` is that of the policy with the block.

    `revision` is "" where the block was intended, and may not have been put.
    """

    format: str = FORMAT
    table_arn: str
    policy: str
    revision: str = ""
    blocked_at: str


class _Policy(msgspec.Struct, frozen=True):
    """A policy as the service has it; `text` is "" where there is none."""

    text: str = ""
    revision: str = _NO_POLICY

    @property
    def statements(self) -> list[dict[str, Any]]:
        found = msgspec.json.decode(self.text).get("Statement", []) if self.text else []
        return [found] if isinstance(found, dict) else list(found)

    def has(self, sid: str) -> bool:
        return any(statement.get("Sid") == sid for statement in self.statements)


def statement_id(storage: S3Storage) -> str:
    """The Sid of an export's statement, letters and digits alone: several exports may block one table, each for itself."""
    return _SID + re.sub("[^0-9A-Za-z]", "", export_id_of(storage))


def refuse_global(table: Table) -> None:
    """Raises TableError for a table whose writes cannot be denied here alone."""
    if table.definition.get("Replicas"):
        raise TableError(
            f"Table {table.name} is a global table: a policy here does not stop writes that come from other Regions.",
            "Stop the writers in every Region, and run --finish without --block-writes.",
        )


def block(storage: S3Storage, aws: Aws, table: Table, *, sleep: Callable[[float], None] = time.sleep) -> str:
    """Denies writes to the table; returns since when, RFC 3339. Does nothing where that is done already."""
    refuse_global(table)
    sid, policy, found = statement_id(storage), _read(aws, table), _read_record(storage)
    if policy.has(sid) and found is not None:
        return found[0].blocked_at
    if policy.has(sid):
        raise StateError(
            f"The policy of table {table.name} has the statement {sid}, and {storage.url}{POLICY} is gone.",
            "Remove the statement with --unblock, then run the same command again.",
        )
    record = BlockRecord(table_arn=table.arn, policy=policy.text, blocked_at=now_text())
    etag = storage.write(
        POLICY, msgspec.json.encode(record), replaces=found[1] if found else None, new=found is None
    )
    revision = _put(aws, table, policy, [*policy.statements, _deny(table, sid)])
    _wait(aws, table, sid, sleep)
    record = msgspec.structs.replace(record, revision=revision, blocked_at=now_text())
    storage.write(POLICY, msgspec.json.encode(record), replaces=etag)
    return record.blocked_at


def unblock(storage: S3Storage, aws: Aws, table: Table) -> bool:
    """Restores the policy of before the block; False where this export does not block writes.

    Of a policy that was changed since, our statement alone is removed.
    """
    sid, policy, found = statement_id(storage), _read(aws, table), _read_record(storage)
    if not policy.has(sid):
        return False
    record = found[0] if found else None
    left = [statement for statement in policy.statements if statement.get("Sid") != sid]
    if record is not None and record.revision == policy.revision and record.policy:
        _put_text(aws, table, record.policy, policy.revision)
    elif left:
        _put(aws, table, policy, left)
    else:
        _delete(aws, table, policy.revision)
    return True


def is_blocked(storage: S3Storage, aws: Aws, table: Table) -> bool:
    """Whether the table's policy denies writes now, for this export."""
    return _read(aws, table).has(statement_id(storage))


def _deny(table: Table, sid: str) -> dict[str, Any]:
    return {"Sid": sid, "Effect": "Deny", "Principal": "*", "Action": list(WRITES), "Resource": table.arn}


def _read(aws: Aws, table: Table) -> _Policy:
    with map_errors(f"read the resource policy of table {table.name}"):
        try:
            answer = aws.dynamodb.get_resource_policy(ResourceArn=table.arn)
        except ClientError as error:
            if code_of(error) == "PolicyNotFoundException":
                return _Policy()
            raise
    return _Policy(answer["Policy"], answer["RevisionId"])


def _read_record(storage: S3Storage) -> tuple[BlockRecord, str] | None:
    stored = storage.read(POLICY)
    if stored is None:
        return None
    with map_errors(f"read {storage.url}{POLICY}"):
        return msgspec.json.decode(stored.data, type=BlockRecord), stored.etag


def _put(aws: Aws, table: Table, policy: _Policy, statements: list[dict[str, Any]]) -> str:
    document = msgspec.json.decode(policy.text) if policy.text else {"Version": "2012-10-17"}
    text = msgspec.json.encode(document | {"Statement": statements}).decode()
    return _put_text(aws, table, text, policy.revision)


def _put_text(aws: Aws, table: Table, text: str, revision: str) -> str:
    """Replaces the policy of this revision; returns that of the new one."""
    with map_errors(f"change the resource policy of table {table.name}"), _unchanged(table):
        answer = aws.dynamodb.put_resource_policy(
            ResourceArn=table.arn, Policy=text, ExpectedRevisionId=revision
        )
    return str(answer["RevisionId"])


def _delete(aws: Aws, table: Table, revision: str) -> None:
    with map_errors(f"delete the resource policy of table {table.name}"), _unchanged(table):
        aws.dynamodb.delete_resource_policy(ResourceArn=table.arn, ExpectedRevisionId=revision)


@contextmanager
def _unchanged(table: Table) -> Iterator[None]:
    """The service refuses with PolicyNotFoundException where the policy is of another revision than expected."""
    try:
        yield
    except ClientError as error:
        if code_of(error) == "PolicyNotFoundException":
            raise StateError(
                f"The resource policy of table {table.name} was just changed by someone else.",
                "Run the same command again.",
            ) from error
        raise


def _wait(aws: Aws, table: Table, sid: str, sleep: Callable[[float], None]) -> None:
    deadline = time.monotonic() + _VISIBLE_SECONDS
    while not _read(aws, table).has(sid):
        if time.monotonic() > deadline:
            raise StateError(
                f"The resource policy that denies writes to table {table.name} was put, but cannot be read back.",
                "Run the same command again.",
            )
        sleep(_POLL_SECONDS)
