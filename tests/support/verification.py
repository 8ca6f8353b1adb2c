"""A verification in one process, without a server: the export is a folder in memory, the tables are the fake's.

world = VerifyWorld(tmp_path, items)
world.put(item)                       # the table is no longer as the export
assert world.verify().verdict is Verdict.DIFFERENT
"""

import contextlib
import hashlib
import json
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Self
from unittest import mock

import msgspec
from botocore.exceptions import ClientError

from ddb_export.encoders import open_encoder
from ddb_export.encoding import Encoding
from ddb_import import preflight
from ddb_import.apply.state import ApplyState, write_apply
from ddb_import.state import PLAN, ImportPlan
from ddb_import.verify import changed_pass, confirm, first_look, inputs, last_changes, prepare, repair, run
from ddb_import.verify.options import SourceTable, VerifyOptions
from ddb_import.verify.result import VerifyResult
from ddb_import.verify.run import run_verify
from ddb_shared.aws.clients import AwsOptions
from ddb_shared.command.options import Common
from ddb_shared.dynamodb.client import Client
from ddb_shared.dynamodb.http import HttpResponse
from ddb_shared.dynamodb.rate import RateLimiter
from ddb_shared.format import manifest as manifests
from ddb_shared.format.manifest import DATA, FORMAT, FormatOptions, Manifest, Shard, Source
from ddb_shared.runtime.display import ProgressOptions, Style
from ddb_shared.runtime.runner import Serial
from ddb_shared.runtime.stop import Stop
from ddb_shared.storage.base import Storage
from ddb_shared.storage.location import open_storage
from ddb_shared.table.settings import Setting
from support.change_log import WHEN, ChangeLog
from support.fake.errors import FakeError
from support.fake.plan import FaultPlan
from support.fake.service import Service
from support.memory import MemoryFolder
from support.simulated_table import AnyCredentials

ACCOUNT = "111111111111"  # of AnyCredentials
REGION = "eu-west-1"
OLD, NEW = "Old", "New"
KEY = {"pk": "S", "sk": "N"}
_READERS = (inputs, last_changes, first_look, changed_pass)
_CALLERS = (inputs, first_look, confirm, repair, preflight)

Item = Mapping[str, Any]


def item(number: int, version: int = 0, **more: Any) -> dict[str, Any]:
    """An item by the number of its key."""
    return key(number) | {"v": {"N": str(version)}, **more}


def key(number: int) -> dict[str, Any]:
    """Its key."""
    return {"pk": {"S": f"p{number}"}, "sk": {"N": str(number)}}


