"""What the passes of a verification come to: how many items differ, and the verdict."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass, field
from itertools import islice

from ddb_import.verify.expiry import Expiry
from ddb_import.verify.report import DifferenceKind, ItemDifference
from ddb_import.verify.result import Verdict

Kinds = Mapping[bytes, DifferenceKind]


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """The items that differ.

    `counts` are of those in the report, as they were when read again, and of the `unnamed` ones, as the passes found them
    (`estimated` where only a part of the key space could be told apart); `unnamed` is None where there may be any number.
    `settled` items differed in the passes, and no more when they were read again. `failing` of the reported ones forbid the verdict
    `identical`: all but expired ones that time to live has deleted.
    """

    counts: Counter[DifferenceKind] = field(default_factory=Counter)
    unnamed: int | None = 0
    estimated: bool = False
    settled: int = 0
    failing: int = 0

    @property
    def verdict(self) -> Verdict:
        """Items that differed in the passes alone may have been on their way: they prove nothing either way."""
        if self.failing:
            return Verdict.DIFFERENT
        return Verdict.IDENTICAL if self.unnamed == 0 else Verdict.INCOMPLETE


def count_failing(differences: Iterable[ItemDifference], expiry: Expiry) -> int:
    """Differences that forbid the verdict `identical`."""
    return sum(not _is_explained(difference, expiry) for difference in differences)


def _is_explained(difference: ItemDifference, expiry: Expiry) -> bool:
    """Whether time to live is on where an expired item is absent."""
    if difference.kind is not DifferenceKind.EXPIRED:
        return False
    return bool(expiry.table if difference.actual_item is None else expiry.source)


def limit_kinds(kinds: Kinds, limit: int) -> dict[bytes, DifferenceKind]:
    """At most `limit` of them, which are a random choice since they are in the order of hashes."""
    return dict(islice(kinds.items(), limit))


def with_unnamed(outcome: Outcome, kinds: Kinds, named: Set[bytes], share: float) -> Outcome:
    """The outcome with the items that were not named; `kinds` are those found in `share` of the key space."""
    if not share:
        return dataclasses.replace(outcome, unnamed=None, estimated=True)
    found, inside = Counter(kinds.values()), Counter(kinds[key] for key in named)
    unnamed = Counter({kind: round(count / share) - inside[kind] for kind, count in found.items()})
    return dataclasses.replace(
        outcome, counts=outcome.counts + unnamed, unnamed=unnamed.total(), estimated=share < 1
    )


def after_repair(
    before: Outcome, remaining: Counter[DifferenceKind], named: Counter[DifferenceKind], failing: int
) -> Outcome:
    """The outcome once the `named` differences are repaired, but for those `remaining`."""
    return dataclasses.replace(before, counts=before.counts - named + remaining, failing=failing)
