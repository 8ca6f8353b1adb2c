"""Fixtures of every test: a clean environment, real servers, clients of two accounts, names of its own."""

import os
import re
import uuid
from collections.abc import Callable, Iterator

import hypothesis
import pytest

from support.accounts import Accounts
from support.environment import ISOLATION
from support.services import Endpoint
from support.shared_services import SharedServices

SERVICES = pytest.StashKey[SharedServices]()
LEFT_OUT = "left out: "

# the machine's load is no property of the code
hypothesis.settings.register_profile("project", deadline=None)
hypothesis.settings.load_profile("project")


def pytest_configure(config: pytest.Config) -> None:
    """A worker takes over the controller's servers."""
    config.stash[SERVICES] = SharedServices(getattr(config, "workerinput", {}).get("services"))


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: object) -> None:
    """The controller starts the servers once and gives their addresses to each pytest-xdist worker."""
    config: pytest.Config = node.config  # type: ignore[attr-defined]
    if not config.option.collectonly:
        node.workerinput["services"] = config.stash[SERVICES].start_all()  # type: ignore[attr-defined]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest soaks first, so that no worker ends with one of them alone."""

    def minutes(item: pytest.Item) -> float:
        mark = item.get_closest_marker("soak")
        return float(mark.kwargs.get("minutes", 0)) if mark else 0.0

    items.sort(key=lambda item: -minutes(item))


def pytest_unconfigure(config: pytest.Config) -> None:
    """End the servers that this process started, also when the run was interrupted."""
    if SERVICES in config.stash:
        config.stash[SERVICES].__exit__()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say what was left out, and why."""
    reasons = [str(report.longrepr) for report in terminalreporter.stats.get("skipped", [])]
    left_out = [match[1] for reason in reasons if (match := re.search(rf"{LEFT_OUT}([^'\")]+)", reason))]
    if left_out:
        terminalreporter.write_sep("=", "left out", yellow=True)
        terminalreporter.write_line(f"{len(left_out)} tests did not run: {left_out[0]}")


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test sees the machine's AWS configuration."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    for name, value in ISOLATION.items():
        monkeypatch.setenv(name, value)


def endpoint(config: pytest.Config, name: str) -> Endpoint:
    """Return the shared server's address; skip the test where the machine cannot run it, unless it must."""
    outcome = config.stash[SERVICES].outcome(name)
    if outcome.missing and os.environ.get("REQUIRE_SERVICES") != "1":
        pytest.skip(LEFT_OUT + outcome.missing)
    if not outcome.url:
        pytest.fail(outcome.missing or outcome.error, pytrace=False)
    return Endpoint(name, outcome.url)


@pytest.fixture(scope="session")
def aws(pytestconfig: pytest.Config) -> Endpoint:
    """MiniStack: DynamoDB, S3, STS, IAM; the account is the access key."""
    return endpoint(pytestconfig, "ministack")


@pytest.fixture(scope="session")
def ddb_local(pytestconfig: pytest.Config) -> Endpoint:
    """DynamoDB Local: Amazon's own engine, DynamoDB only."""
    return endpoint(pytestconfig, "dynamodb-local")


@pytest.fixture(scope="session", params=["ministack", "dynamodb-local"])
def engine(request: pytest.FixtureRequest) -> Endpoint:
    """Each server that speaks DynamoDB, one after the other."""
    return endpoint(request.config, request.param)


@pytest.fixture(scope="session")
def accounts() -> Iterator[Accounts]:
    """boto3 clients by service, endpoint and account."""
    clients = Accounts()
    yield clients
    clients.close()


@pytest.fixture
def unique_name(request: pytest.FixtureRequest) -> Callable[[], str]:
    """Names for tables and buckets that no other test of the run uses; the test's own name is in them."""
    base = re.sub(r"[^a-z0-9]+", "-", request.node.name.lower())[:40].strip("-")
    return lambda: f"{base}-{uuid.uuid4().hex[:12]}"
