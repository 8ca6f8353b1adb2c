"""Turns a row group of items into Arrow columns: the typed ones, and `item`, which holds each item unchanged.

Arrow does the work, not Python: its JSON reader with an explicit schema takes 4 ms of CPU for 1.3 MB and ten columns;
msgspec would need 20 ms just to build Python objects. A value that does not fit its column is null there.
"""

from __future__ import annotations

import binascii
from collections.abc import Sequence
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.json

from ddb_shared.format.columns import ITEM, Column, element_of, scale_of

_TYPES: Final = {
    "string": pa.string(),
    "int64": pa.int64(),
    "double": pa.float64(),
    "binary": pa.binary(),
    "bool": pa.bool_(),
}
_INT64_DIGITS: Final = 19
_INT64_LIMITS: Final = (-(2**63), 2**63 - 1)


def schema_of(columns: Sequence[Column]) -> pa.Schema:
    """The schema of a file with these columns; `item` comes last."""
    fields = [pa.field(column.name, _type_of(column.type)) for column in columns]
    return pa.schema([*fields, pa.field(ITEM, pa.string(), nullable=False)])


def to_table(items: Sequence[bytes], columns: Sequence[Column], schema: pa.Schema) -> pa.Table:
    """One row for each item, each the bytes of its DynamoDB JSON without newlines."""
    wanted = pa.schema([(column.attribute, _json_type_of(column)) for column in columns])
    found = _read(items, wanted)
    typed = [_typed(found.column(index), column) for index, column in enumerate(columns)]
    # unchanged and not checked for UTF-8: the check costs 1 ms per megabyte, and an item must be kept in any case
    whole = pa.array(items, pa.binary()).view(pa.string())
    return pa.Table.from_arrays([*typed, whole], schema=schema)


def _type_of(name: str) -> pa.DataType:
    element = element_of(name)
    if element != name:
        return pa.list_(_type_of(element))
    scale = scale_of(name)
    return _TYPES[name] if scale is None else pa.decimal128(38, scale)


def _json_type_of(column: Column) -> pa.DataType:
    """The type of the attribute's values in DynamoDB JSON, where numbers and binary values are strings."""
    content = pa.bool_() if column.tag == "BOOL" else pa.string()
    return pa.struct([(column.tag, pa.list_(content) if column.element != column.type else content)])


def _read(items: Sequence[bytes], wanted: pa.Schema) -> pa.Table:
    """The attributes in the schema `wanted` of each item; nulls for an item that Arrow cannot read.

    DynamoDB returns no such item. Arrow rejects the whole batch, so it is halved until the item stands alone.
    """
    data = b"\n".join(items)
    try:
        return pyarrow.json.read_json(
            pa.BufferReader(data),
            # one block, since an item may not span two; the worker's other threads handle other segments
            pyarrow.json.ReadOptions(use_threads=False, block_size=len(data) + 1),
            pyarrow.json.ParseOptions(explicit_schema=wanted, unexpected_field_behavior="ignore"),
        )
    except pa.ArrowException:
        if len(items) == 1:
            return pa.Table.from_arrays([pa.nulls(1, field.type) for field in wanted], schema=wanted)
        middle = len(items) // 2
        return pa.concat_tables([_read(items[:middle], wanted), _read(items[middle:], wanted)])


def _typed(attribute: pa.ChunkedArray, column: Column) -> pa.Array:
    """The values of one attribute in their column's type."""
    content = pc.struct_field(_one(attribute), 0)
    if column.element == column.type:
        return _convert(content, column.type)
    values = _convert(content.values, column.element)
    unfit = content.is_null()
    if values.null_count:  # a set is shown completely or not at all
        unfit = pc.or_(unfit, _have_nulls(content.offsets, values))
    return pa.ListArray.from_arrays(content.offsets, values, mask=unfit)


def _have_nulls(offsets: pa.Array, values: pa.Array) -> pa.Array:
    """Whether there is a null between each offset and the next."""
    nulls = pc.cumulative_sum(pc.cast(values.is_null(), pa.int64()))
    before = pa.concat_arrays([pa.array([0], pa.int64()), nulls]).take(offsets)
    return pc.not_equal(before[1:], before[:-1])


