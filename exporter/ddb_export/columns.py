"""Chooses the typed columns of a Parquet export from a sample of its items or from `--columns`."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from decimal import Context, Decimal, InvalidOperation
from typing import Any, Final

from ddb_shared.errors import UsageError
from ddb_shared.format.columns import DECIMAL_DIGITS, ITEM, Column, tag_of
from ddb_shared.table.description import KeyAttribute

# The column of an attribute that fewer than one in a hundred items has would be almost entirely null.
MIN_SHARE: Final = 0.01
# A page of 1,000 columns takes 20 MB as Arrow arrays; Athena and Glue show tables of that width.
MAX_COLUMNS: Final = 1_000
# Prices, rates and coordinates have fewer fraction digits. More digits come from divisions, whose results vary in length;
# they are shown as double.
MAX_SCALE: Final = 12
_INT64: Final = range(-(2**63), 2**63)
_EXACT: Final = Context(prec=300)  # no number has more digits when written out

_PLAIN: Final = {"S": "string", "B": "binary", "BOOL": "bool", "SS": "list<string>", "BS": "list<binary>"}
_NUMERIC: Final = frozenset({"N", "NS"})
_COMMA: Final = re.compile(r",(?![^(]*\))")  # not the one within decimal(38,2)
# Athena and Glue allow letters, digits and underscores, and ignore case:
# https://docs.aws.amazon.com/athena/latest/ug/tables-databases-columns-names.html
_INVALID_IN_NAME: Final = re.compile(r"[^A-Za-z0-9_]")

Item = Mapping[str, Any]


def parse_columns(text: str) -> dict[str, str]:
    """Types by attribute from `name:type,…`; raises UsageError."""
    requested: dict[str, str] = {}
    for part in _COMMA.split(text):
        attribute, _, type_name = part.strip().rpartition(":")
        if not attribute or attribute in requested:
            raise UsageError(
                f"--columns: {part!r} is not NAME:TYPE, or repeats a name.",
                "Expected a list such as total:decimal(38,2),state:string.",
            )
        tag_of(type_name)
        requested[attribute] = type_name
    return requested


def format_columns(columns: Mapping[str, str]) -> str:
    """The text that `parse_columns` parses."""
    return ",".join(f"{attribute}:{type_name}" for attribute, type_name in columns.items())


def choose_columns(
    sample: Iterable[Item], key: Sequence[KeyAttribute], requested: Mapping[str, str] | None = None
) -> tuple[Column, ...]:
    """The key attributes, then the requested ones, or without a request every frequent attribute of the sample."""
    values = _Values(sample)
    types = {attribute.name: values.type_of(attribute.name, attribute.type) for attribute in key}
    types |= dict(values.frequent(types)) if requested is None else requested
    names = _name(types)
    return tuple(Column(attribute=one, name=names[one], type=types[one]) for one in types)


def unmatched(sample: Iterable[Item], requested: Mapping[str, str]) -> dict[str, str]:
    """Requested columns that no item of the sample has with that type; none if the sample is empty."""
    found = {(attribute, tag) for item in sample for attribute, value in item.items() for tag in value}
    return {one: kind for one, kind in requested.items() if found and (one, tag_of(kind)) not in found}


class _Values:
    """The values of a sample: how often each attribute has each type, and its numbers."""

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
        """The column type for an attribute's values with this tag."""
        if tag not in _NUMERIC:
            return _PLAIN[tag]
        number = number_type(self._numbers[attribute, tag])
        return number if tag == "N" else f"list<{number}>"

    def frequent(self, without: Iterable[str]) -> Iterator[tuple[str, str]]:
        """Frequent attributes with their most frequent type, sorted by name."""
        counts = {one: tags.most_common(1)[0] for one, tags in self._tags.items() if one not in set(without)}
        enough = [one for one, (_, count) in counts.items() if count >= self._items * MIN_SHARE]
        most = sorted(enough, key=lambda one: (-counts[one][1], one))[:MAX_COLUMNS]
        for attribute in sorted(most):
            yield attribute, self.type_of(attribute, counts[attribute][0])


def number_type(texts: Iterable[str]) -> str:
    """The narrowest of int64, decimal(38,S) and double for all of these numbers; double without any."""
    scale = digits = 0
    seen, fits = False, True
    for text in texts:
        try:
            number = Decimal(text).normalize(_EXACT)
        except InvalidOperation:
            return "double"
        exponent = number.as_tuple().exponent
        if not isinstance(exponent, int):  # NaN and Infinity, which are not DynamoDB numbers
            return "double"
        seen = True
        scale, digits = max(scale, -exponent), max(digits, number.adjusted() + 1)
        fits = fits and digits <= DECIMAL_DIGITS and int(number) in _INT64
    if not seen or scale > MAX_SCALE or digits + scale > DECIMAL_DIGITS:
        return "double"
    return "int64" if fits and scale == 0 else f"decimal({DECIMAL_DIGITS},{scale})"


def _name(attributes: Iterable[str]) -> dict[str, str]:
    """A unique column name for each attribute, ignoring case; attributes with valid names keep them."""
    taken = {ITEM}
    names: dict[str, str] = {}
    clean = {one: _INVALID_IN_NAME.sub("_", one) for one in attributes}
    for attribute, name in sorted(clean.items(), key=lambda pair: pair[0] != pair[1]):
        free, number = name, 1
        while free.lower() in taken:
            number += 1
            free = f"{name}_{number}"
        taken.add(free.lower())
        names[attribute] = free
    return names
