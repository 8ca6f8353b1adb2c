"""The lines of a change log's data files: one change each, in the form of AWS's incremental exports.

https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/S3DataExport.Output.html. `Metadata` has two further members:
the change's number in the stream, and who deleted an item that expired. Images stay bytes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from ddb_shared.format.compression import compressor

# The identity of DynamoDB itself in records of items that time to live deleted.
TIME_TO_LIVE: Final = "dynamodb.amazonaws.com"
_LINE_END: Final = b"}\n"


class _Text(msgspec.Struct, frozen=True, gc=False):
    S: str = ""


class _Number(msgspec.Struct, frozen=True, gc=False):
    N: str


class Metadata(msgspec.Struct, frozen=True, rename="pascal", gc=False):
    """AWS's member, and the two that only our own lines have."""

    write_timestamp_micros: _Number
    sequence_number: _Text = _Text()
    user_identity: _Text = _Text()


class Change(msgspec.Struct, frozen=True, rename="pascal", gc=False):
    """One change: the key of an item, and the whole item after it, as bytes of DynamoDB JSON."""

    metadata: Metadata
    keys: msgspec.Raw
    image: msgspec.Raw = msgspec.field(name="NewImage", default=msgspec.Raw(b""))

    @property
    def new_image(self) -> msgspec.Raw | None:
        """The item; None where it was deleted."""
        return self.image if memoryview(self.image).nbytes else None

    @property
    def micros(self) -> int:
        """When it was made, in epoch microseconds; streams know it to the second."""
        return int(self.metadata.write_timestamp_micros.N)

    @property
    def sequence(self) -> str:
        """Its number in the stream; "" in exports of AWS."""
        return self.metadata.sequence_number.S

    @property
    def expired(self) -> bool:
        """Whether time to live deleted the item."""
        return self.metadata.user_identity.S == TIME_TO_LIVE


_CHANGE: Final = msgspec.json.Decoder(Change)


def change_line(
    *, micros: int, sequence: str, expired: bool, keys: msgspec.Raw, new_image: msgspec.Raw | None
) -> bytes:
    """One line of a data file. Line breaks between tokens are removed; JSON escapes those within strings."""
    identity = b',"UserIdentity":{"S":"dynamodb.amazonaws.com"}' if expired else b""
    image = b',"NewImage":' + new_image if new_image is not None else b""
    line = b'{"Metadata":{"WriteTimestampMicros":{"N":"%d"},"SequenceNumber":{"S":"%b"}%b},"Keys":%b%b' % (
        micros,
        sequence.encode(),
        identity,
        keys,
        image,
    )
    return (line.replace(b"\n", b"") if b"\n" in line else line) + _LINE_END


def decode_changes(lines: bytes) -> list[Change]:
    """The changes of whole lines, ours or those of an incremental export of AWS. Raises msgspec.DecodeError."""
    lines.decode()  # msgspec.Raw is not decoded
    return _CHANGE.decode_lines(lines)


def compress_lines(lines: Sequence[bytes]) -> bytes:
    """What a data file holds."""
    gzip = compressor("gzip")
    return gzip.compress(b"".join(lines)) + gzip.flush()
