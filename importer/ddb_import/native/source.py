"""What DynamoDB would read: the export's `data/` folder, which must hold the export's shards and nothing else, within AWS's limits.

An engine takes every object below the prefix, whatever a manifest says.
https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/S3DataImport.Validation.html
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Final

from ddb_import.options import Engine
from ddb_import.shard_reader import ShardReader
from ddb_shared.errors import ExportError, ShardError, UsageError
from ddb_shared.format import manifest as manifests
from ddb_shared.format.manifest import Manifest, Shard
from ddb_shared.storage.s3 import S3Storage

MAX_OBJECTS: Final = 50_000
# Of StartBulkPutItems; of ImportTable none is documented.
MAX_OBJECT_BYTES: Final = 5 * 1024**3
_TB: Final = 1024**4
_LARGE_REGIONS: Final = frozenset({"us-east-1", "us-west-2", "eu-west-1"})
_COMPRESSIONS: Final = {".gz": "GZIP", ".zst": "ZSTD"}
_READERS: Final = 8


@dataclass(frozen=True, slots=True)
class Source:
    """The objects that an engine loads: where they are, their form, and what they hold."""

    bucket: str
    prefix: str
    owner: str | None
    input_format: str
    compression: str
    items: int
    objects: int
    stored_bytes: int

    def request(self) -> dict[str, Any]:
        """The members that ImportTable and StartBulkPutItems call alike."""
        owner = {"S3BucketOwner": self.owner} if self.owner else {}
        return {"S3Bucket": self.bucket, "S3KeyPrefix": self.prefix, **owner}


def read_source(
    export: S3Storage, manifest: Manifest, engine: Engine, region: str, owner: str | None
) -> Source:
    """The source of an engine; raises what forbids to have DynamoDB load it, with the way that remains."""
    _refuse_format(manifest, engine)
    sizes = {entry.name: entry.size for entry in export.list(manifests.DATA)}
    _refuse_strangers(export, manifest, sizes)
    _refuse_sizes(manifest, sizes, engine, region)
    return Source(
        bucket=export.bucket,
        prefix=export.key(manifests.DATA),
        owner=owner,
        input_format="ION" if manifest.options.format == manifests.ION else "DYNAMODB_JSON",
        compression=_compression(manifest),
        items=manifest.items,
        objects=len(manifest.shards),
        stored_bytes=sum(sizes.values()),
    )


def verify_copies(export: S3Storage, manifest: Manifest, unverified: frozenset[str]) -> None:
    """Reads the shards that are not as S3 stored them when they were written: DynamoDB checks no checksum of ours.

    Raises ShardError where one is damaged.
    """
    copies = [shard for shard in manifest.shards if shard.name in unverified]
    with ThreadPoolExecutor(_READERS) as pool:
        list(pool.map(lambda shard: ShardReader(export, shard).verify_checksum(), copies))


def _refuse_format(manifest: Manifest, engine: Engine) -> None:
    if manifest.options.format == manifests.PARQUET:
        raise UsageError(
            f"--engine {engine.value} loads JSON lines and Ion, and this export is Parquet.",
            "Use --engine batch-write, or export the table again with --format jsonl.",
        )
    if not manifest.items:
        raise UsageError(
            f"This export has no items, and --engine {engine.value} has nothing to load.",
            "Use --engine batch-write, which makes an empty table as well.",
        )


def _refuse_strangers(export: S3Storage, manifest: Manifest, sizes: dict[str, int]) -> None:
    known = {manifests.DATA + shard.name for shard in manifest.shards}
    strangers = sorted(sizes.keys() - known)
    if strangers:
        raise ExportError(
            f"{export.url}{manifests.DATA} holds {len(strangers)} files that are not in the manifest, such as {strangers[0]}; DynamoDB would "
            "load them as well.",
            "Move them away, or use --engine batch-write, which loads what the manifest names.",
        )
    if missing := sorted(known - sizes.keys()):
        raise ShardError(
            f"The shard {export.url}{missing[0]} is missing.",
            "Restore the object, or export the table again.",
        )


def _refuse_sizes(manifest: Manifest, sizes: dict[str, int], engine: Engine, region: str) -> None:
    if len(manifest.shards) > MAX_OBJECTS:
        raise ExportError(
            f"The export has {len(manifest.shards):,} shards, and DynamoDB loads {MAX_OBJECTS:,} objects at most.",
            "Use --engine batch-write. An export with a larger --shard-size, or with fewer --segments, has fewer shards.",
        )
    if engine is Engine.BULK:
        large = [name for name, size in sizes.items() if size > MAX_OBJECT_BYTES]
        if large:
            raise ExportError(
                f"{len(large)} shards are larger than the 5 GB that a bulk put takes, such as {large[0]}.",
                "Use --engine batch-write. An export with a smaller --shard-size has smaller shards.",
            )
        return
    limit = 15 if region in _LARGE_REGIONS else 1
    if sum(sizes.values()) > limit * _TB:
        raise ExportError(
            f"The export has {sum(sizes.values()) / _TB:,.1f} TB, and ImportTable takes {limit} TB in {region} unless AWS has raised the quota.",
            "Use --engine batch-write.",
        )


def _compression(manifest: Manifest) -> str:
    """The one compression of all shards; raises ExportError where they differ, since an engine takes one."""
    found = {_compression_of(shard) for shard in manifest.shards}
    if len(found) > 1:
        raise ExportError(
            f"The shards have several compressions: {', '.join(sorted(found))}; DynamoDB takes one.",
            "Use --engine batch-write.",
        )
    return found.pop()


def _compression_of(shard: Shard) -> str:
    return next((name for suffix, name in _COMPRESSIONS.items() if shard.name.endswith(suffix)), "NONE")
