"""What DynamoDB would read is the export and nothing else, within its limits; each refusal names the road that remains."""

from typing import Any

import msgspec
import pytest

from ddb_import.native import source as module
from ddb_import.native.source import Source, read_source
from ddb_import.options import Engine
from ddb_shared.errors import ExportError, ShardError, UsageError
from ddb_shared.format import manifest as manifests
from ddb_shared.format.manifest import Manifest
from support.aws_exports import Form, full_export
from support.memory import MemoryFolder

PLAIN = Form()


def export(form: Form = PLAIN, items: int = 6) -> tuple[MemoryFolder, Manifest]:
    made = full_export([{"pk": {"S": str(number)}} for number in range(items)], "moves/", form=form)
    files = {key.removeprefix(made.folder): data for key, data in made.files.items()}
    storage = MemoryFolder(made.folder.rstrip("/"), files)
    return storage, manifests.read(storage)


def read(
    storage: MemoryFolder, manifest: Manifest, engine: Engine = Engine.BULK, region: str = "eu-west-1"
) -> Source:
    return read_source(storage, manifest, engine, region, "222222222222")


@pytest.mark.parametrize(
    ("form", "input_format"), [(PLAIN, "DYNAMODB_JSON"), (Form(output_format="ION"), "ION")]
)
def test_the_data_folder_is_the_source(form: Form, input_format: str) -> None:
    """Its prefix ends in a slash, so that no other folder begins with it."""
    source = read(*export(form))
    assert (source.input_format, source.compression, source.items, source.objects) == (
        input_format,
        "GZIP",
        6,
        4,
    )
    assert source.request() == {
        "S3Bucket": "bucket",
        "S3KeyPrefix": f"moves/AWSDynamoDB/{PLAIN.export_id}/data/",
        "S3BucketOwner": "222222222222",
    }


def changed(manifest: Manifest, **changes: Any) -> Manifest:
    return msgspec.structs.replace(manifest, **changes)


def test_what_the_engines_do_not_load_is_refused() -> None:
    """Parquet, and an export without items."""
    storage, manifest = export()
    parquet = msgspec.structs.replace(manifest.options, format="parquet")
    with pytest.raises(UsageError, match="Parquet") as caught:
        read(storage, changed(manifest, options=parquet))
    assert "--format jsonl" in caught.value.remedy
    with pytest.raises(UsageError, match="no items"):
        read(*export(items=0))


def test_missing_and_strange_files_are_found() -> None:
    """The folder has to hold exactly the manifest's shards."""
    storage, manifest = export()
    storage.files["data/notes.txt"] = b"x"
    with pytest.raises(ExportError, match=r"data/notes\.txt"):
        read(storage, manifest)
    del storage.files["data/notes.txt"]
    storage.files.pop(f"data/{manifest.shards[0].name}")
    with pytest.raises(ShardError, match="is missing"):
        read(storage, manifest)


def test_an_export_beyond_the_limits_names_the_option_that_avoids_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Number of objects, size of each, size of all."""
    storage, manifest = export()
    monkeypatch.setattr(module, "MAX_OBJECTS", 3)
    with pytest.raises(ExportError, match="4 shards") as caught:
        read(storage, manifest)
    assert "--shard-size" in caught.value.remedy
    monkeypatch.setattr(module, "MAX_OBJECTS", 4)
    monkeypatch.setattr(module, "MAX_OBJECT_BYTES", 10)
    with pytest.raises(ExportError, match="larger than the 5 GB") as caught:
        read(storage, manifest)
    assert "smaller --shard-size" in caught.value.remedy
    monkeypatch.setattr(module, "_TB", 10)
    with pytest.raises(ExportError, match="takes 15 TB in eu-west-1"):
        read(storage, manifest, Engine.IMPORT_TABLE)
    with pytest.raises(ExportError, match="takes 1 TB in eu-north-1"):
        read(storage, manifest, Engine.IMPORT_TABLE, "eu-north-1")


def test_shards_of_several_compressions_are_refused() -> None:
    """An engine takes one for all."""
    storage, manifest = export()
    first, *others = manifest.shards
    renamed = msgspec.structs.replace(first, key=first.key.replace(".gz", ".zst"))
    storage.files[f"data/{renamed.name}"] = storage.files.pop(f"data/{first.name}")
    with pytest.raises(ExportError, match="GZIP, ZSTD"):
        read(storage, changed(manifest, shards=[renamed, *others]))
