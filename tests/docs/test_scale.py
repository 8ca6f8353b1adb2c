"""The arithmetic of docs/scale.md is that of its script, and the script's figures are those that were measured."""

import runpy
import subprocess
import sys

from support.environment import ROOT

SCRIPT = ROOT / "scripts" / "scale"
BENCHMARKS = (ROOT / "docs" / "benchmarks.md").read_text()


def test_the_page_shows_what_the_script_prints() -> None:
    """For the default item and quota."""
    printed = subprocess.run([sys.executable, SCRIPT], capture_output=True, text=True, check=True).stdout
    assert printed in (ROOT / "docs" / "scale.md").read_text()


def test_the_script_computes_with_the_measured_figures() -> None:
    """Of export and import of JSON lines, as the page of the benchmarks has them."""
    row = next(line for line in BENCHMARKS.splitlines() if line.startswith("| ddb-transfer, JSON lines |"))
    columns = [int(text) for text in row.replace(",", "").split("|") if text.strip().isdecimal()]
    script = runpy.run_path(str(SCRIPT))
    assert (columns[0], columns[2]) == (script["EXPORT_ITEMS"], script["IMPORT_ITEMS"])


def test_a_table_takes_its_units() -> None:
    """A terabyte of 500 bytes: a unit a put, half a unit for each 4 KB that is read."""
    script = runpy.run_path(str(SCRIPT))
    move = script["Move"](10**12, 500, 40_000)
    assert (2_000_000_000, 122_070_312) == (move.write_units, int(move.read_units))
    assert 13.8 < move.import_hours < 13.9
    assert 2 * script["Move"](10**12, 1025, 40_000).items == script["Move"](10**12, 1025, 40_000).write_units
