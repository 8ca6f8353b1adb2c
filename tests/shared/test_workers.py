"""Tasks give the same results in this process and in a pool, whatever dies."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from ddb_shared.errors import Interrupted, ServiceError, TableError
from ddb_shared.progress import Tick
from ddb_shared.workers import WORKER_DEATHS, Processes, Runner, Serial, Stop, stop_on_signals
from support import tasks
from support.environment import ROOT
from support.tasks import DEADLINE_SECONDS, Job


def jobs(count: int, folder: Path) -> list[Job]:
    return [Job(number, folder) for number in range(count)]


def nothing(_: Tick) -> None:
    """Nobody looks at the progress."""


@contextmanager
def said_when(stop: Stop, path: Path, signal_number: int | None = None) -> Iterator[None]:
    """Says stop once the file is there."""

    def watch() -> None:
        deadline = time.monotonic() + DEADLINE_SECONDS
        while not path.exists() and time.monotonic() < deadline:
            time.sleep(0.01)
        stop.say(signal_number)

    watcher = threading.Thread(target=watch)
    watcher.start()
    yield
    watcher.join()


@pytest.mark.parametrize("runner", [Serial(), Processes(2)])
def test_both_runners_give_the_same(runner: Runner, tmp_path: Path) -> None:
    """Results in the tasks' order, and every tick, also of the last moment."""
    ticks: list[Tick] = []
    results = runner.run(tasks.square, jobs(5, tmp_path), ticks.append, Stop())
    assert [(number, number**2) for number in range(5)] == results
    assert {f"job {number}" for number in range(5)} == {tick.note for tick in ticks}
    assert sum(tick.items for tick in ticks) == 10


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
    """One that ends leaves what it shared to the others."""
    first, second = Processes(2).run(tasks.outlast, jobs(2, tmp_path), nothing, Stop())
    assert first[0] == 2
    assert second in ([2, 1], [1])
    assert [[1], [1]] == Serial().run(tasks.outlast, jobs(2, tmp_path), nothing, Stop())


def test_a_stop_reaches_the_workers(tmp_path: Path) -> None:
    """They return what they have, and the runner returns it."""
    stop = Stop()
    with said_when(stop, tmp_path / "running-0"):
        assert ["stopped"] == Processes(1).run(tasks.until_stopped, jobs(1, tmp_path), nothing, stop)


def test_a_worker_that_ignores_the_stop_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An interrupted run ends within seconds, even where a worker hangs in a dead connection."""
    monkeypatch.setattr("ddb_shared.workers.PATIENCE_SECONDS", 0.2)
    stop = Stop()
    with said_when(stop, tmp_path / "pid", signal.SIGTERM):
        assert Processes(1).run(tasks.hang, jobs(1, tmp_path), nothing, stop) == []
    assert not _lives(int((tmp_path / "pid").read_text()))


def test_the_work_of_a_killed_worker_is_done_again(tmp_path: Path) -> None:
    """All results are there, and the user is told."""
    ticks: list[Tick] = []
    assert [0, 1, 2] == Processes(2).run(tasks.die_once, jobs(3, tmp_path), ticks.append, Stop())
    assert any("a worker process died" in tick.note for tick in ticks)


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
        "from ddb_shared.workers import Processes, Stop\n"
        "from support import tasks\n"
        "if __name__ == '__main__':\n"
        f"    Processes(1).run(tasks.hang, [tasks.Job(0, Path({str(tmp_path)!r}))], print, Stop())\n"
    )
    script = tmp_path / "parent.py"
    script.write_text(program)
    environment = os.environ | {"PYTHONPATH": str(ROOT / "tests")}
    with subprocess.Popen([sys.executable, str(script)], env=environment) as parent:
        _await((tmp_path / "pid").exists)
        parent.kill()
    worker = int((tmp_path / "pid").read_text())
    _await(lambda: not _lives(worker))


@pytest.mark.parametrize(("number", "exit_code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_asks_for_an_orderly_end(number: signal.Signals, exit_code: int) -> None:
    """It is remembered, and becomes the exit code and the resume command's message; then the old handler is back."""
    before = signal.getsignal(number)
    with stop_on_signals() as stop:
        stop.check("nothing has arrived yet")
        os.kill(os.getpid(), number)
        _await(stop.said)
        with pytest.raises(Interrupted, match=number.name) as caught:
            stop.check("Resume with: x")
    assert (exit_code, "Resume with: x") == (caught.value.exit_code, caught.value.remedy)
    assert before == signal.getsignal(number)


def test_a_stop_without_a_signal_is_no_interruption() -> None:
    """A lost lease stops the workers too, and has its own message."""
    stop = Stop()
    stop.say()
    stop.check("")
    assert stop.said()


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
