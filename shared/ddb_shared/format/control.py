"""How an operator changes the rate of a running command: two small files in its folder.

The command writes `running.json` when it begins; it names the run and the last control that was applied. Whoever controls the
run writes `control.json`, which names that run, so that a later run never obeys what was meant for an earlier one.
"""

from __future__ import annotations

from typing import Final, TypeVar

import msgspec

from ddb_shared.errors import StateError
from ddb_shared.format.manifest import FORMAT
from ddb_shared.records import prepare
from ddb_shared.storage.base import Storage

CONTROL: Final = "control.json"
RUNNING: Final = "running.json"


class Running(msgspec.Struct, frozen=True, kw_only=True):
    """The run that works here, or the last one that did: `command` resumes it, `control` is the last one that it applied.

    `ended_at` is empty while it runs, and of a run that was killed.
    """

    format: str = FORMAT
    nonce: str
    by: str
    pid: int
    since: str
    command: str
    control: str = ""
    ended_at: str = ""


class Control(msgspec.Struct, frozen=True, kw_only=True):
    """What the run with the nonce `run` is to do: `cap` as --max-rcu takes it, empty for that of its own command line."""

    format: str = FORMAT
    nonce: str
    run: str
    by: str
    at: str
    cap: str = ""
    paused: bool = False


Record = TypeVar("Record", Running, Control)


def read_running(storage: Storage) -> Running | None:
    """The run that works in this folder, or the last one; None where none has."""
    return _read(storage, RUNNING, Running)


def read_control(storage: Storage) -> Control | None:
    """The last control that was given."""
    return _read(storage, CONTROL, Control)


def _read(storage: Storage, name: str, kind: type[Record]) -> Record | None:
    stored = storage.read(name)
    if stored is None:
        return None
    try:
        record = msgspec.json.decode(stored.data, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise StateError(f"{storage.url}{name} is damaged: {error}", "Give the control again.") from error
    if record.format != FORMAT:
        raise StateError(
            f"{storage.url}{name} has the format {record.format!r}, not {FORMAT!r}.",
            "Control the run with the version of ddb-transfer that it runs with.",
        )
    return record


def write(storage: Storage, record: Running | Control) -> None:
    """Replaces the file of the record."""
    name = RUNNING if isinstance(record, Running) else CONTROL
    storage.write(name, msgspec.json.encode(record))


prepare(Running, Control)