def _convert(texts: pa.Array, type_name: str) -> pa.Array:
    if type_name in {"string", "bool"}:
        return texts
    return _decode(texts) if type_name == "binary" else _to_numbers(texts, _type_of(type_name))


def _to_numbers(texts: pa.Array, kind: pa.DataType) -> pa.Array:
    if pa.types.is_decimal(kind):
        # Arrow casts a text with too many digits to a wrong number without an error
        return pc.cast(_only_fitting(texts, kind), kind)
    try:
        return pc.cast(texts, kind)
    except pa.ArrowInvalid:
        return pc.cast(_only_fitting(texts, kind), kind)


def _only_fitting(texts: pa.Array, kind: pa.DataType) -> pa.Array:
    """Replaces numbers that the type cannot represent exactly by null; for a double, only texts that are not numbers."""
    if kind == pa.float64():
        return _only_matching(texts, r"^-?\d+(\.\d+)?([eE][+-]?\d+)?$")
    if kind == pa.int64():
        whole = pc.cast(
            _only_matching(texts, rf"^-?\d{{1,{_INT64_DIGITS}}}$"), pa.decimal128(_INT64_DIGITS, 0)
        )
        low, high = (pa.scalar(limit, pa.decimal128(_INT64_DIGITS, 0)) for limit in _INT64_LIMITS)
        within = pc.and_(pc.greater_equal(whole, low), pc.less_equal(whole, high))
        return pc.if_else(within, texts, None)
    fraction = rf"(\.\d{{1,{kind.scale}}})?" if kind.scale else ""
    return _only_matching(texts, rf"^-?\d{{1,{kind.precision - kind.scale}}}{fraction}$")


def _only_matching(texts: pa.Array, pattern: str) -> pa.Array:
    return pc.if_else(pc.match_substring_regex(texts, pattern), texts, None)


def _decode(texts: pa.Array) -> pa.Array:
    """Decoded base64; null for invalid base64."""
    try:
        return _decode_joined(texts)
    except binascii.Error:
        return pa.array([_decode_one(text) for text in texts.to_pylist()], pa.binary())


def _decode_joined(texts: pa.Array) -> pa.Array:
    """Decodes all values with one call of binascii: padding is decoded as data, and the extra bytes are removed afterwards.

    Raises binascii.Error if a value is not base64.
    """
    lengths = pc.fill_null(pc.binary_length(texts), 0)
    ends = pc.add(pc.cast(pc.ends_with(texts, "="), pa.int8()), pc.cast(pc.ends_with(texts, "=="), pa.int8()))
    whole = pa.ListArray.from_arrays(
        pa.array([0, len(texts) - texts.null_count], pa.int32()), texts.drop_null()
    )
    joined: bytes = pc.binary_join(whole, "")[0].as_buffer().to_pybytes()
    if _sum(pc.bit_wise_and(lengths, 3)) or joined.count(b"=") != _sum(ends):
        raise binascii.Error
    return _cut(binascii.a2b_base64(joined.replace(b"=", b"A"), strict_mode=True), lengths, ends)


def _sum(numbers: pa.Array) -> int:
    return pc.sum(numbers).as_py() or 0


def _cut(decoded: bytes, lengths: pa.Array, ends: pa.Array) -> pa.Array:
    """The values in `decoded`, each without its last `ends` bytes; null where `ends` is null."""
    sizes = pc.multiply(pc.shift_right(lengths, 2), 3)
    offsets = pa.concat_arrays([pa.array([0], pa.int32()), pc.cast(pc.cumulative_sum(sizes), pa.int32())])
    whole = pa.Array.from_buffers(
        pa.binary(), len(sizes), [None, offsets.buffers()[1], pa.py_buffer(decoded)]
    )
    cut = pc.choose(ends, whole, pc.binary_slice(whole, 0, -1), pc.binary_slice(whole, 0, -2))
    return pc.if_else(pc.is_valid(ends), cut, None)


def _decode_one(text: str | None) -> bytes | None:
    try:
        return None if text is None else binascii.a2b_base64(text, strict_mode=True)
    except (binascii.Error, ValueError):
        return None


def _one(column: pa.ChunkedArray) -> Any:
    return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()
