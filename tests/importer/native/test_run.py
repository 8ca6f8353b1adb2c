"""A native job is asked for under the same conditions as our own writes."""

import msgspec
import pytest

from ddb_import.native.jobs import Loaded
from ddb_import.native.record import PlanFile
from ddb_import.native.run import JobRunner
from ddb_import.state import OVERWRITE, PLAN, ImportPlan, NativeJob
from ddb_shared.runtime.display import ProgressOptions, Style
from ddb_shared.runtime.jobs import CANCELLED, CANCELLING, COMPLETED, JobState
from ddb_shared.runtime.lease import LeaseGuard, LeaseLostError, Validity
from ddb_shared.runtime.stop import Stop
from ddb_shared.times import Instant, now_text
from support.memory import MemoryFolder


class Asked:
    """A job that is complete at once, and counts how often it was asked for."""

    name = "the job"
    arn = ""
    table_id = ""

    def __init__(self) -> None:
        self.starts = 0

    def find(self) -> bool:
        return False

    def start(self) -> JobState:
        self.starts += 1
        return self.poll()

    def poll(self) -> JobState:
        return JobState(status=COMPLETED, description={})

    def interrupt(self, signal_number: int) -> str:
        return str(signal_number)

    def conclude(self, state: JobState) -> Loaded:
        assert state.status == COMPLETED
        return Loaded(1)


def plan() -> PlanFile:
    """A plan whose job was not asked for yet."""
    storage = MemoryFolder()
    job = NativeJob(engine="bulk", token="t", requested_at=now_text())
    fresh = ImportPlan(
        export_id="e",
        items=1,
        shards=1,
        table_arn="arn",
        table_id="id",
        on_existing=OVERWRITE,
        begun_at=now_text(),
        native=job,
    )
    return PlanFile(storage, fresh, job, storage.write(PLAN, msgspec.json.encode(fresh), new=True))


def runner(validity: Validity) -> JobRunner:
    return JobRunner(
        ProgressOptions(style=Style.NONE),
        Stop(),
        "ddb-import …",
        "ddb-import …",
        LeaseGuard(lambda: validity),
    )


def test_a_job_is_not_asked_for_under_a_lost_lease() -> None:
    """Another run may have taken over while this machine slept; the plan stays as it was."""
    job, saved = Asked(), plan()
    lost = Validity(Instant.now(), 45.0, lost=True)
    with pytest.raises(LeaseLostError):
        runner(lost).run(saved, lambda _: job)
    assert (job.starts, saved.plan.completed_at) == (0, "")


def test_a_job_is_asked_for_while_the_lease_holds() -> None:
    """Once; its end completes the plan."""
    job, saved = Asked(), plan()
    assert runner(Validity(Instant.now(), 45.0)).run(saved, lambda _: job).written == 1
    assert (job.starts, saved.plan.completed_at != "") == (1, True)


class Cancelled(Asked):
    """One that an earlier command has cancelled, and that is over at the second look."""

    name = "the cancelled job"
    arn = "arn:cancelled"

    def __init__(self) -> None:
        super().__init__()
        self.statuses = [CANCELLED, CANCELLING]

    def poll(self) -> JobState:
        return JobState(status=self.statuses.pop(), description={})


def test_a_cancelled_job_is_over_before_another_one_starts(capsys: pytest.CaptureFixture[str]) -> None:
    """The command that follows Ctrl-C waits for the end of the first job, which may still write, and does not fail."""
    cancelled, other, saved = Cancelled(), Asked(), plan()
    saved.record(arn=cancelled.arn)
    job = runner(Validity(Instant.now(), 45.0)).run(
        saved, lambda of: cancelled if of.arn == cancelled.arn else other
    )
    assert (cancelled.statuses, cancelled.starts, other.starts, job.written) == ([], 0, 1, 1)
    assert "The cancelled job is being cancelled. Its end is waited for" in capsys.readouterr().err
