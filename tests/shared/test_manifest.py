"""A manifest makes a folder an export; readers trust nothing in it that they can check."""

import base64
import gzip
import hashlib
import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ddb_shared import manifest as manifests
from ddb_shared.errors import ExportError
from ddb_shared.manifest import Manifest, Shard
from support.memory import MemoryFolder

DATA = Path(__file__).parents[1] / "data"
AWS_ID, OUR_ID = "01715685260608-c488b4e1", "01732350000000-0badcafe"


def aws_export(prefix: str = f"dynamodb-export/AWSDynamoDB/{AWS_ID}") -> MemoryFolder:
    return MemoryFolder.of(DATA / "aws-export", prefix)


def our_export(prefix: str = f"moves/AWSDynamoDB/{OUR_ID}") -> MemoryFolder:
    return MemoryFolder.of(DATA / "ddb-transfer-1", prefix)


def changed(**changes: Any) -> MemoryFolder:
    """Our sample with changes to its manifest."""
    folder = our_export()
    document = json.loads(folder.files["manifest.json"]) | changes
    folder.files["manifest.json"] = json.dumps(document).encode()
    return folder


def our_shards() -> list[dict[str, Any]]:
    shards: list[dict[str, Any]] = json.loads(our_export().files["manifest.json"])["shards"]
    return shards


def test_a_manifest_of_version_1_is_read_for_ever() -> None:
    """The sample was written by the first release; what a reader makes of it never changes."""
    manifest = manifests.read(our_export())
    assert (OUR_ID, 3, 2) == (manifest.export_id, manifest.items, len(manifest.shards))
    assert manifest.source.table_arn == "arn:aws:dynamodb:eu-central-1:111111111111:table/Orders"
    assert manifest.table["KeySchema"] == [{"AttributeName": "id", "KeyType": "HASH"}]
    assert ["0000-000000.json.gz", "0001-000000.json.gz"] == [shard.name for shard in manifest.shards]


def test_a_manifest_without_what_came_later_is_read() -> None:
    """Settings of the table, Parquet's columns and ETags were added within the version: what is absent is unknown."""
    older = json.loads(our_export().files["manifest.json"])
    older.pop("settings", None)
    older["options"].pop("columns", None)
    for shard in older["shards"]:
        shard.pop("etag", None)
        shard.pop("sha256", None)
    folder = our_export()
    folder.files["manifest.json"] = json.dumps(older).encode()
    manifest = manifests.read(folder)
    assert (manifest.settings, manifest.options.columns) == ({}, [])
    assert {(shard.etag, shard.sha256) for shard in manifest.shards} == {("", "")}


def test_members_of_a_later_release_are_passed_over() -> None:
    """Additions keep the version; a change that a reader must know makes a new one."""
    assert manifests.read(changed(invented_later={"x": 1})) == manifests.read(our_export())


@pytest.mark.parametrize("member", ["options", "source", "table", "shards", "items"])
def test_a_manifest_that_lacks_a_member_is_damaged(member: str) -> None:
    """The message names the member."""
    folder = our_export()
    document = json.loads(folder.files["manifest.json"])
    del document[member]
    folder.files["manifest.json"] = json.dumps(document).encode()
    with pytest.raises(ExportError, match=f"damaged: .*`{member}`"):
        manifests.read(folder)


@pytest.mark.parametrize("export", [our_export, aws_export])
def test_the_samples_are_true(export: Any) -> None:
    """Every shard that a sample names is there, with its items and its checksum."""
    folder = export()
    for shard in manifests.read(folder).shards:
        stored = folder.files[manifests.shard_name(folder, shard)]
        assert shard.md5 == base64.b64encode(hashlib.md5(stored).digest()).decode()
        assert shard.items == gzip.decompress(stored).count(b"\n")
        assert shard.stored_bytes in (-1, len(stored))


def test_an_export_of_aws_is_read() -> None:
    """ExportTableToPointInTime's two manifests, in its own bytes; what they do not say is unknown, not zero."""
    manifest = manifests.read(aws_export())
    assert (AWS_ID, "aws-export", 3) == (manifest.export_id, manifest.method, manifest.items)
    source = manifest.source
    assert ("Orders", "111111111111", "eu-central-1") == (source.table_name, source.account, source.region)
    assert [2, 1, 0] == [shard.items for shard in manifest.shards]
    assert {-1} == {shard.bytes for shard in manifest.shards} | {
        shard.stored_bytes for shard in manifest.shards
    }


