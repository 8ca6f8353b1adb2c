"""How far the changes of an export are applied: `apply.json` in the state of the import."""

from __future__ import annotations

from typing import Final

import msgspec

from ddb_import.state import REJECTS, list_rejects, read_rejects, read_superseded
from ddb_shared.format.checkpoint import decode
from ddb_shared.format.lines import RejectLine
from ddb_shared.format.manifest import FORMAT
from ddb_shared.storage.base import Storage

APPLY: Final = "apply.json"
# The rejected changes of all records: few, and fewer as later changes supersede them.
CHANGE_REJECTS: Final = f"{REJECTS}changes.jsonl"


class ApplyState(msgspec.Struct, frozen=True, kw_only=True):
    """Everything up to the record `applied` of the log is written, rejected, or superseded by a later change of the same key.

    `changes_applied` of its changes took effect, of which `superseded` were not written themselves, and `expired` are deletions by
    time to live; `rejected` stand. `last_at` is when the newest change was made, in epoch microseconds. `run` is that of the plan: a
    state of before a --restart does not count. `completed_at` is set once the log is closed and applied to its end.
    """

    format: str = FORMAT
    run: int = 1
    applied: int = 0
    changes_applied: int = 0
    superseded: int = 0
    expired: int = 0
    rejected: int = 0
    last_at: int = 0
    updated_at: str = ""
    completed_at: str = ""


def read_apply(storage: Storage, run: int) -> ApplyState:
    """The state of this run of the plan; that of a beginning where there is none."""
    stored = storage.read(APPLY)
    state = decode(storage, APPLY, stored.data, ApplyState) if stored else None
    return state if state is not None and state.run == run else ApplyState(run=run)


def write_apply(storage: Storage, state: ApplyState, now: str) -> None:
    """Replaces the state."""
    storage.write(APPLY, msgspec.json.encode(msgspec.structs.replace(state, updated_at=now)))


def read_change_rejects(storage: Storage) -> list[RejectLine]:
    """The rejected changes that no later one has superseded."""
    if CHANGE_REJECTS not in list_rejects(storage):
        return []
    superseded = read_superseded(storage)
    lines = read_rejects(storage, CHANGE_REJECTS)
    return [line for line in lines if line.line not in superseded.get(line.shard, ())]
