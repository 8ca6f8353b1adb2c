"""`ddb-export --finish`: closes the capture of a table whose writers have stopped; and `--cancel`, which gives it up.

It may be run on any machine of the source side. Where the export's own run follows still, that one drains the stream and closes
the log; where none does, this command takes the lease and does so itself. It refuses while changes arrive, with the stream
untouched.
"""

from __future__ import annotations

import time
from typing import Final, Self

import msgspec

from ddb_export.capture.blocking import POLICY, block, is_blocked, refuse_global, unblock
from ddb_export.capture.result import CancelResult, FinishResult, UnblockResult, denied
from ddb_export.capture.silence import POLL_SECONDS, Silence, read_end
from ddb_export.capture.standby import Standby
from ddb_export.capture.stream import address_of, disable, ours_of, refuse_another, stream_of
from ddb_export.report import write_report
from ddb_shared.aws.clients import Aws
from ddb_shared.command.identity import local_user
from ddb_shared.command.invocation import Invocation
from ddb_shared.command.preflight import bucket_checks, require
from ddb_shared.errors import ExportError, StateError, TransferError
from ddb_shared.format import changes as log
from ddb_shared.format import manifest as manifests
from ddb_shared.format.changes import BLOCKED, DISABLED, QUIET, Closed, FinishRequest, LogRecord, StreamRecord
from ddb_shared.runtime.events import announce
from ddb_shared.runtime.stop import Stop
from ddb_shared.storage.base import ConflictError
from ddb_shared.storage.s3 import S3Storage
from ddb_shared.table.description import Table, describe, find
from ddb_shared.times import now_text

TELL_SECONDS: Final = 10.0


def finish(aws: Aws, url: str, stop: Stop, *, block_writes: bool, caller: Invocation) -> FinishResult:
    """Closes the capture; raises StateError, with the stream untouched, while changes arrive."""
    with Gate(aws, url, stop, caller) as gate:
        gate.check(block_writes=block_writes)
        gate.wait_for_silence(block_writes=block_writes)
        return gate.close()


def cancel(aws: Aws, url: str, stop: Stop) -> CancelResult:
    """Gives the follow up, and disables the stream if it is ours. A run that follows ends within seconds."""
    started_at = time.monotonic()
    storage, record = _following(aws, url)
    close_cancelled(storage)
    address = address_of(aws.dynamodb, record)
    stream = ours_of(record, find(aws.dynamodb, address))
    if stream is not None:
        disable(aws, address, stream, stop)
    return CancelResult(
        export=storage.url,
        stream_disabled=stream is not None,
        writes_blocked=_writes_are_blocked(storage, aws, record),
        seconds=round(time.monotonic() - started_at, 3),
    )


def close_cancelled(storage: S3Storage) -> None:
    """Writes the end of a log that was given up; raises StateError where it has another end."""
    last = log.latest(storage)
    closed = Closed(
        closed_at=now_text(),
        last_number=last.number if last else 0,
        changes=last.total_changes if last else 0,
        expired=last.total_expired if last else 0,
        cancelled=True,
    )
    try:
        log.write_new(storage, log.CLOSED, closed)
    except ConflictError as error:
        found = log.read_closed(storage)
        if found is None or not found.cancelled:
            raise StateError(
                f"The log {storage.url}{log.CHANGES} is closed and complete: there is nothing to cancel.",
                f"Import it with: ddb-import {storage.url} TABLE --follow",
            ) from error


def unblock_writes(aws: Aws, url: str) -> UnblockResult:
    """Restores the table's resource policy. A request to finish that names the block as proof names it no more."""
    storage, record = _following(aws, url)
    table = describe(aws.dynamodb, address_of(aws.dynamodb, record))
    _withdraw_block(storage, record)
    done = unblock(storage, aws, table)
    return UnblockResult(status="unblocked" if done else "not blocked", export=storage.url, table=table.name)


