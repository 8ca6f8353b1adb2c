"""What real exports and imports take: the limits are those that a machine is chosen by."""

from pathlib import Path

import pytest

from bench.contestants import ours
from bench.lab import Lab
from bench.services import open_stub

# MiB of a worker, by format; pyarrow alone takes 40
MAX_OF_ONE = {"jsonl": 200, "parquet": 300}
MAX_OF_ALL = 600
# more than all buffers of two workers hold
ITEMS = {"typical": 300_000, "huge": 1_000}


@pytest.mark.soak
@pytest.mark.parametrize("shape", ITEMS)
@pytest.mark.parametrize("form", MAX_OF_ONE)
def test_memory_is_bounded(form: str, shape: str, tmp_path: Path) -> None:
    """Peak RSS of the largest process, and of two workers and their parent together, in both directions."""
    with open_stub() as stub:
        lab = Lab(stub, tmp_path)
        lab.move("test", ours(form, processes=2), shape, ITEMS[shape])
    assert [""] * 2 == [run.failure for run in lab.runs]
    assert all(0 < run.cost.process_mib <= MAX_OF_ONE[form] for run in lab.runs), lab.runs
    assert all(0 < run.cost.tree_rss_mib <= MAX_OF_ALL for run in lab.runs), lab.runs
