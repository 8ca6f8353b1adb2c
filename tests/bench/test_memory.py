"""What real exports and imports take: the limits are those that a machine is chosen by."""

from pathlib import Path

import pytest
from contestants import ours
from lab import Lab
from services import open_stub

# MiB of a worker, by format; pyarrow alone takes 40
MOST_OF_ONE = {"jsonl": 200, "parquet": 300}
MOST_OF_ALL = 600
# more than all buffers of two workers hold
ITEMS = {"typical": 300_000, "huge": 1_000}


@pytest.mark.slow
@pytest.mark.parametrize("shape", ITEMS)
@pytest.mark.parametrize("form", MOST_OF_ONE)
def test_memory_is_bounded(form: str, shape: str, tmp_path: Path) -> None:
    """Peak RSS of the largest process, and of two workers and their parent together, in both directions."""
    with open_stub() as stub:
        lab = Lab(stub, tmp_path)
        lab.move("test", ours(form, processes=2), shape, ITEMS[shape])
    assert [""] * 2 == [run.failure for run in lab.runs]
    assert all(0 < run.cost.process_mib <= MOST_OF_ONE[form] for run in lab.runs), lab.runs
    assert all(0 < run.cost.tree_rss_mib <= MOST_OF_ALL for run in lab.runs), lab.runs
