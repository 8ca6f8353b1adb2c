"""A job of the service is waited for until it is over, however long that takes, and never called a success that it is not."""

import signal
from collections.abc import Iterator

import pytest

from ddb_shared.aws.job_failures import failure_remedy, failure_text
from ddb_shared.errors import Interrupted, ServiceError
from ddb_shared.runtime.display import ProgressOptions, Style
from ddb_shared.runtime.jobs import FIRST_POLL_SECONDS, MAX_POLL_SECONDS, JobState, progress_of, wait_for
from ddb_shared.runtime.stop import Stop


class Scripted:
    """A job whose states are given."""

    name = "the export arn:x"

    def __init__(self, *statuses: str) -> None:
        self._statuses: Iterator[str] = iter(statuses)
        self.interrupted_by: int | None = None

    def start(self) -> JobState:
        return self.poll()

    def poll(self) -> JobState:
        status = next(self._statuses)
        return JobState(status=status, description={"Status": status}, items=7)

    def interrupt(self, signal_number: int) -> str:
        self.interrupted_by = signal_number
        return "It continues."


def waited(
    job: Scripted, stop: Stop | None = None, style: Style = Style.NONE
) -> tuple[JobState, list[float]]:
    pauses: list[float] = []
    ticks = iter(range(0, 10**7, 20))
    state = wait_for(
        job,
        progress_of("import"),
        ProgressOptions(style=style),
        stop or Stop(),
        pause=pauses.append,
        clock=lambda: float(next(ticks)),
    )
    return state, pauses


@pytest.mark.parametrize("end", ["COMPLETED", "COMPLETED_WITH_ERRORS", "FAILED", "CANCELLED"])
def test_the_last_state_is_returned_as_it_is(end: str) -> None:
    """What it means is the caller's to say."""
    state, pauses = waited(Scripted("IN_PROGRESS", "CANCELLING", end))
    assert (state.status, len(pauses)) == (end, 2)


def test_it_waits_for_days() -> None:
    """Polls come at growing distances, half a minute at most; there is no last one."""
    _, pauses = waited(Scripted(*["IN_PROGRESS"] * 6_000, "COMPLETED"))
    assert pauses[0] == FIRST_POLL_SECONDS
    assert pauses == sorted(pauses)
    assert pauses[-1] == MAX_POLL_SECONDS
    assert sum(pauses) > 2 * 86_400


def test_a_job_that_is_over_is_not_waited_for() -> None:
    """A command that comes later finds it so."""
    assert waited(Scripted("COMPLETED"))[1] == []


def test_an_unknown_status_is_neither_running_nor_over() -> None:
    """A later service may say something new."""
    with pytest.raises(ServiceError, match="'HIBERNATING'"):
        waited(Scripted("IN_PROGRESS", "HIBERNATING"))


def test_an_interruption_says_what_becomes_of_the_job() -> None:
    """The job decides, knowing the signal."""
    stop, job = Stop(), Scripted("IN_PROGRESS", "IN_PROGRESS")
    stop.request(signal.SIGINT)
    with pytest.raises(Interrupted) as caught:
        waited(job, stop)
    assert (caught.value.remedy, caught.value.exit_code, job.interrupted_by) == (
        "It continues.",
        130,
        signal.SIGINT,
    )


def test_a_stop_without_a_signal_is_no_end_of_the_job() -> None:
    """As where a lease is lost: an error, never a result."""
    stop = Stop()
    stop.request()
    with pytest.raises(ServiceError, match="Stopped waiting"):
        waited(Scripted("IN_PROGRESS"), stop)


def test_a_log_shows_the_state_once_a_minute(capsys: pytest.CaptureFixture[str]) -> None:
    """And at once when the waiting begins; the other styles write no log."""
    waited(Scripted(*["IN_PROGRESS"] * 7, "COMPLETED"), style=Style.LOG)
    lines = capsys.readouterr().err.splitlines()
    assert 2 <= len(lines) < 7
    assert "the export arn:x: IN_PROGRESS, 7 items" in lines[0]
    for style in (Style.BAR, Style.NONE):
        waited(Scripted("IN_PROGRESS", "COMPLETED"), style=style)
    assert "IN_PROGRESS" not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("code", "message", "remedy"),
    [
        ("S3NoSuchBucket", "", "--bucket-owner"),
        ("S3AccessDenied", "", "ddb-policy"),
        ("UNKNOWN", "KMS key is disabled", "kms:Decrypt"),
        ("ItemValidationError", "", "CloudWatch"),
        ("SlowDown", "", "later"),
        ("", "", "AWS's message"),
    ],
)
def test_failures_are_explained(code: str, message: str, remedy: str) -> None:
    """By code or message; AWS's own words stay."""
    description = {"FailureCode": code, "FailureMessage": message}
    assert remedy in failure_remedy(description)
    assert all(part in failure_text(description) for part in (code, message))
    assert failure_text({}) == "DynamoDB gives no reason"
