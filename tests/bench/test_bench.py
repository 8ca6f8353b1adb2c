"""The benchmark as a whole: it does the work that it measures."""

import csv
import os
import subprocess
import sys
from collections.abc import Callable
from itertools import product
from pathlib import Path

import pytest

from bench.contestants import Contestant, Job
from bench.lab import Lab
from bench.services import Stub, open_stub
from support.environment import ROOT

DIRECTIONS = ("export", "import")
OURS, OURS_2 = "ddb-transfer jsonl, 1 proc.", "ddb-transfer jsonl, 2 proc."
PARQUET, PARQUET_2 = "ddb-transfer parquet, 1 proc.", "ddb-transfer parquet, 2 proc."
FIELD = (OURS, "boto3 as documented", "dynamodump to a folder", "floor")
VERIFICATION = [f"{what}, {of}" for what in ("digest", "worker") for of in ("raw", "sorted", "canonical")]
EXPECTED = {
    *product(["headline"], [*FIELD, PARQUET, "floor, bare sockets"], DIRECTIONS, ["typical"]),
    *product(
        ["plain_http"], [OURS, "boto3 as documented", "floor", "floor, bare sockets"], DIRECTIONS, ["typical"]
    ),
    *product(["shapes"], FIELD, DIRECTIONS, ["small", "large", "huge", "binary"]),
    *product(["scaling"], [OURS, OURS_2], DIRECTIONS, ["typical"]),
    *product(["cluster"], [f"ddb-transfer, {n} Dask workers" for n in (1, 2)], DIRECTIONS, ["typical"]),
    *product(["growth"], [OURS_2, PARQUET_2], DIRECTIONS, ["typical"]),
    *product(["plateau"], [OURS_2], DIRECTIONS, ["typical"]),
    *product(["memory"], [OURS_2, PARQUET_2], DIRECTIONS, ["huge"]),
    *product(
        ["applied_changes"],
        ["captured log", "captured log, hot keys", "AWS increment"],
        ["import"],
        ["typical"],
    ),
    *product(
        ["startup"],
        ["ddb-transfer jsonl, defaults", "boto3 as documented"],
        ["export", "import"],
        ["typical"],
    ),
    *product(["verify"], VERIFICATION, ["export", "table"], ["typical"]),
    *product(["captured_changes"], ["4 stream shards", "40 stream shards"], ["capture"], ["typical"]),
}


@pytest.mark.soak(minutes=6)
def test_every_section_has_all_its_rows(tmp_path: Path) -> None:
    """With few items, everybody moves all of them in every shape; the benchmark itself compares with the stub's counts."""
    path = tmp_path / "bench.csv"
    sections = ",".join(sorted({section for section, *_ in EXPECTED}))
    command = [sys.executable, "-m", "bench", "--quick", "--only", sections, "--csv", str(path)]
    environment = os.environ | {"PYTHONPATH": f"{ROOT}/scripts:{ROOT}/tests"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert EXPECTED == {(row["section"], row["contestant"], row["direction"], row["shape"]) for row in rows}
    assert [] == [
        row["note"] for row in rows if row["note"] and not row["note"].startswith(("line: ", "start: "))
    ]
    assert "export, largest" in (tmp_path / "memory.svg").read_text()
    assert all(float(row["cpu_seconds"]) > 0 for row in rows if not row["note"])


def failure_of(stub: Stub, storage: Path, exports: Callable[[Job], list[str]]) -> str:
    lab = Lab(stub, storage)
    lab.move("test", Contestant(name="idle", exports=exports, imports=lambda *_: ["true"]), "small", 5)
    (run,) = lab.runs
    return run.failure


def test_a_program_that_does_nothing_is_found_out(tmp_path: Path) -> None:
    """No figure without the work."""
    with open_stub() as stub:
        assert failure_of(stub, tmp_path, lambda _: ["true"]) == "export of 0 items instead of 5"


def test_a_program_that_fails_is_named_with_its_last_words(tmp_path: Path) -> None:
    """The row says why there is no figure."""
    with open_stub() as stub:
        words = ["sh", "-c", "echo first >&2; echo last >&2; exit 3"]
        assert failure_of(stub, tmp_path, lambda _: words) == "exit code 3: last"
