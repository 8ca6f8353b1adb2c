"""Which tables of a move are meant, and what they are called at the destination: --only and --rename."""

from __future__ import annotations

import fnmatch
import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import click

from ddb_shared.aws.clients import Aws
from ddb_shared.command.bundle import Command, bundle
from ddb_shared.command.preflight import bucket_checks, require
from ddb_shared.errors import ExportError, UsageError
from ddb_shared.format import manifest as manifests
from ddb_shared.format import moves
from ddb_shared.format.manifest import Manifest
from ddb_shared.format.moves import Move
from ddb_shared.storage.bucket import parse_bucket_url
from ddb_shared.storage.s3 import S3Storage
from ddb_shared.table.description import find

_NAME: Final = re.compile(r"[A-Za-z0-9_.-]{3,255}")
_PATTERN: Final = re.compile(r"[A-Za-z0-9_.*-]{1,255}")


class NotExportedError(ExportError):
    """The export of a table is not complete yet."""


@dataclass(frozen=True, slots=True)
class Rename:
    """One table's new name, or that of many: what `*` stands for in `source` stands for `*` in `target` as well."""

    source: str
    target: str

    def __str__(self) -> str:
        return f"{self.source}={self.target}"

    def apply(self, table: str) -> str | None:
        """The new name of a table; None if it is not meant."""
        before, star, after = self.source.partition("*")
        if not star:
            return self.target if table == self.source else None
        if len(table) < len(before + after) or not (table.startswith(before) and table.endswith(after)):
            return None
        return self.target.replace("*", table[len(before) : len(table) - len(after)])


class RenameType(click.ParamType[Rename]):
    """`SOURCE=DEST`, with one `*` on both sides or on none."""

    name = "rename"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Rename:
        """The two sides."""
        if isinstance(value, Rename):
            return value
        source, _, target = value.partition("=")
        stars = {source.count("*"), target.count("*")}
        if not (_PATTERN.fullmatch(source) and _PATTERN.fullmatch(target) and stars in ({0}, {1})):
            self.fail(
                f"{value!r} is not SOURCE=DEST: two names, or two patterns with one * each, such as 'prod*=new*'.",
                param,
                ctx,
            )
        return Rename(source, target)


@dataclass(frozen=True, kw_only=True)
class Selection:
    """The options: which tables of a move, by names and patterns (all if none is given), and their new names."""

    renames: tuple[Rename, ...] = ()
    only: tuple[str, ...] = ()

    def refuse(self) -> None:
        """Raises UsageError if one of the options is given, of a command that is not about a move."""
        if self.renames or self.only:
            raise UsageError(
                "--rename and --only are about the tables of a move.",
                "Give the location of a move (s3://BUCKET[/PREFIX]/moves/<move-id>.json), or TABLE as the last argument.",
            )


@dataclass(frozen=True, slots=True)
class Pair:
    """One table of a move: its name at the source and at the destination, its export, and its ARN at the source."""

    source: str
    target: str
    export: str
    source_arn: str


@dataclass(frozen=True, slots=True)
class SelectedMove:
    """A move, and those of its tables that are meant."""

    url: str
    move: Move
    pairs: tuple[Pair, ...]

    @property
    def names(self) -> list[str]:
        """Of each table: its name at the destination, and the source's if that is another one."""
        return [
            pair.target if pair.target == pair.source else f"{pair.target} (from {pair.source})"
            for pair in self.pairs
        ]


_OPTIONS: Final = (
    click.option(
        "--rename",
        "renames",
        multiple=True,
        type=RenameType(),
        metavar="SOURCE=DEST",
        help="For a move: rename a table at the destination, or many by patterns with one *, such as 'prod*=new*'; repeat for "
        "others.  [default: the source's names]",
    ),
    click.option(
        "--only",
        multiple=True,
        metavar="PATTERN",
        help="For a move: only the tables whose source name equals or matches PATTERN; repeat for others.",
    ),
)


def move_options(command: Command) -> Command:
    """Adds the options; the command receives them as one argument, `selection`."""
    return bundle("selection", Selection, _OPTIONS)(command)


