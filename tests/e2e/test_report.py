"""Each command leaves its report beside its state, and tells the first differences and rejects on the screen."""

import html
from collections.abc import Callable

from e2e.conftest import Mover
from support import commands
from support.accounts import Accounts
from support.environment import DESTINATION, SOURCE
from support.services import Endpoint
from support.tables import create_table, fill
from support.varied import varied_items

EVIL = "<script>alert(1)</script>"


def test_a_move_leaves_its_reports(
    aws_mover: Mover, aws: Endpoint, accounts: Accounts, unique_name: Callable[[], str]
) -> None:
    """Of the export, the import and the verification, with what was found; what is foreign is escaped."""
    source, copy = unique_name(), unique_name()
    for account, table in ((SOURCE, source), (DESTINATION, copy)):
        create_table(accounts.dynamodb(aws, account), table)
    fill(accounts.dynamodb(aws, SOURCE), source, varied_items(300))
    target, s3 = accounts.dynamodb(aws, DESTINATION), accounts.s3(aws, DESTINATION)

    def read(url: str) -> str:
        key = url.removeprefix(f"s3://{aws_mover.bucket}/")
        return str(s3.get_object(Bucket=aws_mover.bucket, Key=key)["Body"].read().decode())

    exported = aws_mover.export(source, f"s3://{aws_mover.bucket}/moves")
    export = exported.json()["export"]
    assert f"Report: {export}report.html" in exported.stderr
    page = read(f"{export}report.html")
    for text in (f"table/{source}", export, "Complete: 300 items", "Slowest shards", f"ddb-export {source} "):
        assert text in page

    loaded = aws_mover.load(export, copy)
    state = f"{export}import/{DESTINATION}.eu-west-1.{copy}/"
    page = read(f"{state}report.html")
    for text in (
        f"table/{copy}",
        f"table/{source}",
        "Loaded: 300 items of the export.",
        "Not verified yet",
        "S3 requests (GET)",
        f"ddb-verify {export} {copy} --endpoint-url {aws.url}",
    ):
        assert text in page
    again = aws_mover.load(export, copy)
    assert "Report:" not in again.stderr, "nothing was loaded, so the report stands"
    assert f"Report: {state}report.html" in loaded.stderr

    item = {"pk": {"S": EVIL}, "sk": {"N": "1"}}
    target.put_item(TableName=copy, Item=item)
    verified = commands.run("ddb-verify", export, copy, account=DESTINATION, endpoint=aws, check=False)
    assert verified.exit_code == 4
    assert f'Differences:\n  extra {{"pk":{{"S":"{EVIL}"' in verified.stderr
    (place,) = [
        line.removeprefix("Report: ") for line in verified.stderr.splitlines() if line.startswith("Report: ")
    ]
    assert place.startswith(f"{state}verify/")
    assert place.endswith("-report.html")
    page = read(place)
    for text in ("Verdict: different.", "<h2>Passes</h2>", "find the differences"):
        assert text in page
    assert "S3 requests (GET)" in page
    assert html.escape(EVIL) in page
    assert EVIL not in page
