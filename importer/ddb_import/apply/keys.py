"""What makes two changes changes of one item: the values of their key attributes, in the order of the key schema."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from operator import attrgetter
from typing import Any, Final, cast

import msgspec

from ddb_shared.format.normal import normal_base64, normal_number
from ddb_shared.table.description import KeyAttribute

Key = tuple[str, ...]


class _String(msgspec.Struct, frozen=True, gc=False):
    S: str


class _Number(msgspec.Struct, frozen=True, gc=False):
    N: str


class _Binary(msgspec.Struct, frozen=True, gc=False):
    B: str


_TYPES: Final = {"S": _String, "N": _Number, "B": _Binary}


# What msgspec takes for the name of a member: no quotes, backslashes and control characters.
_PLAIN_NAME: Final = re.compile(r'[^"\\\x00-\x1f]+')
_ATTRIBUTES: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])
_VALUE: Final = msgspec.json.Decoder(dict[str, str])


def _number(text: str) -> str:
    """Most numbers in keys are positive integers, which are normal."""
    return text if text.isdecimal() and text[0] != "0" else normal_number(text)


_NORMAL: Final[dict[str, Callable[[str], str]]] = {"N": _number, "B": normal_base64}


class KeyReader:
    """Reads keys from DynamoDB JSON, 1 µs each.

    The bytes of two keys tell nothing: the order of the attributes and the spelling of numbers may differ.
    """

    def __init__(self, key: Sequence[KeyAttribute]) -> None:
        plain = all(_PLAIN_NAME.fullmatch(attribute.name) for attribute in key)
        self._values = _by_members(key) if plain else _by_names(key)
        self._normal = [
            (at, _NORMAL[attribute.type]) for at, attribute in enumerate(key) if attribute.type != "S"
        ]

    def __call__(self, keys: bytes | msgspec.Raw) -> Key:
        """The key of an item, from its key attributes alone or from the whole item.

        Raises msgspec.DecodeError where an attribute is missing or of another type.
        """
        key = self._values(keys)
        for at, normal in self._normal:
            text = normal(key[at])
            if text is not key[at]:
                key = (*key[:at], text, *key[at + 1 :])
        return key


def _by_members(key: Sequence[KeyAttribute]) -> Callable[[bytes | msgspec.Raw], Key]:
    """Decodes the key attributes alone."""
    fields = [(f"key{at}", _TYPES[attribute.type]) for at, attribute in enumerate(key)]
    names = {f"key{at}": attribute.name for at, attribute in enumerate(key)}
    members: Any = msgspec.defstruct("KeyMembers", fields, rename=names, frozen=True, gc=False)
    decode: Callable[[bytes | msgspec.Raw], Any] = msgspec.json.Decoder(members).decode
    values: Callable[[Any], Any] = attrgetter(*(f"key{at}.{one.type}" for at, one in enumerate(key)))
    if len(key) == 1:  # of one name, attrgetter returns the value itself
        return lambda keys: (values(decode(keys)),)
    return lambda keys: cast("Key", values(decode(keys)))


def _by_names(key: Sequence[KeyAttribute]) -> Callable[[bytes | msgspec.Raw], Key]:
    """The same for names that msgspec takes for no member's, five times slower."""

    def read(keys: bytes | msgspec.Raw) -> Key:
        attributes = _ATTRIBUTES.decode(keys)
        try:
            values = [_VALUE.decode(attributes[attribute.name])[attribute.type] for attribute in key]
        except KeyError as error:
            raise msgspec.ValidationError(f"the key has no {error}") from error
        return tuple(values)

    return read
