"""A table is compared while its changes are applied; at the cut-over only what changed since is compared again."""

import contextlib
import json
import subprocess
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from ddb_import.proof import PROOF
from ddb_import.verify import passes
from ddb_import.verify.earlier import VERIFIED
from ddb_import.verify.options import VerifyOptions
from ddb_import.verify.result import VerifyResult
from ddb_import.verify.run import run_verify
from ddb_shared.aws.clients import Aws, AwsOptions
from ddb_shared.command.options import Common
from ddb_shared.runtime.display import ProgressOptions, Style
from ddb_shared.runtime.stop import Stop
from e2e.conftest import Mover
from e2e.test_follow import ITEMS, Lab, item
from e2e.test_resume import wait_until
from support.accounts import Accounts
from support.change_log import Change
from support.environment import DESTINATION, REGION, SECRET
from support.services import Endpoint
from support.tables import fill

MakeLab = Callable[..., Lab]
FOLLOW = ("--follow", "--progress", "none")


@pytest.fixture
def make_lab(mover: Mover, accounts: Accounts, unique_name: Callable[[], str]) -> MakeLab:
    return lambda: Lab(mover, accounts, (unique_name(), unique_name()))


@pytest.fixture
def lab(aws: Endpoint, bucket: str, accounts: Accounts, unique_name: Callable[[], str]) -> Lab:
    """With both tables on MiniStack."""
    return Lab(Mover(aws, aws, bucket), accounts, (unique_name(), unique_name()))


@contextlib.contextmanager
def following(lab: Lab) -> Iterator[subprocess.Popen[str]]:
    """An import that has applied what is captured by now."""
    with lab.start(*FOLLOW) as process:
        try:
            wait_until(lambda: lab.applied().get("applied") == lab.log.number)
            yield process
        finally:
            process.terminate()
            process.communicate(timeout=60)


def begin(lab: Lab, records: int = 2) -> None:
    lab.create_table()
    lab.log.begin()
    for _ in range(records):
        lab.capture()


def key(number: int) -> dict[str, Any]:
    return {"pk": {"S": f"k{number}"}}


def change(number: int, version: int) -> Change:
    return Change(key(number), item(number, version))


def corrupt(lab: Lab, number: int) -> None:
    lab.to.put_item(TableName=lab.table, Item=item(number, 999))


def put(lab: Lab, number: int, version: int) -> None:
    """As the follower does before its next checkpoint."""
    lab.to.put_item(TableName=lab.table, Item=item(number, version))


def state_of(lab: Lab, name: str) -> dict[str, Any] | None:
    found = [entry.name for entry in lab.storage.list("import/") if entry.name.endswith(f"/{name}")]
    stored = lab.storage.read(found[0]) if found else None
    return json.loads(stored.data) if stored else None


def of(result: dict[str, Any], *names: str) -> list[Any]:
    return [result[name] for name in names]


def test_a_cut_over_compares_only_what_changed_since(make_lab: MakeLab) -> None:
    """Before the end all items are compared, then those that changed; the import's own verification continues from there."""
    lab = make_lab()
    begin(lab)
    items_then = len(lab.items)
    with following(lab) as process:
        first = lab.verify("--so-far")
        assert (first.exit_code, first.json()["verdict"]) == (0, "identical"), first
        assert of(first.json(), "so_far", "items_export", "log_number", "log_from") == [
            True,
            items_then,
            2,
            None,
        ]
        lab.log.append([change(1, 50), Change(key(2), None)])
        wait_until(lambda: lab.applied()["applied"] == 3)
        second = lab.verify("--so-far").json()
        assert of(second, "verdict", "log_from", "log_number", "items_compared") == ["identical", 2, 3, 2]
        lab.log.append([change(1, 51), change(3, 51)])
        lab.log.close()
        process.wait(60)
    text = lab.verify_text()
    assert f"all {items_then:,} items, with the changes up to record 2: equal" in text
    assert "2 items that changed in records 3 to 3: equal" in text
    assert "compared   2 items that changed in records 4 to 4; the others were not read again" in text
    assert "Verdict: IDENTICAL" in text
    proof = state_of(lab, PROOF)
    assert proof is not None
    assert [proof["log_number"], [step["log_number"] for step in proof["earlier"]]] == [4, [2, 3]]


