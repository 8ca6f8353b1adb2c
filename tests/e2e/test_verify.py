"""ddb-verify proves a copy: every planted difference is found, none is invented, and a repair fixes them."""

import configparser
import hashlib
import itertools
import json
import signal
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ddb_export.encoding import Encoding
from ddb_export.shard_writer import ShardWriter
from ddb_import.verify import run
from ddb_import.verify.options import Repair, VerifyOptions
from ddb_import.verify.passes import Passes
from ddb_import.verify.repair import _Repairer
from ddb_import.verify.result import Verdict
from ddb_shared.aws.clients import Aws, AwsOptions
from ddb_shared.command.options import Common
from ddb_shared.format import manifest as manifests
from ddb_shared.format.manifest import FORMAT, FormatOptions, Manifest, Shard, Source
from ddb_shared.runtime.display import ProgressOptions, Style
from ddb_shared.runtime.stop import Stop
from ddb_shared.storage.s3 import S3Storage
from ddb_shared.table.settings import Setting
from e2e.conftest import Mover
from support import commands
from support.accounts import Accounts
from support.environment import DESTINATION, REGION, SECRET, SOURCE
from support.services import Endpoint
from support.tables import KeySpec, create_table, fill
from support.varied import varied_items

EXPORT_ID = "01715685260608-c488b4e1"
DIGITS_38 = "1234567890123456789012345678901234567{}"
MANY = [20_000, pytest.param(100_000, marks=pytest.mark.soak)]


def item(number: int) -> dict[str, Any]:
    """A small item of every kind that the plants change."""
    return {
        "pk": {"S": f"customer#{number // 3:07d}"},
        "sk": {"N": str(number)},
        "text": {"S": f"größe {number}"},
        "big": {"N": DIGITS_38.format(number % 9 + 1)},
        "tags": {"SS": ["a", "b", f"t{number}"]},
        "scores": {"NS": ["1", "2.5", str(number + 10)]},
        "nested": {"M": {"list": {"L": [{"N": "1"}, {"BOOL": True}]}, "none": {"NULL": True}}},
    }


def made_export(s3: Any, bucket: str, count: int, shards: int = 8) -> str:
    """An export of `count` items, written straight into the bucket."""
    return export_of(s3, bucket, [item(number) for number in range(count)], shards=shards)


def export_of(
    s3: Any,
    bucket: str,
    items: list[dict[str, Any]],
    settings: dict[str, Setting] | None = None,
    shards: int = 8,
) -> str:
    """An export of these items, and of these settings of their table."""
    storage = S3Storage(s3, bucket, f"{manifests.EXPORTS}{EXPORT_ID}")
    encode = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False).encode
    written = []
    for segment in range(shards):
        writer = ShardWriter(storage, segment, 0, Encoding(compression="gzip"))
        for start in range(segment * 1000, len(items), shards * 1000):
            writer.write([encode(one).encode() for one in items[start : start + 1000]])  # type: ignore[misc]
        written.append(writer.commit())
    publish(storage, written, settings)
    return storage.url


def publish(storage: S3Storage, shards: list[Shard], settings: dict[str, Setting] | None = None) -> None:
    """The manifest of these shards."""
    arn = f"arn:aws:dynamodb:{REGION}:{SOURCE}:table/made"
    items, size = sum(shard.items for shard in shards), sum(shard.bytes for shard in shards)
    manifests.write(
        storage,
        Manifest(
            format=FORMAT, export_id=EXPORT_ID, tool_version="0", method="scan", started_at="", finished_at="",
            source=Source(table_name="made", table_arn=arn, table_id="", account=SOURCE, region=REGION),
            table={}, settings=settings or {}, consumed_rcu=0.0, items=items, bytes=size, shards=shards,
            options=FormatOptions(
                format="jsonl", compression="gzip", segments=len(shards), shard_size=0, consistent_read=False
            ),
        ),
    )  # fmt: skip


def verify(mover: Mover, *arguments: object, check: bool = False, **options: Any) -> commands.Result:
    """`ddb-verify --json` with the destination's credentials; one process starts in less time than many."""
    return commands.run(
        "ddb-verify", "--json", "--processes", 1, *arguments, account=DESTINATION, endpoint=mover.engine, s3_endpoint=mover.aws,
        check=check, **options,
    )  # fmt: skip


