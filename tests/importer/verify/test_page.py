"""The page of a verification says what its result says, and no more."""

from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from ddb_import.proof import Step
from ddb_import.verify.page import show_differences, verify_page
from ddb_import.verify.report import DifferenceKind, ItemDifference
from ddb_import.verify.result import Verdict, VerifyResult
from ddb_shared.report.page import Page, Table
from ddb_shared.table import description

TABLE = description.from_description(
    {
        "TableName": "New",
        "TableArn": "arn:aws:dynamodb:eu-west-1:222222222222:table/New",
        "TableStatus": "ACTIVE",
        "AttributeDefinitions": [{"AttributeName": "pk", "AttributeType": "S"}],
        "KeySchema": [{"AttributeName": "pk", "KeyType": "HASH"}],
    }
)
MISSING = ItemDifference(
    kind=DifferenceKind.MISSING,
    key=msgspec.Raw(b'{"pk":{"S":"a"}}'),
    expected=msgspec.Raw(b'{"pk":{"S":"a"}}'),
)


def result_of(verdict: Verdict = Verdict.IDENTICAL, **found: Any) -> VerifyResult:
    return VerifyResult(
        verdict=verdict, export="s3://b/x/", table="New", verified_at="2026-01-01T00:00:00.000Z", **found
    )


def page_of(result: VerifyResult, *first: ItemDifference) -> Page:
    aws: Any = SimpleNamespace(has_price_list=False, identity=lambda: "somebody")
    return verify_page(aws, TABLE, result, first, [], gets=0, command="ddb-verify")


@pytest.mark.parametrize(
    ("result", "kind", "verdict"),
    [
        (result_of(), "good", "Verdict: identical."),
        (result_of(Verdict.DIFFERENT), "bad", "Verdict: different."),
        (result_of(Verdict.INCOMPLETE), "bad", "Verdict: incomplete."),
        (result_of(sample_percent=5.0), "warning", "Verdict of a sample of 5%, which proves nothing: identical."),
        (result_of(so_far=True), "warning", "Verdict so far, before the capture is closed: identical."),
        (result_of(Verdict.DIFFERENT, so_far=True), "bad", "Verdict so far, before the capture is closed: different."),
    ],
)  # fmt: skip
def test_the_verdict(result: VerifyResult, kind: str, verdict: str) -> None:
    """Green is a pass of all items alone."""
    page = page_of(result)
    assert (kind, verdict) == (page.kind, page.verdict)


def test_what_is_unknown_is_no_zero() -> None:
    """Counts that nobody has made."""
    facts = dict(page_of(result_of(missing=1_234)).facts)
    assert ["1,234", "unknown", "unknown"] == [
        facts[name] for name in ("Missing", "Extra", "Items of the table")
    ]
    assert "Reason" not in facts
    assert "Changes of the export" not in facts


def test_how_far_the_changes_count() -> None:
    """The records that are applied, what was compared earlier, and what is not compared yet."""
    step = Step(begun_at="a", verified_at="b", log_number=3, items=60)
    facts = dict(
        page_of(
            result_of(
                log_number=5, log_applied=4, changes=70, log_from=3, items_compared=2, so_far=True, log_newest=6,
                earlier=[step], reason="because", unnamed=3,
            )
        ).facts
    )  # fmt: skip
    assert ["70", "4 of 5", step.text(), "2", "up to 6", "because", "3"] == [
        facts[name]
        for name in (
            "Changes of the export", "Records of changes applied", "Compared earlier", "Items that changed after record 3",
            "Records not compared yet", "Reason", "Of these not in the report",
        )
    ]  # fmt: skip


def test_a_repair_says_what_was_before() -> None:
    """With its counts."""
    before = result_of(Verdict.DIFFERENT, missing=2, extra=0, different=1).found()
    facts = dict(page_of(result_of(before=before, repaired=3)).facts)
    assert "different: 2 missing, 0 extra, 1 different" == facts["Before the repair"]
    assert "3 written, 0 deleted" == facts["Repaired"]


def test_the_first_differences(capsys: pytest.CaptureFixture[str]) -> None:
    """In the page and on the screen; nothing where there are none."""
    tables = [
        part for part in page_of(result_of(Verdict.DIFFERENT), MISSING).parts if isinstance(part, Table)
    ]
    assert [("missing", '{"pk":{"S":"a"}}', "")] == list(tables[0].rows)
    assert "The first differences" not in [part.title for part in page_of(result_of()).parts]
    show_differences([], result_of())
    assert capsys.readouterr().err == ""
    show_differences([MISSING], result_of(Verdict.DIFFERENT))
    assert 'Differences:\n  missing {"pk":{"S":"a"}}\n' == capsys.readouterr().err
    show_differences([MISSING] * 10, result_of(Verdict.DIFFERENT))
    assert capsys.readouterr().err.startswith("The first 10 differences:")
