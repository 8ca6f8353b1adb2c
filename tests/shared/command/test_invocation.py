"""Every option of every command survives in the command line that a command prints to be run again."""

import shlex

import click
import pytest

from ddb_export.cli import command as export_command
from ddb_import.cli import command as import_command
from ddb_import.verify.cli import command as verify_command
from ddb_shared.command.invocation import Invocation
from ddb_shared.policy.cli import command as policy_command

COMMANDS = {
    "ddb-export": export_command,
    "ddb-import": import_command,
    "ddb-verify": verify_command,
    "ddb-policy": policy_command,
}
EXPORT = "s3://bucket/AWSDynamoDB/01715685260608-c488b4e1/"
ARGUMENTS = {
    "table": ["Orders"],
    "export": [EXPORT],
    "words": [EXPORT, "it's here", "Orders"],
}
# Values of options whose type does not tell one.
VALUES = {
    "region": "eu-west-1",
    "source_region": "eu-central-1",
    "endpoint_url": "http://127.0.0.1:8000",
    "s3_endpoint_url": "https://s3.example.com",
    "streams_endpoint_url": "https://streams.example.com",
    "bucket_owner": "222222222222",
    "state_owner": "222222222222",
    "source_account": "111111111111",
    "destination_account": "222222222222",
    "destination_tables": "Copy",
    "tables": "Orders",
    "columns": "total:decimal(38,2),tags:list<string>",
    "kms_keys": "a=b",
    "renames": "prod-*=new-*",
    "only": "prod-*",
    "max_rcu": "50%",
    "max_wcu": "500",
    "shard_size": "1048576",
    "warm_write_units": "5000",
    "export_time": "2026-09-01T12:00:00.000Z",
    "every": "900s",
    "names": '{"#s":"status"}',
    "values": '{":s":{"S":"it is open"}}',
}
CASES = [
    (name, option)
    for name, command in COMMANDS.items()
    for option in command.params
    if isinstance(option, click.Option) and option.expose_value
]


def words_of(option: click.Option) -> list[str]:
    """An option as a user gives it; one that may be repeated, twice."""
    if option.count:
        return [option.opts[0]] * 2
    if option.is_flag:
        return [option.opts[0]]
    value = VALUES.get(str(option.name), "7")
    if isinstance(option.type, click.Choice):
        value = str(list(option.type.choices)[-1])
    return [option.opts[0], value] * (2 if option.multiple else 1)


def parse(command: click.Command, words: list[str]) -> click.Context:
    return command.make_context(command.name, list(words))


@pytest.mark.parametrize(("name", "option"), CASES, ids=[f"{name}{option.opts[0]}" for name, option in CASES])
def test_every_option_survives(name: str, option: click.Option) -> None:
    """The printed command line parses to the same values, and has nothing that was not given."""
    command = COMMANDS[name]
    arguments = [ARGUMENTS[str(one.name)] for one in command.params if isinstance(one, click.Argument)]
    given = [word for words in arguments for word in words]
    given += words_of(option)
    required = [
        one for one in command.params if isinstance(one, click.Option) and one.required and one is not option
    ]
    given += [word for one in required for word in words_of(one)]
    context = parse(command, given)
    line = shlex.split(Invocation.of(context).line())
    assert line[0] == name
    assert sorted(line[1:]) == sorted(given)
    assert {k: str(v) for k, v in parse(command, line[1:]).params.items()} == {
        k: str(v) for k, v in context.params.items()
    }


def test_what_is_left_out_and_what_comes_first() -> None:
    """A resume leaves --restart out; the words that replace an argument come first."""
    context = parse(import_command, [EXPORT, "Orders", "--restart", "--from-rejects", "--max-wcu", "5"])
    line = Invocation.of(context).line(without={"restart"})
    assert line == f"ddb-import {EXPORT} Orders --max-wcu 5 --from-rejects"
    context = parse(export_command, ["Orders", "s3://b", "--acl", "none", "--processes", "3"])
    line = Invocation.of(context).line("--resume", EXPORT, without={"words"})
    assert line == f"ddb-export --resume {EXPORT} --acl none --processes 3"
