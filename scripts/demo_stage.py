"""The stage of the demo: two accounts of a local AWS, their roles and profiles, and a shell in which commands run."""

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from support.accounts import Accounts
from support.environment import DESTINATION, REGION, SECRET, SOURCE, clean_environment
from support.fingerprints import Fingerprints, assert_same_fingerprints, fingerprints
from support.services import Endpoint, local_aws
from support.tables import create_table, fill
from support.varied import varied_items

TABLE, BUCKET, PREFIX = "Orders", "shared-bucket", "moves"
EXPORTS = f"s3://{BUCKET}/{PREFIX}"
ROLES = {SOURCE: "ddb-exporter", DESTINATION: "ddb-importer"}
PROCESSES = max(2, os.cpu_count() or 2)
_SIDES = {SOURCE: "source", DESTINATION: "destination"}
_PROFILES = {"old": SOURCE, "new": DESTINATION}
_ROLE_PROFILES = {"exporter": "old", "importer": "new"}
WAIT_SECONDS = 120
_POLICY_FILE = "policies.json"
_LIMITS = (
    "Two limits of the local AWS: it has no autoscaling, and allows two reads of a table's settings only to who may read\n"
    "those of all tables. So export and import report five settings as unknown, which AWS itself would answer."
)


@dataclass(frozen=True)
class Command:
    """A command in the background; `out` and `log` hold what it has printed."""

    line: str
    process: subprocess.Popen[bytes]
    out_file: Path
    log_file: Path

    @property
    def out(self) -> str:
        return self.out_file.read_text()

    @property
    def log(self) -> str:
        return self.log_file.read_text()

    def wait_until(self, ready: Callable[[], bool], what: str) -> None:
        """Return once `ready` says so; AssertionError if the command has ended before, or after WAIT_SECONDS."""
        deadline = time.monotonic() + WAIT_SECONDS
        while not ready():
            assert self.process.poll() is None, f"{self.line} has ended without {what}:\n{self.log}"
            assert time.monotonic() < deadline, f"{self.line}: no {what} in {WAIT_SECONDS} s:\n{self.log}"
            time.sleep(0.05)

    def finish(self) -> None:
        """Wait for its end; AssertionError if it has failed."""
        code = self.process.wait(WAIT_SECONDS)
        assert code == 0, f"exit code {code}: {self.line}\n{self.log}"


@dataclass(frozen=True)
class Stage:
    """A local AWS that enforces policies, and a folder with the profiles of its two accounts.

    The profiles `old` and `new` are the administrators of the accounts; `exporter` and `importer` take the roles.
    """

    aws: Endpoint
    accounts: Accounts
    folder: Path
    environment: dict[str, str]

    def client(self, account: str) -> Any:
        """The DynamoDB client of an account's administrator."""
        return self.accounts.dynamodb(self.aws, account)

    def shell(self, line: str, *, into: str = "", check: bool = True) -> int:
        """Show a line of shell and run it; with `into`, what it prints becomes that variable of the next lines.

        Returns the exit code; with `check`, another one than 0 raises AssertionError.
        """
        print(f"$ {into}=$({line})" if into else f"$ {line}", flush=True)
        done = subprocess.run(
            ["bash", "-c", line],
            env=self.environment,
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE if into else None,
            stderr=sys.stdout,
            text=True,
            check=False,
        )
        if into:
            self.environment[into] = done.stdout.strip()
        assert not check or done.returncode == 0, f"exit code {done.returncode}: {line}"
        return done.returncode

    @contextlib.contextmanager
    def background(self, line: str, name: str) -> Iterator[Command]:
        """Show a command and run it beside the others, with the files NAME.out and NAME.log as its streams.

        It has ended by the end of the context: killed, if not by itself.
        """
        print(f"$ {line} > {name}.out 2> {name}.log &", flush=True)
        out, log = (self.folder / f"{name}.{stream}" for stream in ("out", "log"))
        with out.open("wb") as stdout, log.open("wb") as stderr:
            process = subprocess.Popen(
                ["bash", "-c", f"exec {line}"],
                env=self.environment,
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=stderr,
            )
        with process:
            try:
                yield Command(line, process, out, log)
            finally:
                process.kill()


@contextlib.contextmanager
def open_stage() -> Iterator[Stage]:
    """Serve the local AWS while the context lasts."""
    with (
        local_aws({"AUTH": "true"}) as aws,
        contextlib.closing(Accounts()) as accounts,
        tempfile.TemporaryDirectory(prefix="ddb-transfer-demo-") as folder,
    ):
        config = Path(folder) / "aws-config"
        config.write_text("".join(_profiles()))
        commands = str(Path(sys.executable).parent)
        environment = clean_environment() | {
            "AWS_CONFIG_FILE": str(config),
            "AWS_ENDPOINT_URL": aws.url,
            "PATH": os.pathsep.join([commands, os.environ["PATH"]]),
        }
        yield Stage(aws, accounts, Path(folder), environment)


