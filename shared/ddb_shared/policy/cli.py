"""The command `ddb-policy`."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Final, NamedTuple

import click

from ddb_shared.command.groups import Command, announce_variables
from ddb_shared.command.main import run
from ddb_shared.command.values import ACCOUNT, REGION, TABLE_PATTERN
from ddb_shared.errors import UsageError
from ddb_shared.format.manifest import PITR, SCAN
from ddb_shared.policy.documents import (
    BATCH_WRITE_ENGINE,
    BULK_ENGINE,
    IMPORT_TABLE_ENGINE,
    Document,
    Names,
    documents,
)
from ddb_shared.policy.templates import cloudformation, terraform
from ddb_shared.runtime.events import warn
from ddb_shared.storage.bucket import require_bucket_name

EPILOG = """\
Examples:

\b
  ddb-policy --source-account 111111111111 --destination-account 222222222222 --bucket shared-bucket \\
      --prefix moves --table Orders --region eu-west-1
  ddb-policy … --table 'prod*' --destination-table 'new*'
  ddb-policy … --kms-key-arn arn:aws:kms:eu-west-1:222222222222:key/1234 --format terraform > policies.tf
"""

_ROLE: Final = re.compile(r"arn:aws[a-z-]*:iam::(\d{12}):role/[\w+=,.@/-]+")
_ROLE_NAME: Final = re.compile(r"[\w+=,.@-]{1,64}")
_KEY: Final = re.compile(r"arn:aws[a-z-]*:kms:[a-z0-9-]+:\d{12}:key/[A-Za-z0-9-]+")
_INVALID_IN_PREFIX: Final = re.compile(r"[*?$#\x00-\x1f\x7f]")
# All inline policies of a role together, without white space:
# https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html#reference_iam-quotas-entity-length
_MAX_INLINE_CHARACTERS: Final = 10_240
_FORMATS: Final = {
    "json": lambda names: json.dumps(documents(names), indent=2),
    "cloudformation": cloudformation,
    "terraform": terraform,
}


@click.command("ddb-policy", cls=Command, epilog=EPILOG)
@click.option("--source-account", metavar="ACCOUNT", type=ACCOUNT, help="Account of the exported table.")
@click.option(
    "--source-role",
    metavar="ROLE",
    default="ddb-exporter",
    show_default=True,
    help="Role of ddb-export, by name or ARN.",
)
@click.option(
    "--destination-account",
    metavar="ACCOUNT",
    type=ACCOUNT,
    help="Account of the bucket and of the new table.",
)
@click.option(
    "--destination-role",
    metavar="ROLE",
    default="ddb-importer",
    show_default=True,
    help="Role of ddb-import and ddb-verify, by name or ARN.",
)
@click.option("--bucket", required=True, help="Bucket for the exports, in the destination account.")
@click.option("--prefix", default="", help="Prefix for the exports in the bucket.")
@click.option(
    "--table",
    "tables",
    required=True,
    multiple=True,
    metavar="NAME",
    type=TABLE_PATTERN,
    help="Table to export, or a pattern such as 'prod*'; repeat it for several.",
)
@click.option(
    "--destination-table",
    "destination_tables",
    multiple=True,
    metavar="NAME",
    type=TABLE_PATTERN,
    help="Table to load, or a pattern; repeat it for several.  [default: the names of --table]",
)
@click.option(
    "--region",
    required=True,
    metavar="REGION",
    type=REGION,
    envvar=["AWS_REGION", "AWS_DEFAULT_REGION"],
    help="Region of both tables.",
)
@click.option("--kms-key-arn", metavar="ARN", help="KMS key that encrypts the bucket (SSE-KMS).")
@click.option(
    "--table-kms-key-arn",
    metavar="ARN",
    help="KMS key that encrypts the exported table, if it is a customer managed key.",
)
@click.option(
    "--destination-table-kms-key-arn",
    metavar="ARN",
    help="KMS key that encrypts the new table, as given to ddb-import --map-kms.",
)
@click.option("--external-id", metavar="ID", help="External id required by the trust policies of the roles.")
@click.option(
    "--method",
    "methods",
    multiple=True,
    type=click.Choice([SCAN, PITR]),
    default=[SCAN],
    show_default=True,
    help="Method of ddb-export that the policies allow; repeat it for both. pitr adds DynamoDB's own exports and switching "
    "point-in-time recovery on.",
)
@click.option(
    "--follow",
    is_flag=True,
    help="Allow ddb-export --follow and what ends it: to read the table's stream, to enable and disable it, and to deny writes "
    "by the table's resource policy.",
)
@click.option(
    "--engine",
    "engines",
    multiple=True,
    type=click.Choice([BATCH_WRITE_ENGINE, IMPORT_TABLE_ENGINE, BULK_ENGINE]),
    default=[BATCH_WRITE_ENGINE],
    show_default=True,
    help="Engine of ddb-import that the policies allow; repeat it for several. import-table and bulk add DynamoDB's own imports.",
)
@click.option(
    "--format",
    "output_format",
    type=click.Choice(list(_FORMATS)),
    default="json",
    show_default=True,
    help="Output format. json prints one object with the documents bucket_policy, source_policy, destination_policy, source_trust, "
    "destination_trust, kms_key_statement and lifecycle.",
)
@click.option(
    "--json",
    "as_json",
    is_flag=True,
    help="Print failures as one JSON object on stdout; does not change the format of the documents.",
)
@click.version_option(package_name="ddb-transfer")
def command(
    *,
    source_account: str | None,
    source_role: str,
    destination_account: str | None,
    destination_role: str,
    bucket: str,
    prefix: str,
    tables: tuple[str, ...],
    destination_tables: tuple[str, ...],
    region: str,
    kms_key_arn: str | None,
    table_kms_key_arn: str | None,
    destination_table_kms_key_arn: str | None,
    external_id: str | None,
    methods: tuple[str, ...],
    follow: bool,
    engines: tuple[str, ...],
    output_format: str,
    as_json: bool,  # noqa: ARG001 - `run` looks for --json
) -> None:
    """Print the policies that both accounts need, with only the actions that the commands use. Makes no call to AWS."""
    announce_variables(click.get_current_context())
    require_bucket_name(bucket)
    if _INVALID_IN_PREFIX.search(prefix):
        raise UsageError(
            f"--prefix {prefix!r} contains a wildcard, a policy variable or a control character.",
            "Use a plain prefix: the policies would grant access to more than intended.",
        )
    source = _role("source", source_account, source_role, region)
    destination = _role("destination", destination_account, destination_role, region)
    names = Names(
        source_account=source.account,
        source_role=source.arn,
        destination_account=destination.account,
        destination_role=destination.arn,
        bucket=bucket,
        prefix=prefix.strip("/"),
        tables=tables,
        destination_tables=destination_tables or tables,
        region=region,
        kms_key_arn=_key("--kms-key-arn", kms_key_arn),
        table_kms_key_arn=_key("--table-kms-key-arn", table_kms_key_arn),
        destination_table_kms_key_arn=_key("--destination-table-kms-key-arn", destination_table_kms_key_arn),
        external_id=external_id,
        methods=frozenset(methods),
        follow=follow,
        engines=frozenset(engines),
    )
    click.echo(_FORMATS[output_format](names))
    _warn_of_size(documents(names))


def _warn_of_size(found: Mapping[str, Document | None]) -> None:
    """Warns of policies that IAM refuses to put into a role."""
    for name in ("source_policy", "destination_policy"):
        characters = len(re.sub(r"\s", "", json.dumps(found[name])))
        if characters > _MAX_INLINE_CHARACTERS:
            warn(
                f"{name} has {characters:,} characters, and IAM allows {_MAX_INLINE_CHARACTERS:,} for the inline policies of a role. "
                "Give the tables by a pattern, such as --table 'prod*' --destination-table 'new*', or use a role for each part of them."
            )


def _key(option: str, key: str | None) -> str | None:
    """The ARN of a key, if given."""
    if key and not _KEY.fullmatch(key):
        raise UsageError(
            f"{option} {key!r} is not a KMS key ARN.",
            "Policies and other accounts cannot resolve aliases and ids: use arn:aws:kms:REGION:ACCOUNT:key/ID.",
        )
    return key


class _Role(NamedTuple):
    account: str
    arn: str


def _role(side: str, account: str | None, role: str, region: str) -> _Role:
    """One side's role, which is given by its name or its ARN."""
    by_arn = _ROLE.fullmatch(role)
    if by_arn is None and not _ROLE_NAME.fullmatch(role):
        raise UsageError(f"--{side}-role {role!r} is neither a role name nor a role ARN.")
    account = account or (by_arn[1] if by_arn else None)
    if not account:
        raise UsageError(f"--{side}-account is required if --{side}-role is a name.")
    if by_arn and by_arn[1] != account:
        raise UsageError(
            f"--{side}-role is a role of account {by_arn[1]}, but --{side}-account is {account}."
        )
    return _Role(account, role if by_arn else f"arn:{_partition(region)}:iam::{account}:role/{role}")


def _partition(region: str) -> str:
    """https://docs.aws.amazon.com/IAM/latest/UserGuide/reference-arns.html."""
    return {"cn": "aws-cn", "us-gov": "aws-us-gov"}.get(region.rpartition("-")[0].rpartition("-")[0], "aws")


def main() -> None:
    """Entry point of the console script."""
    run(command)


if __name__ == "__main__":
    main()
