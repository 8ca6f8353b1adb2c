"""The measurement of a follow, for a second."""

import re

import pytest

from bench.following import RATE, measure
from bench.services import open_stub


@pytest.mark.soak
def test_every_change_is_timed() -> None:
    """Each of a second's changes arrives; how long they take depends on the machine."""
    with open_stub() as stub:
        (row,) = measure(stub.url, seconds=1)
    assert (RATE, "followed_changes") == (row.items, row.section)
    assert re.search(r"% applied within 3 s; median \d+\.\d\d s, 99% \d+\.\d\d s", row.note)
