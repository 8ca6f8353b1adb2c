"""The parts of a verification: what is compared, paired, sliced, reported and said."""

import dataclasses
import datetime as dt
import json
import random
from pathlib import Path
from typing import Any

import msgspec
import pytest

from ddb_import.verify.cli import command
from ddb_import.verify.confirm import compare
from ddb_import.verify.digests import Digests
from ddb_import.verify.match import Candidate, Found, Record, key_or_raw, pair, slices
from ddb_import.verify.options import Source, VerifyOptions
from ddb_import.verify.report import Difference, Kind, Report
from ddb_import.verify.result import Verdict, VerifyResult, incomplete
from ddb_import.verify.sample import thin
from ddb_import.verify.sides import ExportSide, TableSide, items_of
from ddb_shared.aws import AwsOptions
from ddb_shared.cap import Cap
from ddb_shared.digest import BUCKETS
from ddb_shared.errors import EXIT_DIFFERENT, AccessError, ShardError
from ddb_shared.manifest import Shard
from ddb_shared.options import Common
from ddb_shared.permissions import Side
from ddb_shared.progress import Style
from ddb_shared.storage import LocalFolder
from support.help import assert_help, outcome
from support.memory import MemoryFolder

EXPORT = "s3://bucket/AWSDynamoDB/01715685260608-c488b4e1/"
OPTIONS = ("--tables", "--sample", "--repair", "--delete-extra", "--yes", "--max-rcu", "--max-wcu", "--state")
NOW = dt.datetime(2026, 7, 1, 12, 30, 15, 123456, tzinfo=dt.UTC)
COMMON = Common(aws=AwsOptions(region="eu-west-1"), processes=1, progress=Style.NONE, as_json=False)


