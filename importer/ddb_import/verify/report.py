"""The report of a verification: one JSON line for each item that differs, beside the import's state.

`verify/<time>.jsonl`, and `verify/<time>.0002.jsonl` and so on where the differences were found in several slices.
"""

from __future__ import annotations

import datetime as dt
import enum
from collections import Counter
from collections.abc import Iterator
from typing import Final

import msgspec

from ddb_shared.errors import AccessError, BucketError, StateError
from ddb_shared.storage import Folder

VERIFY: Final = "verify/"
_NOTHING: Final = msgspec.Raw(b"null")


class Kind(enum.StrEnum):
    """How an item differs, seen from the export."""

    MISSING = "missing"
    EXTRA = "extra"
    DIFFERENT = "different"


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """One item that differs: its key, the attributes that are not equal, and the item on each side.

    `expected` is the export's or the source table's. A line of the export that is no item has its text for a key.
    """

    kind: Kind
    key: msgspec.Raw
    attributes: list[str] = []
    expected: msgspec.Raw = _NOTHING
    actual: msgspec.Raw = _NOTHING

    @property
    def expected_item(self) -> bytes | None:
        """The item that should be there; None for an extra one."""
        return bytes(self.expected) if self.kind is not Kind.EXTRA else None


class Report:
    """The report of one run; it has no file until there is a difference to name."""

    def __init__(self, folder: Folder, begun_at: dt.datetime) -> None:
        self._folder = folder
        self._name = f"{VERIFY}{begun_at:%Y%m%dT%H%M%S}{begun_at.microsecond // 1000:03d}Z"
        self._parts: list[str] = []
        self.counts: Counter[Kind] = Counter()

    @property
    def url(self) -> str | None:
        """Where its first part lies."""
        return self._folder.url + self._parts[0] if self._parts else None

    def add(self, differences: list[Difference]) -> None:
        """Writes one part."""
        if not differences:
            return
        number = f".{len(self._parts) + 1:04d}" if self._parts else ""
        name = f"{self._name}{number}.jsonl"
        lines = b"".join(msgspec.json.encode(difference) + b"\n" for difference in differences)
        try:
            self._folder.write(name, lines, new=True)
        except (AccessError, BucketError) as error:
            raise type(error)(
                f"{len(differences):,} differences were found, but the report could not be written: {error.message}",
                "Put the report elsewhere with --state, such as a local folder, and run the command again.",
            ) from error
        self._parts.append(name)
        self.counts.update(difference.kind for difference in differences)

    def parts(self) -> Iterator[list[Difference]]:
        """The differences, read back part by part."""
        for name in self._parts:
            stored = self._folder.read(name)
            if stored is None:
                raise StateError(f"The report {self._folder.url}{name} is gone.", "Run the command again.")
            yield [msgspec.json.decode(line, type=Difference) for line in stored.data.split(b"\n") if line]
