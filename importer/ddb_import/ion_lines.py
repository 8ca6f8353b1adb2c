"""Reads the lines of AWS's exports in Ion as lines of DynamoDB JSON, without loss.

A line is text Ion, `$ion_1_0 {Item:{…}}`, or of an increment `$ion_1_0 {Record:{Keys:{…},NewImage:{…}}}`, where `Record` may be
absent: numbers are decimals, sets are lists with an annotation.
https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/S3DataExport.Output.html

Measured: one core converts 18,000 lines of ten attributes (460 bytes) a second, a ninth of what it loads as DynamoDB JSON.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any, Final

import msgspec

from ddb_shared.errors import UsageError

_VERSION_MARKER: Final = b"$ion_1_0"
# The members of a line of an increment. Its Metadata is left out: nothing depends on it.
_IMAGES: Final = ("Keys", "OldImage", "NewImage")
_SETS: Final = {"$dynamodb_SS": ("SS", "S"), "$dynamodb_NS": ("NS", "N"), "$dynamodb_BS": ("BS", "B")}
# DynamoDB's numbers have at most 126 digits before the point and 130 after it. Others keep their own spelling, which
# DynamoDB refuses: written out in full, one of them could be gigabytes long.
_MAX_EXPONENT: Final = 300
_SLACK_BYTES: Final = 1024


def is_ion(name: str) -> bool:
    """Whether a shard of this name holds Ion text, compressed or not."""
    return name.endswith((".ion", ".ion.gz", ".ion.zst"))


def require_ion() -> None:
    """Raises UsageError where the package that parses Ion is not installed."""
    try:
        from amazon.ion import simpleion  # noqa: PLC0415 - an optional extra
    except ImportError as error:
        raise UsageError(
            "This export is in Ion, and the package amazon.ion, which reads it, is not installed.",
            "Install the extra from the checkout: pip install '.[ion]'",
        ) from error
    if not simpleion.c_ext:
        raise UsageError(
            "The package amazon.ion is installed without its C extension, which reading Ion exports needs.",
            "Install it for a platform and a version of Python that it has a wheel for.",
        )


def is_blank(line: bytes) -> bool:
    """Whether a line holds no value: white space, or a version marker alone."""
    return line.strip() in {b"", _VERSION_MARKER}


def json_lines(lines: list[bytes]) -> list[bytes]:
    """The same lines in DynamoDB JSON; one that is neither an item nor a change stays as it is, for its writer to reject."""
    from amazon.ion.exceptions import IonException  # noqa: PLC0415 - an optional extra
    from amazon.ion.simpleion import IonPyValueModel, loads  # noqa: PLC0415 - as above

    bare = IonPyValueModel.MAY_BE_BARE | IonPyValueModel.STRUCT_AS_STD_DICT
    converted = []
    for line in lines:
        try:
            value = loads(line, value_model=bare, text_buffer_size_limit=len(line) + _SLACK_BYTES)
            converted.append(msgspec.json.encode(_content(value)))
        except (IonException, ValueError, RecursionError):
            converted.append(line)
    return converted


def _content(value: Any) -> dict[str, Any]:
    """What a line holds, in DynamoDB JSON; raises ValueError where that is another thing."""
    if type(value) is dict and list(value) == ["Item"]:
        return {"Item": _struct(value["Item"])}
    record = value["Record"] if type(value) is dict and list(value) == ["Record"] else value
    if type(record) is not dict or "Keys" not in record or not record.keys() <= {"Metadata", *_IMAGES}:
        raise ValueError("neither an item nor a change")
    return {name: _struct(record[name]) for name in _IMAGES if name in record}


def _struct(value: Any) -> dict[str, Any]:
    if type(value) is not dict:
        raise ValueError("not a struct")
    return _map(value)


def _map(struct: dict[str, Any]) -> dict[str, Any]:
    return {name: _value(member) for name, member in struct.items()}


def _value(value: Any) -> dict[str, Any]:
    """A value in DynamoDB JSON; raises ValueError where DynamoDB has no such value."""
    convert = _CONVERSIONS.get(type(value))
    return convert(value) if convert else _set(value)


def _set(value: Any) -> dict[str, Any]:
    """A list that is annotated as a set. Anything else that Ion has, such as a float or a symbol, is not a value of DynamoDB."""
    annotations = [annotation.text for annotation in getattr(value, "ion_annotations", ())]
    if len(annotations) != 1 or annotations[0] not in _SETS or not isinstance(value, list):
        raise ValueError(f"not a value of DynamoDB: {type(value).__name__}")
    tag, member_tag = _SETS[annotations[0]]
    members = [_value(member) for member in value]
    return {tag: [member[member_tag] if member_tag in member else _refuse(member) for member in members]}


def _refuse(member: dict[str, Any]) -> Any:
    raise ValueError(f"a set with a member of type {next(iter(member))}")


def _number(value: Decimal | int) -> dict[str, Any]:
    number = Decimal(value)
    if not number.is_finite() or abs(number.adjusted()) > _MAX_EXPONENT:
        return {"N": str(number)}
    text = format(number, "f")
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return {"N": "0" if text == "-0" else text}


_CONVERSIONS: Final[dict[type, Any]] = {
    str: lambda value: {"S": value},
    Decimal: _number,
    int: _number,
    bool: lambda value: {"BOOL": value},
    bytes: lambda value: {"B": value},  # msgspec writes bytes in base64
    type(None): lambda _: {"NULL": True},
    list: lambda value: {"L": [_value(member) for member in value]},
    dict: lambda value: {"M": _map(value)},
}