def test_our_manifests_for_others_have_awss_form() -> None:
    """Member for member as in AWS's own files: order, spacing, the newline at the end, and the .md5 beside them."""
    folder, genuine = our_export(), aws_export()
    manifests.write_aws(folder, manifests.read(folder))
    for name in ("manifest-summary", "manifest-files"):
        ours, theirs = folder.files[f"{name}.json"], genuine.files[f"{name}.json"]
        first, model = ours.splitlines()[0], theirs.splitlines()[0]
        assert list(json.loads(model)) == list(json.loads(first))
        assert json.dumps(json.loads(first), separators=(",", ":")).encode() == first
        assert ours.endswith(b"}\n")
        assert base64.b64encode(hashlib.md5(ours).digest()) == folder.files[f"{name}.md5"]
    summary = json.loads(folder.files["manifest-summary.json"])
    assert summary["exportArn"] == f"{summary['tableArn']}/export/{OUR_ID}"
    assert summary["s3Prefix"] == "moves"
    assert summary["manifestFilesS3Key"] == f"moves/AWSDynamoDB/{OUR_ID}/manifest-files.json"


def test_our_export_reads_the_same_through_awss_manifests() -> None:
    """Keys, counts and checksums agree between both."""
    folder = our_export()
    ours = manifests.read(folder)
    manifests.write_aws(folder, ours)
    del folder.files["manifest.json"]
    theirs = manifests.read(folder)
    facts = [[(s.key, s.items, s.md5, s.etag) for s in one.shards] for one in (ours, theirs)]
    assert facts[0] == facts[1]
    assert (ours.items, ours.source) == (theirs.items, theirs.source)


def test_what_is_written_is_read() -> None:
    """The round trip loses nothing, and the manifest is written once only."""
    manifest = manifests.read(our_export())
    folder = MemoryFolder(f"moves/AWSDynamoDB/{OUR_ID}")
    manifests.write(folder, manifest)
    assert manifest == manifests.read(folder)
    with pytest.raises(ExportError, match="has a manifest already"):
        manifests.write(folder, manifest)


@pytest.mark.parametrize("export", [our_export, aws_export])
@pytest.mark.parametrize("prefix", ["AWSDynamoDB/{}", "other/place/AWSDynamoDB/{}", "x/{}", "{}"])
def test_an_export_may_be_copied_to_another_prefix(export: Any, prefix: str) -> None:
    """Keys are taken from the export's folder on, and looked for where the manifest was found."""
    folder = export(prefix.format(AWS_ID if export is aws_export else OUR_ID))
    names = [manifests.shard_name(folder, shard) for shard in manifests.read(folder).shards]
    assert all(name in folder.files for name in names)


@pytest.mark.parametrize("version", ["ddb-transfer/2", "ddb-transfer/1.1", "", "something"])
def test_an_unknown_format_is_refused(version: str) -> None:
    """The message names both formats and what to do."""
    with pytest.raises(ExportError, match=r"reads 'ddb-transfer/1'") as caught:
        manifests.read(changed(format=version))
    assert repr(version) in caught.value.message
    assert "version of ddb-transfer that made the export" in caught.value.remedy


@pytest.mark.parametrize(
    "key",
    [
        f"moves/AWSDynamoDB/{OUR_ID}/data/../../secret.json.gz",
        f"moves/AWSDynamoDB/{OUR_ID}/data/sub/x.json.gz",
        f"moves/AWSDynamoDB/{OUR_ID}/manifest.json",
        f"moves/AWSDynamoDB/{OUR_ID}/data/",
        f"moves/AWSDynamoDB/{OUR_ID}/data/..",
        f"moves/AWSDynamoDB/{OUR_ID}/data/.hidden",
        f"moves/AWSDynamoDB/{OUR_ID}/database/x.json.gz",
        f"moves/xAWSDynamoDB/{OUR_ID}/data/x.json.gz",
        f"moves/AWSDynamoDB/{AWS_ID}/data/x.json.gz",
        f"moves/AWSDynamoDB/{OUR_ID}x/data/x.json.gz",
        f"moves/awsdynamodb/{OUR_ID}/data/x.json.gz",
        f"moves/AWSDynamoDB/{OUR_ID}/data/x.json.gz\n",
        f"moves/AWSDynamoDB/{OUR_ID}/data/x\\..\\y.json.gz",
        "/etc/passwd",
        "s3://other/x.json.gz",
        "x.json.gz",
        "",
    ],
)
def test_a_key_outside_of_the_exports_folder_is_refused(key: str) -> None:
    """A manifest is input from another account: it must not make us read anything else."""
    first, *others = our_shards()
    with pytest.raises(ExportError, match="outside of the export's own folder") as caught:
        manifests.read(changed(shards=[first | {"key": key}, *others]))
    assert repr(key) in caught.value.message


_PARTS = st.sampled_from(
    ["AWSDynamoDB", OUR_ID, AWS_ID, "data", "..", ".", "", "moves", "x.json.gz", "0000-000000.json.gz", "%2e%2e", "\\", "s3:"]
)  # fmt: skip


