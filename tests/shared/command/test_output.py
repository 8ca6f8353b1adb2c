"""The stdout of a command."""

from typing import Any

import msgspec
import pytest

from ddb_shared.command.output import print_result


class _Result(msgspec.Struct):
    items: int
    export: str


def test_json_is_one_object_and_text_is_text(capsys: pytest.CaptureFixture[str]) -> None:
    """On stdout is the result and nothing else."""
    result: Any = _Result(3, "s3://b/ü")
    print_result(result, "3 items", as_json=True)
    assert msgspec.json.decode(capsys.readouterr().out, type=_Result) == result
    print_result(result, "3 items", as_json=False)
    assert capsys.readouterr().out == "3 items\n"
