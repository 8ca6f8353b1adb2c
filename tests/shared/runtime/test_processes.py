"""Tasks give the same results in this process and in a pool, whatever dies."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from ddb_shared.dynamodb.rate import RateSetting
from ddb_shared.errors import Interrupted, ServiceError, TableError
from ddb_shared.runtime import processes
from ddb_shared.runtime.lease import HeldLease, Validity
from ddb_shared.runtime.processes import Processes
from ddb_shared.runtime.progress import ProgressEvent
from ddb_shared.runtime.runner import WORKER_DEATHS, RateControl, Runner, Serial
from ddb_shared.runtime.stop import Stop, stop_on_signals
from ddb_shared.times import Instant
from support import tasks
from support.environment import ROOT
from support.tasks import DEADLINE_SECONDS, Job


def jobs(count: int, storage: Path) -> list[Job]:
    return [Job(number, storage) for number in range(count)]


def nothing(_: ProgressEvent) -> None:
    """Nobody looks at the progress."""


@contextmanager
def said_when(stop: Stop, path: Path, signal_number: int | None = None) -> Iterator[None]:
    """Says stop once the file is there."""

    def watch() -> None:
        deadline = time.monotonic() + DEADLINE_SECONDS
        while not path.exists() and time.monotonic() < deadline:
            time.sleep(0.01)
        stop.request(signal_number)

    watcher = threading.Thread(target=watch)
    watcher.start()
    yield
    watcher.join()


@pytest.mark.parametrize("runner", [Serial(), Processes(2)])
def test_both_runners_give_the_same(runner: Runner, tmp_path: Path) -> None:
    """Results in the tasks' order, and every tick, also of the last moment."""
    events: list[ProgressEvent] = []
    results = runner.run(tasks.square, jobs(5, tmp_path), events.append, Stop())
    assert [(number, number**2) for number in range(5)] == results
    assert {f"job {number}" for number in range(5)} == {event.note for event in events if event.note}
    assert sum(event.items for event in events) == 10


@pytest.mark.parametrize("runner", [Serial(), Processes(2)])
def test_each_result_is_handed_over_once(runner: Runner, tmp_path: Path) -> None:
    """One at a time, in any order; of more tasks than workers, and none of a run that was stopped."""
    results: list[tuple[int, int]] = []
    runner.run_each(tasks.square, jobs(5, tmp_path), results.append, nothing, Stop())
    assert [(number, number**2) for number in range(5)] == sorted(results)
    stop = Stop()
    stop.request()
    runner.run_each(tasks.square, jobs(5, tmp_path), results.append, nothing, stop)
    assert len(results) == 5


def test_a_result_that_was_handed_over_before_its_worker_was_killed_counts_once(tmp_path: Path) -> None:
    """What the killed worker had begun is done again."""
    results: list[int] = []
    Processes(2).run_each(tasks.die_once, jobs(3, tmp_path), results.append, nothing, Stop())
    assert [0, 1, 2] == sorted(results)


