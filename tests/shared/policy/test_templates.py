"""The policies as CloudFormation and Terraform."""

import shutil
import subprocess
import sys
from pathlib import Path

import click
import click.testing
import pytest

from ddb_shared.policy.cli import command

OPTIONS = [
    *(
        "--source-account",
        "111111111111",
        "--destination-account",
        "222222222222",
        "--bucket",
        "shared-bucket",
    ),
    *("--prefix", "/moves/", "--table", "Orders", "--region", "eu-west-1"),
]
KEY = "arn:aws:kms:eu-west-1:222222222222:key/1234"


def printed(*options: str) -> str:
    result = click.testing.CliRunner().invoke(
        command, [*OPTIONS, *options], catch_exceptions=False, standalone_mode=False
    )
    if result.exception:
        raise result.exception
    return result.output


@pytest.mark.parametrize(
    "options", [[], ["--kms-key-arn", KEY, "--destination-table-kms-key-arn", KEY, "--external-id", "agreed"]]
)
def test_cfn_lint_has_nothing_to_say(tmp_path: Path, options: list[str]) -> None:
    """Not even a warning, save that a template that names its role must be told so when it is deployed."""
    template = tmp_path / "template.json"
    template.write_text(printed("--format", "cloudformation", *options))
    lint = Path(sys.executable).with_name("cfn-lint")
    done = subprocess.run([lint, template], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, ""), done.stdout + done.stderr


@pytest.mark.skipif(not shutil.which("terraform"), reason="terraform is not installed")
@pytest.mark.parametrize("options", [[], ["--kms-key-arn", KEY, "--external-id", "${x} %{y}"]])
def test_terraform_can_parse_it(tmp_path: Path, options: list[str]) -> None:
    """`terraform fmt` parses the file, without a provider or a network."""
    file = tmp_path / "main.tf"
    file.write_text(printed("--format", "terraform", *options))
    done = subprocess.run(
        ["terraform", "fmt", "-no-color", str(file)],
        capture_output=True,
        text=True,
        check=False,
        env={"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": str(tmp_path), "CHECKPOINT_DISABLE": "1"},
    )
    assert done.returncode == 0, done.stderr
    assert "$${x}" in file.read_text() or not options
