"""Attribute values: AWS's rules of size, validity and normal form, in one pass over an item."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable
from decimal import Decimal
from typing import Any, Final

from support.fake.errors import FakeError, invalid

MAX_ITEM_BYTES: Final = 409_600
MAX_DEPTH: Final = 32
MAX_DIGITS: Final = 38

_NORMAL: Final = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]*[1-9])?")
_NUMBER: Final = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_EMPTY: Final = "Supplied AttributeValue is empty, must contain exactly one of the supported datatypes"
_SEVERAL: Final = "Supplied AttributeValue has more than one datatypes set, must contain exactly one of the supported datatypes"
_PARAMETER: Final = "One or more parameter values were invalid: "
_EMPTY_SETS: Final = {
    "SS": _PARAMETER + "An string set  may not be empty",
    "NS": _PARAMETER + "An number set  may not be empty",
    "BS": _PARAMETER + "Binary sets should not be empty",
}


def normal_number(text: str) -> str:
    """The text that DynamoDB stores: no exponent, no leading or trailing zeros; raises ValidationException."""
    if len(text) <= MAX_DIGITS and text != "-0" and _NORMAL.fullmatch(text):
        return text
    if not _NUMBER.fullmatch(text):
        raise invalid(f"The parameter cannot be converted to a numeric value: {text}")
    number = Decimal(text)
    if not number:
        return "0"
    if len("".join(map(str, number.as_tuple().digits)).strip("0")) > MAX_DIGITS:
        raise invalid("Attempting to store more than 38 significant digits in a Number")
    if number.adjusted() > 125:
        raise invalid(
            "Number overflow. Attempting to store a number with magnitude larger than supported range"
        )
    if number.adjusted() < -130:
        raise invalid(
            "Number underflow. Attempting to store a number with magnitude smaller than supported range"
        )
    plain = format(number, "f")
    return plain.rstrip("0").rstrip(".") if "." in plain else plain


def number_size(text: str) -> int:
    """Bytes of a number in normal form: base-100 digits aligned at the point, one for the exponent, one for a minus."""
    minus = text[0] == "-"
    whole, _, fraction = text[minus:].partition(".")
    whole = whole.lstrip("0")
    pairs = (len(whole) + 1) // 2 + (len(fraction) + 1) // 2
    if not fraction:
        pairs -= (len(whole) - len(whole.rstrip("0"))) // 2
    elif not whole:
        pairs -= (len(fraction) - len(fraction.lstrip("0"))) // 2
    return 1 + pairs + minus


def decoded(text: Any) -> bytes:
    """The bytes of a B value."""
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError, TypeError) as error:
        raise FakeError("SerializationException", "Base64 encoded length is unexpected") from error


class Walk:
    """The size of an item; puts its numbers into normal form on the way and says in `changed` whether it did."""

    def __init__(self) -> None:
        self.changed = False
        self._sizes: Final[dict[str, Callable[[Any, int], int]]] = {
            "S": lambda value, _: len(_text(value).encode()),
            "B": lambda value, _: len(decoded(value)),
            "BOOL": lambda _value, _depth: 1,
            "NULL": _null,
            "SS": lambda value, _: self._set("SS", value, lambda text: len(_text(text).encode())),
            "BS": lambda value, _: self._set("BS", value, lambda text: len(decoded(text))),
            "NS": self._numbers,
            "L": lambda value, depth: 3 + sum(self.value(one, depth + 1) + 1 for one in value),
            "M": lambda value, depth: 3 + self.attributes(value, depth + 1) + len(value),
        }

    def attributes(self, item: dict[str, Any], depth: int = 0) -> int:
        """Bytes of the names and values."""
        size = 0
        for name, value in item.items():
            if not name:
                raise invalid("Empty attribute name")
            size += len(name.encode()) + self.value(value, depth)
        return size

    def value(self, value: Any, depth: int) -> int:
        """Bytes of one attribute value."""
        if not isinstance(value, dict):
            raise FakeError("SerializationException", "Start of structure or map found where not expected")
        if len(value) != 1:
            raise invalid(_SEVERAL if value else _EMPTY)
        if depth > MAX_DEPTH:
            raise invalid("Nesting Levels have exceeded supported limits")
        [(kind, content)] = value.items()
        if kind == "N":
            return self._number(value, content)
        size = self._sizes.get(kind)
        if size is None:
            raise invalid(_EMPTY)
        return size(content, depth)

    def _number(self, value: dict[str, Any], text: Any) -> int:
        normal = normal_number(_text(text))
        if normal != text:
            value["N"] = normal
            self.changed = True
        return number_size(normal)

    def _numbers(self, texts: list[Any], _: int) -> int:
        for place, text in enumerate(texts):
            normal = normal_number(_text(text))
            self.changed |= normal != text
            texts[place] = normal
        return self._set("NS", texts, number_size)

    def _set(self, kind: str, members: list[Any], size: Callable[[Any], int]) -> int:
        if not members:
            raise invalid(_EMPTY_SETS[kind])
        if len(set(members)) != len(members):
            raise invalid(f"{_PARAMETER}Input collection [{', '.join(members)}] contains duplicates.")
        return sum(map(size, members))


def _null(value: Any, _: int) -> int:
    if value is not True:
        raise invalid(_PARAMETER + "Null attribute value types must have the value of true")
    return 1


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise FakeError("SerializationException", f"{type(value).__name__} can not be converted to a String")
    return value
