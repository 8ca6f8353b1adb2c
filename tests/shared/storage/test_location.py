"""URLs and local paths of storages."""

from pathlib import Path

import pytest

from ddb_shared.errors import UsageError
from ddb_shared.storage.location import check_location, is_local, open_storage


def test_a_state_url_is_a_bucket_or_a_local_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A relative path is taken from where the command runs, `~` is the home folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/home/someone")
    assert open_storage(None, "s3://bucket/a").url == "s3://bucket/a/"
    assert open_storage(None, "state/x").url == f"{tmp_path}/state/x/"
    assert open_storage(None, "~/state").url == "/home/someone/state/"


@pytest.mark.parametrize("url", ["ftp://host/x", "file:///x", "S3://bucket/x", "https://bucket/x", "s3:/bucket/x", "s3a://b/x", ""])  # fmt: skip
def test_a_url_of_another_kind_is_no_folder(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is created for a typing error."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match="neither an S3 URL nor a local path"):
        open_storage(None, url)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("path", ["C:/orders", "orders", "./a:b/orders", "/x/y", "~/orders"])
def test_what_may_be_a_local_path(path: str) -> None:
    """A drive letter is no scheme, and neither is a colon further on."""
    assert path == check_location(path)
    assert is_local(path)
