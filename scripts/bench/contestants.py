"""Who is measured: our commands, boto3 as documented, dynamodump, and the floor."""

from __future__ import annotations

import json
import sys
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from local_service import installed, quietly

HERE: Final = Path(__file__).parent
PROGRAMS: Final = HERE / "programs"


@dataclass(frozen=True, kw_only=True)
class Job:
    """One table to move into `copy`: `bucket` and `folder` are the job's own."""

    table: str
    copy: str
    bucket: str
    storage: Path


@dataclass(frozen=True, kw_only=True)
class Contestant:
    """A program that exports and imports; `imports` also gets what the export printed.

    A `slow` one is measured with fewer items; one that `may_fail` is known to fail with some shapes.
    """

    name: str
    slow: bool = False
    may_fail: bool = False
    exports: Callable[[Job], list[str]]
    imports: Callable[[Job, str], list[str]]


def ours(form: str = "jsonl", processes: int | None = 1) -> Contestant:
    """Our commands; without `processes` as they choose. The parent is a process beside the workers, and counted with them."""
    count = () if processes is None else ("--processes", str(processes))
    how = "defaults" if processes is None else f"{processes} proc."
    return _ours(f"ddb-transfer {form}, {how}", (), form, (*count, "--progress", "none", "--json"))


def on_cluster(workers: int) -> Contestant:
    """The same on a Dask cluster, which is counted with them."""
    before = (sys.executable, str(PROGRAMS / "on_cluster.py"), str(workers))
    return _ours(f"ddb-transfer, {workers} Dask workers", before, "jsonl", ("--progress", "none", "--json"))


def _ours(name: str, before: Sequence[str], form: str, options: Sequence[str]) -> Contestant:
    bin_ = Path(sys.executable).parent

    def exports(job: Job) -> list[str]:
        place = f"s3://{job.bucket}/export"
        return [*before, str(bin_ / "ddb-export"), job.table, place, "--format", form, *options]

    def imports(job: Job, exported: str) -> list[str]:
        return [*before, str(bin_ / "ddb-import"), json.loads(exported)["export"], job.copy, *options]

    return Contestant(name=name, exports=exports, imports=imports)


def boto3() -> Contestant:
    """boto3 as its documentation shows it; the programs say where."""
    python = _environment("boto3")

    def words(program: str, table: str, job: Job) -> list[str]:
        return [python, str(PROGRAMS / program), table, job.bucket, f"{job.storage}/items.gz"]

    return Contestant(
        name="boto3 as documented",
        slow=True,
        exports=lambda job: words("boto3_export.py", job.table, job),
        imports=lambda job, _: words("boto3_import.py", job.copy, job),
    )


def dynamodump() -> Contestant:
    """The PyPI package with what costs it least: a folder instead of S3, no archive, no change of capacity."""
    python = _environment("dynamodump")

    def words(mode: str, job: Job) -> list[str]:
        account = ["-r", "eu-west-1", "--accessKey", "1" * 12, "--secretKey", "x", "--log", "ERROR"]
        place = ["-s", job.table, "--dumpPath", str(job.storage)]
        return [python, str(PROGRAMS / "dynamodump_awake.py"), "-m", mode, *place, *account]

    return Contestant(
        name="dynamodump to a folder",
        slow=True,
        may_fail=True,
        exports=lambda job: words("backup", job),
        imports=lambda job, _: [
            *words("restore", job),
            "-d",
            job.copy,
            "--dataOnly",
            "--skipThroughputUpdate",
        ],
    )


def floor(http: str = "aiohttp") -> Contestant:
    """The least that any program must do, with the project's HTTP library or with bare sockets."""

    def words(program: str, table: str, job: Job) -> list[str]:
        return [sys.executable, str(PROGRAMS / program), table, job.bucket, http]

    return Contestant(
        name="floor" if http == "aiohttp" else "floor, bare sockets",
        exports=lambda job: words("floor_export.py", job.table, job),
        imports=lambda job, _: words("floor_import.py", job.copy, job),
    )


def _environment(name: str) -> str:
    """The interpreter of an environment that holds what `<name>.txt` pins, and nothing else."""
    pins = HERE / f"{name}.txt"
    tag = f"{zlib.crc32(pins.read_bytes()):08x}-python{sys.version_info.major}.{sys.version_info.minor}"

    def install(storage: Path) -> None:
        quietly(sys.executable, "-m", "venv", storage)
        quietly(storage / "bin/python", "-m", "pip", "install", "--quiet", "--no-deps", "--requirement", pins)

    return str(installed(f"bench-{name}-{tag}", install) / "bin/python")