@pytest.fixture
def loaded(
    mover: Mover, accounts: Accounts, unique_name: Callable[[], str]
) -> Callable[[int], tuple[str, str]]:
    """Makes an export and a table that holds it; returns both names."""

    def make(count: int) -> tuple[str, str]:
        export, table = made_export(accounts.s3(mover.aws, DESTINATION), mover.bucket, count), unique_name()
        create_table(accounts.dynamodb(mover.engine, DESTINATION), table)
        assert mover.load(export, table).json()["items_written"] == count
        return export, table

    return make


def place(mover: Mover, account: str) -> tuple[str, str]:
    """Account and region in the ARN of a table; DynamoDB Local gives the same to all."""
    is_local = isinstance(mover.engine, Endpoint) and mover.engine.name == "dynamodb-local"
    return ("000000000000", "ddblocal") if is_local else (account, REGION)


def key_of(number: int) -> dict[str, Any]:
    whole = item(number)
    return {"pk": whole["pk"], "sk": whole["sk"]}


def named(client: Any, url: str) -> dict[tuple[str, str], Any]:
    """The report's lines by kind and key."""
    bucket, _, key = url.removeprefix("s3://").partition("/")
    lines = client.get_object(Bucket=bucket, Key=key)["Body"].read().splitlines()
    found = [json.loads(line) for line in lines]
    by_key = {(line["kind"], line["key"]["sk"]["N"]): line for line in found}
    assert len(by_key) == len(found)
    return by_key