@dataclass
class FakeCalls:
    """The wire and the control plane of a fake DynamoDB in this process; `before` is called with each operation and its request."""

    service: Service = field(default_factory=lambda: Service(FaultPlan()))
    before: Callable[[str, dict[str, Any]], None] = lambda _, __: None
    host: str = "in-process"

    async def post(self, headers: Mapping[str, str], data: bytes) -> HttpResponse:
        """One call of the data plane."""
        operation = headers["X-Amz-Target"].rpartition(".")[2]
        self.before(operation, msgspec.json.decode(data))
        self.service.calls[operation] += 1
        try:
            caller = self.service.identity.caller(headers)
            return HttpResponse(200, {}, self.service.run(operation, caller, data, None))
        except FakeError as error:
            return HttpResponse(error.status, {}, error.body())

    @contextlib.asynccontextmanager
    async def open_client(self, _: object, __: int, rate_limiter: RateLimiter) -> AsyncIterator[Client]:
        """As `ddb_shared.dynamodb.client.open_client`."""
        provider = AnyCredentials()
        yield Client(http=self, region=REGION, credential_provider=provider, rate_limiter=rate_limiter)  # type: ignore[arg-type]

    def control(self, operation: str, **request: Any) -> Any:
        """One call of the control plane."""
        try:
            body = msgspec.json.encode(request)
            return self.service.store.control(operation, ACCOUNT, REGION, body)
        except FakeError as error:
            raise ClientError({"Error": {"Code": error.code, "Message": str(error)}}, operation) from error

    def boto3(self) -> Any:
        """As much of a boto3 client as the checks need."""
        return SimpleNamespace(
            meta=SimpleNamespace(region_name=REGION),
            describe_table=lambda **request: self.control("DescribeTable", **request),
            describe_time_to_live=lambda **request: self.control("DescribeTimeToLive", **request),
        )

    def create(self, name: str, keys: Mapping[str, str] = KEY) -> None:
        """An empty table."""
        schema = [
            {"AttributeName": one, "KeyType": kind}
            for one, kind in zip(keys, ("HASH", "RANGE"), strict=False)
        ]
        types = [{"AttributeName": one, "AttributeType": kind} for one, kind in keys.items()]
        self.control(
            "CreateTable", TableName=name, KeySchema=schema, AttributeDefinitions=types, BillingMode="PAY_PER_REQUEST"
        )  # fmt: skip

    def put(self, name: str, items: Iterable[Item]) -> None:
        """Stores items, past all figures."""
        table = self.service.store.tables[ACCOUNT, name]
        for one in items:
            table.put(table.parse(encoded(one), batch=True))

    def delete(self, name: str, key_: Item) -> None:
        """Deletes an item."""
        table = self.service.store.tables[ACCOUNT, name]
        table.delete(table.exact_key(encoded(key_)))

    def consumed(self) -> float:
        """Read units, of all tables."""
        tables = self.service.store.tables.values()
        return sum(units for table in tables for _, units in table.reads_log.entries)

    def items(self, name: str) -> list[Any]:
        """All items, in the order of their keys' hashes."""
        table = self.service.store.tables[ACCOUNT, name]
        return [msgspec.json.decode(one.raw) for one in table.items()]


def encoded(item_: Item) -> bytes:
    """An item as DynamoDB JSON."""
    return json.dumps(item_, ensure_ascii=False).encode()


