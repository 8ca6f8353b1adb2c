"""Runs a command on a Dask cluster of its own, and ends both: `python on_cluster.py WORKERS COMMAND…`."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Final

from distributed import Client

LOCAL: Final = ("--host", "127.0.0.1", "--no-dashboard")


def main() -> int:
    """The exit code of the command, which is given `--scheduler`."""
    count, command = int(sys.argv[1]), sys.argv[2:]
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        file = f"{folder}/scheduler.json"
        where = ("--scheduler-file", file, *LOCAL)
        _start(stack, folder, "distributed.cli.dask_scheduler", *where, "--port", "0")
        with Client(scheduler_file=file, set_as_default=False) as client:
            for _ in range(count):
                _start(stack, folder, "distributed.cli.dask_worker", *where, "--nthreads", "1", "--no-nanny")
            client.wait_for_workers(count)
        return subprocess.call([*command, "--scheduler", file])


def _start(stack: ExitStack, folder: str, module: str, *words: str) -> None:
    with Path(folder, "log").open("ab") as log:
        process = subprocess.Popen([sys.executable, "-m", module, *words], stdout=log, stderr=log, cwd=folder)
    stack.callback(process.wait)
    stack.callback(process.kill)


if __name__ == "__main__":
    sys.exit(main())
