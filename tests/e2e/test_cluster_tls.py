"""A Dask cluster that speaks TLS with certificates of its own authority, found by its address or its scheduler file."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import trustme

from support import commands
from support.accounts import Accounts
from support.cluster import Dask, dask_cluster
from support.environment import DESTINATION, SOURCE, credentials
from support.services import Endpoint
from support.tables import assert_same_items, create_table, fill, read_all
from support.varied import varied_items


class Certificates:
    """An authority, a certificate of the machine that it signed, and how Dask is told of them."""

    def __init__(self, folder: Path) -> None:
        authority = trustme.CA()
        self.authority = folder / "ca.pem"
        self.both = folder / "machine.pem"
        authority.cert_pem.write_to_path(self.authority)
        authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(self.both)

    @property
    def words(self) -> tuple[str, ...]:
        """Options of `dask scheduler` and `dask worker`."""
        return (
            "--tls-ca-file",
            str(self.authority),
            "--tls-cert",
            str(self.both),
            "--tls-key",
            str(self.both),
        )

    @property
    def variables(self) -> dict[str, str]:
        """Variables of a client, which is what our commands are."""
        tls = "DASK_DISTRIBUTED__COMM__TLS__"
        client = {f"{tls}CLIENT__CERT": str(self.both), f"{tls}CLIENT__KEY": str(self.both)}
        return {f"{tls}CA_FILE": str(self.authority)} | client


@pytest.fixture
def certificates(tmp_path: Path) -> Certificates:
    return Certificates(tmp_path)


@pytest.fixture
def scheduler_file(tmp_path: Path) -> Path:
    return tmp_path / "scheduler.json"


@pytest.fixture
def dask(tmp_path: Path, certificates: Certificates, scheduler_file: Path) -> Iterator[Dask]:
    words = ("--protocol", "tls", "--scheduler-file", str(scheduler_file), *certificates.words)
    with dask_cluster(tmp_path, *words) as cluster:
        yield cluster


def test_a_table_moves_over_tls(
    dask: Dask,
    certificates: Certificates,
    scheduler_file: Path,
    aws: Endpoint,
    bucket: str,
    accounts: Accounts,
    unique_name: Callable[[], str],
) -> None:
    """The export names the scheduler by its address, the import by its file; certificates come from Dask's configuration."""
    source, destination = accounts.dynamodb(aws, SOURCE), accounts.dynamodb(aws, DESTINATION)
    create_table(source, table := unique_name())
    create_table(destination, copy := unique_name())
    fill(source, table, varied_items(60))

    def run(command: str, account: str, *words: object) -> dict[str, object]:
        worker = dask.start_worker(credentials(account), *certificates.words)
        assert worker.address.startswith("tls://")
        result = commands.run(
            command, *words, "--json", account=account, endpoint=aws, env=certificates.variables
        )
        worker.kill()
        return result.json()

    exported = run("ddb-export", SOURCE, table, f"s3://{bucket}/moves", "--scheduler", dask.address)
    run("ddb-import", DESTINATION, exported["export"], copy, "--scheduler", scheduler_file)
    assert_same_items(read_all(source, table), read_all(destination, copy))


def test_a_client_that_the_scheduler_does_not_trust(dask: Dask, tmp_path: Path) -> None:
    """Ends with an error that names where certificates are configured."""
    (tmp_path / "another").mkdir()
    variables = Certificates(tmp_path / "another").variables
    words = ("orders", "s3://bucket", "--scheduler", dask.address)
    refused = commands.run("ddb-export", *words, env=variables, check=False)
    assert refused.exit_code == 1
    assert "distributed.comm.tls in Dask's configuration" in refused.stderr
    assert "Traceback" not in refused.stderr


def test_certificates_that_are_not_there(certificates: Certificates) -> None:
    """Refused before the scheduler is asked: nobody listens here."""
    words = ("orders", "s3://bucket", "--scheduler", "tls://127.0.0.1:9")
    refused = commands.run("ddb-export", *words, check=False)
    assert (refused.exit_code, "Traceback" in refused.stderr) == (2, False), refused
    assert "DASK_DISTRIBUTED__COMM__TLS__CA_FILE" in refused.stderr
    certificates.both.unlink()
    refused = commands.run("ddb-export", *words, env=certificates.variables, check=False)
    assert (refused.exit_code, "Traceback" in refused.stderr) == (1, False), refused
    assert "No such file" in refused.stderr