@given(key=st.lists(_PARTS, max_size=9).map("/".join) | st.text(max_size=40))
def test_no_key_that_lies_elsewhere_is_accepted(key: str) -> None:
    """Whatever is accepted ends in the folder of this export and becomes one plain name below data/."""
    folder = our_export()
    shard = Shard(key=key, segment=0, items=0, bytes=0, stored_bytes=0, md5="")
    try:
        name = manifests.shard_name(folder, shard)
    except ExportError:
        return
    directory, _, file = name.partition("/")
    assert directory == "data"
    assert file.strip(".")
    assert not set(file) & set("/\\%\n:")
    assert ("/" + key).endswith(f"/AWSDynamoDB/{OUR_ID}/data/{file}")
    assert file == shard.name


def test_a_shard_listed_twice_is_refused() -> None:
    """Its items would be counted twice and loaded once."""
    first, _ = our_shards()
    with pytest.raises(ExportError, match="twice"):
        manifests.read(changed(shards=[first, first], items=4))


def test_sums_that_do_not_add_up_are_refused() -> None:
    """A manifest that was cut or mended by hand is found at once, ours and AWS's."""
    with pytest.raises(ExportError, match="do not add up to 4 items"):
        manifests.read(changed(items=4))
    folder = aws_export()
    folder.files["manifest-files.json"] = b"".join(
        folder.files["manifest-files.json"].splitlines(keepends=True)[1:]
    )
    with pytest.raises(ExportError, match="do not add up to 3 items"):
        manifests.read(folder)


@pytest.mark.parametrize("name", ["manifest.json", "manifest-summary.json", "manifest-files.json"])
@pytest.mark.parametrize(
    "damage", [b"", b"{", b"\xff\xfe", b'{"format":"\xff"}', b"[]", b'{"format":"ddb-transfer/1"}']
)
def test_a_damaged_manifest_is_told(name: str, damage: bytes) -> None:
    """Whatever the damage: an error that names the place, never a traceback."""
    folder = our_export() if name == "manifest.json" else aws_export()
    folder.files[name] = damage
    with pytest.raises(ExportError) as caught:
        manifests.read(folder)
    assert folder.url in caught.value.message


@given(cut=st.integers(0, 1_900))
def test_a_manifest_that_was_cut_is_told(cut: int) -> None:
    """At any byte."""
    folder = our_export()
    folder.files["manifest.json"] = folder.files["manifest.json"][:cut]
    with pytest.raises(ExportError, match="damaged"):
        manifests.read(folder)


def test_members_of_a_later_minor_version_are_ignored() -> None:
    """A field that is added leaves the format's number."""
    assert manifests.read(changed(new_member={"x": 1})).items == 3


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"outputFormat": "ION"}, "in ION"),
        ({"exportType": "INCREMENTAL_EXPORT"}, "INCREMENTAL_EXPORT"),
    ],
)
def test_exports_of_aws_in_other_forms_are_refused(change: dict[str, str], what: str) -> None:
    """Ion and incremental exports are named for what they are."""
    folder = aws_export()
    summary = json.loads(folder.files["manifest-summary.json"]) | change
    folder.files["manifest-summary.json"] = json.dumps(summary).encode()
    with pytest.raises(ExportError, match=what):
        manifests.read(folder)


def test_a_folder_without_a_manifest_says_why() -> None:
    """Unfinished, copied in part, or no export at all are three different messages."""
    folder = MemoryFolder()
    with pytest.raises(ExportError, match="There is no export"):
        manifests.read(folder)
    folder.files["_started"] = b"{}"
    with pytest.raises(ExportError, match="unfinished") as caught:
        manifests.read(folder)
    assert f"ddb-export --resume {folder.url}" in caught.value.remedy
    partly = aws_export()
    del partly.files["manifest-files.json"]
    with pytest.raises(ExportError, match=r"manifest-files\.json is missing"):
        manifests.read(partly)


def test_export_ids_have_awss_form() -> None:
    """14 digits of milliseconds, a dash, 8 hexadecimal digits, never the same twice."""
    made = {manifests.new_export_id(1_715_685_260.608) for _ in range(100)}
    assert len(made) == 100
    for one in made:
        assert one.startswith("01715685260608-")
        assert one == manifests.export_id_of(MemoryFolder(f"p/AWSDynamoDB/{one}"))


@pytest.mark.parametrize(
    "prefix", ["", "moves", "AWSDynamoDB", f"AWSDynamoDB/{AWS_ID}/data", f"AWSDynamoDB/{AWS_ID.upper()}"]
)
def test_another_folder_is_no_exports(prefix: str) -> None:
    """The message shows what a folder of an export looks like."""
    with pytest.raises(ExportError, match="is not the folder of an export"):
        manifests.export_id_of(MemoryFolder(prefix))


def test_a_manifest_is_text_that_people_can_read() -> None:
    """One member a line, and a newline at the end."""
    folder = MemoryFolder(f"moves/AWSDynamoDB/{OUR_ID}")
    manifests.write(folder, manifests.read(our_export()))
    text = folder.files["manifest.json"]
    assert text.endswith(b"}\n")
    assert text.count(b"\n") > 50
    assert msgspec.json.decode(text, type=Manifest).export_id == OUR_ID
