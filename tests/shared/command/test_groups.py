"""The form of the command lines: groups, width, environment variables, completion."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

import ddb_export.cli
import ddb_import.cli
import ddb_import.verify.cli
import ddb_shared.policy.cli
from ddb_shared.command.groups import COMMAND_LINE_ONLY, GROUPS, UNGROUPED, long_name, variable_of
from support import commands

COMMANDS = [
    ddb_export.cli.command,
    ddb_import.cli.command,
    ddb_import.verify.cli.command,
    ddb_shared.policy.cli.command,
]
BIN = Path(sys.executable).parent


def options_of(command: click.Command) -> list[click.Parameter]:
    """Every option of a command, --help among them."""
    context = click.Context(command)
    return [option for option in command.get_params(context) if isinstance(option, click.Option)]


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.name)
def test_every_option_is_in_one_group(command: click.Command) -> None:
    """An option that GROUPS does not name would stand at the end of --help, apart from what it belongs to."""
    grouped = [name for names in GROUPS.values() for name in names]
    assert len(grouped) == len(set(grouped))
    assert [] == [long_name(option) for option in options_of(command) if long_name(option) not in grouped]
    assert f"{UNGROUPED}:" not in CliRunner().invoke(command, ["--help"]).output


def test_no_group_names_an_option_that_no_command_has() -> None:
    """A renamed option is renamed in GROUPS too."""
    present = {long_name(option) for command in COMMANDS for option in options_of(command)}
    assert set() == {name for names in GROUPS.values() for name in names} - present


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.name)
def test_every_option_has_a_variable_but_those_that_allow_data_to_be_lost(command: click.Command) -> None:
    """A variable that is left over in a shell must not replace or delete data."""
    without = {long_name(one) for one in options_of(command) if not variable_of(str(command.name), one)}
    assert without == {long_name(one) for one in options_of(command)} & COMMAND_LINE_ONLY
    for option in options_of(command):
        variable = variable_of(str(command.name), option)
        assert variable is None or variable == option.envvar or variable in (option.envvar or [])


@pytest.mark.parametrize("columns", [80, 100, 200])
def test_help_is_as_wide_as_the_terminal(columns: int) -> None:
    """No line of the options is wider than the terminal, and a wide terminal is used."""
    text = commands.run("ddb-import", "--help", env={"COLUMNS": str(columns)}).stdout
    options = [len(line) for line in text.partition("Examples:")[0].splitlines()]
    assert columns - 20 < max(options) <= columns


def test_a_variable_sets_an_option_and_is_told() -> None:
    """Whoever reads the output sees which options the command line does not show."""
    result = commands.run(
        "ddb-policy", "--source-account", "111111111111", "--bucket", "shared-bucket", "--table", "Orders",
        env={"DDB_POLICY_REGION": "eu-west-3", "DDB_POLICY_DESTINATION_ACCOUNT": "222222222222", "AWS_REGION": "us-east-1"},
    )  # fmt: skip
    assert (
        result.stderr == "Options from the environment: DDB_POLICY_DESTINATION_ACCOUNT, DDB_POLICY_REGION.\n"
    )
    assert "dynamodb:eu-west-3:222222222222" in result.stdout


def test_an_invalid_variable_is_named() -> None:
    """The command line does not show where the value comes from."""
    result = commands.run(
        "ddb-export", "Orders", "s3://bucket", env={"DDB_EXPORT_MAX_RCU": "fast"}, check=False
    )
    assert result.exit_code == 2
    assert "'fast' is not a rate." in result.stderr
    assert result.stderr.endswith("It was read from DDB_EXPORT_MAX_RCU.\n")


def test_a_variable_cannot_consent_to_overwriting() -> None:
    """--on-existing has to be said on the command line."""
    parsed = ddb_import.cli.command.make_context("ddb-import", ["s3://bucket/x", "Orders"], obj=None)
    with parsed:
        assert parsed.params["on_existing"] is None
    result = CliRunner(env={"DDB_IMPORT_ON_EXISTING": "nonsense"}).invoke(ddb_import.cli.command, ["--help"])
    assert result.exit_code == 0


def test_a_misspelt_option_is_corrected() -> None:
    """The message names the option that was meant."""
    result = commands.run("ddb-import", "s3://bucket/x", "Orders", "--on-existin", "skip", check=False)
    assert result.exit_code == 2
    assert "--on-existing" in result.stderr


@pytest.mark.parametrize(
    ("module", "name"),
    [("ddb_export", "ddb-export"), ("ddb_import", "ddb-import"), ("ddb_import.verify", "ddb-verify"),
     ("ddb_shared.policy", "ddb-policy")],
)  # fmt: skip
def test_packages_run_as_modules(module: str, name: str) -> None:
    """`python -m` is the command."""
    by_module = subprocess.run(
        [sys.executable, "-m", module, "--help"], capture_output=True, text=True, check=True
    )
    by_name = subprocess.run([str(BIN / name), "--help"], capture_output=True, text=True, check=True)
    assert by_module.stdout.replace(f"python -m {module}", name) == by_name.stdout


# As docs/command-line.md says to set them up, for the command of the line.
BASH = """
name=${1%% *}; variable=${name//-/_}
eval "$(export _${variable^^}_COMPLETE=bash_source; $name)"
COMP_WORDS=($1); COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
_${variable}_completion $name
printf '%s\\n' "${COMPREPLY[@]}"
"""
FISH = """
set name (string split ' ' $argv[1])[1]
set -x _(string upper (string replace - _ $name))_COMPLETE fish_source
$name | source
complete -C $argv[1]
"""
# Only the line editor completes, and that needs a terminal: zpty is one. The answer is the line after the tab.
ZSH = """
zmodload zsh/zpty
zpty shell zsh -f -i
zpty -w shell 'PS1= RPS1= PATH='$PATH'; unsetopt zle_bracketed_paste; autoload -Uz compinit; compinit -u -D; bindkey "^I" complete-word'
name=${1%% *}
zpty -w shell 'eval "$(_'${(U)name//-/_}'_COMPLETE=zsh_source '$name')"; answer() { print -r -- "<$BUFFER>"; BUFFER=; zle accept-line }'
zpty -w shell 'zle -N answer; bindkey "^X" answer; print rea""dy'
zpty -r shell output '*ready*'
zpty -w -n shell "$1"$'\\t\\x18'
zpty -r shell output "*<$name *>*"
print -r -- "${${output##*<}%>*}"
"""
SHELLS = {
    "bash": ("bash", "-c", BASH, "bash"),
    "fish": ("fish", "--no-config", "-c", FISH),
    "zsh": ("zsh", "-fc", ZSH, "zsh"),
}


def completed(shell: str, line: str) -> str:
    """What a shell makes of a line and a tab, with the script that the command prints for it."""
    if not shutil.which(shell):
        pytest.skip(f"left out: {shell} is not installed (Debian: {shell})")
    environment = {**os.environ, "PATH": f"{BIN}:{os.environ['PATH']}", "TERM": "dumb"}
    done = subprocess.run(
        [*SHELLS[shell], line], capture_output=True, text=True, check=True, env=environment, timeout=60
    )
    assert done.stderr == ""
    return done.stdout


@pytest.mark.parametrize("shell", ["bash", "fish"])
@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("ddb-export --max-r", ["--max-rcu"]),
        ("ddb-export T s3://b --format p", ["parquet"]),
        ("ddb-import s3://b T --on-existing s", ["skip"]),
        ("ddb-verify --source-p", ["--source-profile"]),
        ("ddb-policy --format t", ["terraform"]),
    ],
)
def test_a_shell_lists_options_and_choices(shell: str, line: str, expected: list[str]) -> None:
    """The script that the command prints works in a real shell."""
    assert [found.split("\t")[0] for found in completed(shell, line).splitlines()] == expected


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("ddb-export --max-r", "ddb-export --max-rcu "),
        ("ddb-export T s3://b --format p", "ddb-export T s3://b --format parquet "),
        ("ddb-import s3://b T --on-existing s", "ddb-import s3://b T --on-existing skip "),
        ("ddb-verify --source-p", "ddb-verify --source-profile "),
        ("ddb-policy --format t", "ddb-policy --format terraform "),
    ],
)
def test_zsh_completes_options_and_choices(line: str, expected: str) -> None:
    """As its line editor does."""
    assert completed("zsh", line).rstrip("\n") == expected


HEAVY = ("asyncio", "boto3", "botocore.client", "httptools", "jinja2", "multiprocessing", "prometheus_client", "pyarrow",
         "pygal", "rich", "smart_open", "uvloop")  # fmt: skip


@pytest.mark.parametrize(
    "module", ["ddb_export.cli", "ddb_import.cli", "ddb_import.verify.cli", "ddb_shared.policy.cli"]
)
def test_help_and_completion_load_no_heavy_library(module: str) -> None:
    """So that they take less than 0.2 s of CPU, which cannot be tested on a busy machine."""
    code = f"import sys, {module}; print([name for name in {HEAVY!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
