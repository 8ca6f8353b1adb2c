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

from ddb_shared.errors import ExportError
from ddb_shared.format import aws_manifest
from ddb_shared.format import manifest as manifests
from ddb_shared.format.manifest import Manifest, Shard
from support.memory import MemoryFolder

DATA = Path(__file__).parents[2] / "data"
AWS_ID, OUR_ID = "01715685260608-c488b4e1", "01732350000000-0badcafe"


def aws_export(prefix: str = f"dynamodb-export/AWSDynamoDB/{AWS_ID}") -> MemoryFolder:
    return MemoryFolder.of(DATA / "aws-export", prefix)


def our_export(prefix: str = f"moves/AWSDynamoDB/{OUR_ID}") -> MemoryFolder:
    return MemoryFolder.of(DATA / "ddb-transfer-1", prefix)


def changed(**changes: Any) -> MemoryFolder:
    """Our sample with changes to its manifest."""
    storage = our_export()
    document = json.loads(storage.files["manifest.json"]) | changes
    storage.files["manifest.json"] = json.dumps(document).encode()
    return storage


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
    storage = our_export()
    storage.files["manifest.json"] = json.dumps(older).encode()
    manifest = manifests.read(storage)
    assert (manifest.settings, manifest.options.columns) == ({}, [])
    assert {(shard.etag, shard.sha256) for shard in manifest.shards} == {("", "")}


def test_members_of_a_later_release_are_passed_over() -> None:
    """Additions keep the version; a change that a reader must know makes a new one."""
    assert manifests.read(changed(invented_later={"x": 1})) == manifests.read(our_export())


@pytest.mark.parametrize("member", ["options", "source", "table", "shards", "items"])
def test_a_manifest_that_lacks_a_member_is_damaged(member: str) -> None:
    """The message names the member."""
    storage = our_export()
    document = json.loads(storage.files["manifest.json"])
    del document[member]
    storage.files["manifest.json"] = json.dumps(document).encode()
    with pytest.raises(ExportError, match=f"damaged: .*`{member}`"):
        manifests.read(storage)


@pytest.mark.parametrize("export", [our_export, aws_export])
def test_the_samples_are_true(export: Any) -> None:
    """Every shard that a sample names is there, with its items and its checksum."""
    storage = export()
    manifest = manifests.read(storage)
    for shard in manifest.shards:
        stored = storage.files[manifests.shard_name(storage, shard, manifest.export_id)]
        assert shard.md5 == base64.b64encode(hashlib.md5(stored).digest()).decode()
        assert shard.items == gzip.decompress(stored).count(b"\n")
        assert shard.stored_bytes in (-1, len(stored))


def test_an_export_of_aws_is_read() -> None:
    """ExportTableToPointInTime's two manifests, in its own bytes; what they do not say is unknown, not zero."""
    manifest = manifests.read(aws_export())
    assert (AWS_ID, "aws-export", 3) == (manifest.export_id, manifest.method, manifest.items)
    source = manifest.source
    assert ("Orders", "111111111111", "eu-central-1") == (source.table_name, source.account, source.region)
    assert [1, 0, 2] == [shard.items for shard in manifest.shards]
    assert {-1} == {shard.bytes for shard in manifest.shards} | {
        shard.stored_bytes for shard in manifest.shards
    }


def test_our_manifests_for_others_have_awss_form() -> None:
    """Member for member as in AWS's own files: order, spacing, the newline at the end, and the .md5 beside them."""
    storage, genuine = our_export(), aws_export()
    manifests.write_aws(storage, manifests.read(storage))
    for name in ("manifest-summary", "manifest-files"):
        ours, theirs = storage.files[f"{name}.json"], genuine.files[f"{name}.json"]
        first, model = ours.splitlines()[0], theirs.splitlines()[0]
        assert list(json.loads(model)) == list(json.loads(first))
        assert json.dumps(json.loads(first), separators=(",", ":")).encode() == first
        assert ours.endswith(b"}\n")
        assert base64.b64encode(hashlib.md5(ours).digest()) == storage.files[f"{name}.md5"]
    summary = json.loads(storage.files["manifest-summary.json"])
    assert summary["exportArn"] == f"{summary['tableArn']}/export/{OUR_ID}"
    assert summary["s3Prefix"] == "moves"
    assert summary["manifestFilesS3Key"] == f"moves/AWSDynamoDB/{OUR_ID}/manifest-files.json"


def test_our_export_reads_the_same_through_awss_manifests() -> None:
    """Keys, counts and checksums agree between both."""
    storage = our_export()
    ours = manifests.read(storage)
    manifests.write_aws(storage, ours)
    del storage.files["manifest.json"]
    theirs = manifests.read(storage)
    facts = [[(s.key, s.items, s.md5, s.etag) for s in one.shards] for one in (ours, theirs)]
    assert facts[0] == facts[1]
    assert (ours.items, ours.source) == (theirs.items, theirs.source)


