"""Measures ddb-transfer beside others: one table, one CSV. CONTRIBUTING.md says how to read them."""

from __future__ import annotations

import argparse
import os
import platform
import re
import sys
import tempfile
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1]))
sys.path.append(str(Path(__file__).resolve().parents[2] / "tests"))

from report import markdown, read_csv, table, write_csv
from rows import Row
from sections import SECTIONS, Bench
from services import open_stub

ROOT = Path(__file__).resolve().parents[2]


def main() -> int:
    """Runs the sections; 1 where a program did not do its work, but for those that are known not to."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", metavar="SECTION,…", help=f"of {','.join(SECTIONS)}")
    parser.add_argument("--quick", action="store_true", help="few items, once: a try-out, no measurement")
    parser.add_argument("--csv", type=Path, default=ROOT / ".bench" / "bench.csv", help="[%(default)s]")
    parser.add_argument("--markdown", action="store_true", help="print the headline as Markdown as well")
    parser.add_argument("--show", action="store_true", help="measure nothing, print what the CSV holds")
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
    """Measures the sections, writes the CSV after each; returns what should have worked and did not."""
    rows: list[Row] = []
    with open_stub() as stub, tempfile.TemporaryDirectory(prefix="ddb-transfer-bench-") as folder:
        bench = Bench(stub=stub, folder=Path(folder), quick=quick)
        for name in names:
            rows += SECTIONS[name](bench)
            write_csv(rows, csv)
    runs = [run for lab in bench.labs for run in lab.runs]
    return [f"{run.contestant}: {run.failure}" for run in runs if run.failure and not run.may_fail]


def machine() -> str:
    """What it was measured on."""
    found = re.search(r"^model name\s*: (.*)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    cpu = found[1] if found else platform.machine()
    return f"{os.cpu_count()} cores of {cpu}, Linux {platform.release()}, Python {platform.python_version()}"


if __name__ == "__main__":
    sys.exit(main())
