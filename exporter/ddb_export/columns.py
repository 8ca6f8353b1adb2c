"""Chooses the typed columns of a Parquet export, from a sample of its items or from `--columns`."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from decimal import Context, Decimal, InvalidOperation
from typing import Any, Final

from ddb_shared.columns import DECIMAL_DIGITS, ITEM, Column, tag_of
from ddb_shared.errors import UsageError
from ddb_shared.table import KeyAttribute

# An attribute that fewer than one item in a hundred has makes a column of almost nothing but nulls.
LEAST_SHARE: Final = 0.01
# A page of 1,000 columns takes 20 MB as Arrow arrays; Athena and Glue show tables of that width.
MOST_COLUMNS: Final = 1_000
# Prices, rates and coordinates have fewer fraction digits. More of them come from a division, whose next result has more
# still, and a double shows them all.
MOST_SCALE: Final = 12
_INT64: Final = range(-(2**63), 2**63)
_EXACT: Final = Context(prec=300)  # no number has more digits, written out

_PLAIN: Final = {"S": "string", "B": "binary", "BOOL": "bool", "SS": "list<string>", "BS": "list<binary>"}
_NUMERIC: Final = frozenset({"N", "NS"})
_COMMA: Final = re.compile(r",(?![^(]*\))")  # not the one within decimal(38,2)
# Athena and Glue take letters, digits and underscores, and hold names for equal that differ in case alone:
# https://docs.aws.amazon.com/athena/latest/ug/tables-databases-columns-names.html
_ODD: Final = re.compile(r"[^A-Za-z0-9_]")

Item = Mapping[str, Any]


def parse_columns(text: str) -> dict[str, str]:
    """Type by attribute, from `name:type,…`; raises UsageError."""
    asked: dict[str, str] = {}
    for part in _COMMA.split(text):
        attribute, _, type_name = part.strip().rpartition(":")
        if not attribute or attribute in asked:
            raise UsageError(
                f"--columns: {part!r} is not name:type, or names a column twice.",
                "Write --columns total:decimal(38,2),state:string",
            )
        tag_of(type_name)
        asked[attribute] = type_name
    return asked


def written(columns: Mapping[str, str]) -> str:
    """What `parse_columns` reads."""
    return ",".join(f"{attribute}:{type_name}" for attribute, type_name in columns.items())


def choose_columns(
    sample: Iterable[Item], key: Sequence[KeyAttribute], asked: Mapping[str, str] | None = None
) -> tuple[Column, ...]:
    """The key attributes, then what was asked for, or else every attribute that is frequent in the sample."""
    values = _Values(sample)
    types = {attribute.name: values.type_of(attribute.name, attribute.type) for attribute in key}
    types |= dict(values.frequent(types)) if asked is None else asked
    names = _name(types)
    return tuple(Column(attribute=one, name=names[one], type=types[one]) for one in types)


class _Values:
    """What a sample holds: how often each attribute has which type, and its numbers."""

    def __init__(self, sample: Iterable[Item]) -> None:
        self._items = 0
        self._tags: defaultdict[str, Counter[str]] = defaultdict(Counter)
        self._numbers: defaultdict[tuple[str, str], list[str]] = defaultdict(list)
        for item in sample:
            self._items += 1
            for attribute, value in item.items():
                for tag, content in value.items():
                    self._add(attribute, tag, content)

    def _add(self, attribute: str, tag: str, content: Any) -> None:
        if tag in _PLAIN or tag in _NUMERIC:
            self._tags[attribute][tag] += 1
        if tag in _NUMERIC:
            self._numbers[attribute, tag] += [content] if tag == "N" else content

    def type_of(self, attribute: str, tag: str) -> str:
        """The column type for an attribute's values of one tag."""
        if tag not in _NUMERIC:
            return _PLAIN[tag]
        number = number_type(self._numbers[attribute, tag])
        return number if tag == "N" else f"list<{number}>"

    def frequent(self, without: Iterable[str]) -> Iterator[tuple[str, str]]:
        """Attributes with their types, in the order of their names; of two types the more frequent one."""
        counts = {one: tags.most_common(1)[0] for one, tags in self._tags.items() if one not in set(without)}
        enough = [one for one, (_, count) in counts.items() if count >= self._items * LEAST_SHARE]
        most = sorted(enough, key=lambda one: (-counts[one][1], one))[:MOST_COLUMNS]
        for attribute in sorted(most):
            yield attribute, self.type_of(attribute, counts[attribute][0])


def number_type(texts: Iterable[str]) -> str:
    """The narrowest of int64, decimal(38,S) and double that takes all of these numbers; without any, double."""
    scale = digits = 0
    seen, fits = False, True
    for text in texts:
        try:
            number = Decimal(text).normalize(_EXACT)
        except InvalidOperation:
            return "double"
        exponent = number.as_tuple().exponent
        if not isinstance(exponent, int):  # NaN and Infinity, which DynamoDB does not have
            return "double"
        seen = True
        scale, digits = max(scale, -exponent), max(digits, number.adjusted() + 1)
        fits = fits and digits <= DECIMAL_DIGITS and int(number) in _INT64
    if not seen or scale > MOST_SCALE or digits + scale > DECIMAL_DIGITS:
        return "double"
    return "int64" if fits and scale == 0 else f"decimal({DECIMAL_DIGITS},{scale})"


def _name(attributes: Iterable[str]) -> dict[str, str]:
    """A name for each attribute that no other has, whatever the case; a clean name goes to the attribute of that name."""
    taken = {ITEM}
    names: dict[str, str] = {}
    clean = {one: _ODD.sub("_", one) for one in attributes}
    for attribute, name in sorted(clean.items(), key=lambda pair: pair[0] != pair[1]):
        free, number = name, 1
        while free.lower() in taken:
            number += 1
            free = f"{name}_{number}"
        taken.add(free.lower())
        names[attribute] = free
    return names