def _profiles() -> Iterator[str]:
    """The text of the AWS config file."""
    for name, account in _PROFILES.items():
        keys = f"aws_access_key_id = {account}\naws_secret_access_key = {SECRET}"
        yield f"[profile {name}]\nregion = {REGION}\n{keys}\n\n"
    for name, source in _ROLE_PROFILES.items():
        account = _PROFILES[source]
        role = f"role_arn = arn:aws:iam::{account}:role/{ROLES[account]}"
        yield f"[profile {name}]\nregion = {REGION}\n{role}\nsource_profile = {source}\n\n"


def make_bucket(stage: Stage) -> None:
    """The empty bucket, in the destination account."""
    stage.accounts.s3(stage.aws, DESTINATION).create_bucket(
        Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": REGION}
    )


def print_policies(stage: Stage, *words: str) -> dict[str, Any]:
    """Run ddb-policy; returns the documents that it prints."""
    lines = [
        f"ddb-policy --source-account {SOURCE} --destination-account {DESTINATION}",
        f"    --bucket {BUCKET} --prefix {PREFIX} --table {TABLE} --region {REGION}",
    ]
    stage.shell(" \\\n".join(lines) + "".join(f" {word}" for word in words) + f" > {_POLICY_FILE}")
    documents: dict[str, Any] = json.loads((stage.folder / _POLICY_FILE).read_text())
    return documents


def make_roles(stage: Stage, documents: Mapping[str, Any]) -> None:
    """Both roles with exactly the printed policies."""
    for account, side in _SIDES.items():
        iam = stage.accounts.client("iam", stage.aws, account)
        role, trust, policy = ROLES[account], documents[f"{side}_trust"], documents[f"{side}_policy"]
        iam.create_role(RoleName=role, AssumeRolePolicyDocument=json.dumps(trust))
        iam.put_role_policy(RoleName=role, PolicyName="ddb-transfer", PolicyDocument=json.dumps(policy))
        print(
            f"account {account}: role {role} with {side}_trust and {side}_policy ({_count(policy)} actions)"
        )
    print(_LIMITS)


def open_bucket(stage: Stage, documents: Mapping[str, Any]) -> None:
    """Put the printed bucket policy in force."""
    policy = documents["bucket_policy"]
    stage.accounts.s3(stage.aws, DESTINATION).put_bucket_policy(Bucket=BUCKET, Policy=json.dumps(policy))
    print(f"account {DESTINATION}: bucket {BUCKET} with bucket_policy ({_count(policy)} actions)")


def _count(policy: Mapping[str, Any]) -> int:
    """How many actions a policy allows."""
    allowed = [one["Action"] for one in policy["Statement"] if one["Effect"] == "Allow"]
    return len(
        {action for actions in allowed for action in ([actions] if isinstance(actions, str) else actions)}
    )


def seed(stage: Stage, items: int) -> None:
    """Create the source's table, and write the items from several processes, each a part of them."""
    create_table(stage.client(SOURCE), TABLE)
    edges = [items * part // PROCESSES for part in range(PROCESSES + 1)]
    with _processes() as pool:
        parts = [pool.submit(_seed_part, stage.aws, start, end - start) for start, end in pairwise(edges)]
        assert items == sum(part.result() for part in parts)


def _seed_part(aws: Endpoint, start: int, count: int) -> int:
    """Write `count` items from number `start` on."""
    with contextlib.closing(Accounts()) as accounts:
        return fill(accounts.dynamodb(aws, SOURCE), TABLE, varied_items(count, start=start), threads=2)


def compare(stage: Stage) -> int:
    """Return the number of items; raises AssertionError with the first differences."""
    with _processes() as pool:
        parts = [pool.submit(_read, stage.aws, account) for account in (SOURCE, DESTINATION)]
        expected, actual = (part.result() for part in parts)
    source, destination = ((stage.client(account), TABLE) for account in (SOURCE, DESTINATION))
    assert_same_fingerprints(expected, actual, source, destination)
    return len(actual)


def _read(aws: Endpoint, account: str) -> Fingerprints:
    """Scan the account's table in a process of its own."""
    with contextlib.closing(Accounts()) as accounts:
        return fingerprints(accounts.dynamodb(aws, account), TABLE)


def _processes() -> ProcessPoolExecutor:
    """Processes that inherit no connections."""
    return ProcessPoolExecutor(PROCESSES, mp_context=get_context("spawn"))


@contextlib.contextmanager
def step(title: str) -> Iterator[None]:
    """Say what happens, and how long it took."""
    print(f"\n== {title}", flush=True)
    begin = time.monotonic()
    yield
    print(f"   {time.monotonic() - begin:.1f} s", flush=True)
