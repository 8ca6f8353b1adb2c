"""How the import of a move that follows its tables waits for the export of each."""

from __future__ import annotations

from ddb_import.apply.base import wait_for_base, wait_for_start
from ddb_import.apply.exporter import ExporterWatch
from ddb_import.move_tables import Pair, SelectedMove
from ddb_shared.aws.clients import Aws
from ddb_shared.errors import ExportError
from ddb_shared.format import manifest as manifests
from ddb_shared.format import moves
from ddb_shared.runtime.display import ProgressOptions, display
from ddb_shared.runtime.progress import QUIET_LOG_SECONDS, Progress
from ddb_shared.runtime.stop import Stop


def refuse_without_capture(selected: SelectedMove) -> None:
    """Raises ExportError for --follow of a move that does not follow its tables."""
    if not selected.move.follow:
        raise ExportError(
            f"The move {selected.url} does not follow its tables: it has no changes to apply.",
            "Leave --follow out, or export the tables again with ddb-export --follow.",
        )


def wait_for_export(
    aws: Aws, selected: SelectedMove, pair: Pair, options: ProgressOptions, stop: Stop
) -> None:
    """Returns once the base of the table's export is complete; raises Interrupted after a signal."""
    folder = manifests.export_storage(aws.s3, pair.export)
    of_move = moves.own_folder_of(moves.root_of(aws.s3, selected.url), selected.move.move_id)
    progress = Progress(
        "base export",
        None,
        items_name="items loaded",
        counts_shards=False,
        may_wait=True,
        log_seconds=QUIET_LOG_SECONDS,
    )
    with display(options, progress) as on_event:
        watch = ExporterWatch(of_move, f"The export of {pair.source} has not begun", move=selected.url)
        wait_for_start(folder, watch, on_event, stop)
        if not stop.requested():
            wait_for_base(folder, on_event, stop)
    stop.check()