def test_an_import_verifies_what_changed_since(lab: Lab) -> None:
    """`--follow --verify`, after a verification with --so-far; --full compares all again."""
    begin(lab)
    with following(lab):
        assert lab.verify("--so-far").exit_code == 0
    lab.log.append([change(1, 50)])
    lab.log.close()
    verification = lab.load("--follow", "--verify").json()["verification"]
    assert of(verification, "verdict", "items_compared", "log_from") == ["identical", 1, 2]
    whole = lab.verify("--full").json()
    assert of(whole, "verdict", "items_compared", "log_from", "earlier") == ["identical", None, None, []]


def test_a_corrupted_item_that_did_not_change_is_found_by_the_first_comparison(make_lab: MakeLab) -> None:
    """While items change: those are no differences, and nothing counts as verified."""
    lab = make_lab()
    begin(lab, records=0)
    lab.load("--base-only")
    corrupt(lab, 7)
    lab.log.append([change(1, 50), change(2, 50), Change(key(3), None)])
    put(lab, 1, 50)  # applied, and not recorded yet
    found = lab.verify("--so-far")
    assert (found.exit_code, of(found.json(), "missing", "different", "extra")) == (4, [0, 1, 0]), found
    assert "k7" in found.stderr
    assert state_of(lab, VERIFIED) is None
    put(lab, 7, 0)
    assert lab.verify("--so-far").exit_code == 0
    corrupt(lab, 7)
    assert lab.verify("--so-far", "--full").exit_code == 4
    assert state_of(lab, VERIFIED)["steps"] == []  # type: ignore[index] # what was equal before is not any more


def test_a_corrupted_item_that_changed_is_found_at_the_cut_over(make_lab: MakeLab) -> None:
    """So is a deletion that was lost; a repair of what was compared then makes both equal."""
    lab = make_lab()
    begin(lab)
    with following(lab):
        assert lab.verify("--so-far").exit_code == 0
    number, deleted = (one for one in sorted(lab.items)[:2])
    lab.log.append([change(number, 50), Change(key(deleted), None)])
    lab.log.close()
    lab.load("--follow")
    corrupt(lab, number)
    corrupt(lab, deleted)
    found = lab.verify()
    assert (found.exit_code, of(found.json(), "different", "extra", "items_compared")) == (4, [1, 1, 2]), (
        found
    )
    assert state_of(lab, PROOF) is None
    repaired = lab.verify("--repair", "--delete-extra", "--yes").json()
    assert of(repaired, "verdict", "repaired", "deleted", "log_from") == ["identical", 1, 1, 2]
    assert lab.verify().exit_code == 0


def test_what_is_on_its_way_is_no_difference(lab: Lab) -> None:
    """Not in the passes, and not among the items that changed: it is left to the next comparison, which finds what is lost."""
    begin(lab)
    with following(lab):
        assert lab.verify("--so-far").exit_code == 0
    lab.log.append([change(number, 70) for number in range(20)])
    put(lab, 5, 70)
    result = lab.verify("--so-far").json()
    assert of(result, "verdict", "log_from", "log_number", "log_newest") == ["identical", 2, 2, 3]
    lab.log.close()
    late = lab.verify()
    found = late.json()
    assert (late.exit_code, found["different"] + found["missing"], found["items_compared"]) == (4, 19, 20), (
        late
    )
    lab.load("--follow")
    assert of(lab.verify().json(), "verdict", "log_from", "log_number") == ["identical", 2, 3]


