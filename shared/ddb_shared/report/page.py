"""The page of a report: facts, tables and charts, as one HTML file that opens offline. Everything foreign is escaped."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import ddb_shared
from ddb_shared.errors import TransferError
from ddb_shared.runtime.events import announce, warn
from ddb_shared.storage.base import Storage
from ddb_shared.text import printable
from ddb_shared.times import now_text

FILE: Final = "report.html"
_LOG: Final = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table below a heading, with what there is to say of it."""

    title: str
    head: Sequence[str]
    rows: Sequence[Sequence[object]]
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class Chart:
    """A picture below a heading: `svg` is our own, and is not escaped."""

    title: str
    svg: str
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class Page:
    """What a report says. `kind` of the verdict is `good`, `warning` or `bad`."""

    title: str
    verdict: str
    kind: str
    facts: Sequence[tuple[str, object]]
    parts: Sequence[Table | Chart] = field(default_factory=list)
    commands: Sequence[tuple[str, str]] = field(default_factory=list)


def render(page: Page) -> str:
    """The page as HTML."""
    import jinja2  # noqa: PLC0415 - 40 ms that only a report needs

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("ddb_shared.report", "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters["printable"] = lambda value: printable(str(value))
    template = environment.get_template("page.html.j2")
    return template.render(
        page=page,
        Chart=Chart,
        is_chart=lambda part: isinstance(part, Chart),
        at=now_text(),
        version=ddb_shared.__version__,
    )


def publish(
    make: Callable[[], Page], storage: Storage | None, name: str = FILE, *, copy: Path | None = None
) -> None:
    """Writes the report beside the state in `storage`, and to `copy`, as far as these are given.

    The run is over by then, and its result stands: a report that cannot be made or written is a warning.
    """
    if storage is None and copy is None:
        return
    try:
        data = render(make()).encode()
    except Exception as error:  # noqa: BLE001 - a bug here is not a reason to call a complete run failed
        _LOG.info("How the report failed", exc_info=error)
        warn(f"the report could not be made: {error}")
        return
    if copy is not None:
        _write(str(copy), lambda: copy.write_bytes(data))
    if storage is not None:
        _write(storage.url + name, lambda: storage.write(name, data))


def _write(place: str, write: Callable[[], object]) -> None:
    try:
        write()
    except (OSError, TransferError) as error:
        warn(f"the report could not be written to {place}: {error}")
    else:
        announce(f"Report: {place}", event="report", report=place)