def test_what_is_written_is_read() -> None:
    """The round trip loses nothing, and the manifest is written once only."""
    manifest = manifests.read(our_export())
    storage = MemoryFolder(f"moves/AWSDynamoDB/{OUR_ID}")
    manifests.write(storage, manifest)
    assert manifest == manifests.read(storage)
    with pytest.raises(ExportError, match="already has a manifest"):
        manifests.write(storage, manifest)


@pytest.mark.parametrize("export", [our_export, aws_export])
@pytest.mark.parametrize("prefix", ["AWSDynamoDB/{}", "other/place/AWSDynamoDB/{}", "x/{}", "{}"])
def test_an_export_may_be_copied_to_another_prefix(export: Any, prefix: str) -> None:
    """Keys are taken from the export's folder on, and looked for where the manifest was found."""
    storage = export(prefix.format(AWS_ID if export is aws_export else OUR_ID))
    manifest = manifests.read(storage)
    names = [manifests.shard_name(storage, shard, manifest.export_id) for shard in manifest.shards]
    assert all(name in storage.files for name in names)


@pytest.mark.parametrize("version", ["ddb-transfer/2", "ddb-transfer/1.1", "", "something"])
def test_an_unknown_format_is_refused(version: str) -> None:
    """The message names both formats and what to do."""
    with pytest.raises(ExportError, match=r"reads 'ddb-transfer/1'") as caught:
        manifests.read(changed(format=version))
    assert repr(version) in caught.value.message
    assert "version of ddb-transfer that created the export" in caught.value.remedy


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
    with pytest.raises(ExportError, match="outside the export's own folder") as caught:
        manifests.read(changed(shards=[first | {"key": key}, *others]))
    assert repr(key) in caught.value.message


_PARTS = st.sampled_from(
    ["AWSDynamoDB", OUR_ID, AWS_ID, "data", "..", ".", "", "moves", "x.json.gz", "0000-000000.json.gz", "%2e%2e", "\\", "s3:"]
)  # fmt: skip


@given(key=st.lists(_PARTS, max_size=9).map("/".join) | st.text(max_size=40))
def test_no_key_that_lies_elsewhere_is_accepted(key: str) -> None:
    """Whatever is accepted ends in the folder of this export and becomes one plain name below data/."""
    storage = our_export()
    shard = Shard(key=key, segment=0, items=0, bytes=0, stored_bytes=0, md5="")
    try:
        name = manifests.shard_name(storage, shard, OUR_ID)
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
    """A manifest that was cut or fixed by hand is found at once, ours and AWS's."""
    with pytest.raises(ExportError, match="do not add up to 4 items"):
        manifests.read(changed(items=4))
    storage = aws_export()
    del storage.files["manifest-files.md5"]
    storage.files["manifest-files.json"] = b"".join(
        storage.files["manifest-files.json"].splitlines(keepends=True)[1:]
    )
    with pytest.raises(ExportError, match="do not add up to 3 items"):
        manifests.read(storage)


@pytest.mark.parametrize("name", ["manifest.json", "manifest-summary.json", "manifest-files.json"])
@pytest.mark.parametrize(
    "damage", [b"", b"{", b"\xff\xfe", b'{"format":"\xff"}', b"[]", b'{"format":"ddb-transfer/1"}']
)
def test_a_damaged_manifest_is_told(name: str, damage: bytes) -> None:
    """Whatever the damage: an error that names the place, never a traceback."""
    storage = our_export() if name == "manifest.json" else aws_export()
    storage.files[name] = damage
    with pytest.raises(ExportError) as caught:
        manifests.read(storage)
    assert storage.url in caught.value.message


@given(cut=st.integers(0, 1_900))
def test_a_manifest_that_was_cut_is_told(cut: int) -> None:
    """At any byte."""
    storage = our_export()
    storage.files["manifest.json"] = storage.files["manifest.json"][:cut]
    with pytest.raises(ExportError, match="damaged"):
        manifests.read(storage)


def test_members_of_a_later_minor_version_are_ignored() -> None:
    """A field that is added leaves the format's number."""
    assert manifests.read(changed(new_member={"x": 1})).items == 3


def summary_with(**changes: Any) -> MemoryFolder:
    """AWS's sample with changes to its summary, and without the checksum that they would break."""
    storage = aws_export()
    summary = json.loads(storage.files["manifest-summary.json"]) | changes
    storage.files["manifest-summary.json"] = json.dumps(summary).encode()
    del storage.files["manifest-summary.md5"]
    return storage


def test_an_incremental_export_is_not_taken_for_a_full_one() -> None:
    """It holds the changes of a while; the message says where it belongs."""
    with pytest.raises(ExportError, match="describes an INCREMENTAL_EXPORT") as caught:
        manifests.read(summary_with(exportType="INCREMENTAL_EXPORT", exportTime=None))
    assert "after the full export" in caught.value.remedy


def test_an_export_in_an_unknown_form_is_refused() -> None:
    """AWS's Ion exports are read; a form of later days is named."""
    assert manifests.read(summary_with(outputFormat="ION")).options.format == "ion"
    with pytest.raises(ExportError, match="in PARQUET"):
        manifests.read(summary_with(outputFormat="PARQUET"))