@pytest.mark.parametrize(("own", "expected"), [(None, "1"), ("4", "4")])
def test_workers_have_one_heap(own: str | None, expected: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """As glibc reads it when a process starts; who has set it otherwise keeps that."""
    name = "MALLOC_ARENA_MAX"
    monkeypatch.setenv(name, own or "")  # so that it is restored
    if own is None:
        del os.environ[name]
    assert Processes(1).run(tasks.environment, [name], nothing, Stop()) == [expected]


@pytest.mark.parametrize("runner", [Serial(), Processes(3)])
def test_no_tasks_give_no_results(runner: Runner) -> None:
    """A resumed export may have nothing left to scan."""
    assert runner.run(tasks.square, [], nothing, Stop()) == []


def test_the_first_error_comes_out_after_the_others_have_stopped(tmp_path: Path) -> None:
    """With its type, message and remedy; the others were asked to stop, and did what they do then."""
    with pytest.raises(TableError, match="Table T is gone") as caught:
        Processes(2).run(tasks.fail_first, jobs(2, tmp_path), nothing, Stop())
    assert caught.value.remedy == "Look for it."
    assert (tmp_path / "stopped-1").read_text() == "True"


def test_workers_learn_how_many_they_are(tmp_path: Path) -> None:
    """One that joins gets its share of what is to be shared, and leaves it to the others when it ends."""
    first, second = Processes(2).run(tasks.outlast, jobs(2, tmp_path), nothing, Stop())
    assert (2, [2, 1]) == (first[-1], second[-2:])


@pytest.mark.parametrize("count", [1, 2])
def test_a_rate_that_is_set_reaches_the_running_workers(count: int, tmp_path: Path) -> None:
    """All of them, and each later setting too; a worker that starts afterwards learns the last one."""
    rate = RateControl()

    def operate(_: ProgressEvent) -> None:
        marks = {path.name for path in tmp_path.iterdir()}
        if {f"running-{number}" for number in range(count)} <= marks and rate.setting is None:
            rate.setting = RateSetting(500.0)
        if {f"told-{number}" for number in range(count)} <= marks:
            rate.setting = RateSetting(250.0, paused=True)

    results = Processes(count).run(tasks.until_paused, jobs(count + 1, tmp_path), operate, Stop(), rate)
    assert [[500.0, 250.0]] * count + [[250.0]] == results


def test_a_rate_that_is_set_reaches_a_serial_run(tmp_path: Path) -> None:
    """A task in the command's own process reads it where the parent puts it."""
    rate = RateControl()
    rate.setting = RateSetting(None, paused=True)
    assert [[None]] == Serial().run(tasks.until_paused, jobs(1, tmp_path), nothing, Stop(), rate)


def test_a_stop_reaches_the_workers(tmp_path: Path) -> None:
    """They return what they have, and the runner returns it."""
    stop = Stop()
    with said_when(stop, tmp_path / "running-0"):
        assert ["stopped"] == Processes(1).run(tasks.until_stopped, jobs(1, tmp_path), nothing, stop)


def test_a_worker_that_ignores_the_stop_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An interrupted run ends within seconds, even where a worker hangs in a dead connection."""
    monkeypatch.setattr("ddb_shared.runtime.runner.GRACE_SECONDS", 0.2)
    stop = Stop()
    with said_when(stop, tmp_path / "pid", signal.SIGTERM):
        assert Processes(1).run(tasks.hang, jobs(1, tmp_path), nothing, stop) == []
    assert not _lives(int((tmp_path / "pid").read_text()))


def test_signals_while_workers_start_reach_none_of_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Ctrl-C on a terminal goes to all processes: before a worker ignores it, it is held back, with no traceback."""
    begin = processes._Process.__init__

    def begin_and_interrupt(self: processes._Process) -> None:
        begin(self)
        for number in (signal.SIGINT, signal.SIGTERM):
            os.kill(self._process.pid or 0, number)

    monkeypatch.setattr(processes._Process, "__init__", begin_and_interrupt)
    results = Processes(2).run(tasks.square, jobs(3, tmp_path), nothing, Stop())
    assert [(0, 0), (1, 1), (2, 4)] == results
    assert "Traceback" not in capfd.readouterr().err
    assert not signal.pthread_sigmask(signal.SIG_BLOCK, ()) & {signal.SIGINT, signal.SIGTERM}


@pytest.mark.parametrize("runner", [Serial(), Processes(1)])
def test_the_progress_says_that_the_run_is_stopping(runner: Runner, tmp_path: Path) -> None:
    """For as long as that takes: the line of the signal is one that a bar writes over."""
    events, stop = list[ProgressEvent](), Stop()
    with said_when(stop, tmp_path / "running-0", signal.SIGINT):
        assert ["stopped"] == runner.run(tasks.until_stopped, jobs(1, tmp_path), events.append, stop)
    told = [event.status for event in events if event.status]
    assert {"stopping; Ctrl-C again stops at once"} == set(told)


def test_the_work_of_a_killed_worker_is_done_again(tmp_path: Path) -> None:
    """All results are there, and the user is told."""
    events: list[ProgressEvent] = []
    assert [0, 1, 2] == Processes(2).run(tasks.die_once, jobs(3, tmp_path), events.append, Stop())
    assert any("a worker process was lost" in event.note for event in events)


def test_a_worker_that_is_always_killed_ends_the_run(tmp_path: Path) -> None:
    """After a few tries it is an error that says what to look for."""
    with pytest.raises(ServiceError, match=f"killed {WORKER_DEATHS} times") as caught:
        Processes(1).run(tasks.die_always, jobs(1, tmp_path), nothing, Stop())
    assert "memory limit" in caught.value.remedy
    assert WORKER_DEATHS == len(list(tmp_path.glob("death-*")))


def test_a_worker_ends_when_its_parent_dies(tmp_path: Path) -> None:
    """A command that is killed leaves no process behind that still writes."""
    program = (
        "from pathlib import Path\n"
        "from ddb_shared.runtime.processes import Processes\n"
        "from ddb_shared.runtime.stop import Stop\n"
        "from support import tasks\n"
        "if __name__ == '__main__':\n"
        f"    Processes(1).run(tasks.hang, [tasks.Job(0, Path({str(tmp_path)!r}))], print, Stop())\n"
    )
    with _parent(program, tmp_path) as parent:
        _await((tmp_path / "pid").exists)
        parent.kill()
    worker = int((tmp_path / "pid").read_text())
    _await(lambda: not _lives(worker))


@pytest.mark.parametrize("runner", [Processes(1), Serial()])
def test_workers_hear_how_long_the_lease_holds(runner: Runner, tmp_path: Path) -> None:
    """What it was when they began, each renewal, and that it was lost."""
    lease = HeldLease("lease", Validity(Instant.now(), 100.0))

    def renew() -> None:
        for heard, then in ((100, 200.0), (200, 300.0)):
            _await((tmp_path / f"heard-{heard}").exists)
            lease.renewed(Validity(Instant.now(), then))
        _await((tmp_path / "heard-300").exists)
        lease.lose()

    with ThreadPoolExecutor(1) as pool:
        renewing = pool.submit(renew)
        results = runner.run(tasks.hear_renewals, jobs(1, tmp_path), nothing, Stop(), lease=lease)
        renewing.result()
    assert [[100.0, 200.0, 300.0]] == results


def test_a_worker_whose_parent_was_stopped_sends_nothing_more(tmp_path: Path) -> None:
    """SIGSTOP of the command alone: its workers run on, and nobody renews the lease under which they write."""
    program = (
        "from pathlib import Path\n"
        "from ddb_shared.runtime.lease import HeldLease, Validity\n"
        "from ddb_shared.runtime.processes import Processes\n"
        "from ddb_shared.runtime.stop import Stop\n"
        "from ddb_shared.times import Instant\n"
        "from support import tasks\n"
        "class Renewed(HeldLease):\n"
        "    def validity(self):\n"
        "        return Validity(Instant.now(), 1.0)\n"
        "if __name__ == '__main__':\n"
        f"    job = tasks.Job(0, Path({str(tmp_path)!r}))\n"
        "    lease = Renewed('lease', Validity(Instant.now(), 1.0))\n"
        "    Processes(1).run(tasks.send_while_it_holds, [job], lambda _: None, Stop(), lease=lease)\n"
    )
    sent = tmp_path / "sent"

    def requests() -> int:
        return sent.read_text().count("\n") if sent.exists() else 0

    with _parent(program, tmp_path) as parent:
        _await(lambda: requests() > 10)
        parent.send_signal(signal.SIGSTOP)
        stopped = time.monotonic()
        _await(lambda: time.monotonic() - stopped > 2)  # twice as long as the lease holds
        before = requests()
        assert _lives(int((tmp_path / "pid").read_text()))
        parent.send_signal(signal.SIGCONT)
        _await(lambda: requests() > before)
        parent.kill()
    last = float(sent.read_text().splitlines()[before - 1])
    assert last < stopped + 1.2


@pytest.mark.parametrize(("number", "exit_code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_asks_for_an_orderly_end(number: signal.Signals, exit_code: int) -> None:
    """It is remembered, and becomes the exit code and the resume command's message; then the old handler is back."""
    before = signal.getsignal(number)
    with stop_on_signals() as stop:
        stop.check()
        stop.explain("Resume with: x", saved=True)
        os.kill(os.getpid(), number)
        _await(stop.requested)
        with pytest.raises(Interrupted, match=number.name) as caught:
            stop.check()
    assert (exit_code, "Resume with: x") == (caught.value.exit_code, caught.value.remedy)
    assert before == signal.getsignal(number)


def test_a_stop_without_a_signal_is_no_interruption() -> None:
    """A lost lease stops the workers too, and has its own message."""
    stop = Stop()
    stop.check_any()
    stop.request()
    stop.check()
    assert stop.requested()
    with pytest.raises(ServiceError, match="stopped before its end"):  # where only the whole counts
        stop.check_any()


def _parent(program: str, folder: Path) -> subprocess.Popen[bytes]:
    """A process that runs a pool, for tests that end or stop it."""
    script = folder / "parent.py"
    script.write_text(program)
    environment = os.environ | {"PYTHONPATH": str(ROOT / "tests")}
    return subprocess.Popen([sys.executable, str(script)], env=environment)


def _await(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def _lives(pid: int) -> bool:
    """Whether the process runs; one that ended and waits for its parent does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False
