"""What the pages say of options, events, messages and sections is what the code has."""

import re

from bench.sections import SECTIONS
from ddb_shared.command.groups import COMMAND_LINE_ONLY
from support.environment import ROOT

DOCS = ROOT / "docs"
SOURCES = [
    path for folder in ("exporter", "importer", "shared") for path in sorted((ROOT / folder).rglob("*.py"))
]
_EVENT = re.compile(r'\bevent(?:: str)? ?= ?"(\w+)"')


def test_the_options_without_a_variable_are_named() -> None:
    """Those that only the command line may say."""
    page = (DOCS / "command-line.md").read_text()
    assert [] == sorted(
        name for name in COMMAND_LINE_ONLY - {"--version", "--help"} if f"`{name}`" not in page
    )


def test_every_event_is_documented() -> None:
    """In the table of the page, by the name that programs meet."""
    events = {name for path in SOURCES for name in _EVENT.findall(path.read_text())}
    assert {"notice", "report", "job", "table_failed"} <= events
    rows = [
        line.split("|")[1] for line in (DOCS / "events.md").read_text().splitlines() if line.startswith("| `")
    ]
    documented = set(re.findall(r"`(\w+)`", " ".join(rows)))
    assert set() == events - documented


def test_every_section_of_the_benchmark_is_documented() -> None:
    """In the table of sections."""
    page = (DOCS / "benchmarks.md").read_text()
    assert [] == [name for name in SECTIONS if f"\n| `{name}` |" not in page]


def test_every_layer_of_shared_is_documented() -> None:
    """CONTRIBUTING's table names each folder and module that stands beside them."""
    rows = [
        line.split("|")[1]
        for line in (ROOT / "CONTRIBUTING.md").read_text().splitlines()
        if line.startswith("| `")
    ]
    documented = set(re.findall(r"`(\w+)`", " ".join(rows)))
    present = {
        path.stem
        for path in (ROOT / "shared" / "ddb_shared").iterdir()
        if path.stem.isalpha() and path.stem != "py"
    }
    assert set() == present - documented
