"""The normal form of numbers and binary values: what DynamoDB holds equal has equal text.

https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/HowItWorks.NamingRulesDataTypes.html
"""

from __future__ import annotations

import binascii
import re
from decimal import Decimal
from typing import Final

# As DynamoDB returns numbers: no sign of plus, no leading or trailing zero, no exponent, no minus zero.
NORMAL_NUMBER: Final = r"0|-?(?:[1-9][0-9]*(?:\.[0-9]*[1-9])?|0\.[0-9]*[1-9])"
_ANY_NUMBER: Final = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]{1,9})?", re.ASCII)
_is_normal_number: Final = re.compile(NORMAL_NUMBER).fullmatch
# DynamoDB's exponents end at 125 and -130; expanding any larger one would let a forged line fill the memory.
_MAX_EXPANDED: Final = 1_000


def normal_number(text: str) -> str:
    """The number as DynamoDB writes it: `1.0`, `+1` and `1E0` are `1`, `-0` is `0`, `1E3` is `1000`.

    Exact for any number of digits: neither float nor a Decimal context is involved. A text that is not a number is returned
    unchanged. Rules: https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/HowItWorks.NamingRulesDataTypes.html
    """
    if _is_normal_number(text) or not _ANY_NUMBER.fullmatch(text):
        return text
    number = Decimal(text)  # the constructor is exact; arithmetic would round to the context's 28 digits
    sign, digits, exponent = number.as_tuple()
    figures = "".join(map(str, digits)).lstrip("0")
    stripped = figures.rstrip("0")
    if not stripped or not isinstance(exponent, int):
        return "0"
    exponent += len(figures) - len(stripped)
    return ("-" if sign else "") + _expand(stripped, exponent)


def _expand(digits: str, exponent: int) -> str:
    """Digits x 10^exponent without an exponent; out of DynamoDB's range, with one."""
    if abs(exponent) > _MAX_EXPANDED:
        return f"{digits}E{exponent}"
    if exponent >= 0:
        return digits + "0" * exponent
    point = len(digits) + exponent
    return f"{digits[:point]}.{digits[point:]}" if point > 0 else "0." + "0" * -point + digits


def normal_base64(text: str) -> str:
    """Base64 with its padding and with the unused bits zero; invalid base64 is returned unchanged."""
    try:
        return binascii.b2a_base64(binascii.a2b_base64(text, strict_mode=True), newline=False).decode()
    except ValueError:
        return text
