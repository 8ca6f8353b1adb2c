"""Text for people: safe on a terminal, where foreign names must not move the cursor, and sizes and times in sensible units."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from typing import Final

# C0 without tab and newline, DEL, C1, line separators, marks that change the direction of text, lone surrogates.
_UNPRINTABLE: Final = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"
)


def printable(text: str) -> str:
    r"""The text with every control character as `\uXXXX`; JSON text keeps its meaning."""
    return _UNPRINTABLE.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def count_text(count: int, noun: str) -> str:
    """How many of something: `1 shard`, `1,234 shards`."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def size_text(size_bytes: float) -> str:
    """A number of bytes as people read it: `812 bytes`, `1.2 MB`, `3.4 TB`; in powers of 1,000, as AWS bills."""
    if size_bytes < 1000:  # noqa: PLR2004 - the next unit
        return f"{size_bytes:.0f} bytes"
    exponent = min(int(math.log10(size_bytes) // 3), len(_SIZES))
    return f"{size_bytes / 1000**exponent:,.1f} {_SIZES[exponent - 1]}"


_SIZES: Final = ("kB", "MB", "GB", "TB", "PB")


def duration_text(seconds: float) -> str:
    """How long, in the two largest units that tell: `0.4 s`, `45 s`, `2 min 5 s`, `2 h 10 min`, `3 d 4 h`."""
    if seconds < 10:  # noqa: PLR2004 - tenths tell something
        return f"{seconds:.1f} s"
    whole = round(seconds)
    for size, unit, below, smaller in _UNITS:
        if whole >= size:
            count, rest = divmod(round(whole / below), size // below)
            return f"{count:,} {unit} {rest} {smaller}" if rest else f"{count:,} {unit}"
    return f"{whole} s"


_UNITS: Final = ((86_400, "d", 3_600, "h"), (3_600, "h", 60, "min"), (60, "min", 1, "s"))


def columns_text(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Rows below their heads, in columns; numbers are aligned to the right, and the last column is as long as it is."""
    lines = [head, *rows]
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    right = [
        all(row[column][:1].isdigit() or row[column] == "-" for row in rows) for column in range(len(head))
    ]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if to_right else cell.ljust(width)
            for cell, width, to_right in zip(line, widths, right, strict=True)
        ).rstrip()
        for line in lines
    )


def told_once(remarks: Iterable[tuple[str, str]], tables: int) -> list[str]:
    """Remarks on tables, as pairs of table and text: each text once, with its tables where it is not about all of them."""
    by_text: dict[str, list[str]] = {}
    for table, text in remarks:
        by_text.setdefault(text, []).append(table)
    return [
        text if len(names) == tables else f"{', '.join(names)}: {text}" for text, names in by_text.items()
    ]


def clock_text(seconds: float) -> str:
    """A span as a clock shows it: `0:07`, `12:34`, `1:02:03`."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
