"""How an import is told to people."""

import pytest

from ddb_import.status import COMPLETE, ImportStatus


@pytest.mark.parametrize(("status", "told"), [(COMPLETE, "last run  alice"), ("running", "holder    alice")])
def test_who_runs_an_import_or_did_last(status: str, told: str) -> None:
    """Nobody holds one that is complete."""
    found = ImportStatus(
        status=status,
        table="arn",
        export="s3://b/x/",
        items_done=1,
        items_total=1,
        shards_done=1,
        shards_total=1,
        items_rejected=0,
        holder="alice on host",
        command="",
    )
    assert told in found.text()
