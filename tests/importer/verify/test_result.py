"""The result of a verification: text and exit codes."""

from typing import Any

from ddb_import.verify.result import Verdict, VerifyResult, incomplete
from ddb_shared.errors import EXIT_DIFFERENT, ShardError

EXPORT = "s3://bucket/AWSDynamoDB/01715685260608-c488b4e1/"


def result(**fields: Any) -> VerifyResult:
    found = {
        "missing": 0,
        "extra": 0,
        "different": 0,
        "unnamed": 0,
        "items_export": 1_234,
        "items_table": 1_234,
    }
    names = {"export": EXPORT, "table": "arn:aws:dynamodb:eu-west-1:222222222222:table/T"}
    where = {
        "account": "222222222222",
        "region": "eu-west-1",
        "digest_export": "ab" * 16,
        "digest_table": "ab" * 16,
    }
    times = {"begun_at": "2026-07-01T12:00:00.000Z", "verified_at": "2026-07-01T12:01:00.000Z"}
    return VerifyResult(**({"verdict": Verdict.IDENTICAL} | found | names | where | times | fields))


def test_the_text_names_what_a_ticket_needs() -> None:
    """Items and digest of each side, when, which account, region, table and export."""
    text = result().text()
    for needed in ("IDENTICAL", EXPORT, "table/T", "1,234 items, digest abab", "account 222222222222", "eu-west-1",
                   "2026-07-01T12:01:00.000Z", "0 missing, 0 extra, 0 different"):  # fmt: skip
        assert needed in text
    assert "report" not in text
    assert "/report.jsonl" in result(report="x/report.jsonl").text()


def test_what_is_not_in_the_report_is_said() -> None:
    """Differences beyond the limit, how many there are, and whether that is an estimate."""
    assert "unnamed    400 of these" in result(unnamed=400).text()
    assert "estimated, 400 of these" in result(unnamed=400, estimated=True).text()
    assert "there are more differences" in result(unnamed=None).text()
    assert "unnamed" not in result().text()


def test_a_repair_shows_before_and_after() -> None:
    """Two verdicts, each with its counts."""
    found = result(verdict=Verdict.DIFFERENT, missing=3, different=2).found()
    lines = result(before=found, repaired=5, changed_since=1).text().splitlines()
    assert "  before     DIFFERENT: 3 missing, 0 extra, 2 different" in lines
    assert any(line.startswith("  after      IDENTICAL: 0 missing, 0 extra, 0 different") for line in lines)
    assert any("5 written, 0 deleted" in line for line in lines)
    assert any("1 changed since" in line for line in lines)


def test_a_sample_says_that_it_is_one() -> None:
    """The first line calls it no proof, and what it cannot see is unknown."""
    text = result(sample_percent=2.5, extra=None, digest_export=None, digest_table=None).text()
    assert "SAMPLE of 2.5%, which does not prove equality" in text.splitlines()[0]
    assert "0 missing, unknown extra" in text


def test_only_identical_is_a_pass() -> None:
    """Exit codes 0, 4 and 1; what could not run says why, and knows no numbers."""
    assert [result(verdict=verdict).exit_code for verdict in Verdict] == [0, EXIT_DIFFERENT, 1]
    failed = incomplete(ShardError("The shard is damaged."), EXPORT, "T", "now")
    assert (failed.verdict, failed.missing, failed.items_table) == (Verdict.INCOMPLETE, None, None)
    assert failed.text().splitlines() == ["Verdict: INCOMPLETE", "  reason     The shard is damaged."]
