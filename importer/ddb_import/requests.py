"""How many requests an import makes to S3, for its cost: an estimate from shards and time, which plan and report share."""

from __future__ import annotations

from typing import Final

from ddb_import.load import CHECKPOINT_SECONDS, OPEN_SHARDS

# Its end is read first, for the size of its last part; then all of it.
READS_OF_A_SHARD: Final = 2
REQUESTS_NOTE: Final = "Requests to S3 are estimated from the number of shards and the time."


def puts_of_load(shards: int, seconds: float) -> float:
    """The last checkpoint of each shard, and those of the open ones meanwhile."""
    return shards + OPEN_SHARDS * seconds / CHECKPOINT_SECONDS