def _withdraw_block(storage: S3Storage, record: StreamRecord) -> None:
    stored = storage.read(log.FINISH)
    if stored is None:
        return
    request = log.decode(storage, log.FINISH, stored.data, FinishRequest)
    if request.blocked_at:
        request = msgspec.structs.replace(request, proof=_proof(record, ""), blocked_at="")
        storage.write(log.FINISH, msgspec.json.encode(request), replaces=stored.etag)


def _proof(record: StreamRecord, blocked_at: str) -> str:
    """What the end of a capture proves."""
    return (BLOCKED if blocked_at else DISABLED) if record.ours else QUIET


def _writes_are_blocked(storage: S3Storage, aws: Aws, record: StreamRecord) -> bool:
    """Whether writes are denied, as far as is known: what cannot be read is no reason to fail, and --unblock does no harm."""
    try:
        if storage.read(POLICY) is None:
            return False
        table = find(aws.dynamodb, address_of(aws.dynamodb, record))
        return table is not None and is_blocked(storage, aws, table)
    except TransferError:
        return True


def _following(aws: Aws, url: str) -> tuple[S3Storage, StreamRecord]:
    storage = manifests.export_storage(aws.s3, url)
    manifests.export_id_of(storage)
    require(bucket_checks(aws, storage))
    record = log.read_stream(storage)
    if record is None:
        raise ExportError(
            f"The export {storage.url} does not follow its table: it was begun without --follow.",
            "There is nothing to finish; it is complete once it has its manifest.",
        )
    return storage, record


