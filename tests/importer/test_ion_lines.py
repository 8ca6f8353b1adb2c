"""An item of an Ion export is the same item as DynamoDB JSON."""

import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ddb_import.ion_lines import is_blank, is_ion, json_lines, require_ion
from ddb_import.verify.canonical import canonical
from ddb_shared.errors import UsageError
from ddb_shared.format.increment import decode_lines
from support.aws_exports import ion_change_line, ion_line, json_line
from support.items import conformance_items, values

ITEMS = st.dictionaries(st.text(min_size=1, max_size=8), values(), max_size=5)


def converted(item: dict[str, Any]) -> bytes:
    (line,) = json_lines([ion_line(item).rstrip(b"\n")])
    return line


def same(item: dict[str, Any]) -> None:
    line = converted(item)
    expected = json_line(item).rstrip(b"\n")
    assert list(json.loads(line)) == ["Item"]
    assert canonical(_item(expected)) == canonical(_item(line))


def _item(line: bytes) -> bytes:
    return line.removeprefix(b'{"Item":').removesuffix(b"}")


@given(ITEMS)
def test_any_item_arrives(item: dict[str, Any]) -> None:
    """Decimals of 38 digits at any exponent, blobs, sets, nested lists and maps, any name."""
    same(item)


def test_items_at_every_limit_arrive() -> None:
    """Names of 60,000 bytes, items of 400 KB, 31 levels, numbers of 126 digits."""
    for item in conformance_items():
        same(item)


def test_the_documented_sample_is_read() -> None:
    """The line of AWS's documentation."""
    line = (
        b'$ion_1_0 {Item:{Authors:$dynamodb_SS::["Author1","Author2"],Dimensions:"8.5 x 11.0 x 1.5",ISBN:"333-3333333333",'
        b'Id:103.,InPublication:false,PageCount:6d2,Price:2d3,ProductCategory:"Book",Title:"Book 103 Title"}}'
    )
    item = json.loads(json_lines([line])[0])["Item"]
    assert item == {
        "Authors": {"SS": ["Author1", "Author2"]},
        "Dimensions": {"S": "8.5 x 11.0 x 1.5"},
        "ISBN": {"S": "333-3333333333"},
        "Id": {"N": "103"},
        "InPublication": {"BOOL": False},
        "PageCount": {"N": "600"},
        "Price": {"N": "2000"},
        "ProductCategory": {"S": "Book"},
        "Title": {"S": "Book 103 Title"},
    }


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("103.", "103"),
        ("103", "103"),
        ("-0.", "0"),
        ("-0.50", "-0.5"),
        ("6d2", "600"),
        ("1d-3", "0.001"),
        ("0d5", "0"),
    ],
)
def test_numbers_are_spelled_as_dynamodb_does(text: str, number: str) -> None:
    """Without exponents, trailing zeros and minus zero."""
    (line,) = json_lines([b"{Item:{n:%s}}" % text.encode()])
    assert {"n": {"N": number}} == json.loads(line)["Item"]


def test_a_number_of_a_billion_digits_is_not_written_out() -> None:
    """DynamoDB refuses it, whatever its spelling."""
    (line,) = json_lines([b"{Item:{n:1d999999999}}"])
    assert len(line) < 100


@pytest.mark.parametrize("in_record", [True, False])
@given(new=ITEMS, old=ITEMS)
def test_any_change_arrives(in_record: bool, new: dict[str, Any], old: dict[str, Any]) -> None:
    """With the images that its line has, whether its members are in a Record or not."""
    keys = {"pk": {"S": "a"}, "sk": {"N": "1.50"}}
    text = ion_change_line(keys, new, old, in_record=in_record).rstrip(b"\n")
    (change,) = decode_lines(json_lines([text]))
    assert change is not None
    assert {"pk": {"S": "a"}, "sk": {"N": "1.5"}} == json.loads(bytes(change.keys))
    for expected, found in ((new, bytes(change.new_image)), (old, bytes(change.old_image))):
        assert bool(expected) == bool(found)
        assert not expected or canonical(_item(json_line(expected).rstrip(b"\n"))) == canonical(found)


def test_the_image_of_an_item_without_attributes_is_no_absence() -> None:
    """An empty image is there; Metadata may be of any form."""
    (change,) = decode_lines(json_lines([b"{Record:{Metadata:2024-01-01T,Keys:{a:1.},NewImage:{}}}"]))
    assert change is not None
    assert change.is_put


@pytest.mark.parametrize(
    "text",
    [
        b"$ion_1_0 {Item:{a:2e3}}",
        b"{Item:{a:symbol}}",
        b"{Item:{a:2007-01-01T}}",
        b'{Item:{a:{{"clob"}}}}',
        b"{Item:{a:(1 2)}}",
        b"{Item:{a:null.string}}",
        b"{Item:{a:nan}}",
        b'{Item:{a:other::["x"]}}',
        b'{Item:{a:$dynamodb_SS::["x",1.]}}',
        b"{Item:{a:$dynamodb_SS::1.}}",
        b"{Item:1.}",
        b'{Item:{},Other:"x"}',
        b"{Record:{NewImage:{a:1.}}}",
        b"{Record:{Keys:{a:1.}},Other:1.}",
        b"{Record:{Keys:{a:1.},Images:{}}}",
        b"{Record:{Keys:1.}}",
        b"{Keys:{a:1.},NewImage:null}",
        b"{Keys:{a:1.},OldImage:{b:2e3}}",
        b"{Record:{Item:{a:1.}}}",
        b"{}",
        b"[1.]",
        b'"text"',
        b"{Item:{",
        b"{Item:{}} {Item:{}}",
        b"{Item:{a:$99}}",
        b"\xff\xfe",
        b'{"Item":{"a":{"S":"json"}}',
        b"[" * 10_000,
    ],
)
def test_what_is_not_an_item_is_left_for_the_rejects(text: bytes) -> None:
    """Its line stays as it is, and the writer refuses it with its place; the lines around it are read."""
    good = b"{Item:{a:1.}}"
    assert [b'{"Item":{"a":{"N":"1"}}}', text, b'{"Item":{"a":{"N":"1"}}}'] == json_lines([good, text, good])


@given(st.binary(max_size=40))
def test_no_bytes_stop_the_reading(data: bytes) -> None:
    """Whatever a line holds."""
    (line,) = json_lines([data])
    assert data == line or list(json.loads(line)) == ["Item"]


def test_a_version_marker_alone_is_no_line() -> None:
    """It begins a line, and counts for nothing by itself."""
    assert is_blank(b"$ion_1_0 \r")
    assert is_blank(b" ")
    assert not is_blank(b"$ion_1_0 {Item:{}}")


def test_the_name_of_a_file_tells_its_form() -> None:
    """As AWS names them, compressed or not."""
    assert [True, True, False, False] == [is_ion(n) for n in ("a.ion.gz", "a.ion", "a.json.gz", "a.ion.json")]


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the command that installs it."""
    monkeypatch.setitem(__import__("sys").modules, "amazon.ion", None)
    with pytest.raises(UsageError) as caught:
        require_ion()
    assert "pip install '.[ion]'" in caught.value.remedy


def test_binary_sets_are_base64() -> None:
    """As DynamoDB JSON has them."""
    line = converted({"b": {"BS": [b"\x00\xff", b""]}})
    assert {base64.b64encode(b"\x00\xff").decode(), ""} == set(json.loads(line)["Item"]["b"]["BS"])