@pytest.mark.parametrize("name", ["manifest-summary", "manifest-files"])
@pytest.mark.parametrize("suffix", [".md5", ".checksum"])
def test_awss_manifests_are_checked_with_their_checksum_files(name: str, suffix: str) -> None:
    """Under the name that AWS uses, and under the one that its documentation uses."""
    storage = aws_export()
    right = storage.files.pop(f"{name}.md5")
    storage.files[name + suffix] = right + b"\n"
    assert manifests.read(storage).items == 3
    storage.files[name + suffix] = b"rzAeIrtALbOlNdK5Hh8tgA=="
    with pytest.raises(ExportError, match=rf"its MD5 is not the one in {name}{suffix}"):
        manifests.read(storage)


def test_awss_checksum_files_are_optional() -> None:
    """A copy may lack them."""
    storage = aws_export()
    for name in ("manifest-summary.md5", "manifest-files.md5", "_started"):
        del storage.files[name]
    assert manifests.read(storage).items == 3


@pytest.mark.parametrize("key", ["AWSDynamoDB/{}/manifest-files.json", "elsewhere/manifest-files.json", ""])
def test_the_list_of_files_is_looked_for_beside_the_summary(key: str) -> None:
    """`manifestFilesS3Key` lacks the prefix in AWS's documentation, and is wrong in any copy: it is never followed."""
    assert manifests.read(summary_with(manifestFilesS3Key=key.format(AWS_ID))).items == 3


def test_an_export_of_aws_may_be_copied_into_a_folder_of_any_name() -> None:
    """Its id is in its ARN; but the folder of another export is a mistake."""
    manifest = manifests.read(aws_export("backups/orders"))
    assert (manifest.export_id, manifest.items) == (AWS_ID, 3)
    with pytest.raises(ExportError, match=f"that of another export: {AWS_ID}"):
        manifests.read(aws_export(f"AWSDynamoDB/{OUR_ID}"))


@pytest.mark.parametrize("id_", ["../../../victim", "..", ".", "a/b", "/etc", "", "a" * 65, "a b", "\u00e9"])
def test_an_id_that_aws_never_gives_is_refused(id_: str) -> None:
    """It would name a folder below --state; without one, the folder's own name has to be an id."""
    arn = f"arn:aws:dynamodb:eu-central-1:111111111111:table/Orders/export/{id_}"
    storage = MemoryFolder("backups/orders", summary_with(exportArn=arn).files)
    with pytest.raises(ExportError, match=r"not an export id|is not the folder of an export"):
        manifests.read(storage)


def test_our_manifest_in_the_folder_of_another_export_is_refused() -> None:
    """Its state would be mixed up with that of the other one."""
    with pytest.raises(ExportError, match=f"that of another export: {OUR_ID}"):
        manifests.read(our_export(f"AWSDynamoDB/{AWS_ID}"))


def test_an_export_of_aws_is_read_in_the_order_of_its_random_names() -> None:
    """Neighbours in AWS's list may be of one partition; loaded side by side, they would heat one of the new table."""
    names = [shard.name for shard in manifests.read(aws_export()).shards]
    assert sorted(names) == names


@pytest.mark.parametrize(
    ("key", "file"),
    [
        (f"p/AWSDynamoDB/{AWS_ID}/data/x.json.gz", (AWS_ID, "x.json.gz")),
        (f"AWSDynamoDB/{AWS_ID}/data/x.json.gz", (AWS_ID, "x.json.gz")),
        ("p/q/AWSDynamoDB/data/x.json.gz", ("", "x.json.gz")),
        ("p/AWSDynamoDB/data/../x.json.gz", None),
        ("p/xAWSDynamoDB/data/x.json.gz", None),
        ("AWSDynamoDB/other/x.json.gz", None),
        ("data/x.json.gz", None),
    ],
)
def test_the_key_of_a_data_file_says_whose_it_is(key: str, file: tuple[str, str] | None) -> None:
    """Files of increments are stored in a folder that they share; any other form is not followed."""
    assert file == aws_manifest.data_file(key)


def test_a_folder_without_a_manifest_says_why() -> None:
    """Unfinished, copied in part, or no export at all are three different messages."""
    storage = MemoryFolder()
    with pytest.raises(ExportError, match="No export found"):
        manifests.read(storage)
    storage.files["_started"] = b"{}"
    with pytest.raises(ExportError, match="unfinished") as caught:
        manifests.read(storage)
    assert f"ddb-export --resume {storage.url}" in caught.value.remedy
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
    storage = MemoryFolder(f"moves/AWSDynamoDB/{OUR_ID}")
    manifests.write(storage, manifests.read(our_export()))
    text = storage.files["manifest.json"]
    assert text.endswith(b"}\n")
    assert text.count(b"\n") > 50
    assert msgspec.json.decode(text, type=Manifest).export_id == OUR_ID
