"""What the end of a capture says: no more than was proved."""

import pytest

from ddb_export.capture.proof import explain
from ddb_shared.format.changes import BLOCKED, DISABLED, QUIET, FinishRequest


def request(proof: str, blocked_at: str = "") -> FinishRequest:
    return FinishRequest(requested_at="now", by="ops", proof=proof, blocked_at=blocked_at)


@pytest.mark.parametrize(
    ("made", "says", "never"),
    [
        (request(DISABLED), ["read to the end", "the operator's word"], ["all that were made"]),
        (
            request(BLOCKED, "noon"),
            ["has denied writes since noon", "all that were made before", "still let through"],
            ["operator", "no later ones can"],
        ),
        (
            request(QUIET),
            ["stays enabled", "is missing"],
            ["read to the end", "all that were made", "denied"],
        ),
        (request(QUIET, "noon"), ["has denied writes since noon", "is missing"], ["all that were made"]),
    ],
)
def test_a_proof_says_what_it_covers(made: FinishRequest, says: list[str], never: list[str]) -> None:
    """Each of the three, and silence after writes were denied."""
    text = explain(made, 0, 5)
    assert [one for one in says if one not in text] == []
    assert [one for one in never if one in text] == []


def test_the_newest_change_is_told() -> None:
    """When it was made, that there was none, or nothing where this run has not seen it."""
    assert "The newest change is of 2026-01-01 00:00:05 UTC." in explain(
        request(DISABLED), 1767225605000000, 1
    )
    assert "No change was captured." in explain(request(DISABLED), 0, 0)
    assert "change is of" not in explain(request(DISABLED), 0, 1)
