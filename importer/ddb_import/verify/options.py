"""What a verification is asked to do."""

from __future__ import annotations

import dataclasses
import shlex
from dataclasses import dataclass, field

from ddb_shared.aws import AwsOptions
from ddb_shared.options import Common


@dataclass(frozen=True, kw_only=True)
class Repair:
    """What to mend after a comparison. `confirmed` is False where somebody has to be asked first."""

    delete_extra: bool
    confirmed: bool


@dataclass(frozen=True, kw_only=True)
class VerifyOptions:
    """The options of `ddb-verify`, parsed.

    `export` is compared with `table`; where `source_table` is given, that table instead, reached by `source_aws`.
    `max_rcu` is read capacity units per second over all workers and for each table, `max_wcu` write capacity units of a
    repair, `sample` a percentage.
    """

    common: Common
    table: str
    export: str | None = None
    source_table: str | None = None
    source_aws: AwsOptions = field(default_factory=AwsOptions)
    max_rcu: float | None = None
    max_wcu: float | None = None
    sample: float | None = None
    state: str | None = None
    repair: Repair | None = None

    @property
    def command(self) -> str:
        """The command line that verifies the same again, without a repair."""
        sides = [self.export] if self.source_table is None else ["--tables", self.source_table]
        arguments = ["ddb-verify", *map(str, sides), self.table, *self.common.arguments]
        for name in ("region", "profile"):
            given = getattr(self.source_aws, name)
            if self.source_table is not None and given != getattr(self.common.aws, name):
                arguments += [f"--source-{name}", given]
        for name in ("max_rcu", "sample"):
            if (number := getattr(self, name)) is not None:
                arguments += ["--" + name.replace("_", "-"), f"{number:g}"]
        return shlex.join([*arguments, "--state", self.state] if self.state else arguments)


def source_aws(
    aws: AwsOptions, *, region: str | None, profile: str | None, role_arns: tuple[str, ...]
) -> AwsOptions:
    """How to reach the source table: as the other one, but for what is given."""
    given = {"region": region, "profile": profile, "role_arns": role_arns}
    return dataclasses.replace(aws, **{name: value for name, value in given.items() if value})  # type: ignore[arg-type]
