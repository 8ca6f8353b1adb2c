"""What is published: the wheel's contents and the version."""

import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

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
    sources = {str(path.relative_to(path.parents[1])) for folder in ("exporter", "importer", "shared")
               for path in (ROOT / folder).glob("*/*.py")}  # fmt: skip
    assert sources <= set(names)


def test_changelog_begins_with_this_version() -> None:
    """Each published version has its entry, the newest first: `## 1.2.3`."""
    entries = re.findall(r"^## \[?(\d+\.\d+\.\d+)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert version() == next(iter(entries), None)
