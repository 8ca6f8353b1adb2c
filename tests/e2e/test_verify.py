"""ddb-verify proves a copy: every planted difference is found, none is invented, and a repair mends them."""

import configparser
import hashlib
import json
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ddb_export.encoding import Encoding
from ddb_export.shard_writer import ShardWriter
from ddb_import.verify import run as verify_run
from ddb_import.verify.options import VerifyOptions
from ddb_import.verify.result import Verdict
from ddb_shared import manifest as manifests
from ddb_shared.aws import Aws, AwsOptions
from ddb_shared.manifest import FORMAT, Manifest, Settings, Shard, Source
from ddb_shared.options import Common
from ddb_shared.progress import Style
from ddb_shared.storage import S3Folder
from ddb_shared.workers import Stop
from e2e.conftest import Mover
from support import commands
from support.accounts import Accounts
from support.environment import DESTINATION, REGION, SECRET, SOURCE
from support.services import Endpoint
from support.tables import KeySpec, create_table, fill
from support.varied import varied_items

EXPORT_ID = "01715685260608-c488b4e1"
DIGITS_38 = "1234567890123456789012345678901234567{}"
MANY = 100_000


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
    folder = S3Folder(s3, bucket, f"{manifests.EXPORTS}{EXPORT_ID}")
    encoder = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False).encode
    written = []
    for segment in range(shards):
        writer = ShardWriter(folder, segment, 0, Encoding(compression="gzip"))
        for start in range(segment * 1000, count, shards * 1000):
            writer.write([encoder(item(n)).encode() for n in range(start, min(start + 1000, count))])  # type: ignore[misc]
        written.append(writer.commit())
    publish(folder, written)
    return folder.url


def publish(folder: S3Folder, shards: list[Shard]) -> None:
    """The manifest of these shards."""
    arn = f"arn:aws:dynamodb:{REGION}:{SOURCE}:table/made"
    items, size = sum(shard.items for shard in shards), sum(shard.bytes for shard in shards)
    manifests.write(
        folder,
        Manifest(
            format=FORMAT, export_id=EXPORT_ID, tool_version="0", method="scan", started_at="", finished_at="",
            source=Source(table_name="made", table_arn=arn, table_id="", account=SOURCE, region=REGION),
            table={}, consumed_rcu=0.0, items=items, bytes=size, shards=shards,
            options=Settings(
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
def test_every_planted_difference_is_found_and_none_invented(
    mover: Mover, accounts: Accounts, loaded: Callable[[int], tuple[str, str]]
) -> None:
    """100,000 items: identical after the load; then 36 plants of every kind, named with their attributes; then mended."""
    export, table = loaded(MANY)
    client, s3 = accounts.dynamodb(mover.engine, DESTINATION), accounts.s3(mover.aws, DESTINATION)
    equal = verify(mover, export, table, "--processes", 3)
    document = equal.json()
    assert (equal.exit_code, document["verdict"], document["report"]) == (0, "identical", None)
    assert document["items_export"] == document["items_table"] == MANY
    assert document["digest_export"] == document["digest_table"]
    account, region = place(mover, DESTINATION)
    assert (document["account"], document["region"], document["export"]) == (account, region, export)
    assert document["table"].endswith(f"{account}:table/{table}")

    expected = plant(client, table, MANY)
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

    mended = verify(mover, export, table, "--repair", "--yes").json()
    assert (mended["verdict"], mended["repaired"], mended["deleted"]) == ("different", 33, 0)
    cleaned = verify(mover, export, table, "--repair", "--yes", "--delete-extra").json()
    assert (cleaned["verdict"], cleaned["extra"], cleaned["missing"], cleaned["different"]) == (
        "identical",
        3,
        0,
        0,
    )
    assert (cleaned["repaired"], cleaned["deleted"]) == (0, 3)
    assert verify(mover, export, table).json()["verdict"] == "identical"


@pytest.fixture
def options(mover: Mover, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], tuple[VerifyOptions, Aws]]:
    """A verification within this process, as the destination."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", DESTINATION)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)

    def make(export: str, table: str) -> tuple[VerifyOptions, Aws]:
        aws = AwsOptions(region=REGION, endpoint_url=_url(mover.engine), s3_endpoint_url=_url(mover.aws))
        common = Common(aws=aws, processes=1, progress=Style.NONE, as_json=True)
        return VerifyOptions(common=common, export=export, table=table), Aws(aws)

    return make


def _url(endpoint: Endpoint | str) -> str:
    return endpoint if isinstance(endpoint, str) else endpoint.url


def test_more_differences_than_fit_are_named_in_slices(
    mover: Mover,
    accounts: Accounts,
    loaded: Callable[[int], tuple[str, str]],
    options: Callable[[str, str], tuple[VerifyOptions, Aws]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With room for few items at a time: a canonical pass, then a pass and a part of the report for each slice."""
    export, table = loaded(2_000)
    client, s3 = accounts.dynamodb(mover.engine, DESTINATION), accounts.s3(mover.aws, DESTINATION)
    expected = plant(client, table, 2_000)
    monkeypatch.setattr(verify_run, "SLICE_BYTES", 16_000)
    wanted, aws = options(export, table)
    result = verify_run.run_verify(wanted, aws, Stop())
    assert (result.verdict, result.missing, result.extra, result.different) == (Verdict.DIFFERENT, 3, 3, 30)
    assert result.report is not None
    found = named(s3, result.report)
    part = 2
    while len(found) < len(expected):
        found |= named(s3, result.report.replace(".jsonl", f".{part:04d}.jsonl"))
        part += 1
    assert part > 2
    assert expected == {key: line["attributes"] for key, line in found.items()}


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
    folder = S3Folder(s3, bucket, f"{manifests.EXPORTS}{EXPORT_ID}")
    key = folder.key("data/0000-000000.json")
    folder.write("data/0000-000000.json", data)
    sha256 = hashlib.sha256(data).hexdigest()
    shard = Shard(
        key=key, segment=0, items=len(lines), bytes=len(data), stored_bytes=len(data), md5="", sha256=sha256
    )
    publish(folder, [shard])
    return folder.url


def test_lines_that_are_no_items_are_missing(
    mover: Mover, accounts: Accounts, unique_name: Callable[[], str]
) -> None:
    """The import rejects them; the verification names each, and a repair says why it can't mend them."""
    s3, table = accounts.s3(mover.aws, DESTINATION), unique_name()
    export = bad_export(s3, mover.bucket)
    create_table(accounts.dynamodb(mover.engine, DESTINATION), table)
    loaded = mover.load(export, table, "--verify", check=False)
    assert (loaded.exit_code, loaded.json()["items_rejected"]) == (4, 5)
    result = verify(mover, export, table, "--repair", "--yes")
    document = result.json()
    assert (result.exit_code, document["missing"], document["extra"], document["different"]) == (4, 5, 0, 0)
    assert (document["repaired"], len(document["refusals"])) == (0, 5)
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
    mended = verify(mover, *line, "--repair", "--yes", "--delete-extra", env=env)
    assert (mended.exit_code, mended.json()["repaired"], mended.json()["deleted"]) == (0, 2, 1)
    assert verify(mover, *line, env=env).json()["verdict"] == "identical"


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
        time.sleep(4)
        process.send_signal(number)
        began = time.monotonic()
        stdout, stderr = process.communicate(timeout=30)
    assert time.monotonic() - began < 10
    assert (process.returncode, json.loads(stdout)["verdict"]) == (code, "incomplete")
    assert f"ddb-verify {export} {table}" in stderr
    assert "Traceback" not in stderr
