"""The report of a move: one table of all tables, and what failed."""

from pathlib import Path

from ddb_shared.report.move_page import MoveReport, publish_move
from support.memory import MemoryFolder

REPORT = MoveReport(
    action="Import",
    move="s3://bucket/moves/01732000000000-00000000.json",
    summary="1 of 2 tables complete.",
    is_good=False,
    head=("STATUS", "TABLE", "ITEMS"),
    rows=[("complete", "Orders", "5"), ("failed", "Users<b>", "-")],
    problems=[("Users<b>", "The table holds items.")],
    command="ddb-import MOVE",
)


def test_the_page_tells_every_table_and_what_failed(tmp_path: Path) -> None:
    """In the bucket and in the file; names are escaped."""
    folder, copy = MemoryFolder("moves"), tmp_path / "report.html"
    publish_move(REPORT, folder, copy=copy)
    stored = folder.read("report.html")
    assert stored is not None
    page = stored.data.decode()
    assert page == copy.read_text()
    for text in (
        "Import of 2 tables",
        "1 of 2 tables complete.",
        "Orders",
        "Users&lt;b&gt;",
        "The table holds items.",
    ):
        assert text in page


def test_the_table_is_the_one_that_is_printed() -> None:
    """With the same columns."""
    assert ["STATUS", "TABLE", "ITEMS"] == REPORT.table_text().splitlines()[0].split()