@pytest.mark.parametrize(("rounds", "passes_made"), [(1, 2), (1, 3), (2, 2)])
def test_items_that_change_during_a_pass(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, rounds: int, passes_made: int
) -> None:
    """Between any two steps more is captured and applied: it is no difference, and one that did not change is still found."""
    begin(lab)
    with following(lab):
        pass
    corrupt(lab, 299)
    version = 100

    def apply_more() -> None:
        nonlocal version
        for _ in range(rounds):
            version += 1
            lab.log.append([change(number, version) for number in range(version % 7, 200, 7)])
            fill(lab.to, lab.table, [item(number, version) for number in range(version % 7, 200, 7)])

    for step in ("digest", "refine", "name", "confirm"):
        before = getattr(passes.Passes, step)

        def with_changes(self: passes.Passes, *words: Any, before: Any = before) -> Any:
            apply_more()
            return before(self, *words)

        monkeypatch.setattr(passes.Passes, step, with_changes)
    if passes_made == 3:
        monkeypatch.setattr(passes, "MAX_BYTES", 0)
    result = verified(lab, so_far=True)
    assert (result.different, result.missing, result.extra, result.passes) == (1, 0, 0, passes_made)
    assert result.log_newest == 2 + (passes_made + 1) * rounds


def test_too_many_changes_are_no_pass(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """More items change during a pass than can be told apart: the comparison is incomplete, and nothing is remembered."""
    begin(lab)
    with following(lab):
        pass
    digest, changed_since = passes.Passes.digest, passes.Passes.changed_since

    def with_changes(self: passes.Passes, *words: Any) -> Any:
        lab.log.append([change(number, 100) for number in range(ITEMS)])
        fill(lab.to, lab.table, [item(number, 100) for number in range(ITEMS)])
        return digest(self, *words)

    def none_at_first(self: passes.Passes, wanted: frozenset[bytes] | None = None) -> frozenset[bytes]:
        """As if more had changed than are left out."""
        return frozenset() if wanted is None else changed_since(self, wanted)

    monkeypatch.setattr(passes.Passes, "digest", with_changes)
    monkeypatch.setattr(passes.Passes, "changed_since", none_at_first)
    result = verified(lab, so_far=True, max_differences=1)
    assert result.verdict == "incomplete", result
    assert "More items changed during the comparison" in (result.reason or "")
    assert state_of(lab, VERIFIED) is None


def test_an_earlier_comparison_of_another_import_does_not_count(lab: Lab) -> None:
    """After --restart, everything is compared."""
    begin(lab)
    with following(lab):
        assert lab.verify("--so-far").exit_code == 0
    lab.log.close()
    assert lab.verify().json()["log_from"] == 2
    lab.load("--follow", "--restart")
    assert lab.verify().json()["log_from"] is None


def test_what_cannot_be_compared_so_far_is_told(lab: Lab) -> None:
    """An export that does not follow, no import, a base that is not loaded, and options that do not go with it."""
    lab.create_table()
    assert "does not follow its table" in lab.verify("--so-far").stderr
    lab.log.begin()
    assert "has its state in" in lab.verify("--so-far").stderr
    refused = lab.verify()
    assert (refused.exit_code, "--so-far compares with" in refused.stderr) == (1, True), refused
    for option in ("--base-only", "--repair", "--sample=1"):
        assert lab.verify("--so-far", option).exit_code == 2


def verified(lab: Lab, **options: Any) -> VerifyResult:
    """The same as the command, in this process."""
    url = str(getattr(lab.mover.aws, "url", lab.mover.aws))
    aws = AwsOptions(region=REGION, endpoint_url=url, s3_endpoint_url=url)
    common = Common(aws=aws, progress=ProgressOptions(style=Style.NONE), processes=1, as_json=True)
    given = VerifyOptions(common=common, export=lab.export, table=lab.table, **options)
    with pytest.MonkeyPatch.context() as patch:
        for name, value in (("AWS_ACCESS_KEY_ID", DESTINATION), ("AWS_SECRET_ACCESS_KEY", SECRET)):
            patch.setenv(name, value)
        return run_verify(given, Aws(aws), Stop())
