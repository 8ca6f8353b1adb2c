"""The compressions of JSON-lines shards: incremental, in bounded memory, releasing the GIL."""

from __future__ import annotations

import io
import zlib
from collections.abc import Iterable, Iterator
from typing import Any, Final, Protocol

from isal import isal_zlib

# isal's fastest level: 0.6 ms a megabyte of items where zlib's default takes 8.3, for a tenth more bytes.
_GZIP_LEVEL: Final = 1
_GZIP_FORMAT: Final = 31  # zlib's "wbits" for a gzip header, with the time left at 0 as AWS leaves it

_GZIP_ERRORS: Final[tuple[type[Exception], ...]] = (isal_zlib.error, zlib.error)  # type: ignore[assignment] # a stub's slip

SUFFIXES: Final = {"gzip": ".json.gz", "zstd": ".json.zst", "none": ".json"}


class DecompressionError(Exception):
    """The bytes are not what their suffix says, or end too early."""


class Compressor(Protocol):
    """An incremental compressor, as zlib defines it."""

    def compress(self, data: bytes) -> bytes: ...

    def flush(self) -> bytes: ...


def compressor(compression: str) -> Compressor:
    """A new compressor for `gzip`, `zstd` or `none`."""
    if compression == "zstd":
        return _Zstd()
    if compression == "none":
        return _Plain()
    gzip: Compressor = isal_zlib.compressobj(_GZIP_LEVEL, wbits=_GZIP_FORMAT)
    return gzip


def decompress(name: str, stored: Iterable[bytes], max_bytes: int) -> Iterator[bytes]:
    """The plain bytes of a file called `name`, in pieces of at most `max_bytes`, or as stored where it is plain.

    Raises DecompressionError.
    """
    if name.endswith(".gz"):
        return _gunzip(stored, max_bytes)
    if name.endswith(".zst"):
        return _unzstd(stored, max_bytes)
    return iter(stored)


def _gunzip(stored: Iterable[bytes], max_bytes: int) -> Iterator[bytes]:
    inflater: Any = None
    try:
        for piece in stored:
            data = piece
            while data:
                inflater = inflater or isal_zlib.decompressobj(wbits=_GZIP_FORMAT)
                yield inflater.decompress(data, max_bytes)
                data = inflater.unconsumed_tail
                if inflater.eof:  # a gzip file may have several members
                    data, inflater = inflater.unused_data, None
        while inflater is not None and not inflater.eof:
            left_inside = inflater.decompress(b"", max_bytes)
            if not left_inside and not inflater.eof:
                raise DecompressionError("it is no whole gzip file: it ends too early")
            yield left_inside
    except _GZIP_ERRORS as error:
        raise DecompressionError(f"it is no whole gzip file: {error}") from error


def _unzstd(stored: Iterable[bytes], max_bytes: int) -> Iterator[bytes]:
    import pyarrow as pa  # noqa: PLC0415 - 40 MB of memory that only zstd needs

    source = _Readable(stored)
    try:
        with pa.CompressedInputStream(pa.PythonFile(source, mode="r"), "zstd") as stream:
            while data := stream.read(max_bytes):
                yield data
    except OSError as error:
        if source.broken:  # the storage's error, not zstd's
            raise
        raise DecompressionError(f"it is no whole zstd file: {error}") from error


class _Plain:
    def compress(self, data: bytes) -> bytes:
        return data

    def flush(self) -> bytes:
        return b""


class _Zstd:
    def __init__(self) -> None:
        import pyarrow as pa  # noqa: PLC0415 - 40 MB of memory that only zstd needs

        self._made = io.BytesIO()
        self._stream = pa.CompressedOutputStream(pa.PythonFile(self._made, mode="w"), "zstd")

    def compress(self, data: bytes) -> bytes:
        self._stream.write(data)
        return self._take()

    def flush(self) -> bytes:
        taken: list[bytes] = []
        self._made.close = lambda: taken.append(self._take())  # type: ignore[method-assign] # closing would drop the end
        self._stream.close()
        return b"".join(taken) or self._take()

    def _take(self) -> bytes:
        data = self._made.getvalue()
        self._made.seek(0)
        self._made.truncate()
        return data


class _Readable(io.RawIOBase):
    """Pieces of bytes as a file."""

    def __init__(self, pieces: Iterable[bytes]) -> None:
        self._pieces = iter(pieces)
        self._rest = b""
        self.broken = False

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1, /) -> bytes:
        if not self._rest:
            self._rest = self._next()
        size = len(self._rest) if size < 0 else size
        data, self._rest = self._rest[:size], self._rest[size:]
        return data

    def _next(self) -> bytes:
        try:
            return next(self._pieces, b"")
        except BaseException:
            self.broken = True
            raise
