"""The engines of an import are compared with figures that say what they rest on, and with the replica that needs no import."""

from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import msgspec
import pytest

from ddb_import.native.choose import Situation, Verdict
from ddb_import.native.plan import Figures, engine_routes, native_load_seconds
from ddb_import.options import Engine
from ddb_shared.command.prices import NativePrices
from ddb_shared.command.routes import COPY_BYTES_PER_SECOND, GLOBAL_TABLE, Route
from ddb_shared.format import manifest as manifests
from ddb_shared.format.manifest import Manifest
from support.aws_exports import full_export
from support.memory import MemoryFolder

GB = 1024**3
PRICES = NativePrices(source="x", import_gb=0.15, restore_gb=0.2)
FIGURES = Figures(seconds=90.0, cost_usd=4.0, bytes=2 * GB)
FOUND = [
    Verdict(Engine.BATCH_WRITE),
    Verdict(Engine.IMPORT_TABLE, "the table exists"),
    Verdict(Engine.BULK),
]


def routes(
    *,
    figures: Figures = FIGURES,
    table: str = "Orders",
    region: str = "eu-west-1",
    exists: bool = False,
    **members: Any,
) -> dict[str, Route]:
    """The routes of an export of the table Orders in eu-central-1 into a table of this name and Region."""
    manifest = exported(**members)
    situation = SimpleNamespace(
        options=SimpleNamespace(table=table),
        aws=SimpleNamespace(region=region),
        full=SimpleNamespace(manifest=manifest),
        table=SimpleNamespace(region=region) if exists else None,
    )
    found = engine_routes(cast("Situation", situation), FOUND, figures, PRICES)
    return {route.route: route for route in found}


def exported(**members: Any) -> Manifest:
    made = full_export([{"pk": {"S": "a"}}], "moves/")
    files = {key.removeprefix(made.folder): data for key, data in made.files.items()}
    manifest = manifests.read(MemoryFolder(made.folder.rstrip("/"), files))
    source = msgspec.structs.replace(manifest.source, table_name="Orders", region="eu-central-1")
    return msgspec.structs.replace(manifest, source=source, table={"TableSizeBytes": GB} | members)


def test_every_engine_has_figures_and_what_they_rest_on() -> None:
    """What no list tells, the price of a bulk put, is unknown."""
    found = routes()
    assert list(found) == ["batch-write", "import-table", "bulk", GLOBAL_TABLE]
    assert (found["batch-write"].seconds, found["batch-write"].cost_usd) == (90.0, 4.0)
    native = 600 + 2 * GB / COPY_BYTES_PER_SECOND
    assert found["import-table"].seconds == found["bulk"].seconds == pytest.approx(native)
    assert found["import-table"].cost_usd == pytest.approx(0.3)
    assert found["bulk"].cost_usd is None
    assert found[GLOBAL_TABLE].cost_usd == pytest.approx(0.2)
    assert all(route.basis for route in found.values())
    assert (found["import-table"].possible, found["import-table"].why) == (False, "the table exists")


def test_of_an_export_of_unknown_size_nothing_is_said() -> None:
    """AWS's own manifests do not tell it."""
    found = routes(figures=replace(FIGURES, bytes=-1), TableSizeBytes=0)
    assert [found[name].seconds for name in ("import-table", "bulk")] == [None, None]
    assert found["import-table"].cost_usd is None


def test_a_bulk_put_takes_as_long_as_its_cap_makes_it() -> None:
    """An import that makes the table has no cap."""
    capped = replace(FIGURES, capped_seconds=9_000.0)
    assert native_load_seconds(Engine.BULK, capped) == 9_000.0
    assert native_load_seconds(Engine.IMPORT_TABLE, capped) == native_load_seconds(Engine.BULK, FIGURES)


@pytest.mark.parametrize(
    ("given", "possible", "why"),
    [
        ({}, True, "ended with Disassociate"),
        ({"region": "eu-central-1"}, False, "another Region than the source's, eu-central-1"),
        ({"table": "Copy"}, False, "the name of the source, Orders"),
        ({"exists": True}, False, "table Orders exists"),
        ({"Replicas": [{"RegionName": "eu-west-3"}]}, False, "global table already"),
    ],
)
def test_what_forbids_a_replica_is_said(given: dict[str, Any], possible: bool, why: str) -> None:
    """It has to be in another Region, of the same name, and new."""
    found = routes(**given)[GLOBAL_TABLE]
    assert (found.possible, why in found.why) == (possible, True), found.why
