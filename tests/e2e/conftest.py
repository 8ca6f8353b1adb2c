"""What a move between two accounts needs: a bucket of the destination that the source may write to, and the commands."""

import contextlib
import json
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from support import commands
from support.accounts import Accounts
from support.environment import DESTINATION, SOURCE
from support.services import Endpoint


def open_bucket(s3: Any, name: str) -> None:
    """Lets the source account write to a bucket of the destination, and read back what it wrote."""
    objects = ["s3:PutObject", "s3:GetObject", "s3:AbortMultipartUpload", "s3:ListMultipartUploadParts"]
    whole = ["s3:ListBucket", "s3:ListBucketMultipartUploads", "s3:GetBucketOwnershipControls"]
    principal = {"AWS": f"arn:aws:iam::{SOURCE}:root"}
    statements = [
        {"Effect": "Allow", "Principal": principal, "Action": objects, "Resource": f"arn:aws:s3:::{name}/*"},
        {"Effect": "Allow", "Principal": principal, "Action": whole, "Resource": f"arn:aws:s3:::{name}"},
    ]
    s3.put_bucket_policy(Bucket=name, Policy=json.dumps({"Version": "2012-10-17", "Statement": statements}))


@pytest.fixture
def closed_bucket(aws: Endpoint, accounts: Accounts, unique_name: Callable[[], str]) -> str:
    """A bucket of the destination account that no other account may touch."""
    name = unique_name()
    accounts.s3(aws, DESTINATION).create_bucket(
        Bucket=name, CreateBucketConfiguration={"LocationConstraint": "eu-west-1"}
    )
    return name


@pytest.fixture
def bucket(closed_bucket: str, aws: Endpoint, accounts: Accounts) -> str:
    """A bucket of the destination account with a policy for the source account."""
    open_bucket(accounts.s3(aws, DESTINATION), closed_bucket)
    return closed_bucket


@dataclass(frozen=True)
class Mover:
    """Runs the commands, each in its account: tables at `engine`, the bucket at `aws`."""

    engine: Endpoint | str
    aws: Endpoint | str
    bucket: str

    def export(self, *arguments: object, **options: Any) -> commands.Result:
        """`ddb-export` with the source's credentials."""
        return self._run("ddb-export", SOURCE, *arguments, **options)

    def load(self, *arguments: object, **options: Any) -> commands.Result:
        """`ddb-import` with the destination's credentials."""
        return self._run("ddb-import", DESTINATION, *arguments, **options)

    def exported(self, table: str, *arguments: object) -> str:
        """Exports a table and returns the export's location."""
        result = self.export(table, f"s3://{self.bucket}/moves", *arguments)
        return str(result.json()["export"])

    def start(self, command: str, account: str, *arguments: object) -> subprocess.Popen[str]:
        """A command that goes on while the test does something else."""
        return commands.start(
            command, *arguments, account=account, endpoint=self.engine, s3_endpoint=self.aws
        )

    @contextlib.contextmanager
    def running(self, command: str, account: str, *arguments: object) -> Iterator[subprocess.Popen[str]]:
        """The same, killed at the end of the block."""
        with self.start(command, account, *arguments) as process:
            try:
                yield process
            finally:
                process.kill()

    def _run(self, command: str, account: str, *arguments: object, **options: Any) -> commands.Result:
        return commands.run(
            command,
            *arguments,
            "--json",
            account=account,
            endpoint=self.engine,
            s3_endpoint=self.aws,
            **options,
        )


@pytest.fixture
def mover(engine: Endpoint, aws: Endpoint, bucket: str) -> Mover:
    """A move between tables of each engine, over a bucket of MiniStack."""
    return Mover(engine, aws, bucket)


@pytest.fixture
def aws_mover(aws: Endpoint, bucket: str) -> Mover:
    """A move with both tables and the bucket on MiniStack."""
    return Mover(aws, aws, bucket)
