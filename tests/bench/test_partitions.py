"""The measurement of hot partitions, with a table so small that it takes seconds."""

import pytest

from bench.partitions import lab_of, rates
from support.fake_dynamodb import Consumption

PARTITION_WCU = 100.0
ITEMS = 2_400


@pytest.mark.soak
def test_interleaved_shards_are_faster() -> None:
    """The real loader against eight partitions: by how much depends on the machine, here from 1.7 to 4.6 times."""
    with lab_of(ITEMS, skewed=False, partition_wcu=PARTITION_WCU) as lab:
        interleaved = lab.measure("interleaved", 1, ITEMS)
        in_order = lab.measure("in order", 1, ITEMS)
    assert interleaved.overall > in_order.overall
    assert in_order.items == interleaved.items == ITEMS


def test_rates_are_of_the_whole_and_of_the_steady_part() -> None:
    """The first five seconds and the last tenth are left out of the steady part."""
    slow_start = [(float(second), 10.0) for second in range(5)]
    steady = [(5.0 + second, 100.0) for second in range(1, 20)]
    overall, found = rates(Consumption(reads=[], writes=[*slow_start, *steady]))
    assert overall == pytest.approx(1_950 / 24)
    assert found == pytest.approx(100.0)