def select_tables(aws: Aws, url: str, selection: Selection) -> SelectedMove:
    """The tables of a move that are meant.

    Raises UsageError for a name or pattern that matches none of them, and where two tables would become one.
    """
    root = moves.root_of(aws.s3, url)
    require(bucket_checks(aws, root.below(manifests.EXPORTS)))
    move = moves.read(root, url)
    pairs = tuple(
        Pair(moved.table, _name_of(moved.table, selection.renames), moved.export, moved.table_arn)
        for moved in move.exports
        if not selection.only or any(fnmatch.fnmatchcase(moved.table, one) for one in selection.only)
    )
    _refuse_idle(move, selection)
    _refuse_collisions(pairs)
    return SelectedMove(url, move, pairs)


def _name_of(table: str, renames: Sequence[Rename]) -> str:
    """The new name, by the first of the renames that is about this table."""
    name = next((name for rename in renames if (name := rename.apply(table)) is not None), table)
    if not _NAME.fullmatch(name):
        raise UsageError(
            f"--rename would give table {table} the name {name!r}.",
            "Names have 3 to 255 of A-Z a-z 0-9 _ . - characters.",
        )
    return name


def _refuse_idle(move: Move, selection: Selection) -> None:
    """A name that is misspelt would leave a table out, or import it under its old name."""
    tables = [moved.table for moved in move.exports]
    idle = [f"--only {one}" for one in selection.only if not fnmatch.filter(tables, one)]
    idle += [
        f"--rename {one}" for one in selection.renames if all(one.apply(table) is None for table in tables)
    ]
    if idle:
        raise UsageError(
            f"No table of the move matches {', '.join(idle)}.", f"Its tables: {', '.join(tables)}."
        )


def _refuse_collisions(pairs: Sequence[Pair]) -> None:
    sources = defaultdict(list)
    for pair in pairs:
        sources[pair.target].append(pair.source)
    mixed = [f"{' and '.join(names)} into {target}" for target, names in sources.items() if len(names) > 1]
    if mixed:
        raise UsageError(
            f"Several tables would become one: {'; '.join(mixed)}. Nothing was written.",
            "Give each a name of its own with --rename SOURCE=DEST.",
        )


def refuse_sources(aws: Aws, selected: SelectedMove) -> None:
    """Raises UsageError if a table would be loaded into another one that the move was exported from."""
    arns = {moved.table: moved.table_arn for moved in selected.move.exports}
    for pair in selected.pairs:
        if pair.target == pair.source or pair.target not in arns:
            continue
        found = find(aws.dynamodb, pair.target)
        if found is not None and found.arn == arns[pair.target]:
            raise UsageError(
                f"Table {pair.source} would be loaded into {found.arn}, which the move was exported from. Nothing was written.",
                "Give it another name with --rename SOURCE=DEST, or use the credentials of the other account.",
            )


def require_export(aws: Aws, selected: SelectedMove, pair: Pair) -> Manifest:
    """The header of the table's export; raises NotExportedError if it is not complete, and ExportError if it is of another table."""
    folder = S3Storage(aws.s3, *parse_bucket_url(pair.export))
    header = manifests.read_header(folder)
    if header is None:
        raise NotExportedError(
            f"The export of {pair.source} is not complete: {pair.export} has no manifest.json yet.",
            f"Wait for it, or finish the move with: ddb-export --resume {selected.url}",
        )
    if header.source.table_arn != pair.source_arn:
        raise ExportError(
            f"{pair.export} is an export of {header.source.table_arn}, and the move is of {pair.source_arn}.",
            "Do not use this export: export the table again, into a move of its own.",
        )
    return header


def refuse_with_table(words: Sequence[str], command: str) -> None:
    """Raises UsageError if a move is not the only argument."""
    found = next((word for word in words if manifests.is_move(word)), None)
    if found is not None and len(words) > 1:
        raise UsageError(
            f"{found} is a move of several tables, which stands alone: it names its tables itself.",
            f"Run: {command} {found}, with --only TABLE for one of them and --rename SOURCE=DEST for another name.",
        )
