"""Items that time to live has deleted, or may delete at any moment: their absence is not a loss.

DynamoDB deletes an item some time after the moment that its time-to-live attribute gives in epoch seconds, but not where that
moment is more than five years ago:
https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/time-to-live-ttl-before-you-start.html
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any, Final

import msgspec

from ddb_shared.table.settings import Setting

_FIVE_YEARS_SECONDS: Final = 5 * 365.25 * 24 * 3600
_ENABLED: Final = frozenset({"ENABLED", "ENABLING"})


@dataclass(frozen=True, slots=True)
class Expiry:
    """The time-to-live attribute of the source and of the table; "" where it has none, or where it is unknown."""

    source: str = ""
    table: str = ""

    def is_expired(self, item: bytes, now: float | None = None) -> bool:
        """Whether an item has expired by either attribute. `now` is epoch seconds."""
        names = {name for name in (self.source, self.table) if name}
        if not names:
            return False
        attributes = msgspec.json.decode(item)
        moment = time.time() if now is None else now
        return any(_is_past(attributes.get(name), moment) for name in names)


def _is_past(value: Any, now: float) -> bool:
    if not isinstance(value, Mapping) or not isinstance(value.get("N"), str):
        return False
    try:
        expires = Decimal(value["N"])
    except InvalidOperation:
        return False
    return bool(now - _FIVE_YEARS_SECONDS < expires <= now)


def attribute_of(setting: Setting | None) -> str:
    """The attribute that the setting `time_to_live` names; "" where it is off or unknown."""
    value = setting.value if setting else None
    if not isinstance(value, Mapping) or value.get("TimeToLiveStatus") not in _ENABLED:
        return ""
    return str(value.get("AttributeName", ""))
