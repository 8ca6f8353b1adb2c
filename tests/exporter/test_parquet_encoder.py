"""Items become Parquet: `item` as it came, and what fits a typed column is shown there, exactly."""

import base64
import io
import json
import random
from decimal import Decimal
from typing import Any

import msgspec
import polars as pl
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ddb_export import parquet_encoder
from ddb_export.columns import choose_columns
from ddb_export.encoders import open_encoder
from ddb_export.encoding import Encoding
from ddb_shared.format.columns import Column
from ddb_shared.format.manifest import PARQUET
from ddb_shared.table.description import KeyAttribute
from support.items import conformance_items, items_strategy
from support.varied import varied_items

KEY = (KeyAttribute("pk", "S", "HASH"), KeyAttribute("sk", "N", "RANGE"))


def encoded(items: list[dict[str, Any]]) -> list[bytes]:
    """Items as DynamoDB sends them."""
    return [json.dumps(item, default=lambda data: base64.b64encode(data).decode()).encode() for item in items]


def parquet(lines: list[bytes], columns: tuple[Column, ...], **options: Any) -> bytes:
    """One file, of pages of a hundred items."""
    encoder = open_encoder(Encoding(format=PARQUET, compression="zstd", columns=columns, **options))
    pages = [lines[start : start + 100] for start in range(0, len(lines), 100)]
    data = b"".join(encoder.add([msgspec.Raw(line) for line in page]) for page in pages) + encoder.finish()
    assert encoder.plain_bytes == sum(map(len, lines))
    return data


def rows(data: bytes) -> list[dict[str, Any]]:
    return pq.read_table(io.BytesIO(data)).to_pylist()  # type: ignore[no-any-return]


def shown(line: bytes, column: Column) -> Any:
    """What a column should show of an item, by Python's own arithmetic."""
    content = json.loads(line).get(column.attribute, {}).get(column.tag)
    if content is None or column.tag in {"S", "SS", "BOOL"}:
        return content
    elements = content if column.element != column.type else [content]
    values = [_shown(element, column.element) for element in elements]
    whole = None if any(value is None for value in values) else values
    return whole if column.element != column.type else values[0]


def _shown(text: str, kind: str) -> Any:
    if kind == "binary":
        return base64.b64decode(text)
    if kind == "double":
        return float(text)
    if kind == "int64":
        fits = text.lstrip("-").isdigit() and -(2**63) <= int(text) < 2**63
        return int(text) if fits else None
    scale = int(kind.removeprefix("decimal(38,").removesuffix(")"))
    whole, _, fraction = text.lstrip("-").partition(".")
    plain = (whole + fraction).isdigit()
    return Decimal(text) if plain and len(fraction) <= scale and len(whole) <= 38 - scale else None


def assert_shown(lines: list[bytes], columns: tuple[Column, ...]) -> None:
    """`item` is the bytes; each column shows what it should."""
    found = rows(parquet(lines, columns))
    assert [line.decode() for line in lines] == [row["item"] for row in found]
    for line, row in zip(lines, found, strict=True):
        assert {c.name: shown(line, c) for c in columns} == {c.name: row[c.name] for c in columns}


def test_typed_columns_show_what_the_items_hold() -> None:
    """Of a table of every type, by columns chosen from it."""
    items = list(varied_items(450))
    lines = encoded(items)
    columns = choose_columns([json.loads(line) for line in lines], KEY)
    assert {
        "total": "decimal(38,2)",
        "scores": "list<int64>",
        "digest": "binary",
        "keys": "list<binary>",
    }.items() <= {column.attribute: column.type for column in columns}.items()
    assert_shown(lines, columns)


def test_the_edges_of_every_type() -> None:
    """Items at DynamoDB's limits: numbers that no column takes are null in it, and stay in `item`."""
    lines = encoded(conformance_items())
    attributes = {name: tag for line in lines for name, value in json.loads(line).items() for tag in value}
    types = {"S": "string", "N": "decimal(38,2)", "B": "binary", "BOOL": "bool"}
    types |= {"SS": "list<string>", "NS": "list<int64>", "BS": "list<binary>"}
    columns = tuple(
        Column(attribute=name, name=f"c{number}", type=types[tag])
        for number, (name, tag) in enumerate(attributes.items())
        if tag in types
    )
    found = rows(parquet(lines, columns))
    assert [line.decode() for line in lines] == [row["item"] for row in found]


@given(items_strategy(max_items=12), st.sampled_from(["int64", "double", "decimal(38,0)", "decimal(38,5)"]))
def test_any_item_is_kept(items: list[dict[str, Any]], number: str) -> None:
    """Legal items of any attributes, with columns chosen from them; numbers by Python's arithmetic."""
    lines = encoded(items)
    columns = [c for c in choose_columns([json.loads(line) for line in lines], KEY) if c.attribute != "sk"]
    columns.append(Column(attribute="sk", name="sk", type=number))
    found = rows(parquet(lines, tuple(columns)))
    assert [line.decode() for line in lines] == [row["item"] for row in found]
    for line, row in zip(lines, found, strict=True):
        for column in columns:
            text = json.loads(line).get(column.attribute, {})
            if column.tag not in {"N", "NS"} or not any("e" in str(t).lower() for t in text.values()):
                assert shown(line, column) == row[column.name]


