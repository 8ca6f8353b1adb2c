"""Types of option values, validated on the command line: regions, accounts, endpoints, sizes and rates."""

from __future__ import annotations

import datetime as dt
import math
import re
from typing import Any, Final
from urllib.parse import urlsplit

import click
import msgspec

from ddb_shared.errors import UsageError
from ddb_shared.storage.location import check_location
from ddb_shared.table.capacity import UNLIMITED, Cap
from ddb_shared.text import duration_text


class Pattern(click.ParamType[str]):
    """Text that matches a pattern as a whole; `expected` describes it in error messages."""

    def __init__(self, name: str, pattern: str, expected: str) -> None:
        self.name = name
        self._pattern = re.compile(pattern)
        self._expected = expected

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """The text."""
        if not self._pattern.fullmatch(value):
            self.fail(f"{value!r} is not {self._expected}.", param, ctx)
        return str(value)


# https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_CreateTable.html
TABLE_PATTERN: Final = Pattern(
    "table",
    r"(?=.*[*?])[A-Za-z0-9_.*?-]{1,255}|[A-Za-z0-9_.-]{3,255}",
    "a table name (3 to 255 of A-Z a-z 0-9 _ . -) or a pattern of names such as 'prod-*'",
)
TABLE: Final = Pattern(
    "table",
    r"(arn:aws[a-z-]*:dynamodb:[a-z0-9-]+:[0-9]{12}:table/)?[A-Za-z0-9_.-]{3,255}",
    "a table name (3 to 255 of A-Z a-z 0-9 _ . -) or ARN",
)
# Local services use names of one word, such as `local`.
REGION: Final = Pattern("region", r"[a-z]{2,}(-[a-z]+)+-\d{1,2}|[a-z]{2,20}", "a region such as eu-west-1")
ACCOUNT: Final = Pattern("account", r"[0-9]{12}", "a 12-digit account number")


class Endpoint(click.ParamType[str]):
    """`http://HOST[:PORT]` or the same with https."""

    name = "url"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """The URL, which botocore takes as well."""
        try:
            parts = urlsplit(value)
            valid = parts.scheme in {"http", "https"} and parts.hostname and (parts.port or 1) > 0
        except ValueError:  # a port that is not a number, or an unfinished IPv6 address
            valid = False
        if not valid or not re.fullmatch(r"[!-~]+", value) or parts.query or parts.fragment:
            self.fail(f"{value!r} is not an endpoint URL such as http://127.0.0.1:8000.", param, ctx)
        return str(value)


class Location(click.ParamType[str]):
    """`s3://BUCKET[/PREFIX]` or a local folder."""

    name = "url"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """The URL or path."""
        try:
            return check_location(value)
        except UsageError as error:
            self.fail(f"{error.message} {error.remedy}", param, ctx)


class ByteSize(click.ParamType[int]):
    """A number of bytes such as 64MiB, 500MB or 1048576, of `minimum` to `maximum`."""

    name = "bytes"
    _UNITS: Final = {
        "": 1,
        "b": 1,
        "kib": 2**10,
        "mib": 2**20,
        "gib": 2**30,
        "kb": 10**3,
        "mb": 10**6,
        "gb": 10**9,
    }
    _FORM: Final = re.compile(r"([0-9]{1,18}) *([a-z]*)", re.IGNORECASE)

    def __init__(self, minimum: int = 1, maximum: int | None = None) -> None:
        self._minimum = minimum
        self._maximum = maximum

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """The number of bytes."""
        if isinstance(value, int):
            return value
        found = self._FORM.fullmatch(value.strip())
        factor = self._UNITS.get(found[2].lower()) if found else None
        if found is None or factor is None:
            self.fail(f"{value!r} is not a size such as 64MiB or 500MB.", param, ctx)
        size = int(found[1]) * factor
        if size < self._minimum or (self._maximum is not None and size > self._maximum):
            most = f" and at most {self._maximum:,}" if self._maximum is not None else ""
            self.fail(f"{value!r} must be at least {self._minimum:,} bytes{most}.", param, ctx)
        return size


class Capacity(click.ParamType[Cap]):
    """Capacity units per second, or a percentage of the provisioned capacity, a positive number; or `unlimited`."""

    name = "units"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Cap:
        """The cap."""
        if isinstance(value, Cap):
            return value
        if value == UNLIMITED:
            return Cap(math.inf)
        percent = value.endswith("%")
        try:
            number = float(value.removesuffix("%"))
        except ValueError:
            number = 0.0
        if not 0 < number < float("inf"):
            self.fail(
                f"{value!r} is not a rate. Expected capacity units per second, such as 500, or a percentage of the provisioned "
                "capacity, such as 50%.",
                param,
                ctx,
            )
        return Cap(number, percent)


class Moment(click.ParamType[dt.datetime]):
    """A time with its zone, such as 2026-09-01T12:00:00Z."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> dt.datetime:
        """The time in UTC."""
        if isinstance(value, dt.datetime):
            return value
        try:
            moment = dt.datetime.fromisoformat(value)
        except ValueError:
            moment = None
        if moment is None or moment.tzinfo is None:
            self.fail(
                f"{value!r} is not a time with its zone. Write it like 2026-09-01T12:00:00Z.", param, ctx
            )
        return moment.astimezone(dt.UTC)


class Duration(click.ParamType[dt.timedelta]):
    """A duration such as 15m, 6h or 90s."""

    name = "duration"
    _UNITS: Final = {"s": "seconds", "m": "minutes", "h": "hours"}
    _FORM: Final = re.compile(r"([0-9]{1,9})([smh])")

    def __init__(self, minimum: dt.timedelta, maximum: dt.timedelta) -> None:
        self._minimum = minimum
        self._maximum = maximum

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> dt.timedelta:
        """The duration."""
        if isinstance(value, dt.timedelta):
            return value
        found = self._FORM.fullmatch(value.strip())
        if found is None:
            self.fail(f"{value!r} is not a duration. Write it like 15m or 6h.", param, ctx)
        duration = dt.timedelta(**{self._UNITS[found[2]]: int(found[1])})
        if not self._minimum <= duration <= self._maximum:
            self.fail(
                f"{value!r} must be {duration_text(self._minimum.total_seconds())} to "
                f"{duration_text(self._maximum.total_seconds())}.",
                param,
                ctx,
            )
        return duration


class JsonObject(click.ParamType[dict[str, Any]]):
    """A JSON object."""

    name = "json"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> dict[str, Any]:
        """Its members."""
        if isinstance(value, dict):
            return value
        try:
            return msgspec.json.decode(value, type=dict[str, Any])
        except msgspec.DecodeError as error:
            self.fail(f"{value!r} is not a JSON object: {error}.", param, ctx)
