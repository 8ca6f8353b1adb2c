"""An import writes only where it was meant to, and calls complete only what is there."""

from collections.abc import Callable
from typing import Any

import pytest

from e2e.conftest import Mover
from support.accounts import Accounts
from support.environment import DESTINATION, SOURCE
from support.fingerprints import assert_same_tables
from support.services import Endpoint
from support.tables import create_table, fill, scan
from support.varied import varied_items

ITEMS = 60


def exists(client: Any, name: str) -> bool:
    """Whether there is such a table; ListTables tells only the first hundred."""
    try:
        client.describe_table(TableName=name)
    except client.exceptions.ResourceNotFoundException:
        return False
    return True


@pytest.fixture
def source(engine: Endpoint, accounts: Accounts, unique_name: Callable[[], str]) -> str:
    name = unique_name()
    create_table(accounts.dynamodb(engine, SOURCE), name)
    fill(accounts.dynamodb(engine, SOURCE), name, varied_items(ITEMS))
    return name


@pytest.fixture
def destination(engine: Endpoint, accounts: Accounts, unique_name: Callable[[], str]) -> str:
    """A table with an item that the export has, too, with other content."""
    name, client = unique_name(), accounts.dynamodb(engine, DESTINATION)
    create_table(client, name)
    item = next(iter(varied_items(1)))
    fill(client, name, [{"pk": item["pk"], "sk": item["sk"], "mine": {"S": "yes"}}])
    return name


def test_a_table_with_items_needs_the_users_word(
    mover: Mover, engine: Endpoint, accounts: Accounts, source: str, destination: str
) -> None:
    """Exit 1 before any write, with both ways named; once said, a resume does not ask again."""
    export, client = mover.exported(source), accounts.dynamodb(engine, DESTINATION)
    for _ in range(2):
        refused = mover.load(export, destination, check=False)
        assert refused.exit_code == 1
        assert "already contains items; nothing was written" in refused.stderr
        assert "--on-existing overwrite" in refused.stderr
        assert "--on-existing skip" in refused.stderr
        assert [{"S": "yes"}] == [item["mine"] for item in scan(client, destination)]
    done = mover.load(export, destination, "--on-existing", "skip").json()
    assert (done["items_written"], done["items_skipped"]) == (ITEMS - 1, 1)
    again = mover.load(export, destination).json()
    assert (again["items_written"], again["items_resumed"], again["items_skipped"]) == (0, ITEMS, 0)
    mover.load(export, destination, "--restart", "--on-existing", "overwrite")
    assert_same_tables((accounts.dynamodb(engine, SOURCE), source), (client, destination))


def test_the_table_that_was_exported_is_refused(
    mover: Mover, engine: Endpoint, accounts: Accounts, source: str
) -> None:
    """Also with every consent, and by a repair; nothing is written, and a comparison is free. On DynamoDB Local the account and the time of creation tell."""
    client, export = accounts.dynamodb(engine, SOURCE), mover.exported(source)
    client.put_item(TableName=source, Item={"pk": {"S": "new"}, "sk": {"N": "1"}})
    for words in (
        (),
        ("--on-existing", "overwrite"),
        ("--on-existing", "skip", "--restart"),
        ("--create-table",),
    ):
        refused = mover._run("ddb-import", SOURCE, export, source, *words, check=False)
        assert refused.exit_code == 1
        assert "is the exported table itself" in refused.stderr
    repair = mover._run(
        "ddb-verify", SOURCE, export, source, "--repair", "--delete-extra", "--yes", check=False
    )
    assert (repair.exit_code, "is the exported table itself" in repair.stderr) == (1, True)
    assert len(list(scan(client, source))) == ITEMS + 1
    assert mover._run("ddb-verify", SOURCE, export, source, check=False).json()["extra"] == 1


def test_a_complete_import_looks_at_the_table(
    mover: Mover, engine: Endpoint, accounts: Accounts, source: str, unique_name: Callable[[], str]
) -> None:
    """The same command loads nothing and says since when; a table that is empty or missing by then is no success."""
    export, name, client = mover.exported(source), unique_name(), accounts.dynamodb(engine, DESTINATION)
    create_table(client, name)
    mover.load(export, name)
    again = mover.load(export, name)
    assert "was completed at 20" in again.stderr
    assert (again.json()["items_written"], again.json()["items_resumed"]) == (0, ITEMS)
    for item in scan(client, name):
        client.delete_item(TableName=name, Key={key: item[key] for key in ("pk", "sk")})
    emptied = mover.load(export, name, check=False)
    assert (emptied.exit_code, emptied.json()["status"]) == (1, "failed")
    assert "but the table is empty now" in emptied.stderr
    assert "--restart" in emptied.stderr
    client.delete_table(TableName=name)
    missing = mover.load(export, name, check=False)
    assert missing.exit_code == 1
    assert f"Table {name} does not exist" in missing.stderr


def test_a_table_that_was_recreated_needs_the_users_word(
    mover: Mover, engine: Endpoint, accounts: Accounts, source: str, destination: str
) -> None:
    """The state of an import into an earlier table of that name does not stand for consent, with --restart either."""
    export, client = mover.exported(source), accounts.dynamodb(engine, DESTINATION)
    mover.load(export, destination, "--on-existing", "overwrite")
    client.delete_table(TableName=destination)
    create_table(client, destination)
    key = {name: value for name, value in next(iter(varied_items(1))).items() if name in {"pk", "sk"}}
    fill(client, destination, [{**key, "mine": {"S": "yes"}}])
    for words in ((), ("--restart",), ("--restart", "--dry-run")):
        refused = mover.load(export, destination, *words, check=False)
        assert refused.exit_code == 1
        assert "already contains items; nothing was written" in refused.stdout + refused.stderr
        assert "--on-existing overwrite" in refused.stdout + refused.stderr
        assert [{"S": "yes"}] == [item["mine"] for item in scan(client, destination)]
    mover.load(export, destination, "--restart", "--on-existing", "overwrite")
    assert_same_tables((accounts.dynamodb(engine, SOURCE), source), (client, destination))


def test_a_table_that_was_loaded_and_deleted_is_not_created_again(
    mover: Mover, engine: Endpoint, accounts: Accounts, source: str, unique_name: Callable[[], str]
) -> None:
    """The same command with --create-table says since when the import is complete, and creates none without --restart."""
    name, client = unique_name(), accounts.dynamodb(engine, DESTINATION)
    export = mover.exported(source)
    mover.load(export, name, "--create-table")
    client.delete_table(TableName=name)
    for words in ((), ("--dry-run",)):
        refused = mover.load(export, name, "--create-table", *words, check=False)
        assert refused.exit_code == 1
        output = refused.stdout + refused.stderr
        assert "was completed at 20" in output
        assert "does not exist any more" in output
        assert "--restart" in output
        assert not exists(client, name)
    assert mover.load(export, name, "--create-table", "--restart").json()["items_written"] == ITEMS
