"""Opens the encoder of a shard, and the one for JSON lines."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from ddb_export.encoding import Encoder, Encoding
from ddb_shared.format.compression import compressor
from ddb_shared.format.lines import line_pieces
from ddb_shared.format.manifest import PARQUET


def open_encoder(encoding: Encoding) -> Encoder:
    """An encoder for one shard."""
    if encoding.format == PARQUET:
        from ddb_export.parquet_encoder import ParquetEncoder  # noqa: PLC0415 - 40 MB of pyarrow

        return ParquetEncoder(encoding)
    return JsonLines(encoding.compression)


class JsonLines:
    """JSON lines, compressed as one stream."""

    def __init__(self, compression: str) -> None:
        self._compressor = compressor(compression)
        self.plain_bytes = 0

    @property
    def waiting_bytes(self) -> int:
        return 0  # a compressor's window

    @property
    def is_full(self) -> bool:
        return False

    def add(self, items: Sequence[msgspec.Raw]) -> bytes:
        """See Encoder."""
        pieces = line_pieces(items)
        self.plain_bytes += sum(map(len, pieces))
        return b"".join(map(self._compressor.compress, pieces))

    def finish(self) -> bytes:
        """See Encoder."""
        return self._compressor.flush()
