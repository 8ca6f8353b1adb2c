"""What a verification is asked to do."""

from __future__ import annotations

import dataclasses
import shlex
from dataclasses import dataclass

from ddb_shared.aws import AwsOptions
from ddb_shared.cap import Cap
from ddb_shared.options import Common
from ddb_shared.permissions import Side


@dataclass(frozen=True, kw_only=True)
class Repair:
    """What to mend after a comparison. `confirmed` is False where somebody has to be asked first."""

    delete_extra: bool
    confirmed: bool


@dataclass(frozen=True, kw_only=True)
class Source:
    """A table to compare with, in place of an export, and what is other than for the table that it is compared with."""

    table: str
    region: str | None = None
    profile: str | None = None
    role_arns: tuple[str, ...] = ()

    def aws(self, other: AwsOptions) -> AwsOptions:
        """How to reach it, where the table that it is compared with is reached by `other`."""
        if self.profile:  # another identity: the roles and the MFA session are the first one's
            other = dataclasses.replace(
                other, profile=self.profile, role_arns=(), mfa_serial=None, mfa_keys=None
            )
        return dataclasses.replace(
            other,
            region=self.region or other.region,
            role_arns=self.role_arns or other.role_arns,
            side=Side.SOURCE,
        )

    @property
    def arguments(self) -> list[str]:
        """The options that say so."""
        arguments = []
        for name in ("region", "profile"):
            if value := getattr(self, name):
                arguments += [f"--source-{name}", value]
        return arguments + [part for arn in self.role_arns for part in ("--source-role-arn", arn)]


@dataclass(frozen=True, kw_only=True)
class VerifyOptions:
    """The options of `ddb-verify`, parsed: `export`, or else `source`, is compared with `table`.

    `max_rcu` is over all workers and for each table, `max_wcu` of a repair, `sample` a percentage.
    """

    common: Common
    table: str
    export: str | None = None
    source: Source | None = None
    max_rcu: Cap | None = None
    max_wcu: Cap | None = None
    sample: float | None = None
    state: str | None = None
    repair: Repair | None = None

    @property
    def left(self) -> str | None:
        """What the table is compared with, as it was given."""
        return self.source.table if self.source else self.export

    @property
    def command(self) -> str:
        """The command line that verifies the same again, without a repair."""
        arguments = ["ddb-verify"]
        if self.source:
            arguments += ["--tables", self.source.table, self.table, *self.source.arguments]
        else:
            arguments += [str(self.export), self.table]
        arguments += self.common.arguments
        if self.max_rcu:
            arguments += ["--max-rcu", str(self.max_rcu)]
        if self.sample is not None:
            arguments += ["--sample", f"{self.sample:g}"]
        return shlex.join([*arguments, "--state", self.state] if self.state else arguments)
