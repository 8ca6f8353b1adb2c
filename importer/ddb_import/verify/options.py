"""The options of a verification."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Final

from ddb_shared.aws.clients import AwsOptions
from ddb_shared.command.options import Common
from ddb_shared.permissions import Side
from ddb_shared.table.capacity import Cap

# So many show what is wrong, and are repaired in minutes; each takes 3 KB of every worker's memory.
MAX_DIFFERENCES: Final = 10_000


@dataclass(frozen=True, kw_only=True)
class Repair:
    """What to repair after a comparison. `confirmed` is False if the user must be asked first."""

    delete_extra: bool
    confirmed: bool


@dataclass(frozen=True, kw_only=True)
class SourceTable:
    """A table to compare with instead of an export, and the options of access that differ from those of the other table."""

    table: str
    region: str | None = None
    profile: str | None = None
    role_arns: tuple[str, ...] = ()

    def aws(self, other: AwsOptions) -> AwsOptions:
        """The options of access to it, given those of the other table."""
        if self.profile:  # another identity: roles and MFA session belong to the other one
            other = dataclasses.replace(
                other, profile=self.profile, role_arns=(), mfa_serial=None, mfa_credentials=None
            )
        return dataclasses.replace(
            other,
            region=self.region or other.region,
            role_arns=self.role_arns or other.role_arns,
            side=Side.SOURCE,
            caller="",
        )


@dataclass(frozen=True, kw_only=True)
class VerifyOptions:
    """The options of `ddb-verify`, parsed: `export`, or else `source`, is compared with `table`.

    `max_rcu` is the cap of all workers for each table, `max_wcu` that of a repair, `sample` a percentage. At most `max_differences`
    items are named. `base_only`: the changes of an export are left out. `so_far`: those that are applied by now count, and more may
    come. `full`: all items are compared, whatever earlier verifications have shown.
    """

    common: Common
    table: str
    export: str | None = None
    source: SourceTable | None = None
    max_rcu: Cap | None = None
    max_wcu: Cap | None = None
    sample: float | None = None
    max_differences: int = MAX_DIFFERENCES
    base_only: bool = False
    so_far: bool = False
    full: bool = False
    state: str | None = None
    repair: Repair | None = None

    @property
    def source_name(self) -> str | None:
        """What the table is compared with, as given."""
        return self.source.table if self.source else self.export

    @property
    def command(self) -> str:
        """The command line that repeats the verification."""
        return self.common.invocation.line()
