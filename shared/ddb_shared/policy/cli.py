"""The command `ddb-policy`."""

from __future__ import annotations

import json
import re
from typing import Any, Final

import click

import ddb_shared
from ddb_shared.errors import UsageError
from ddb_shared.options import run
from ddb_shared.policy.documents import Names, documents
from ddb_shared.policy.templates import cloudformation, terraform

EPILOG = """\
Examples:

\b
  ddb-policy --source-account 111111111111 --destination-account 222222222222 --bucket shared-bucket \\
      --prefix moves --table Orders --region eu-west-1
  ddb-policy … --kms-key-arn arn:aws:kms:eu-west-1:222222222222:key/1234 --format terraform > policies.tf
"""

_ACCOUNT: Final = re.compile(r"\d{12}")
_ROLE: Final = re.compile(r"arn:aws[a-z-]*:iam::(\d{12}):role/[\w+=,.@/-]+")
_ROLE_NAME: Final = re.compile(r"[\w+=,.@-]{1,64}")
_KEY: Final = re.compile(r"arn:aws[a-z-]*:kms:[a-z0-9-]+:\d{12}:key/[A-Za-z0-9-]+")
_KEYS: Final = ("kms_key_arn", "table_kms_key_arn", "destination_table_kms_key_arn")
_FORMATS: Final = {
    "json": lambda names: json.dumps(documents(names), indent=2),
    "cloudformation": cloudformation,
    "terraform": terraform,
}


@click.command("ddb-policy", epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--source-account", metavar="ACCOUNT", help="Account of the table that is exported.")
@click.option(
    "--source-role",
    metavar="ROLE",
    default="ddb-exporter",
    show_default=True,
    help="Role of ddb-export, its name or its ARN.",
)
@click.option("--destination-account", metavar="ACCOUNT", help="Account of the bucket and of the new table.")
@click.option(
    "--destination-role",
    metavar="ROLE",
    default="ddb-importer",
    show_default=True,
    help="Role of ddb-import and ddb-verify, its name or its ARN.",
)
@click.option("--bucket", required=True, help="Bucket of the exports, in the destination account.")
@click.option("--prefix", default="", help="Prefix of the exports in the bucket.")
@click.option("--table", required=True, help="Table that is exported.")
@click.option("--destination-table", help="Table that is loaded.  [default: the name of --table]")
@click.option(
    "--region", required=True, envvar=["AWS_REGION", "AWS_DEFAULT_REGION"], help="Region of both tables."
)
@click.option("--kms-key-arn", metavar="ARN", help="Key that encrypts the bucket (SSE-KMS).")
@click.option(
    "--table-kms-key-arn",
    metavar="ARN",
    help="Key that encrypts the exported table, if it is a key of yours.",
)
@click.option(
    "--destination-table-kms-key-arn",
    metavar="ARN",
    help="Key that encrypts the new table, as --map-kms of ddb-import names it.",
)
@click.option("--external-id", metavar="ID", help="External id that the roles' trust policies demand.")
@click.option(
    "--format",
    "form",
    type=click.Choice(list(_FORMATS)),
    default="json",
    show_default=True,
    help="json prints one object of documents: bucket_policy, source_policy, destination_policy, source_trust, "
    "destination_trust, kms_key_statement, lifecycle.",
)
@click.version_option(ddb_shared.__version__)
def command(form: str, **given: Any) -> None:
    """Print the policies of both accounts, each with the least actions that the commands call. Asks AWS nothing."""
    click.echo(_FORMATS[form](names_of(given)))


def names_of(given: dict[str, Any]) -> Names:
    """The options, checked; raises UsageError."""
    source_account, source_role = _role(given, "source")
    destination_account, destination_role = _role(given, "destination")
    return Names(
        source_account=source_account,
        source_role=source_role,
        destination_account=destination_account,
        destination_role=destination_role,
        bucket=given["bucket"],
        prefix=given["prefix"].strip("/"),
        table=given["table"],
        destination_table=given["destination_table"] or given["table"],
        region=given["region"],
        **{name: _key(given, name) for name in _KEYS},
        external_id=given["external_id"],
    )


def _key(given: dict[str, Any], name: str) -> str | None:
    """The ARN of a key, where one is given."""
    key: str | None = given[name]
    if key and not _KEY.fullmatch(key):
        raise UsageError(
            f"--{name.replace('_', '-')} {key!r} is not the ARN of a key.",
            "Policies and other accounts can't resolve an alias or an id: write arn:aws:kms:REGION:ACCOUNT:key/ID.",
        )
    return key


def _role(given: dict[str, Any], side: str) -> tuple[str, str]:
    """Account and ARN of one side's role."""
    account, role = given[f"{side}_account"], given[f"{side}_role"]
    by_arn = _ROLE.fullmatch(role)
    if by_arn is None and not _ROLE_NAME.fullmatch(role):
        raise UsageError(f"--{side}-role {role!r} is neither a role's name nor its ARN.")
    account = account or (by_arn and by_arn[1])
    if not account or not _ACCOUNT.fullmatch(account):
        raise UsageError(f"--{side}-account must be an account number of 12 digits.")
    if by_arn and by_arn[1] != account:
        raise UsageError(f"--{side}-role is a role of account {by_arn[1]}, --{side}-account is {account}.")
    return account, role if by_arn else f"arn:{_partition(given['region'])}:iam::{account}:role/{role}"


def _partition(region: str) -> str:
    """https://docs.aws.amazon.com/IAM/latest/UserGuide/reference-arns.html."""
    return {"cn": "aws-cn", "us-gov": "aws-us-gov"}.get(region.rpartition("-")[0].rpartition("-")[0], "aws")


def main() -> None:
    """Entry point of the console script."""
    run(command)


if __name__ == "__main__":
    main()
