"""Measures ddb-transfer and other programs: one table, one CSV, which CONTRIBUTING.md explains."""

from __future__ import annotations

import argparse
import os
import platform
import re
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

from bench.report import markdown, read_csv, table, write_csv
from bench.rows import Row
from bench.sections import SECTIONS, Bench
from bench.services import open_stub, open_tls_stub

ROOT = Path(__file__).resolve().parents[2]


def main() -> int:
    """Runs the sections; returns 1 if a program did not do its work, except those known to fail."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", metavar="SECTION,…", help=f"of {','.join(SECTIONS)}")
    parser.add_argument(
        "--quick", action="store_true", help="run once with few items, as a test: the figures are meaningless"
    )
    parser.add_argument("--csv", type=Path, default=ROOT / ".bench" / "bench.csv", help="[%(default)s]")
    parser.add_argument("--markdown", action="store_true", help="also print the headline as Markdown")
    parser.add_argument("--show", action="store_true", help="measure nothing, print the content of the CSV")
    options = parser.parse_args()
    names = options.only.split(",") if options.only else list(SECTIONS)
    if unknown := set(names) - set(SECTIONS):
        parser.error(f"no section: {', '.join(unknown)}")
    failures = [] if options.show else measure(names, options.csv, quick=options.quick)
    rows = read_csv(options.csv)
    print(machine(), table(rows), sep="\n\n")
    if options.markdown:
        print(f"\n{markdown(rows)}")
    for failure in failures:
        print(failure, file=sys.stderr)
    return 1 if failures else 0


def measure(names: list[str], csv: Path, *, quick: bool) -> list[str]:
    """Measures the sections and writes the CSV after each; returns the unexpected failures."""
    rows: list[Row] = []
    with ExitStack() as stack:
        storage = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="ddb-transfer-bench-")))
        stub, tls_stub = stack.enter_context(open_stub()), stack.enter_context(open_tls_stub(storage))
        bench = Bench(
            stub=stub, tls_stub=tls_stub, storage=storage, picture=csv.with_name("memory.svg"), quick=quick
        )
        for name in names:
            rows += SECTIONS[name](bench)
            write_csv(rows, csv)
    runs = [run for lab in bench.labs for run in lab.runs]
    return [f"{run.contestant}: {run.failure}" for run in runs if run.failure and not run.may_fail]


def machine() -> str:
    """The machine of the measurement."""
    found = re.search(r"^model name\s*: (.*)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    cpu = found[1] if found else platform.machine()
    return f"{os.cpu_count()} cores of {cpu}, Linux {platform.release()}, Python {platform.python_version()}"


if __name__ == "__main__":
    sys.exit(main())
