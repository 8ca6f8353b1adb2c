"""The options of an export, new or resumed."""

from __future__ import annotations

import datetime as dt
import enum
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from ddb_shared.command.options import Common
from ddb_shared.table.capacity import Cap

_WILDCARDS: Final = frozenset("*?")


@dataclass(frozen=True, kw_only=True)
class RequestedFormat:
    """The options that determine an export's files, None if not given; `columns` are types by attribute."""

    format: str | None = None
    columns: dict[str, str] | None = None
    compression: str | None = None
    segments: int | None = None
    consistent_read: bool | None = None
    shard_size: int | None = None


@dataclass(frozen=True, kw_only=True)
class PitrOptions:
    """The options of `--method pitr`. `since` is the export that an incremental one continues, `every` how long windows are.

    `export_time` is the moment of a full export, and the end of an incremental one. `names` and `values` belong to the three
    expressions, as in the AWS CLI.
    """

    export_time: dt.datetime | None = None
    since: str | None = None
    every: dt.timedelta | None = None
    enable_pitr: bool = False
    filter: str | None = None
    projection: str | None = None
    key_condition: str | None = None
    names: dict[str, Any] | None = None
    values: dict[str, Any] | None = None

    @property
    def filter_specification(self) -> dict[str, Any]:
        """The FilterSpecification of the request; empty without one."""
        members = {
            "FilterExpression": self.filter,
            "ProjectionExpression": self.projection,
            "KeyConditionExpression": self.key_condition,
            "ExpressionAttributeNames": self.names,
            "ExpressionAttributeValues": self.values,
        }
        return {name: value for name, value in members.items() if value}


class Method(enum.StrEnum):
    """How a table is exported: by a scan, or by DynamoDB itself from its backups; auto chooses."""

    SCAN = "scan"
    PITR = "pitr"
    AUTO = "auto"


@dataclass(frozen=True, kw_only=True)
class NewExport:
    """The options of `ddb-export TABLE s3://BUCKET[/PREFIX]`. `max_rcu` is the cap of all workers together.

    `follow` captures changes as well, `changes_only` them alone. `export_id` is chosen by a move of several tables.
    """

    common: Common
    table: str
    destination: str
    follow: bool = False
    changes_only: bool = False
    export_id: str | None = None
    requested: RequestedFormat = field(default_factory=RequestedFormat)
    max_rcu: Cap | None = None
    acl_mode: str = "auto"
    method: Method = Method.SCAN
    pitr: PitrOptions = field(default_factory=PitrOptions)

    @property
    def url(self) -> str:
        """Where it writes."""
        return self.destination


@dataclass(frozen=True, kw_only=True)
class ResumedExport:
    """The options of `ddb-export --resume EXPORT`: format options, if given, must be those that the export was started with."""

    common: Common
    export: str
    table: str | None = None
    requested: RequestedFormat = field(default_factory=RequestedFormat)
    max_rcu: Cap | None = None
    acl_mode: str = "auto"

    @property
    def url(self) -> str:
        """Where it writes."""
        return self.export


ExportOptions = NewExport | ResumedExport


@dataclass(frozen=True, kw_only=True)
class NewMove:
    """The options of `ddb-export TABLE… s3://BUCKET[/PREFIX]`: `tables` are names, ARNs and patterns, `follow` is about each."""

    common: Common
    tables: tuple[str, ...]
    destination: str
    follow: bool = False
    requested: RequestedFormat = field(default_factory=RequestedFormat)
    max_rcu: Cap | None = None
    acl_mode: str = "auto"

    @property
    def url(self) -> str:
        """Where it writes."""
        return self.destination


@dataclass(frozen=True, kw_only=True)
class ResumedMove:
    """The options of `ddb-export --resume MOVE`."""

    common: Common
    move: str
    requested: RequestedFormat = field(default_factory=RequestedFormat)
    max_rcu: Cap | None = None
    acl_mode: str = "auto"

    @property
    def url(self) -> str:
        """Where it writes."""
        return self.move


MoveOptions = NewMove | ResumedMove


def names_several(words: Sequence[str]) -> bool:
    """Whether these are the tables of a move: more than one, or a pattern, which may match any number."""
    return len(words) > 1 or any(map(is_pattern, words))


def is_pattern(word: str) -> bool:
    """Whether a table is given by a pattern."""
    return not _WILDCARDS.isdisjoint(word)
