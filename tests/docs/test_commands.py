"""Every command line of README and docs is one that the commands take, and runs as it is printed."""

import re
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import click
import pytest

from ddb_export.cli import command as ddb_export
from ddb_import.cli import command as ddb_import
from ddb_import.verify.cli import command as ddb_verify
from ddb_shared.policy.cli import command as ddb_policy
from support.pages import PAGES, Block, blocks_of, name_of
from support.sandbox import open_sandbox

COMMANDS: dict[str, click.Command] = {
    "ddb-export": ddb_export,
    "ddb-import": ddb_import,
    "ddb-verify": ddb_verify,
    "ddb-policy": ddb_policy,
}
# What a page's variables stand for when its lines are only parsed.
VALUES = {
    "E": "s3://shared-bucket/moves/AWSDynamoDB/01715685260608-c488b4e1/",
    "MOVE": "s3://shared-bucket/moves/moves/01715685260608-c488b4e1.json",
    "FULL": "s3://shared-bucket/moves/AWSDynamoDB/01715685260608-c488b4e1/",
    "INCREMENT1": "s3://shared-bucket/moves/AWSDynamoDB/01715685260609-c488b4e1/",
    "INCREMENT2": "s3://shared-bucket/moves/AWSDynamoDB/01715685260610-c488b4e1/",
    "INCREMENT3": "s3://shared-bucket/moves/AWSDynamoDB/01715685260611-c488b4e1/",
}
# A page that fails would wait for what it has started in the background.
_END_JOBS = "trap 'kill $(jobs -p) 2> /dev/null || true' EXIT"
_BLOCK = re.compile(r"^```(?P<language>.*?)\n(?P<body>.*?)^```$", re.MULTILINE | re.DOTALL)
_OURS = re.compile(r"(?:^|[\s/(])ddb-(?:export|import|verify|policy)\s")
_STARTS_WITH = re.compile(r"<!-- starts with: (?P<names>[a-z, ]+) -->")


def lines_of(page: Path) -> Iterator[tuple[Block, str]]:
    for block in blocks_of(page):
        for line in block.commands:
            yield block, line


def invocations(line: str) -> Iterator[tuple[str, list[str]]]:
    """The words of each of our commands in a line of shell, variables and substitutions resolved."""
    text = line.replace("\\\n", " ")
    for name, value in VALUES.items():
        text = re.sub(rf"\$\{{?{name}\b\}}?", value, text)
    text = re.sub(r"\w+=\$\((.*)\)", r"\1", text)
    lexer = shlex.shlex(text, posix=True, punctuation_chars="|&;<>")
    lexer.whitespace_split = True
    words = list(lexer)
    while words:
        end = next((at for at, word in enumerate(words) if word and set(word) <= set("|&;<>")), len(words))
        part, words = words[:end], words[end + 1 :]
        names = [PurePosixPath(word).name for word in part]
        # after variables of the environment, and whatever else starts it, such as systemd-run
        if at := next((at for at, name in enumerate(names, 1) if name in COMMANDS), None):
            yield names[at - 1], part[at:]


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_command_lines_parse(page: Path) -> None:
    """Those that are not run as well: no option or argument is misspelt or out of date."""
    for _, line in lines_of(page):
        for name, words in invocations(line):
            try:
                COMMANDS[name].make_context(name, words)
            except click.exceptions.Exit:  # --version and --help
                continue
            except (click.ClickException, SystemExit) as error:
                pytest.fail(f"{name_of(page)}: {line}\n{error}")


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_no_block_is_overlooked(page: Path) -> None:
    """A block of command lines that is indented, or of another language, would be neither parsed nor run."""
    text = page.read_text()
    assert text.count("```console") == len(blocks_of(page))
    others = [
        found["body"] for found in _BLOCK.finditer(text) if found["language"] in {"", "shell", "bash", "sh"}
    ]
    assert [] == [line for body in others for line in body.splitlines() if _OURS.search(line)]


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_command_lines_run(page: Path, tmp_path: Path) -> None:
    """One after the other in a shell, against a local AWS that enforces policies; each has to end with 0.

    What the page shows of their output has to be printed, but for numbers, ids and digests.
    """
    blocks = [block for block in blocks_of(page) if not block.reason]
    if not any(block.commands for block in blocks):
        return
    starts = _STARTS_WITH.search(page.read_text())
    assert starts, f"{name_of(page)} runs commands: say `<!-- starts with: table, bucket -->` in it"
    names = {name.strip() for name in starts["names"].split(",")}
    lines = [line for block in blocks for line in (*block.hidden, *block.commands)]
    script = "\n".join([_END_JOBS, *lines])
    with open_sandbox(tmp_path, names) as environment:
        done = subprocess.run(
            ["bash", "-euxo", "pipefail", "-c", script],
            env=environment,
            cwd=tmp_path,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=300,
            check=False,
        )
    assert done.returncode == 0, f"{name_of(page)}:\n{done.stdout}"
    printed = {_without_numbers(line) for line in done.stdout.splitlines()}
    shown = [line for block in blocks for line in block.printed]
    assert [] == [line for line in shown if _without_numbers(line) not in printed], done.stdout


def _without_numbers(line: str) -> str:
    return re.sub(r"\b[0-9a-f]{8,}\b|\d[\d,.]*", "#", line)
