"""Local folders."""

import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from ddb_shared.errors import ServiceError
from ddb_shared.storage import local
from ddb_shared.storage.base import ConflictError, Storage
from ddb_shared.storage.local import LocalStorage
from ddb_shared.storage.s3 import S3Storage
from support.memory import MemoryFolder


@pytest.fixture(params=["s3", "local", "memory"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Storage:
    """Each kind of folder, and the tests' own, which is proven by the same contract."""
    if request.param == "local":
        return LocalStorage(tmp_path / "not there yet")
    if request.param == "memory":
        return MemoryFolder()
    real: S3Storage = request.getfixturevalue("s3_folder")
    return real


def test_a_local_write_that_fails_leaves_the_old_file_and_no_draft(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full disk costs nothing that was there."""
    storage = LocalStorage(tmp_path)
    storage.write("a", b"old")

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("ddb_shared.storage.local.os.fsync", full)
    with pytest.raises(Exception, match="No space left on device") as caught:
        storage.write("a", b"new")
    assert str(tmp_path / "a") in str(caught.value)
    assert [b"old"] == [path.read_bytes() for path in tmp_path.iterdir()]


def test_of_all_that_replace_a_local_file_at_once_one_succeeds(tmp_path: Path) -> None:
    """A lease that has expired is not taken over by two runs."""
    storage = LocalStorage(tmp_path)
    for turn in range(20):
        etag = storage.write("lease.json", b"old %d" % turn)
        start = threading.Barrier(4)

        def take_over(number: int, start: threading.Barrier = start, etag: str = etag) -> bool:
            start.wait(30)
            try:
                storage.write("lease.json", b"taken by %d" % number, replaces=etag)
            except ConflictError:
                return False
            return True

        with ThreadPoolExecutor(4) as pool:
            assert [False, False, False, True] == sorted(pool.map(take_over, range(4)))
    assert ["lease.json"] == [entry.name for entry in storage.list()]


@pytest.mark.skipif(sys.platform == "win32", reason="files are not locked there")
def test_a_process_that_was_stopped_within_a_write_does_not_hang_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error names the lock."""
    monkeypatch.setattr("ddb_shared.storage.local._LOCK_SECONDS", 0.05)
    storage = LocalStorage(tmp_path)
    etag = storage.write("lease.json", b"old")
    with (
        local._locked(tmp_path / "lease.json"),
        pytest.raises(ServiceError, match=r"has locked .*\.lease\.json\.lock"),
    ):
        storage.write("lease.json", b"new", replaces=etag)
    storage.write("lease.json", b"new", replaces=etag)
