"""The report of a verification: one JSON line for each item that differs, stored with the import's state.

`verify/<time>.jsonl`, and `verify/<time>.0002.jsonl` and so on where one file would be too large for a worker's memory. What a
repair could not repair is in `verify/<time>.unrepaired.jsonl`, in as many files.
"""

from __future__ import annotations

import datetime as dt
import enum
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Final

import msgspec

from ddb_shared.errors import AccessError, BucketError, StateError
from ddb_shared.storage.base import Storage

VERIFY: Final = "verify/"
# The differences that are shown on the screen and in the page.
FIRST: Final = 10
_NOTHING: Final = msgspec.Raw(b"null")


class DifferenceKind(enum.StrEnum):
    """How an item of the table differs from the export."""

    MISSING = "missing"
    EXTRA = "extra"
    DIFFERENT = "different"
    # on one side only, and time to live deletes it on the other one
    EXPIRED = "expired"


class ItemDifference(msgspec.Struct, frozen=True, kw_only=True):
    """One item that differs: its key, the attributes that differ, and the item of each side.

    `expected` comes from the export or the source table. The key of a malformed line of the export is its text.
    """

    kind: DifferenceKind
    key: msgspec.Raw
    attributes: list[str] = []
    expected: msgspec.Raw = _NOTHING
    actual: msgspec.Raw = _NOTHING

    @property
    def expected_item(self) -> bytes | None:
        """The item that should be there; None where none should."""
        return _item(self.expected)

    @property
    def actual_item(self) -> bytes | None:
        """The item that is there; None where none is."""
        return _item(self.actual)

    @property
    def size(self) -> int:
        """In bytes, about."""
        return sum(memoryview(part).nbytes for part in (self.key, self.expected, self.actual))


def _item(raw: msgspec.Raw) -> bytes | None:
    return None if bytes(raw) == bytes(_NOTHING) else bytes(raw)


class Obstacle(enum.StrEnum):
    """Why a difference was not repaired."""

    CHANGED = "changed"
    REFUSED = "refused"


class Unrepaired(msgspec.Struct, frozen=True, kw_only=True):
    """One difference that was not repaired, and why; `actual` is what the table holds now."""

    reason: Obstacle
    message: str
    kind: DifferenceKind
    key: msgspec.Raw
    expected: msgspec.Raw
    actual: msgspec.Raw


class Report:
    """The report of one run; it has no file until there is a difference."""

    def __init__(self, storage: Storage, begun_at: dt.datetime) -> None:
        self._storage = storage
        self._name = f"{VERIFY}{begun_at:%Y%m%dT%H%M%S}{begun_at.microsecond // 1000:03d}Z"
        self._parts: list[str] = []
        self._unrepaired: list[str] = []
        self.counts: Counter[DifferenceKind] = Counter()
        self.first: list[ItemDifference] = []

    @property
    def page_name(self) -> str:
        """The name of the page beside it: `verify/<time>-report.html`."""
        return f"{self._name}-report.html"

    @property
    def url(self) -> str | None:
        """Where its first part is stored."""
        return self._storage.url + self._parts[0] if self._parts else None

    @property
    def unrepaired_url(self) -> str | None:
        """Where the first part of what was not repaired is stored."""
        return self._storage.url + self._unrepaired[0] if self._unrepaired else None

    def add(self, differences: list[ItemDifference]) -> None:
        """Writes one part."""
        self._write(differences, self._parts, "")
        self.counts.update(difference.kind for difference in differences)
        self.first += differences[: FIRST - len(self.first)]

    def add_unrepaired(self, unrepaired: list[Unrepaired]) -> None:
        """Writes what was not repaired of one part."""
        self._write(unrepaired, self._unrepaired, ".unrepaired")

    def _write(self, found: Sequence[msgspec.Struct], parts: list[str], suffix: str) -> None:
        if not found:
            return
        number = f".{len(parts) + 1:04d}" if parts else ""
        name = f"{self._name}{suffix}{number}.jsonl"
        lines = b"".join(msgspec.json.encode(line) + b"\n" for line in found)
        try:
            self._storage.write(name, lines, new=True)
        except (AccessError, BucketError) as error:
            error.reword(
                f"{len(found):,} differences were found, but the report could not be written: {error.message}",
                "Put the report elsewhere with --state, such as a local folder, and run the command again.",
            )
            raise
        parts.append(name)

    def parts(self) -> Iterator[list[ItemDifference]]:
        """The differences, read back part by part."""
        for name in self._parts:
            stored = self._storage.read(name)
            if stored is None:
                raise StateError(f"The report {self._storage.url}{name} is gone.", "Run the command again.")
            yield [
                msgspec.json.decode(line, type=ItemDifference) for line in stored.data.split(b"\n") if line
            ]
