"""The capture that `--finish` runs itself where no other run follows the table."""

from __future__ import annotations

from contextlib import ExitStack

from ddb_export.capture.capture import Capture
from ddb_shared.aws.clients import Aws
from ddb_shared.format import changes as log
from ddb_shared.format.changes import StreamRecord
from ddb_shared.runtime import lease as leases
from ddb_shared.runtime.events import announce, warn
from ddb_shared.runtime.lease import HeldLease, LeaseHeldError
from ddb_shared.runtime.stop import Stop
from ddb_shared.storage.location import open_storage
from ddb_shared.storage.s3 import S3Storage


class Standby:
    """Takes over the capture as soon as no run holds its lease, until `close`."""

    def __init__(self, storage: S3Storage, record: StreamRecord, address: str, aws: Aws, stop: Stop) -> None:
        self._storage = storage
        self._record = record
        self._address = address
        self._aws = aws
        self._stop = stop
        self._stack = ExitStack()
        self._capture: Capture | None = None
        self._lease: HeldLease | None = None

    def close(self) -> None:
        """Ends the capture and gives its lease back, if it was taken over."""
        self._stack.close()

    @property
    def has_taken_over(self) -> bool:
        """Whether the capture is our own."""
        return self._capture is not None

    def ensure_capture(self) -> None:
        """Ensures that a capture runs, another run's or our own, unless the log is closed; raises what ended our own."""
        self._stop.check()
        if self._lease is not None and self._capture is not None:
            self._capture.check()
            self._lease.check()  # a capture that was stopped for that ends without an error
            return
        found = leases.read(self._storage)
        if found is not None and found.is_held:
            return
        renewals = open_storage(self._aws.lease_s3, self._storage.url)
        activity = f"The export {self._storage.url} is already being written"
        try:
            self._lease = self._stack.enter_context(leases.hold(renewals, self._stop, activity=activity))
        except LeaseHeldError:
            return  # another run has taken it at this moment, and follows
        if log.read_closed(self._storage) is not None:
            return  # the run that held the lease until now has closed it; a capture would write after the end
        self._start(self._lease)

    def _start(self, lease: HeldLease) -> None:
        aws = self._aws.under(lease.guard)
        storage = S3Storage(aws.s3, self._storage.bucket, self._storage.prefix)
        announce("No run follows the table: reading its stream.")
        self._capture = Capture(storage, self._record, self._address, aws, self._stop, tell=warn)
        self._stack.callback(self._capture.end)
        self._capture.start()
