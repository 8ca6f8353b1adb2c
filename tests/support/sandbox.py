"""Two accounts for the command lines of a page: profiles, a table, a bucket, and the AWS CLI."""

import contextlib
import datetime as dt
import json
import os
import sys
from collections.abc import Collection, Iterator
from pathlib import Path

from local_service import installed, quietly
from support.accounts import Accounts
from support.environment import DESTINATION, REGION, SECRET, SOURCE, clean_environment
from support.native_jobs import native_jobs
from support.services import local_aws
from support.tables import create_table, fill
from support.varied import varied_items

TABLE = "Orders"
BUCKET = "shared-bucket"
ITEMS = 200
QUARTER = dt.timedelta(minutes=15)
AWS_CLI = "1.46.3"
_PROFILES = {"old": SOURCE, "new": DESTINATION}


@contextlib.contextmanager
def open_sandbox(folder: Path, names: Collection[str]) -> Iterator[dict[str, str]]:
    """The environment in which a page's lines run; `names` are what there is at its start: table, bucket, jobs.

    The profiles `old` and `new` are the administrators of the two accounts. With `jobs`, DynamoDB exports tables and loads
    exports by itself, and a quarter of an hour has always passed since the last export; the table has point-in-time recovery.
    """
    tools = folder / "tools"
    tools.mkdir()
    _install_aws_cli(tools)
    config = tools / "aws-config"
    config.write_text("".join(_profile(name, account) for name, account in _PROFILES.items()))
    with (
        local_aws({"AUTH": "true"}) as aws,
        contextlib.closing(Accounts()) as accounts,
        native_jobs(aws, accounts) as jobs,
    ):
        source = accounts.dynamodb(aws, SOURCE)
        if "table" in names:
            create_table(source, TABLE)
            fill(source, TABLE, varied_items(ITEMS))
        if "jobs" in names:
            jobs.window = QUARTER
            source.update_continuous_backups(
                TableName=TABLE, PointInTimeRecoverySpecification={"PointInTimeRecoveryEnabled": True}
            )
        if "bucket" in names:
            s3 = accounts.s3(aws, DESTINATION)
            s3.create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": REGION})
            s3.put_bucket_policy(Bucket=BUCKET, Policy=json.dumps(_open_policy()))
        yield clean_environment() | {
            "AWS_CONFIG_FILE": str(config),
            "AWS_ENDPOINT_URL": aws.url,
            **({"AWS_ENDPOINT_URL_DYNAMODB": jobs.url} if "jobs" in names else {}),
            "PATH": os.pathsep.join([str(tools), str(Path(sys.executable).parent), os.environ["PATH"]]),
        }


def _profile(name: str, account: str) -> str:
    keys = f"aws_access_key_id = {account}\naws_secret_access_key = {SECRET}"
    return f"[profile {name}]\nregion = {REGION}\n{keys}\n\n"


def _open_policy() -> dict[str, object]:
    """Lets the source account write to the bucket, and read back what it wrote."""
    return {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Effect": "Allow",
                "Principal": {"AWS": f"arn:aws:iam::{SOURCE}:root"},
                "Action": "s3:*",
                "Resource": [f"arn:aws:s3:::{BUCKET}", f"arn:aws:s3:::{BUCKET}/*"],
            }
        ],
    }


def _install_aws_cli(folder: Path) -> None:
    """The AWS CLI as the command `aws` of this folder, in an environment of its own, since it pins another botocore."""
    version = f"{sys.version_info.major}.{sys.version_info.minor}"

    def install(storage: Path) -> None:
        quietly(sys.executable, "-m", "venv", storage)
        quietly(storage / "bin/python", "-m", "pip", "install", "--quiet", f"awscli=={AWS_CLI}")

    python = installed(f"awscli-{AWS_CLI}-python{version}", install) / "bin/python"
    command = folder / "aws"
    command.write_text(f'#!/bin/sh\nexec {python} -m awscli "$@"\n')
    command.chmod(0o755)
