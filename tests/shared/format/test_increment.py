"""AWS's increments: which lines are changes of which kind, and manifests that are believed only as far as they can be checked."""

import datetime as dt
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ddb_shared.errors import ExportError
from ddb_shared.format import increment
from ddb_shared.format import manifest as manifests
from ddb_shared.format.increment import NEW_AND_OLD_IMAGES, NEW_IMAGE, decode_lines
from support.memory import MemoryFolder

EXPORT_ID = "01715685260608-c488b4e1"
SUMMARY = {
    "version": "2023-08-01",
    "exportArn": f"arn:aws:dynamodb:eu-central-1:164221962816:table/T/export/{EXPORT_ID}",
    "startTime": "2024-05-14T11:14:20.608Z",
    "endTime": "2024-05-14T11:19:26.869Z",
    "tableArn": "arn:aws:dynamodb:eu-central-1:164221962816:table/T",
    "tableId": "11991185-e7ab-4da5-8bab-03f0db0b7bfd",
    "exportFromTime": "2024-05-14T10:00:00.000Z",
    "exportToTime": "2024-05-14T10:15:00.000Z",
    "s3Bucket": "bucket",
    "s3Prefix": "p",
    "s3SseAlgorithm": "AES256",
    "s3SseKmsKeyId": None,
    "manifestFilesS3Key": f"p/AWSDynamoDB/{EXPORT_ID}/manifest-files.json",
    "billedSizeBytes": 19,
    "itemCount": 3,
    "outputFormat": "DYNAMODB_JSON",
    "outputView": NEW_AND_OLD_IMAGES,
    "exportType": "INCREMENTAL_EXPORT",
}
FILES = [
    {"itemCount": 1, "md5Checksum": "rzAeIrtALbOlNdK5Hh8tgA==", "etag": "a-1", "dataFileS3Key": "p/AWSDynamoDB/data/bb.json.gz"},
    {"itemCount": 2, "md5Checksum": "rzAeIrtALbOlNdK5Hh8tgA==", "etag": "b-1", "dataFileS3Key": "p/AWSDynamoDB/data/aa.json.gz"},
]  # fmt: skip
KEYS = b'"Keys":{"pk":{"S":"a"}}'
OLD = b',"OldImage":{"pk":{"S":"a"},"v":{"N":"1"}}'
NEW = b',"NewImage":{"pk":{"S":"a"},"v":{"N":"2"}}'


def export(files: list[dict[str, Any]] = FILES, **changes: Any) -> MemoryFolder:
    summary = {name: value for name, value in (SUMMARY | changes).items() if value != "absent"}
    return MemoryFolder(
        f"p/AWSDynamoDB/{EXPORT_ID}",
        {
            "manifest-summary.json": json.dumps(summary).encode() + b"\n",
            "manifest-files.json": b"".join(json.dumps(file).encode() + b"\n" for file in files),
        },
    )


def line(members: bytes) -> bytes:
    return b'{"Metadata":{"WriteTimestampMicros":{"N":"1690000000123456"}},' + members + b"}"


def test_an_increment_is_read() -> None:
    """Its window, its view, and the files that its manifest names in the shared folder."""
    found = increment.read(export())
    assert found is not None
    assert dt.datetime(2024, 5, 14, 10, tzinfo=dt.UTC) == found.window.start
    assert dt.timedelta(minutes=15) == found.window.end - found.window.start
    assert "2024-05-14T10:00:00.000Z to 2024-05-14T10:15:00.000Z" == str(found.window)
    assert (EXPORT_ID, 3, NEW_AND_OLD_IMAGES) == (found.manifest.export_id, found.manifest.items, found.view)
    assert [("aa.json.gz", 2), ("bb.json.gz", 1)] == [(s.name, s.items) for s in found.manifest.shards]
    assert "s3://bucket/p/AWSDynamoDB/" == increment.data_folder(export()).url


def test_an_increment_in_ion_is_read() -> None:
    """Its form is recorded; its files are named .ion.gz."""
    found = increment.read(export(outputFormat="ION"))
    assert found is not None
    assert "ion" == found.manifest.options.format


def test_other_exports_are_no_increments() -> None:
    """A full export of AWS, one of ours, and none."""
    assert increment.read(export(exportType="FULL_EXPORT")) is None
    assert increment.read(export(exportType=None)) is None
    assert increment.read(MemoryFolder()) is None
    ours = export()
    ours.files[manifests.MANIFEST] = b"{}"
    assert increment.read(ours) is None


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"outputFormat": "PARQUET"}, "an increment in PARQUET"),
        ({"outputView": "absent"}, "outputView None"),
        ({"outputView": "OLD_IMAGE"}, "outputView 'OLD_IMAGE'"),
        ({"exportFromTime": "absent"}, "is not a time"),
        ({"exportToTime": "yesterday"}, "'yesterday' is not a time"),
        ({"exportToTime": "2024-05-14T10:00:00.000Z"}, "its window is"),
        ({"itemCount": 4}, "do not add up to 4"),
        ({"tableArn": "T"}, "does not name a table"),
    ],
)
def test_a_manifest_that_cannot_be_is_refused(changes: dict[str, Any], message: str) -> None:
    """With the member that is wrong."""
    with pytest.raises(ExportError, match=message):
        increment.read(export(**changes))


@pytest.mark.parametrize(
    "key",
    [
        f"p/AWSDynamoDB/{EXPORT_ID}/data/aa.json.gz",
        "p/AWSDynamoDB/data/../aa.json.gz",
        "p/AWSDynamoDB/import/aa.json.gz",
        "other/data/aa.json.gz",
        "p/AWSDynamoDB/data/",
    ],
)
def test_a_file_outside_of_the_shared_folder_is_refused(key: str) -> None:
    """A manifest is input from another account."""
    with pytest.raises(ExportError, match="outside the export's own folder"):
        increment.read(export([FILES[0], FILES[1] | {"dataFileS3Key": key}]))


@pytest.mark.parametrize(
    ("members", "view", "kind"),
    [
        (KEYS + NEW, NEW_IMAGE, "put"),
        (KEYS + NEW, NEW_AND_OLD_IMAGES, "put"),
        (KEYS + OLD + NEW, NEW_AND_OLD_IMAGES, "put"),
        (KEYS, NEW_IMAGE, "delete"),
        (KEYS + OLD, NEW_AND_OLD_IMAGES, "delete"),
        (KEYS, NEW_AND_OLD_IMAGES, "neither"),
        (KEYS + OLD, NEW_IMAGE, "neither"),
    ],
)
def test_what_a_line_means_depends_on_the_view(members: bytes, view: str, kind: str) -> None:
    """A new image is a put; a delete has its keys alone, or its old image, as the view says. Anything else is neither."""
    (change,) = decode_lines([line(members)])
    assert change is not None
    found = "put" if change.is_put else "delete" if change.is_delete(view) else "neither"
    assert kind == found
    assert b'{"pk":{"S":"a"}}' == bytes(change.keys)


BAD = [
    b"no json",
    b"{}",
    b"[]",
    b'{"Item":{}}',
    line(b'"Keys":{"pk":{"S":"\xff"}}'),
    b"[" * 50_000,
    line(KEYS)[:-1],
]


@given(places=st.lists(st.one_of(st.none(), st.sampled_from(BAD)), min_size=1, max_size=25))
def test_a_line_that_is_no_change_spoils_no_other(places: list[bytes | None]) -> None:
    """Each line is judged by itself, in its place."""
    lines = [line(KEYS + NEW) if bad is None else bad for bad in places]
    assert [bad is None for bad in places] == [change is not None for change in decode_lines(lines)]
