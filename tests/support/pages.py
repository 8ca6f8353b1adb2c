"""The command lines of the documentation, so that tests can run them.

A fenced block of the language `console` holds command lines, each after `$ `, and what they print, where `…` stands for
lines that are left out. A command line ends where its last line does not end in a backslash. A block that follows the
comment `<!-- not run: reason -->` is parsed, but not run; `<!-- hidden -->` and `<!-- /hidden -->` enclose, in one
comment, lines that run before the next block.
"""

import re
from dataclasses import dataclass
from pathlib import Path

from support.environment import ROOT

PAGES = sorted(
    path
    for path in [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]
    if "_build" not in path.relative_to(ROOT).parts
)
_BLOCK = re.compile(
    r"(?:<!-- not run: (?P<reason>[^>]+?) -->\s*)?"
    r"(?:<!-- hidden\n(?P<hidden>.*?)-->\s*)?"
    r"^```console\n(?P<body>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)


@dataclass(frozen=True)
class Block:
    """One block of a page: its command lines, what they print, those that prepare it unseen, and why it is not run, if it isn't."""

    commands: tuple[str, ...]
    printed: tuple[str, ...]
    hidden: tuple[str, ...]
    reason: str


def blocks_of(page: Path) -> list[Block]:
    """The blocks of command lines of a page, in order."""
    return [
        Block(
            *_parts_of(found["body"]),
            tuple((found["hidden"] or "").splitlines()),
            found["reason"] or "",
        )
        for found in _BLOCK.finditer(page.read_text())
    ]


def _parts_of(body: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The command lines of a block, and the lines that they print, as far as the page shows them."""
    commands, printed = list[str](), list[str]()
    open_line = False
    for line in body.splitlines():
        if open_line:
            commands[-1] += "\n" + line
        elif line.startswith("$ "):
            commands.append(line[2:])
        else:
            printed.append(line)
            continue
        open_line = line.endswith("\\")
    return tuple(commands), tuple(line for line in printed if line.strip() != "…")


def name_of(page: Path) -> str:
    """The page's path in the repository."""
    return page.relative_to(ROOT).as_posix()