class VerifyWorld:
    """An export of `items` in so many shards, and a table that holds the same; with `log`, the export has followed its table."""

    def __init__(
        self,
        folder: Path,
        items: Iterable[Item],
        shards: int = 2,
        settings: Mapping[str, Setting] | None = None,
    ) -> None:
        self.dynamodb = FakeCalls()
        self.export = MemoryFolder()
        self.log = ChangeLog(self.export)
        self.state_url = str(folder)
        items = list(items)
        for name in (OLD, NEW):
            self.dynamodb.create(name)
            self.dynamodb.put(name, items)
        written = [self._shard(number, items[number::shards]) for number in range(shards)]
        manifests.write(self.export, self._manifest(written, dict(settings or {})))

    def _shard(self, number: int, items: list[Item]) -> Shard:
        encoder = open_encoder(Encoding(compression="gzip"))
        data = encoder.add([msgspec.Raw(encoded(one)) for one in items]) + encoder.finish()
        name = f"{DATA}{number:04d}-000000.json.gz"
        self.export.files[name] = data
        return Shard(
            key=self.export.key(name), segment=number, items=len(items), bytes=0, stored_bytes=len(data),
            md5="", sha256=hashlib.sha256(data).hexdigest(), etag=hashlib.md5(data).hexdigest(),
        )  # fmt: skip

    def _manifest(self, shards: list[Shard], settings: dict[str, Setting]) -> Manifest:
        described = self.described(OLD)
        return Manifest(
            format=FORMAT, export_id="01715685260608-c488b4e1", tool_version="0", method="scan",
            started_at=WHEN, finished_at=WHEN,
            source=Source(
                table_name=OLD, table_arn=described["TableArn"], table_id=described["TableId"],
                account=ACCOUNT, region=REGION,
            ),
            table=described, settings=settings,
            options=FormatOptions(
                format="jsonl", compression="gzip", segments=len(shards), shard_size=1, consistent_read=False,
            ),
            consumed_rcu=1.0, items=sum(shard.items for shard in shards), bytes=0, shards=shards,
        )  # fmt: skip

    def described(self, name: str) -> dict[str, Any]:
        """The table as DescribeTable describes it."""
        found: dict[str, Any] = self.dynamodb.control("DescribeTable", TableName=name)["Table"]
        return found

    def put(self, *items: Item, table: str = NEW) -> None:
        """Others write to a table."""
        self.dynamodb.put(table, items)

    def delete(self, number: int, table: str = NEW) -> None:
        """Others delete an item."""
        self.dynamodb.delete(table, key(number))

    def begin_log(self, **options: Any) -> ChangeLog:
        """The export follows its table from now on."""
        source = self.described(OLD)
        self.log.begin(table_arn=source["TableArn"], table_id=source["TableId"], **options)
        return self.log

    def import_has_applied(self, applied: int, *, run: int = 1, completed: bool = True) -> None:
        """The state that an import leaves in its folder."""
        table = self.described(NEW)
        plan = ImportPlan(
            export_id="01715685260608-c488b4e1", items=0, shards=2, table_arn=table["TableArn"],
            table_id=table["TableId"], on_existing="overwrite", begun_at=WHEN, run=run,
            completed_at=WHEN if completed else "",
        )  # fmt: skip
        self.state.write(PLAN, msgspec.json.encode(plan))
        write_apply(self.state, ApplyState(run=run, applied=applied), WHEN)

    @property
    def state(self) -> Storage:
        """Where the state of the import is, and the reports are."""
        return open_storage(None, f"{self.state_url}/01715685260608-c488b4e1/{ACCOUNT}.{REGION}.{NEW}")

    def options(self, **options: Any) -> VerifyOptions:
        """The options of a verification of the export; with `source`, of both tables."""
        common = Common(
            aws=AwsOptions(region=REGION),
            processes=2,
            progress=ProgressOptions(style=Style.NONE),
            as_json=False,
        )
        compared = (
            {"source": SourceTable(table=OLD)}
            if options.pop("tables", False)
            else {"export": self.export.url}
        )
        return VerifyOptions(
            common=common, table=options.pop("table", NEW), state=self.state_url, **compared, **options
        )

    def aws(self) -> Any:
        """As much of an Aws as a verification needs."""
        session = SimpleNamespace(is_renewed=True)
        return SimpleNamespace(
            s3=None,
            dynamodb=self.dynamodb.boto3(),
            identity=lambda: "somebody",
            session=session,
            s3_session=session,
        )

    @contextlib.contextmanager
    def in_place(self) -> Iterator[Self]:
        """While this lasts, the folder is the bucket, and the fake is DynamoDB."""
        with contextlib.ExitStack() as stack:

            def put_in(module: Any, name: str, value: Any) -> None:
                stack.enter_context(mock.patch.object(module, name, value))

            for module in {*_READERS, *_CALLERS} - {preflight}:
                put_in(module, "connect", lambda _: self.aws())
            for module in _READERS:
                put_in(module, "S3Storage", lambda *_: self.export)
            for module in _CALLERS:
                put_in(module, "open_client", self.dynamodb.open_client)
            put_in(manifests, "export_storage", lambda *_: self.export)
            put_in(prepare, "bucket_checks", lambda *_: {})
            put_in(prepare, "Aws", lambda _: self.aws())
            put_in(Common, "runner", lambda _, **__: Serial())  # two shares, one after the other
            put_in(run, "publish_page", lambda *_, **__: None)
            yield self

    def verify(
        self, *, ask: Callable[[str], bool] = lambda _: False, stop: Stop | None = None, **options: Any
    ) -> VerifyResult:
        """The result of `ddb-verify` with these options."""
        with self.in_place():
            return run_verify(self.options(**options), self.aws(), stop or Stop(), ask=ask)

    def reported(self, result: VerifyResult) -> dict[int, str]:
        """The kind of each difference in the report, by the number of its key."""
        first = Path(result.report or self.state_url)
        assert first.is_relative_to(self.state_url)
        files = sorted(first.parent.glob(f"{first.stem}*.jsonl")) if result.report else []
        lines = [line for file in files for line in file.read_bytes().splitlines()]
        found = map(json.loads, lines)
        return {int(one["key"]["sk"]["N"]): one["kind"] for one in found}
