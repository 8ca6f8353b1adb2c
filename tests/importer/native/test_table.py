"""What a definition holds is taken by ImportTable, set after the load, or refused: nothing is lost quietly."""

from types import SimpleNamespace
from typing import Any, cast

import botocore.session
import pytest

from ddb_import.definition.create import Definition
from ddb_import.definition.create_request import create_request
from ddb_import.definition.steps import AFTER_IMPORT, STEPS
from ddb_import.native.table import table_parameters
from ddb_shared.errors import UsageError

KEY = [["pk", "S", "HASH"]]
INDEX = {"key": [["at", "N", "HASH"]], "projection": {"type": "ALL"}}
VECTORS = {
    "vector_index:near": {
        "VectorAttribute": {"AttributeName": "v"},
        "types": {},
        "projection": {"type": "ALL"},
    }
}


def parameters(**desired: Any) -> dict[str, Any]:
    """Of a table with this definition and a key."""
    wanted = {"key": KEY, "billing_mode": "PAY_PER_REQUEST"} | desired
    return of(create_request("Copy", wanted, with_indexes=True))


def of(request: dict[str, Any]) -> dict[str, Any]:
    return table_parameters(cast("Definition", SimpleNamespace(request=request)))


def test_what_import_table_takes_is_given_to_it() -> None:
    """With the names of botocore's model."""
    found = parameters(**{"global_index:by-date": INDEX, "encryption": "key"})
    model = botocore.session.get_session().get_service_model("dynamodb").shape_for("TableCreationParameters")
    assert found.keys() <= model.members.keys()
    assert [index["IndexName"] for index in found["GlobalSecondaryIndexes"]] == ["by-date"]
    assert found["SSESpecification"]["KMSMasterKeyId"] == "key"


def test_a_table_class_and_vector_indexes_are_set_after_the_load() -> None:
    """ImportTable cannot set the one, and a vector of a wrong length would end an import into the other."""
    found = parameters(table_class="STANDARD_INFREQUENT_ACCESS", **VECTORS)
    assert found.keys() == parameters().keys()
    assert ("table_class" in AFTER_IMPORT, "vector_index" in STEPS) == (True, True)


def test_local_indexes_are_refused() -> None:
    """Nothing can add them later."""
    with pytest.raises(UsageError, match="local secondary indexes \\(by-size\\)") as caught:
        parameters(**{"local_index:by-size": INDEX})
    assert "--engine bulk --create-table" in caught.value.remedy


def test_a_member_that_import_table_does_not_have_is_refused() -> None:
    """Rather than left out."""
    with pytest.raises(UsageError, match="no parameter for WarmThroughput"):
        of({"TableName": "Copy", "KeySchema": [], "WarmThroughput": {}})
