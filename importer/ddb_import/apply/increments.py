"""Writes the lines of AWS's incremental exports: puts of new images, deletes of items that are gone."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

import msgspec

from ddb_import.apply.keys import KeyReader
from ddb_import.apply.standing_rejects import StandingRejects
from ddb_import.batch_write import Outcome, Reject, WriteRequests
from ddb_shared.aws.clients import Aws
from ddb_shared.dynamodb.client import Client
from ddb_shared.dynamodb.messages import content_of_request, delete_request, put_request
from ddb_shared.format.increment import ChangeLine, decode_lines
from ddb_shared.storage.location import open_storage
from ddb_shared.table.description import KeyAttribute

# Our code for a line that is never sent.
NOT_A_CHANGE: Final = "NotAChange"


@dataclass(frozen=True, kw_only=True)
class IncrementWriters:
    """What a worker needs to write an increment of this `view`.

    `earlier` are the states of the exports that were loaded before, whose rejects its changes supersede.
    """

    view: str
    key: tuple[KeyAttribute, ...]
    earlier: tuple[str, ...] = ()

    def open(self, client: Client, table: str, aws: Aws) -> IncrementWriter:
        """The writer of one worker."""
        key_of = KeyReader(self.key)
        standing = StandingRejects(key_of, (open_storage(aws.s3, url) for url in self.earlier))
        requests = WriteRequests(client, table, [attribute.name for attribute in self.key])
        return IncrementWriter(requests, self.view, key_of, standing)


class IncrementWriter:
    """Writes lines as changes. An increment has one line for each item, so their order within it does not matter."""

    def __init__(
        self, requests: WriteRequests, view: str, key_of: KeyReader, standing: StandingRejects
    ) -> None:
        self._requests = requests
        self._view = view
        self._key_of = key_of
        self._standing = standing

    async def write(self, lines: Sequence[bytes]) -> Outcome:
        """See batch_write.Writer."""
        outcome = Outcome()
        places, requests = [], []
        for at, change in enumerate(decode_lines(lines)):
            request = self._request_of(change)
            if request is None:
                outcome.rejects.append(self._refused(at, lines[at]))
            else:
                places.append(at)
                requests.append(request)
        if requests:
            written = await self._requests.write(requests)
            written.rejects = [
                Reject(places[reject.index], reject.line, reject.code, reject.message)
                for reject in written.rejects
            ]
            outcome.add(written)
            if self._standing:
                for request in requests:
                    with suppress(msgspec.DecodeError):  # it has no key, and is rejected
                        self._standing.supersede(self._key_of(content_of_request(request)))
        return outcome

    def save(self) -> None:
        """See batch_write.Writer."""
        self._standing.save()

    def _request_of(self, change: ChangeLine | None) -> bytes | None:
        if change is None:
            return None
        if change.is_put:
            return put_request(change.new_image)
        return delete_request(change.keys) if change.is_delete(self._view) else None

    def _refused(self, at: int, line: bytes) -> Reject:
        message = f"the line is not a change of an incremental export with the view {self._view}"
        return Reject(at, line, NOT_A_CHANGE, message)
