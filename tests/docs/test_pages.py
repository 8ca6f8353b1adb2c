"""What the pages say of options, events, messages and sections is what the code has."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

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


def test_troubleshooting_has_the_words_of_the_messages() -> None:
    """Between `…`, each message has the pieces of one string of the code, in order: whoever searches the page finds the row."""
    strings = [text for path in SOURCES for text in _strings_of(ast.parse(path.read_text()))]
    rows = [
        line.split("|")[1]
        for line in (DOCS / "troubleshooting.md").read_text().splitlines()
        if line.startswith("| `")
    ]
    messages = [message for row in rows for message in re.findall(r"`([^`]+)`", row)]
    assert len(messages) >= len(rows) > 10
    assert [] == [message for message in messages if not any(map(_pattern_of(message).search, strings))]


def _pattern_of(message: str) -> re.Pattern[str]:
    return re.compile(".*".join(re.escape(piece.strip()) for piece in message.split("…")), re.DOTALL)


def _strings_of(module: ast.Module) -> Iterator[str]:
    """The string literals of a module without its docstrings, `…` in place of what is filled in."""
    docstrings = {id(node.value) for node in ast.walk(module) if isinstance(node, ast.Expr)}
    for node in ast.walk(module):
        if isinstance(node, ast.JoinedStr):
            yield "".join(str(part.value) if isinstance(part, ast.Constant) else "…" for part in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings:
            yield re.sub(r"%[sd]", "…", node.value)


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md", "CHANGELOG.md", "shared/README.md"])
def test_relative_links_lead_somewhere(name: str) -> None:
    """To a file of the repository, and to a heading where they name one. The pages in docs are checked as they are built."""
    page = ROOT / name
    broken = []
    for link in re.findall(r"\]\(([^)\s]+)\)", _without_blocks(page.read_text())):
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        if re.match(r"[a-z]+:", link):
            continue
        if not target.exists() or (anchor and anchor not in _anchors_of(target)):
            broken.append(link)
    assert [] == broken


def test_anchors_are_those_of_the_headings() -> None:
    """As GitHub makes them."""
    assert {"try-it", "move-a-table", "what-you-can-rely-on"} <= _anchors_of(ROOT / "README.md")
    assert "dynamodbs-own-exports-and-imports" in _anchors_of(DOCS / "native.md")


def _anchors_of(page: Path) -> set[str]:
    """Headings in small letters, without punctuation, and with hyphens in place of spaces."""
    headings = re.findall(r"^#+ (.+)$", _without_blocks(page.read_text()), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-") for heading in headings}


def _without_blocks(text: str) -> str:
    return re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)
