"""What is published: the wheel's contents and the version."""

import re
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest

from support.environment import ROOT


def version() -> str:
    text: str = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    return text


def test_wheel_holds_the_three_packages(tmp_path: Path) -> None:
    """A stray module beside a package works in an editable install and would be missing here."""
    build = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(tmp_path)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    expected = {"ddb_export", "ddb_import", "ddb_shared", f"ddb_transfer-{version()}.dist-info"}
    assert expected == {name.split("/")[0] for name in names}
    sources = {
        name.split("/", 1)[1]
        for name in tracked("exporter/ddb_export", "importer/ddb_import", "shared/ddb_shared")
    }
    assert sources <= set(names), "sources, and what they read: prices, templates, py.typed"


def test_sdist_holds_what_the_repository_holds(tmp_path: Path) -> None:
    """Whoever builds from it can run the tests, too."""
    build = [sys.executable, "-m", "hatchling", "build", "--target", "sdist", "--directory", str(tmp_path)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    (sdist,) = tmp_path.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        names = {name.split("/", 1)[1] for name in archive.getnames() if "/" in name}
    assert {name for name in tracked() if not name.startswith(".")} <= names


def tracked(*below: str) -> set[str]:
    """The files that git knows; skips where this is not a checkout, as in an unpacked sdist."""
    listed = subprocess.run(
        ["git", "ls-files", *below], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if listed.returncode:
        pytest.skip("not a checkout of git")
    return set(listed.stdout.splitlines())


def test_changelog_begins_with_this_version() -> None:
    """Each published version has its entry, the newest first: `## 1.2.3`."""
    entries = re.findall(r"^## \[?(\d+\.\d+\.\d+)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert version() == next(iter(entries), None)