class Gate:
    """The steps from the writers' end to the closed log: `check`, `wait_for_silence`, `close`.

    Several tables go through each step together. As a context manager, it ends the capture of its own, if it needed one.
    """

    def __init__(self, aws: Aws, url: str, stop: Stop, caller: Invocation) -> None:
        self._started_at = time.monotonic()
        self._aws = aws
        self._storage, self._record = _following(aws, url)
        self._stop = stop
        self._caller = caller
        self._address = address_of(aws.dynamodb, self._record)
        self._standby = Standby(self._storage, self._record, self._address, aws, stop)
        self._silence = Silence(self._storage, self._standby)
        self._table: Table | None = None
        self._blocked_at = ""
        self._found: LogRecord | Closed | None = None
        self._is_disabled = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._standby.close()

    def check(self, *, block_writes: bool) -> None:
        """Raises what forbids to close the log, or to block writes first; changes nothing."""
        closed = log.read_closed(self._storage)
        if closed is not None and closed.cancelled:
            raise StateError(
                f"The follow of {self._storage.url} was cancelled at {closed.closed_at}.",
                "Start a new export.",
            )
        self._found = closed
        if closed is None:
            self._require_base()
            self._table = describe(self._aws.dynamodb, self._address)
            refuse_another(self._record, self._table)
            self._refuse_disabled(self._table)
            if block_writes:  # before other tables of a move are blocked for nothing
                refuse_global(self._table)

    def wait_for_silence(self, *, block_writes: bool) -> None:
        """Returns once nothing arrives; raises StateError, with the stream untouched, while changes do."""
        if isinstance(self._found, Closed):
            if block_writes:
                announce(
                    f"The log was closed at {self._found.closed_at} already: --block-writes has no effect."
                )
            return
        self._blocked_at = self._block(self._checked_table) if block_writes else ""
        self._stop.explain(self._remedy("Nothing is finished yet; the stream is untouched."), saved=True)
        # our stream is disabled already: silence was proved then, and what still arrives was written before
        self._found = (log.latest(self._storage) if self._is_disabled else None) or self._wait_for_silence()

    def is_silent(self) -> bool:
        """Whether nothing has arrived since `wait_for_silence` returned."""
        if isinstance(self._found, Closed) or self._found is None or self._is_disabled:
            return True
        last = log.latest(self._storage)
        return last is None or last.total_changes == self._found.total_changes

    def close(self) -> FinishResult:
        """Requests the end, and waits for it."""
        closed = self._found if isinstance(self._found, Closed) else self._close()
        if self._standby.has_taken_over:  # no run follows that would write it
            write_report(self._aws, self._storage)
        return FinishResult(
            export=self._storage.url,
            changes=closed.changes,
            expired=closed.expired,
            proof=closed.proof,
            explains=closed.explains,
            closed_at=closed.closed_at,
            writes_blocked=_writes_are_blocked(self._storage, self._aws, self._record),
            seconds=round(time.monotonic() - self._started_at, 3),
        )

    @property
    def _checked_table(self) -> Table:
        if self._table is None:
            raise RuntimeError("check comes first")
        return self._table

    def _close(self) -> Closed:
        while True:
            if isinstance(self._found, Closed) or self._found is None:
                raise RuntimeError("wait_for_silence comes first")
            self._request(self._checked_table, self._found)
            self._stop.explain(
                self._remedy(
                    "The stream's changes are kept for 24 hours: run the same command again within that time."
                ),
                saved=True,
            )
            if self._record.ours:
                disable(self._aws, self._address, self._record, self._stop)
                announce("The stream is disabled. Reading its shards to the end.")
            closed = self._wait_for_end(self._found)
            if closed is not None:
                return closed
            announce("Changes have arrived since.")
            found = self._wait_for_silence()
            if isinstance(found, Closed):
                return found
            self._found = found

    def _remedy(self, text: str) -> str:
        return f"{text}\n{self._still_blocked()}".strip()

    def _still_blocked(self) -> str:
        return denied(self._storage.url, self._caller, "the table") if self._blocked_at else ""

    def _refuse_disabled(self, table: Table) -> None:
        """Raises StateError where our stream ended before anyone asked for the end: later writes are in no stream."""
        asked = log.read_finish(self._storage) is not None
        self._is_disabled = self._record.ours and not stream_of(table).is_enabled
        if self._is_disabled and not asked:
            raise StateError(
                f"The stream {self._record.stream_arn} was disabled, and not by --finish. What was written to the table since is "
                "not captured.",
                "End this export with --cancel, and start a new one with --follow.",
            )

    def _require_base(self) -> None:
        if manifests.read_header(self._storage) is None:
            raise ExportError(
                f"The base of the export {self._storage.url} is unfinished: it has no manifest.json yet.",
                f"Wait for it, or finish it with: ddb-export --resume {self._storage.url}",
            )

    def _block(self, table: Table) -> str:
        blocked_at = block(self._storage, self._aws, table)
        announce(f"Writes to table {table.name} are denied by its resource policy since {blocked_at}.")
        return blocked_at

    def _wait_for_silence(self) -> LogRecord | Closed:
        try:
            return self._silence.wait()
        except StateError as error:
            error.add_remedy(self._still_blocked())
            raise

    def _request(self, table: Table, silent: LogRecord) -> None:
        """Stores the request. One by which the stream was disabled stands: a block of later than that proves nothing."""
        stored = self._storage.read(log.FINISH)
        if stored is not None and self._is_disabled:
            return
        if self._blocked_at and not is_blocked(self._storage, self._aws, table):
            raise StateError(
                f"The resource policy of table {table.name} no longer denies writes. The stream is untouched.",
                "Run the same command again.",
            )
        request = FinishRequest(
            requested_at=now_text(),
            by=local_user(),
            proof=_proof(self._record, self._blocked_at),
            blocked_at=self._blocked_at,
            changes=silent.total_changes,
        )
        if stored is None:
            log.write_new(self._storage, log.FINISH, request)
        else:
            self._storage.write(log.FINISH, msgspec.json.encode(request), replaces=stored.etag)

    def _wait_for_end(self, silent: LogRecord) -> Closed | None:
        """Returns the end of the log; None where a stream that stays enabled has had changes since it was silent."""
        tell_at = time.monotonic() + TELL_SECONDS
        last = silent
        while True:
            closed = read_end(self._storage)
            if closed is not None:
                return closed
            self._standby.ensure_capture()
            if time.monotonic() >= tell_at:
                tell_at = time.monotonic() + TELL_SECONDS
                announce(f"Reading the shards to the end: {last.total_changes:,} changes captured.")
            following = log.read_record(self._storage, last.number + 1)
            if following is None:
                time.sleep(POLL_SECONDS)
                continue
            last = following
            self._silence.note(last)
            if last.changes and not self._record.ours:
                return None
