"""Writes of single items on the condition that the table still holds what was read before.

https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Expressions.ConditionExpressions.html
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

import msgspec

# An expression has at most 300 operators and 4 KB (ServiceQuotas, "Expression parameters"): `#n0 = :v0 AND ` for each.
MAX_TERMS: Final = 100
_ATTRIBUTES: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])


class ConditionalWrites:
    """Requests to put and delete items of one table."""

    def __init__(self, table: str, key_names: Sequence[str]) -> None:
        self._table = table
        self._key_names = key_names

    def put_new(self, item: bytes) -> bytes:
        """A PutItem that fails where there is an item with this key."""
        return self._request("Item", item, ["attribute_not_exists(#k)"], {"#k": self._key_names[0]}, {})

    def replace(self, item: bytes, before: bytes, differing: Iterable[str]) -> bytes:
        """A PutItem that fails unless the attributes are those of the item `before`, as `delete` has it.

        Those that are `differing` are looked at first; of `item`, those that `before` lacks must still be absent.
        """
        return self._unless_changed("Item", item, before, differing)

    def delete(self, key: bytes, before: bytes) -> bytes:
        """A DeleteItem that fails unless the attributes are those of the item `before`, MAX_TERMS of them at most.

        An expression cannot say that an item has no further attribute: whoever asks reads the item again just before.
        """
        return self._unless_changed("Key", key, before, ())

    def _unless_changed(self, member: str, data: bytes, before: bytes, differing: Iterable[str]) -> bytes:
        present = _ATTRIBUTES.decode(before)
        names = dict.fromkeys((*differing, *present))
        compared = [name for name in names if name not in self._key_names][:MAX_TERMS]
        terms, values = ["attribute_exists(#k)"], {}
        for number, name in enumerate(compared):
            if name in present:
                terms.append(f"#n{number} = :v{number}")
                values[f":v{number}"] = present[name]
            else:
                terms.append(f"attribute_not_exists(#n{number})")
        named = {f"#n{number}": name for number, name in enumerate(compared)}
        return self._request(member, data, terms, {"#k": self._key_names[0], **named}, values)

    def _request(
        self,
        member: str,
        data: bytes,
        terms: Sequence[str],
        names: dict[str, str],
        values: dict[str, msgspec.Raw],
    ) -> bytes:
        request: dict[str, object] = {
            "TableName": self._table,
            member: msgspec.Raw(data),
            "ConditionExpression": " AND ".join(terms),
            "ExpressionAttributeNames": names,
            "ReturnConsumedCapacity": "TOTAL",
        }
        if values:
            request["ExpressionAttributeValues"] = values
        return msgspec.json.encode(request)
