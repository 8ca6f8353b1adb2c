"""What a user sees and what is stored stays as it is: help, results, every file of an export, an import and a verification.

UPDATE_GOLDEN=1 writes the files in tests/data/golden instead of comparing with them.
"""

import gzip
import json
import os
import re
import subprocess
import uuid
from pathlib import Path
from typing import Any

import pytest

from e2e.conftest import open_bucket
from support import commands
from support.accounts import Accounts
from support.environment import DESTINATION, SOURCE, clean_environment
from support.services import Endpoint
from support.tables import KeySpec, create_table, fill

GOLDEN = Path(__file__).parents[1] / "data" / "golden"
UPDATE = os.environ.get("UPDATE_GOLDEN") == "1"
COMMANDS = ("ddb-export", "ddb-import", "ddb-verify", "ddb-policy")
FILES = (
    "export-jsonl.json", "export-jsonl-files.txt", "export-parquet-manifest.json", "export-dry-run.json",
    "import.json", "import-state.txt", "import-dry-run.json", "verify-identical.json", "verify-different.json",
    "verify-report.jsonl", "policy.json",
)  # fmt: skip

# What differs from run to run, by its place: the name of a member, or a form that nothing else has.
_VOLATILE_MEMBERS = [
    "pid_namespace",
    "host",
    "boot",
    "pid",
    "user",
    "since",
    "by",
    "ended_at",
    "nonce",
    "beat",
    "started_at",
    "finished_at",
    "begun_at",
    "completed_at",
    "verified_at",
    "seconds",
    "etag",
    "md5",
    "sha256",
    "table_id",
    "TableId",
    "CreationDateTime",
    "LastUpdateToPayPerRequestDateTime",
    "LastIncreaseDateTime",
    "stored_bytes",
    "startTime",
    "endTime",
    "exportTime",
    "tableId",
    "md5Checksum",
    "LastUpdateInactiveDateTime",
    "tool_version",
    "EarliestRestorableDateTime",
    "LatestRestorableDateTime",
]
_VOLATILE_FORMS = (
    (r"\b\d{14}-[0-9a-f]{8}\b", "EXPORT-ID"),
    (r"\d{8}T\d{9}Z", "TIME"),
    (r"http://127\.0\.0\.1:\d+", "ENDPOINT"),
)


def stable(text: str, names: dict[str, str]) -> str:
    """The text with a placeholder for everything that differs from run to run."""
    for name, placeholder in names.items():
        text = text.replace(name, placeholder)
    for member in _VOLATILE_MEMBERS:
        text = re.sub(rf'("{member}": ?)("(?:[^"\\]|\\.)*"|[-+.\dE]+)', r"\1VOLATILE", text)
    for form, placeholder in _VOLATILE_FORMS:
        text = re.sub(form, placeholder, text)
    return text


def compare(name: str, text: str) -> None:
    """The golden file holds this text, or is written."""
    path = GOLDEN / name
    if UPDATE:
        path.write_text(text)
    assert path.read_text() == text


@pytest.mark.parametrize("command", COMMANDS)
def test_help_is_as_documented(command: str) -> None:
    """Nobody changes a command's help by accident."""
    done = subprocess.run(
        commands.command_line(command, "--help"),
        env=clean_environment() | {"COLUMNS": "100"},
        capture_output=True,
        text=True,
        check=True,
    )
    compare(f"{command}-help.txt", done.stdout)


def _items(count: int) -> list[dict[str, Any]]:
    """Items of several types in an order of their own, one of them unfit for an index whose key is a number."""
    return [
        {"pk": {"S": f"item-{number}"}, "total": {"N": f"{number}.5"}, "tags": {"SS": ["a", "b"]},
         "blob": {"B": bytes([number])}, "state": {"S": "ü\"\n"}}
        for number in range(count)
    ]  # fmt: skip