def test_help_names_every_option_and_exit_code(capsys: pytest.CaptureFixture[str]) -> None:
    """A user needs no other page to run it."""
    assert outcome(command, "--help") == 0
    assert_help(command, capsys.readouterr().out, OPTIONS)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "EXPORT and TABLE are needed"),
        ([EXPORT], "EXPORT and TABLE are needed"),
        (["--tables", "A"], "EXPORT and TABLE are needed"),
        (["--tables", "A", "B", "C"], "--tables takes two tables"),
        ([EXPORT, "T", "--source-region", "eu-west-1"], "--source options belong to --tables"),
        ([EXPORT, "T", "--delete-extra"], "belong to --repair"),
        ([EXPORT, "T", "--yes"], "belong to --repair"),
        ([EXPORT, "T", "--max-wcu", "5"], "belong to --repair"),
        ([EXPORT, "T", "--sample", "0"], "0.0 is not in the range"),
        ([EXPORT, "T", "--sample", "101"], "101.0 is not in the range"),
        ([EXPORT, "T", "--repair", "--yes", "--sample", "5"], "needs a report of all items"),
        ([EXPORT, "T", "--repair"], "nobody to ask"),
    ],
)
def test_a_bad_command_line_exits_2_and_says_why(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Before anything is asked of AWS; nothing goes to stdout."""
    assert outcome(command, *arguments) == 2
    streams = capsys.readouterr()
    assert message in streams.err
    assert streams.out == ""


def test_the_command_to_run_again() -> None:
    """It reaches the same two sides with the same rates, and repairs nothing."""
    whole = VerifyOptions(
        common=COMMON, export=EXPORT, table="T", max_rcu=Cap(500), sample=2.5, state="./here"
    )
    assert (
        whole.command == f"ddb-verify {EXPORT} T --region eu-west-1 --max-rcu 500 --sample 2.5 --state ./here"
    )
    source = Source(table="S", profile="old", region="us-east-1", role_arns=("arn:a", "arn:b"))
    tables = VerifyOptions(common=COMMON, source=source, table="T")
    assert tables.command == (
        "ddb-verify --tables S T --source-region us-east-1 --source-profile old --source-role-arn arn:a "
        "--source-role-arn arn:b --region eu-west-1"
    )


def test_another_profile_takes_no_role_of_the_first_one() -> None:
    """A source of its own profile is read by that profile alone; without one, by the same identity."""
    aws = AwsOptions(region="eu-west-1", profile="new", role_arns=("arn:new",), mfa_serial="device")
    assert Source(table="S", profile="old").aws(aws) == AwsOptions(
        region="eu-west-1", profile="old", side=Side.SOURCE
    )
    assert Source(table="S", region="us-east-1").aws(aws) == dataclasses.replace(
        aws, region="us-east-1", side=Side.SOURCE
    )


def test_lines_that_are_no_items_stay_countable() -> None:
    """Each becomes a JSON string, which equals no item, and the good ones stay themselves."""
    lines = [b'{"Item":{"a":{"S":"x"}}}', b'{"a":{"S":"x"}}', b"\xff", b"[" * 100_000, b'{"Item":{},"x":1}']
    items = [bytes(item) for item in items_of(lines)]
    assert items[0] == b'{"a":{"S":"x"}}'
    assert all(isinstance(json.loads(item), str) for item in items[1:])
    assert [bytes(item) for item in items_of(lines[:1])] == items[:1]


def record(key: str, value: str, *, bucket: int = 0) -> Record:
    data = f'{{"pk":{{"S":"{key}"}}}}'.encode()
    return Record(bucket, key.encode(), value.encode(), data)


def keys(candidates: list[Candidate]) -> list[str]:
    return [json.loads(candidate.key)["pk"]["S"] for candidate in candidates]


def test_pairs_what_is_on_one_side_or_not_equal() -> None:
    """Equal items are no candidates; extra ones have no item of the export."""
    found = Found(
        left=[record("a", "1"), record("b", "1"), record("c", "1")],
        right=[record("c", "1"), record("b", "2"), record("d", "1")],
    )
    candidates = pair(found, ["pk"])
    assert keys(candidates) == ["a", "b", "d"]
    assert [candidate.item is None for candidate in candidates] == [False, False, True]


@pytest.mark.parametrize("values", [["1", "2"], ["2", "1"], ["1", "1"], ["2", "1", "3"]])
def test_lines_with_one_key_are_one_item(values: list[str]) -> None:
    """It is no difference if one of them is in the table, and one difference if none is."""
    left = [record("a", value) for value in values]
    assert pair(Found(left=left, right=[record("a", "1")]), ["pk"]) == []
    assert keys(pair(Found(left=left, right=[record("a", "9")]), ["pk"])) == ["a"]
    assert keys(pair(Found(left=left), ["pk"])) == ["a"]


def test_slices_hold_all_buckets_once() -> None:
    """In order, each slice below the limit, but for a bucket that is larger by itself."""
    digests = Digests()
    counts = {3: 1, 7: 50, 8: 2, 9: 2, 20: 1}
    for bucket, count in counts.items():
        digests.left.sums.add([bucket] * count, [b"\x01" * 16] * count)
    digests.left.bytes = 100 * sum(counts.values())
    assert list(slices(list(counts), digests, 2_600)) == [[3], [7], [8, 9, 20]]
    assert list(slices(list(counts), digests, 10**9)) == [[3, 7, 8, 9, 20]]
    assert list(slices([], digests, 1)) == []


def test_a_key_that_is_none_is_the_bytes() -> None:
    """Of an item without the key attribute, and of what is no item."""
    assert key_or_raw(b'{"pk":{"N":"1.0"},"a":{"S":""}}', ["pk"]) == b'{"pk":{"N":"1"}}'
    for data in (b'{"a":{"S":""}}', b'"text"', b"[" * 100_000):
        assert key_or_raw(data, ["pk"]) == data


def item(**attributes: Any) -> bytes:
    return msgspec.json.encode({"pk": {"S": "a"}} | attributes)


def test_compares_by_value() -> None:
    """Both gone or equal in another spelling is no difference; else the attributes that differ are named."""
    key = b'{"pk":{"S":"a"}}'
    assert compare(key, None, None) is None
    assert compare(key, item(n={"N": "1"}), item(n={"N": "1.00"})) is None
    missing, extra = compare(key, item(), None), compare(key, None, item())
    assert missing is not None
    assert extra is not None
    assert (missing.kind, extra.kind) == (Kind.MISSING, Kind.EXTRA)
    assert missing.expected_item == item()
    assert extra.expected_item is None
    changed = compare(
        key, item(n={"N": "1"}, s={"S": "x"}, gone={"S": ""}), item(n={"S": "1"}, s={"S": "x"}, new={"S": ""})
    )
    assert changed is not None
    assert (changed.kind, changed.attributes) == (Kind.DIFFERENT, ["gone", "n", "new"])


def differences(count: int) -> list[Difference]:
    made = (compare(f'{{"pk":{{"S":"{i}"}}}}'.encode(), item(i={"N": str(i)}), None) for i in range(count))
    return [difference for difference in made if difference is not None]


def test_the_report_reads_back_part_by_part(tmp_path: Path) -> None:
    """It has no file before there is a difference, and a numbered one for each further slice."""
    folder = LocalFolder(tmp_path)
    report = Report(folder, NOW)
    report.add([])
    assert (report.url, list(folder.list())) == (None, [])
    report.add(differences(2))
    report.add(differences(3))
    names = ["verify/20260701T123015123Z.0002.jsonl", "verify/20260701T123015123Z.jsonl"]
    assert names == [entry.name for entry in folder.list()]
    assert report.url == f"{tmp_path}/{names[1]}"
    assert [[bytes(d.expected) for d in part] for part in report.parts()] == [
        [bytes(d.expected) for d in differences(count)] for count in (2, 3)
    ]
    assert report.counts == {Kind.MISSING: 5}


def test_a_report_that_cannot_be_written_says_where_else(monkeypatch: pytest.MonkeyPatch) -> None:
    """The differences are not lost in a permission error."""

    def refuse(*_: Any, **__: Any) -> str:
        raise AccessError("s3:PutObject is refused")

    folder = MemoryFolder()
    monkeypatch.setattr(folder, "write", refuse)
    with pytest.raises(AccessError, match=r"2 differences were found.*\n.*--state"):
        Report(folder, NOW).add(differences(2))


def result(**fields: Any) -> VerifyResult:
    found = {"missing": 0, "extra": 0, "different": 0, "items_export": 1_234, "items_table": 1_234}
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


def test_a_sample_says_that_it_is_one() -> None:
    """The first line calls it no proof, and what it cannot see is unknown."""
    text = result(sample_percent=2.5, extra=None, digest_export=None, digest_table=None).text()
    assert "SAMPLE of 2.5%, which is no proof" in text.splitlines()[0]
    assert "0 missing, unknown extra" in text


def test_only_identical_is_a_pass() -> None:
    """Exit codes 0, 4 and 1; what could not run says why, and knows no numbers."""
    assert [result(verdict=verdict).exit_code for verdict in Verdict] == [0, EXIT_DIFFERENT, 1]
    failed = incomplete(ShardError("The shard is damaged."), EXPORT, "T", "now")
    assert (failed.verdict, failed.missing, failed.items_table) == (Verdict.INCOMPLETE, None, None)
    assert failed.text().splitlines() == ["Verdict: INCOMPLETE", "  reason     The shard is damaged."]


def export_side(count: int) -> ExportSide:
    shards = tuple(
        Shard(key=f"x/{i:04d}-000000.json", segment=i, items=1, bytes=1, stored_bytes=1, md5="")
        for i in range(count)
    )
    return ExportSide(aws=AwsOptions(), bucket="b", prefix="p", shards=shards)


def table_side(count: int) -> TableSide:
    return TableSide(
        aws=AwsOptions(), table="T", segments=tuple(range(count)), total_segments=count, max_rcu=90.0
    )


@pytest.mark.parametrize("make", [export_side, table_side])
@pytest.mark.parametrize(
    ("parts", "percent", "read", "share"),
    [(16, 10, 16, 0.1), (1000, 1, 64, 10 / 64), (1000, 50, 500, 1), (0, 5, 0, None)],
)
def test_a_sample_takes_its_share(
    make: Any, parts: int, percent: float, read: int, share: float | None
) -> None:
    """The parts that are read times the buckets that are taken make up the percentage."""
    side, buckets = thin(make(parts), percent, random.Random(1))
    taken = side.shards if isinstance(side, ExportSide) else side.segments
    assert len(set(taken)) == len(taken) == read
    if share is not None:
        assert buckets == pytest.approx(share * BUCKETS, abs=1)


@pytest.mark.parametrize("make", [export_side, table_side])
def test_shares_are_dealt_whole(make: Any) -> None:
    """Every part to one worker; the rate is that of all of them."""
    side = make(10)
    dealt = side.deal(3)
    taken = [
        part for share in dealt for part in (share.shards if isinstance(side, ExportSide) else share.segments)
    ]
    assert set(taken) == set(side.shards if isinstance(side, ExportSide) else side.segments)
    assert len(taken) == 10
    if isinstance(side, TableSide):
        assert [90.0] * 3 == [share.max_rcu for share in dealt]