def plant(client: Any, table: str, count: int) -> dict[tuple[str, str], list[str]]:
    """Differences of every kind, each at the begin, the middle and the end; returns kind, key and attributes."""

    def put(number: int, **changes: Any) -> None:
        whole = {name: value for name, value in (item(number) | changes).items() if value is not None}
        client.put_item(TableName=table, Item=whole)

    changes: dict[str, Callable[[int], dict[str, Any]]] = {
        "text": lambda n: {"text": {"S": f"grösse {n}"}},
        "big": lambda _: {"big": {"N": DIGITS_38.format(0)}},
        "sk type": lambda n: {"text": {"B": f"größe {n}".encode()}},
        "number as text": lambda n: {"big": {"S": item(n)["big"]["N"]}},
        "set member": lambda _: {"tags": {"SS": ["a", "b", "other"]}},
        "number of a set": lambda n: {"scores": {"NS": ["1", "2.50001", str(n + 10)]}},
        "set type": lambda n: {"scores": {"SS": item(n)["scores"]["NS"]}},
        "nested": lambda _: {"nested": {"M": {"list": {"L": [{"BOOL": True}, {"N": "1"}]}, "none": {"NULL": True}}}},
        "new": lambda _: {"new": {"S": ""}},
        "gone": lambda _: {"text": None},
    }  # fmt: skip
    expected: dict[tuple[str, str], list[str]] = {}
    for third in (0, count // 2, count - 20):
        for offset, change in enumerate(changes.values()):
            put(third + offset, **change(third + offset))
            expected["different", str(third + offset)] = sorted(change(third + offset))
        client.delete_item(TableName=table, Key=key_of(third + 12))
        expected["missing", str(third + 12)] = []
        put(third + count + 100)
        expected["extra", str(third + count + 100)] = []
        # the same value in other words is no difference
        put(
            third + 13,
            tags={"SS": [f"t{third + 13}", "b", "a"]},
            scores={"NS": [f"{third + 23}.0", "250E-2", "1E0"]},
        )
    return expected


@pytest.mark.slow
@pytest.mark.parametrize("count", MANY)
def test_every_planted_difference_is_found_and_none_invented(
    count: int, mover: Mover, accounts: Accounts, loaded: Callable[[int], tuple[str, str]]
) -> None:
    """Identical after the load; then 36 plants of every kind, named with their attributes; then fixed."""
    export, table = loaded(count)
    client, s3 = accounts.dynamodb(mover.engine, DESTINATION), accounts.s3(mover.aws, DESTINATION)
    equal = verify(mover, export, table, "--processes", 3)
    document = equal.json()
    assert (equal.exit_code, document["verdict"], document["report"]) == (0, "identical", None)
    assert document["items_export"] == document["items_table"] == count
    assert document["digest_export"] == document["digest_table"]
    account, region = place(mover, DESTINATION)
    assert (document["account"], document["region"], document["export"]) == (account, region, export)
    assert document["table"].endswith(f"{account}:table/{table}")

    expected = plant(client, table, count)
    unequal = verify(mover, export, table, "--processes", 2)
    document = unequal.json()
    assert (unequal.exit_code, document["verdict"]) == (4, "different")
    assert document["digest_export"] != document["digest_table"]
    found = named(s3, document["report"])
    assert expected == {key: line["attributes"] for key, line in found.items()}
    assert (document["missing"], document["extra"], document["different"]) == (3, 3, 30)
    prefix = f"{export}import/{account}.{region}.{table}/verify/"
    assert document["report"].startswith(prefix)
    line = found["different", "1"]
    assert line["expected"]["big"]["N"] == item(1)["big"]["N"]
    assert line["actual"]["big"]["N"].rstrip("0") == DIGITS_38.format(0).rstrip("0")

    fixed = verify(mover, export, table, "--repair", "--yes").json()
    assert (fixed["verdict"], fixed["repaired"], fixed["deleted"]) == ("different", 33, 0)
    assert (fixed["missing"], fixed["extra"], fixed["different"]) == (0, 3, 0)
    before = fixed["before"]
    assert (before["verdict"], before["missing"], before["extra"], before["different"]) == (
        "different",
        3,
        3,
        30,
    )
    assert (before["items_table"], fixed["items_table"]) == (count, count + 3)
    cleaned = verify(mover, export, table, "--repair", "--yes", "--delete-extra").json()
    assert (cleaned["verdict"], cleaned["extra"], cleaned["before"]["extra"]) == ("identical", 0, 3)
    assert (cleaned["repaired"], cleaned["deleted"], cleaned["items_table"]) == (0, 3, count)
    assert verify(mover, export, table).json()["verdict"] == "identical"


@pytest.fixture
def in_process(mover: Mover, monkeypatch: pytest.MonkeyPatch) -> "InProcess":
    """A verification within this process, as the destination."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", DESTINATION)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)

    def make(export: str, table: str, **options: Any) -> tuple[VerifyOptions, Aws]:
        aws = AwsOptions(region=REGION, endpoint_url=_url(mover.engine), s3_endpoint_url=_url(mover.aws))
        common = Common(aws=aws, processes=1, progress=ProgressOptions(style=Style.NONE), as_json=True)
        return VerifyOptions(common=common, export=export, table=table, **options), Aws(aws)

    return make


def _url(endpoint: Endpoint | str) -> str:
    return endpoint if isinstance(endpoint, str) else endpoint.url


def change(client: Any, table: str, count: int, step: int) -> set[tuple[str, str]]:
    """Every `step`th item is changed, deleted or followed by an extra one, in turn; returns kinds and sort keys."""
    expected, kinds = set(), itertools.cycle(("different", "missing", "extra"))
    puts: list[int] = []
    deletes: list[int] = []
    for number, kind in zip(range(0, count, step), kinds, strict=False):
        at = number + 10 * count if kind == "extra" else number
        expected.add((kind, str(at)))
        (deletes if kind == "missing" else puts).append(at)
    fill(client, table, [item(at) | {"text": {"S": "changed"}} for at in puts])
    for at in deletes:
        client.delete_item(TableName=table, Key=key_of(at))
    return expected


InProcess = Callable[..., tuple[VerifyOptions, Aws]]


# What is kept of the items to compare again: all; none, since they are too many; all but those for which there is no room.
@pytest.mark.parametrize(
    ("max_bytes", "room_bytes", "passes"),
    [(1 << 28, 1 << 28, 2), (100_000, 1 << 28, 3), (1 << 28, 50_000, 3)],
)
def test_scattered_differences_take_one_further_pass(
    max_bytes: int,
    room_bytes: int,
    passes: int,
    mover: Mover,
    accounts: Accounts,
    loaded: Callable[[int], tuple[str, str]],
    in_process: InProcess,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """One item in five differs, in buckets all over: one pass for the digests, one for the items; a third one if they do not fit."""
    export, table = loaded(3_000)
    expected = change(accounts.dynamodb(mover.engine, DESTINATION), table, 3_000, 5)
    monkeypatch.setattr("ddb_import.verify.passes.MAX_BYTES", max_bytes)
    with monkeypatch.context() as of_second_pass:
        of_second_pass.setattr("ddb_import.verify.named.MAX_BYTES", room_bytes)
        monkeypatch.setattr(Passes, "name", _with_room(of_second_pass, Passes.name))
        result = run.run_verify(*in_process(export, table), Stop())
    assert (result.verdict, result.passes, result.unnamed) == (Verdict.DIFFERENT, passes, 0)
    assert (result.missing, result.extra, result.different) == (200, 200, 200)
    assert result.report
    assert expected == set(named(accounts.s3(mover.aws, DESTINATION), result.report))
    announced = [line for line in capsys.readouterr().err.splitlines() if line.startswith("Pass ")]
    assert len(announced) == passes
    assert ("and their keys" in announced[1]) == (max_bytes == 1 << 28)


def _with_room(patched: pytest.MonkeyPatch, name: Callable[..., Any]) -> Callable[..., Any]:
    """The third pass with as much memory as it has."""

    def named_with_room(*arguments: Any) -> Any:
        patched.undo()
        return name(*arguments)

    return named_with_room


def test_an_export_may_hold_a_key_twice(
    mover: Mover, accounts: Accounts, unique_name: Callable[[], str], in_process: InProcess
) -> None:
    """Whichever of the items the table holds, it is equal; that is seen by looking at all that the export has of the key."""
    twice = [item(1) | {"text": {"S": "other"}}, item(1), item(4) | {"text": {"S": "other"}}, item(4)]
    items = [item(number) for number in range(2, 30) if number != 4]
    export = export_of(accounts.s3(mover.aws, DESTINATION), mover.bucket, [*twice, *items])
    table, client = unique_name(), accounts.dynamodb(mover.engine, DESTINATION)
    create_table(client, table)
    fill(client, table, [item(1), item(4) | {"text": {"S": "neither"}}, *items])
    result = run.run_verify(*in_process(export, table), Stop())
    assert (result.verdict, result.missing, result.different, result.settled) == (Verdict.DIFFERENT, 0, 1, 1)


def test_naming_stops_at_the_limit_and_says_so(
    mover: Mover, accounts: Accounts, loaded: Callable[[int], tuple[str, str]]
) -> None:
    """600 differences, 50 of them named: the others are counted, and stderr announces each pass and what it reads."""
    export, table = loaded(3_000)
    expected = change(accounts.dynamodb(mover.engine, DESTINATION), table, 3_000, 5)
    result = verify(mover, export, table, "--max-differences", 200)
    document = result.json()
    assert (result.exit_code, document["verdict"], document["passes"]) == (4, "different", 2)
    assert (document["missing"], document["extra"], document["different"]) == (200, 200, 200)
    assert (document["unnamed"], document["estimated"]) == (400, False)
    found = named(accounts.s3(mover.aws, DESTINATION), document["report"])
    assert len(found) == 200
    assert set(found) < expected
    passes = [line for line in result.stderr.splitlines() if line.startswith("Pass ")]
    assert ["Pass 1", "Pass 2"] == [line[:6] for line in passes]
    assert all("read units" in line for line in passes)
    assert "at most 200 differences are named" in result.stderr.lower()


@pytest.mark.parametrize("what", ["empty", "another"])
def test_a_wrong_table_is_recognised_without_a_pass(
    what: str, mover: Mover, accounts: Accounts, unique_name: Callable[[], str]
) -> None:
    """A hundred items are looked up first; where none is there, and more are missing than would be named, that is the result."""
    export, table = made_export(accounts.s3(mover.aws, DESTINATION), mover.bucket, 2_000), unique_name()
    client = accounts.dynamodb(mover.engine, DESTINATION)
    create_table(client, table)
    if what == "another":
        fill(client, table, varied_items(100))
    result = verify(mover, export, table, "--max-differences", 1_000)
    document = result.json()
    assert (result.exit_code, document["verdict"], document["passes"]) == (4, "different", 0)
    assert (document["missing"], document["items_export"]) == (2_000, 2_000)
    assert (document["extra"], document["unnamed"]) == ((0, 1_900) if what == "empty" else (None, None))
    assert ("the table is empty" in document["reason"]) == (what == "empty")
    assert len(named(accounts.s3(mover.aws, DESTINATION), document["report"])) == 100
    whole = verify(mover, export, table, "--max-differences", 5_000).json()
    assert (whole["passes"], whole["missing"], whole["extra"]) == (2, 2_000, 0 if what == "empty" else 100)


def test_a_repair_overwrites_nothing_that_changed_since(
    mover: Mover, accounts: Accounts, loaded: Callable[[int], tuple[str, str]], in_process: InProcess
) -> None:
    """Between the report and the repair somebody writes: what is new stays and is reported, what is as it was is repaired."""
    export, table = loaded(300)
    client, s3 = accounts.dynamodb(mover.engine, DESTINATION), accounts.s3(mover.aws, DESTINATION)
    for number in (1, 2):
        client.put_item(TableName=table, Item=item(number) | {"text": {"S": "wrong"}})
        client.delete_item(TableName=table, Key=key_of(number + 10))
        client.put_item(TableName=table, Item=item(number + 1_000))
    written = {number: item(number) | {"text": {"S": "new"}} for number in (1, 11, 1_001)}

    def write_and_agree(_: str) -> bool:
        fill(client, table, list(written.values()))
        return True

    options, aws = in_process(export, table, repair=Repair(delete_extra=True, confirmed=False))
    result = run.run_verify(options, aws, Stop(), ask=write_and_agree)
    for number, expected in written.items():
        assert expected["text"] == client.get_item(TableName=table, Key=key_of(number))["Item"]["text"]
    assert (result.repaired, result.deleted, result.changed_since, result.refused) == (2, 1, 3, 0)
    assert (result.verdict, result.missing, result.extra, result.different) == (Verdict.DIFFERENT, 0, 1, 2)
    assert result.before
    assert (result.before.missing, result.before.extra, result.before.different) == (2, 2, 2)
    assert result.items_table == 301
    assert result.unrepaired
    left = named(s3, result.unrepaired)
    assert {("different", "1"), ("different", "11"), ("extra", "1001")} == set(left)
    assert all(
        (line["reason"], line["actual"]["text"]) == ("changed", {"S": "new"}) for line in left.values()
    )
    assert verify(mover, export, table).json()["different"] == 2


def test_a_write_during_the_repair_is_not_overwritten(
    mover: Mover, accounts: Accounts, loaded: Callable[[int], tuple[str, str]], in_process: InProcess,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """Even one that comes after the last look: the write itself is on the condition that the item is as it was."""
    export, table = loaded(100)
    client = accounts.dynamodb(mover.engine, DESTINATION)
    client.put_item(TableName=table, Item=item(1) | {"text": {"S": "wrong"}})
    client.delete_item(TableName=table, Key=key_of(2))
    client.put_item(TableName=table, Item=item(1_003))
    written = {number: item(number) | {"text": {"S": "new"}} for number in (1, 2, 1_003)}
    send = _Repairer._send

    async def send_late(self: Any, difference: Any) -> None:
        fill(client, table, list(written.values()))
        await send(self, difference)

    monkeypatch.setattr(_Repairer, "_send", send_late)
    result = run.run_verify(
        *in_process(export, table, repair=Repair(delete_extra=True, confirmed=True)), Stop()
    )
    for number, expected in written.items():
        assert expected["text"] == client.get_item(TableName=table, Key=key_of(number))["Item"]["text"]
    assert (result.repaired, result.deleted, result.changed_since) == (0, 0, 3)


def enable_time_to_live(client: Any, table: str) -> None:
    client.update_time_to_live(
        TableName=table, TimeToLiveSpecification={"Enabled": True, "AttributeName": "expires"}
    )


@pytest.mark.parametrize("enabled", ["table", "source", "neither"])
def test_expired_items_are_a_class_of_their_own(
    enabled: str, mover: Mover, accounts: Accounts, unique_name: Callable[[], str]
) -> None:
    """Where the table's time to live deletes them, their absence is no difference; where only the source's does, it is one."""
    s3, client, table = (
        accounts.s3(mover.aws, DESTINATION),
        accounts.dynamodb(mover.engine, DESTINATION),
        unique_name(),
    )
    past, future = ({"N": str(int(time.time()) + seconds)} for seconds in (-3_600, 3_600))
    items = [item(0) | {"expires": past}, item(1) | {"expires": future}, item(2)]
    setting = Setting({"TimeToLiveStatus": "ENABLED", "AttributeName": "expires"})
    export = export_of(s3, mover.bucket, items, {"time_to_live": setting} if enabled == "source" else {})
    create_table(client, table)
    fill(client, table, items[2:])
    if enabled == "table":
        enable_time_to_live(client, table)
    result = verify(mover, export, table)
    document = result.json()
    expected = {"table": (4, 1, 1), "source": (4, 1, 1), "neither": (4, 2, 0)}[enabled]
    assert expected == (result.exit_code, document["missing"], document["expired"])
    found = named(s3, document["report"])
    assert {("missing" if enabled == "neither" else "expired", "0"), ("missing", "1")} == set(found)
    fill(client, table, items[1:2])
    result = verify(mover, export, table)
    document = result.json()
    verdict = "identical" if enabled == "table" else "different"
    assert (result.exit_code, document["verdict"]) == ({"identical": 0, "different": 4}[verdict], verdict)
    assert (document["missing"], document["expired"]) == ((1, 0) if enabled == "neither" else (0, 1))
    repaired = verify(mover, export, table, "--repair", "--yes").json()
    assert repaired["repaired"] == (1 if enabled == "neither" else 0)


def test_a_sample_of_nothing_proves_nothing(mover: Mover, loaded: Callable[[int], tuple[str, str]]) -> None:
    """Too small a percentage of few items: incomplete, exit code 1, and what to do."""
    export, table = loaded(20)
    result = verify(mover, export, table, "--sample", 0.000001)
    document = result.json()
    assert (result.exit_code, document["verdict"], document["items_export"]) == (1, "incomplete", 0)
    assert "larger --sample" in document["reason"]


def test_a_damaged_shard_is_no_pass(
    mover: Mover, accounts: Accounts, loaded: Callable[[int], tuple[str, str]]
) -> None:
    """One byte changed: incomplete, exit code 1, and the message names the shard."""
    export, table = loaded(300)
    s3 = accounts.s3(mover.aws, DESTINATION)
    key = export.removeprefix(f"s3://{mover.bucket}/") + "data/0000-000000.json.gz"
    stored = bytearray(s3.get_object(Bucket=mover.bucket, Key=key)["Body"].read())
    stored[len(stored) // 2] ^= 1
    s3.put_object(Bucket=mover.bucket, Key=key, Body=bytes(stored))
    result = verify(mover, export, table)
    document = result.json()
    assert (result.exit_code, document["verdict"], document["missing"]) == (1, "incomplete", None)
    assert "0000-000000.json.gz" in document["reason"]
    assert "0000-000000.json.gz" in result.stderr
    assert "Traceback" not in result.stderr
    s3.delete_object(Bucket=mover.bucket, Key=key)
    result = verify(mover, export, table)
    assert (result.exit_code, result.json()["verdict"]) == (1, "incomplete")
    assert "is missing" in result.stderr


def test_what_is_not_there_is_no_pass(
    mover: Mover, accounts: Accounts, loaded: Callable[[int], tuple[str, str]], unique_name: Callable[[], str]
) -> None:
    """No table, no export, or a table with another key: incomplete, with the reason."""
    export, _ = loaded(10)
    other = unique_name()
    create_table(accounts.dynamodb(mover.engine, DESTINATION), other, KeySpec(range_type="S"))
    for arguments in ((export, "no-such-table"), (f"s3://{mover.bucket}/nothing", other)):
        result = verify(mover, *arguments)
        assert (result.exit_code, result.json()["verdict"]) == (1, "incomplete")
        assert result.json()["reason"] in result.stderr


def bad_export(s3: Any, bucket: str) -> str:
    """An export of which one line is a good item, one is its twin, and five are no items of the table."""
    good = json.dumps({"Item": item(1)})
    lines = [good, good, "not json", '{"Item":{"text":{"S":"no key"}}}', '{"Item":{"pk":{"N":"1"},"sk":{"N":"1"}}}',
             json.dumps(item(2)), f'{good[:-1]},"more":{{"a":{{}}}}}}']  # fmt: skip
    data = "\n".join(lines).encode()
    storage = S3Storage(s3, bucket, f"{manifests.EXPORTS}{EXPORT_ID}")
    key = storage.key("data/0000-000000.json")
    storage.write("data/0000-000000.json", data)
    sha256 = hashlib.sha256(data).hexdigest()
    shard = Shard(
        key=key, segment=0, items=len(lines), bytes=len(data), stored_bytes=len(data), md5="", sha256=sha256
    )
    publish(storage, [shard])
    return storage.url


def test_lines_that_are_no_items_are_missing(
    mover: Mover, accounts: Accounts, unique_name: Callable[[], str]
) -> None:
    """The import rejects them; the verification names each, and a repair says why it can't fix them."""
    s3, table = accounts.s3(mover.aws, DESTINATION), unique_name()
    export = bad_export(s3, mover.bucket)
    create_table(accounts.dynamodb(mover.engine, DESTINATION), table)
    loaded = mover.load(export, table, "--verify", check=False)
    assert (loaded.exit_code, loaded.json()["items_rejected"]) == (4, 5)
    result = verify(mover, export, table, "--repair", "--yes")
    document = result.json()
    assert (result.exit_code, document["missing"], document["extra"], document["different"]) == (4, 5, 0, 0)
    assert (document["repaired"], document["refused"], len(document["refusals"])) == (0, 5, 5)
    bucket, _, key = document["report"].removeprefix("s3://").partition("/")
    report = s3.get_object(Bucket=bucket, Key=key)["Body"].read().splitlines()
    named_keys = [json.loads(line)["key"] for line in report]
    assert sum(isinstance(key, str) for key in named_keys) == 3
    sampled = verify(mover, export, table, "--sample", 100).json()
    assert (sampled["verdict"], sampled["missing"], sampled["items_export"]) == ("different", 5, 7)


def test_import_verifies_after_the_load(
    mover: Mover, accounts: Accounts, loaded: Callable[[int], tuple[str, str]]
) -> None:
    """One command loads and proves; where the table holds more, it exits with 4."""
    export, table = loaded(300)
    done = mover.load(export, table, "--verify")
    assert (done.exit_code, done.json()["verification"]["verdict"]) == (0, "identical")
    client = accounts.dynamodb(mover.engine, DESTINATION)
    client.put_item(TableName=table, Item=item(1_000))
    done = mover.load(export, table, "--verify", check=False)
    assert (done.exit_code, done.json()["verification"]["extra"]) == (4, 1)
    assert done.json()["shards_done"] == 8


def test_a_sample_is_labelled_and_sees_its_part(
    mover: Mover, accounts: Accounts, loaded: Callable[[int], tuple[str, str]]
) -> None:
    """All of 2,000 items at 100%, some at 20%; extra items are unknown, never 0."""
    export, table = loaded(2_000)
    client = accounts.dynamodb(mover.engine, DESTINATION)
    client.delete_item(TableName=table, Key=key_of(5))
    client.put_item(TableName=table, Item=item(6) | {"text": {"S": ""}})
    client.put_item(TableName=table, Item=item(5_000))
    whole = verify(mover, export, table, "--sample", 100)
    document = whole.json()
    assert (whole.exit_code, document["verdict"], document["sample_percent"]) == (4, "different", 100)
    assert (document["items_export"], document["items_table"], document["extra"]) == (2_000, 1_999, None)
    found = named(accounts.s3(mover.aws, DESTINATION), document["report"])
    assert {("missing", "5"), ("different", "6")} == set(found)
    part = verify(mover, export, table, "--sample", 20).json()
    assert 200 < part["items_export"] < 700
    assert part["digest_table"] is None


def test_two_tables(mover: Mover, accounts: Accounts, unique_name: Callable[[], str], tmp_path: Path) -> None:
    """Compared directly, the source by a profile of its own; the report goes to --state."""
    source, table = unique_name(), unique_name()
    for account, name in ((SOURCE, source), (DESTINATION, table)):
        create_table(accounts.dynamodb(mover.engine, account), name)
        fill(accounts.dynamodb(mover.engine, account), name, varied_items(500))
    profiles = configparser.ConfigParser()
    profiles["profile old"] = {"aws_access_key_id": SOURCE, "aws_secret_access_key": SECRET}
    with (tmp_path / "config").open("w") as file:
        profiles.write(file)
    line = ["--tables", source, table, "--source-profile", "old", "--state", tmp_path / "state"]
    env = {"AWS_CONFIG_FILE": str(tmp_path / "config")}
    same = verify(mover, "--tables", table, table, "--state", tmp_path / "state")
    assert (same.exit_code, same.json()["verdict"]) == (1, "incomplete")
    assert "are the same table" in same.stderr
    equal = verify(mover, *line, env=env)
    assert (equal.exit_code, equal.json()["verdict"], equal.json()["items_export"]) == (0, "identical", 500)
    assert f":{place(mover, SOURCE)[0]}:" in equal.json()["export"]
    assert f":{place(mover, DESTINATION)[0]}:" in equal.json()["table"]
    (first, second) = varied_items(2)
    client = accounts.dynamodb(mover.engine, DESTINATION)
    client.delete_item(TableName=table, Key={name: first[name] for name in ("pk", "sk")})
    client.put_item(TableName=table, Item=second | {"state": {"S": "lost"}})
    client.put_item(TableName=table, Item=item(9_999))
    unequal = verify(mover, *line, env=env)
    document = unequal.json()
    assert (unequal.exit_code, document["missing"], document["extra"], document["different"]) == (4, 1, 1, 1)
    assert Path(document["report"]).is_relative_to(tmp_path / "state")
    assert len(Path(document["report"]).read_text().splitlines()) == 3
    sampled = verify(mover, *line, "--sample", 100, env=env).json()
    assert (sampled["missing"], sampled["extra"], sampled["different"]) == (1, None, 1)
    fixed = verify(mover, *line, "--repair", "--yes", "--delete-extra", env=env)
    assert (fixed.exit_code, fixed.json()["repaired"], fixed.json()["deleted"]) == (0, 2, 1)
    assert verify(mover, *line, env=env).json()["verdict"] == "identical"


def iter_until(lines: Iterable[str], words: str) -> Iterator[str]:
    """The lines up to the first one with these words."""
    for line in lines:
        yield line
        if words in line:
            return


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interruption_is_no_pass(
    number: signal.Signals, code: int, mover: Mover, loaded: Callable[[int], tuple[str, str]]
) -> None:
    """It ends within ten seconds, exits 130 or 143, and prints the command to run again."""
    export, table = loaded(8_000)
    line = (export, table, "--max-rcu", "1", "--json")
    with commands.start(
        "ddb-verify", *line, account=DESTINATION, endpoint=mover.engine, s3_endpoint=mover.aws
    ) as process:
        assert process.stderr
        stderr = "".join(iter_until(process.stderr, "Pass 1"))
        process.send_signal(number)
        started_at = time.monotonic()
        stdout, rest = process.communicate(timeout=30)
    stderr += rest
    assert time.monotonic() - started_at < 10
    assert (process.returncode, json.loads(stdout)["verdict"]) == (code, "incomplete")
    assert f"ddb-verify {export} {table}" in stderr
    assert "saved" not in stderr
    assert "Traceback" not in stderr