class _Run:
    """One move between two accounts, and everything that it printed and stored."""

    def __init__(self, aws: Endpoint, accounts: Accounts) -> None:
        self._aws = aws
        self._s3 = accounts.s3(aws, DESTINATION)
        self._dynamodb = accounts.dynamodb(aws, DESTINATION)
        suffix = uuid.uuid4().hex[:12]
        self._bucket, self._source, self._table = f"bkt-{suffix}", f"src-{suffix}", f"dst-{suffix}"
        self._names = {self._bucket: "BUCKET", self._source: "SOURCE", self._table: "TABLE"}
        self.texts: dict[str, str] = {}
        self._s3.create_bucket(
            Bucket=self._bucket, CreateBucketConfiguration={"LocationConstraint": "eu-west-1"}
        )
        open_bucket(self._s3, self._bucket)
        key = KeySpec(range_name="")
        create_table(accounts.dynamodb(aws, SOURCE), self._source, key)
        create_table(self._dynamodb, self._table, key)
        fill(accounts.dynamodb(aws, SOURCE), self._source, _items(6), threads=1)

    def run(
        self, name: str, command: str, *arguments: str, account: str, exit_code: int = 0
    ) -> dict[str, Any]:
        """A command's result, kept as `name`."""
        result = commands.run(command, *arguments, account=account, endpoint=self._aws, check=False)
        assert result.exit_code == exit_code, str(result)
        document: dict[str, Any] = json.loads(result.stdout)
        self.texts[name] = stable(json.dumps(document, indent=1, ensure_ascii=False) + "\n", self._names)
        return document

    def keep(self, name: str, prefix: str, pattern: str = "") -> None:
        """The stored files below `prefix`, each with its name, kept as `name`."""
        parts = []
        for entry in self._s3.list_objects_v2(Bucket=self._bucket, Prefix=prefix)["Contents"]:
            key = entry["Key"]
            # reports and what they are made from tell what a run did over time; they have tests of their own
            if not re.search(pattern, key) or re.search("report[.]html$|/runs/", key):
                continue
            data = self._s3.get_object(Bucket=self._bucket, Key=key)["Body"].read()
            if key.endswith(".md5"):
                data = b"MD5"
            elif key.endswith(".gz"):
                data = gzip.decompress(data)
            elif "/verify/" in key:  # in no order
                data = b"".join(sorted(data.splitlines(keepends=True)))
            parts.append(f"== {key}\n{data.decode()}\n")
        self.texts[name] = stable("".join(parts), self._names)

    def all(self) -> dict[str, str]:
        """The move itself; returns the texts."""
        where = f"s3://{self._bucket}/moves"
        one = ("--processes", "1", "--segments", "2", "--json")
        self.run("export-dry-run.json", "ddb-export", self._source, where, "--dry-run", *one, account=SOURCE)
        export = self.run("export-jsonl.json", "ddb-export", self._source, where, *one, account=SOURCE)[
            "export"
        ]
        prefix = export.removeprefix(f"s3://{self._bucket}/")
        self.keep("export-jsonl-files.txt", prefix)
        parquet = self.run(
            "_", "ddb-export", self._source, where, "--format", "parquet", *one, account=SOURCE
        )
        self.keep(
            "export-parquet-manifest.json",
            parquet["export"].removeprefix(f"s3://{self._bucket}/"),
            "manifest.json$",
        )
        load = ("ddb-import", export, self._table, "--processes", "1", "--json")
        self.run("import-dry-run.json", *load, "--dry-run", account=DESTINATION)
        self.run("import.json", *load, account=DESTINATION)
        self.keep("import-state.txt", f"{prefix}import/", "(plan|lease|shards/.*)[.]json$")
        verify = ("ddb-verify", export, self._table, "--processes", "1", "--json")
        self.run("verify-identical.json", *verify, account=DESTINATION)
        self._dynamodb.delete_item(TableName=self._table, Key={"pk": {"S": "item-1"}})
        changed = {"pk": {"S": "item-2"}, "total": {"N": "7"}}
        self._dynamodb.put_item(TableName=self._table, Item=changed)
        self._dynamodb.put_item(TableName=self._table, Item={"pk": {"S": "item-9"}})
        self.run("verify-different.json", *verify, account=DESTINATION, exit_code=4)
        self.keep("verify-report.jsonl", f"{prefix}import/", "verify/")
        policy = commands.run(
            "ddb-policy", "--source-account", SOURCE, "--destination-account", DESTINATION, "--bucket", "shared-bucket",
            "--prefix", "moves", "--table", "Orders", "--region", "eu-west-1",
        )  # fmt: skip
        self.texts["policy.json"] = policy.stdout
        return self.texts


@pytest.fixture(scope="module")
def texts(aws: Endpoint, accounts: Accounts) -> dict[str, str]:
    """Everything that one move printed and stored, by golden file."""
    return _Run(aws, accounts).all()


@pytest.mark.parametrize("name", FILES)
def test_output_and_files_are_as_documented(texts: dict[str, str], name: str) -> None:
    """The formats of stored files and of results do not change unnoticed."""
    compare(name, texts[name])
