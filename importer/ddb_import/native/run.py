"""One native import: its job is asked for, waited for, and recorded; or that of an earlier command is waited for."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

from ddb_import.native.jobs import Loaded
from ddb_import.native.record import PlanFile
from ddb_import.state import NativeJob
from ddb_shared.aws.job_failures import failure_text
from ddb_shared.command.identity import local_user
from ddb_shared.errors import AccessError, BucketError, ServiceError
from ddb_shared.report.runs import recorded
from ddb_shared.runtime.display import ProgressOptions
from ddb_shared.runtime.events import announce
from ddb_shared.runtime.jobs import CANCELLED, CANCELLING, FAILED, Job, JobState, progress_of, wait_for
from ddb_shared.runtime.lease import LeaseGuard
from ddb_shared.runtime.stop import Stop

# AWS keeps a token for eight hours; a minute less, for clocks that differ.
TOKEN_LIFE: Final = dt.timedelta(hours=7, minutes=59)


class LoadJob(Job, Protocol):
    """A job that loads an export. `arn` is empty until it is started, `table_id` unless it makes the table."""

    arn: str
    table_id: str

    def find(self) -> bool:
        """Looks for the job that an earlier command started with this token, and lost the answer; whether there is one."""
        ...

    def conclude(self, state: JobState) -> Loaded:
        """What was loaded; raises TransferError unless each item of the export is accounted for."""
        ...


@dataclass(frozen=True, slots=True)
class JobRunner:
    """Runs the job of a plan to its end. `resume` is the command that waits for it again, `command` this one.

    A job is asked for while the lease holds, as our own writes are.
    """

    progress: ProgressOptions
    stop: Stop
    resume: str
    command: str
    guard: LeaseGuard

    def run(self, plan: PlanFile, open_job: Callable[[NativeJob], LoadJob]) -> NativeJob:
        """The job, with what it has loaded; raises TransferError where it failed, and Interrupted where a signal ends the waiting."""
        job = self._started(plan, open_job)
        self.stop.explain(
            f"DynamoDB continues {job.name}. To wait for it and finish:\n  {self.resume}", saved=False
        )
        progress = progress_of("import", plan.plan.items)
        try:
            with recorded(plan.storage, progress, self.command, by=local_user()):
                state = wait_for(job, progress, self.progress, self.stop)
        except (AccessError, BucketError, ServiceError) as error:
            error.add_remedy(f"Wait for it again with:\n  {self.resume}")
            raise
        loaded = job.conclude(state)
        plan.complete(
            table_id=job.table_id, written=loaded.written, rejected=loaded.rejected, report=loaded.report
        )
        return plan.job

    def _started(self, plan: PlanFile, open_job: Callable[[NativeJob], LoadJob]) -> LoadJob:
        job = open_job(plan.job)
        if plan.job.arn:
            state = self._unless_cancelling(job)
            if state.status not in {FAILED, CANCELLED} or not plan.may_start_again:
                return job
            announce(
                f"{job.name[0].upper()}{job.name[1:]} is {state.status}: {failure_text(state.description)}. A new one is started."
            )
            plan.again()
            job = open_job(plan.job)
        if not job.find():
            self.guard.wait_in_thread()
            self.stop.check()
            job.start()
        plan.record(arn=job.arn, table_id=job.table_id)
        announce(f"DynamoDB loads the export: {job.name}")
        return job

    def _unless_cancelling(self, job: LoadJob) -> JobState:
        """How the job is now; one that an earlier command cancels is waited for, since only its end tells that it writes no more."""
        state = job.poll()
        if state.status != CANCELLING:
            return state
        announce(
            f"{job.name[0].upper()}{job.name[1:]} is being cancelled. Its end is waited for before another one is started."
        )
        return wait_for(job, progress_of("import"), self.progress, self.stop)


def is_expired(job: NativeJob) -> bool:
    """Whether its token does not find the job any more that it has started."""
    return dt.datetime.now(dt.UTC) - dt.datetime.fromisoformat(job.requested_at) > TOKEN_LIFE