ODD = [
    b'{"pk":{"S":5}}',
    b'{"pk":"x"}',
    b'{"pk":{"S":"a"},"pk":{"S":"b"}}',
    b'{"pk":{"S":"\\ud800"}}',
    b'{"zz":1e999999}',
    b'{"b":{"B":"no base64!"}}',
    b'{"b":{"B":"QQ"}}',
    b'{"b":{"B":"Q==="}}',
    b'{"b":{"B":"=QQ="}}',
    b'{"b":{"B":"QQ==QQ=="}}',
    b'{"bs":{"BS":["QQ==","?"]}}',
    b'{"sk":{"N":"many"}}',
    b'{"sk":{"N":""}}',
    b'{"sk":{"N":1}}',
    b'{"sk":{"N":"99999999999999999999"}}',
    b'{"sk":{"N":"9223372036854775808"}}',
    b'{"sk":{"N":"1.5"}}',
    b'{"ns":{"NS":["1","x"]}}',
    b'{"ns":{"NS":["1",null]}}',
    b'{"pk":{"NULL":true},"sk":{"NULL":true}}',
    b'{"pk":{"M":{"S":{"S":"inner"}}}}',
    b'{"pk":null}',
    b"{}",
    b'{"pk":{}}',
    b"[1]",
    b"5",
]
ODD_COLUMNS = tuple(
    Column(attribute=name, name=name, type=kind)
    for name, kind in {
        "pk": "string",
        "sk": "int64",
        "b": "binary",
        "bs": "list<binary>",
        "ns": "list<int64>",
    }.items()
)


@pytest.mark.parametrize("odd", ODD, ids=lambda line: line.decode())
def test_a_value_that_fits_no_column_loses_nothing(odd: bytes) -> None:
    """Null in the column; the item is whole, and so are the columns of its neighbours."""
    good = b'{"pk":{"S":"g"},"sk":{"N":"7"},"b":{"B":"QUI="},"bs":{"BS":["QQ=="]},"ns":{"NS":["1"]}}'
    before, found, after = rows(parquet([good, odd, good], ODD_COLUMNS))
    whole = {"pk": "g", "sk": 7, "b": b"AB", "bs": [b"A"], "ns": [1], "item": good.decode()}
    assert before == after == whole
    assert found == dict.fromkeys(whole) | {"item": odd.decode()}


def test_newlines_between_tokens_are_left_out() -> None:
    """A service may send white space; the reader of lines must not see a line's end in it."""
    encoder = open_encoder(Encoding(format=PARQUET, compression="none", columns=ODD_COLUMNS[:1]))
    (row,) = rows(encoder.add([msgspec.Raw(b'{\n"pk":\n{"S":"a\\nb"}}')]) + encoder.finish())
    assert ("a\nb", '{"pk":{"S":"a\\nb"}}') == (row["pk"], row["item"])


def test_a_file_without_items_has_its_columns() -> None:
    """It takes the place of a stray shard; readers of the folder need its schema."""
    data = parquet([], ODD_COLUMNS)
    assert ([], [*(c.name for c in ODD_COLUMNS), "item"]) == (
        rows(data),
        pq.read_schema(io.BytesIO(data)).names,
    )


def test_the_file_says_what_it_is() -> None:
    """Key-value metadata, and statistics of the typed columns but not of `item`."""
    data = parquet(encoded(list(varied_items(200))), ODD_COLUMNS, metadata=(("ddb-transfer.table", "arn"),))
    metadata = pq.read_metadata(io.BytesIO(data))
    assert metadata.metadata[b"ddb-transfer.table"] == b"arn"
    group = metadata.row_group(0)
    columns = {group.column(i).path_in_schema: group.column(i) for i in range(group.num_columns)}
    assert (columns["sk"].statistics.min, columns["sk"].statistics.max) == (0, 199)
    assert columns["item"].statistics is None


@pytest.mark.parametrize("compression", ["gzip", "zstd", "none"])
def test_row_groups_end_by_size(compression: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Bounded by bytes, so that items of 400 KB and of 100 bytes take the same memory; Polars reads each compression."""
    monkeypatch.setattr(parquet_encoder, "ROW_GROUP_BYTES", 50_000)
    chance = random.Random(1)
    items = [
        {"pk": {"S": "x"}, "b": {"B": chance.randbytes(chance.choice([10, 40_000]))}} for _ in range(300)
    ]
    lines = encoded(items)
    encoder = open_encoder(Encoding(format=PARQUET, compression=compression, columns=ODD_COLUMNS))
    data = b"".join(encoder.add([msgspec.Raw(line)]) for line in lines) + encoder.finish()
    metadata = pq.read_metadata(io.BytesIO(data))
    sizes = [
        metadata.row_group(i).column(metadata.num_columns - 1).total_uncompressed_size
        for i in range(metadata.num_row_groups)
    ]
    assert metadata.num_row_groups > 50
    assert max(sizes) < 50_000 + 60_000
    assert [line.decode() for line in lines] == pl.read_parquet(io.BytesIO(data))["item"].to_list()


def test_a_shard_ends_before_its_footer_is_large(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each column of each row group costs memory wherever the file is open, so 1,000 columns make smaller shards."""
    monkeypatch.setattr(parquet_encoder, "ROW_GROUP_BYTES", 1)
    monkeypatch.setattr(parquet_encoder, "MAX_COLUMN_CHUNKS", 3 * (len(ODD_COLUMNS) + 1))
    encoder = open_encoder(Encoding(format=PARQUET, compression="zstd", columns=ODD_COLUMNS))
    full = []
    for line in encoded([{"pk": {"S": str(n)}} for n in range(4)]):
        encoder.add([msgspec.Raw(line)])
        full.append(encoder.is_full)
    assert full == [False, False, True, True]


def test_the_columns_of_a_thousand_attributes() -> None:
    """As wide as it gets."""
    items = [{"pk": {"S": str(n)}} | {f"a{i}": {"N": str(n + i)} for i in range(1_000)} for n in range(20)]
    lines = encoded(items)
    columns = choose_columns([json.loads(line) for line in lines], KEY[:1])
    assert len(columns) == 1_001
    assert_shown(lines, columns)
