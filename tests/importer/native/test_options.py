"""What does not go with an engine is refused before AWS is asked anything."""

from typing import Any

import pytest

from ddb_import.definition.create import CreateOptions
from ddb_import.options import Engine, ImportOptions, OnExisting, refuse_engine_options
from ddb_shared.aws.clients import AwsOptions
from ddb_shared.command.options import Common
from ddb_shared.errors import UsageError
from ddb_shared.runtime.display import ProgressOptions
from ddb_shared.table.capacity import Cap

CREATE = CreateOptions()


def options(engine: Engine, **changes: Any) -> ImportOptions:
    members: dict[str, Any] = {
        "common": Common(aws=AwsOptions(), processes=None, progress=ProgressOptions(), as_json=False),
        "exports": ("s3://bucket/AWSDynamoDB/01715685260608-c488b4e1/",),
        "table": "Copy",
        "on_existing": None,
        "max_wcu": None,
        "state": None,
        "restart": False,
        "from_rejects": False,
        "create": CREATE,
    }
    return ImportOptions(engine=engine, **(members | changes))


@pytest.mark.parametrize(
    ("engine", "changes", "told"),
    [
        (Engine.BULK, {"on_existing": OnExisting.SKIP}, "--on-existing skip"),
        (Engine.BULK, {"from_rejects": True}, "--from-rejects"),
        (Engine.AUTO, {"from_rejects": True}, "--from-rejects"),
        (Engine.IMPORT_TABLE, {"create": None}, "makes the table"),
        (Engine.IMPORT_TABLE, {"on_existing": OnExisting.OVERWRITE}, "the table is new"),
        (Engine.IMPORT_TABLE, {"max_wcu": Cap(500)}, "--max-wcu"),
        (Engine.IMPORT_TABLE, {"create": CreateOptions(warm_write_units=9_000)}, "--warm-write-units"),
        (Engine.IMPORT_TABLE, {"create": CreateOptions(definition_only=True)}, "--definition-only"),
    ],
)
def test_options_that_do_not_go_with_an_engine_are_refused(
    engine: Engine, changes: dict[str, Any], told: str
) -> None:
    """With the reason."""
    with pytest.raises(UsageError, match=told) as caught:
        refuse_engine_options(options(engine, **changes))
    assert caught.value.remedy


@pytest.mark.parametrize(
    ("engine", "changes"),
    [
        (Engine.BATCH_WRITE, {"on_existing": OnExisting.SKIP, "max_wcu": Cap(5), "create": None}),
        (Engine.BULK, {"on_existing": OnExisting.OVERWRITE, "max_wcu": Cap(2_000), "create": None}),
        (Engine.BULK, {"create": CreateOptions(warm_write_units=9_000)}),
        (Engine.AUTO, {"on_existing": OnExisting.SKIP, "create": None}),
        (Engine.IMPORT_TABLE, {}),
    ],
)
def test_the_others_are_taken(engine: Engine, changes: dict[str, Any]) -> None:
    """Nothing is refused that works."""
    refuse_engine_options(options(engine, **changes))
