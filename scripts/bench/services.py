"""The services that programs run against; their CPU is not counted with that of the programs.

The stub, or a real emulator of DynamoDB beside the stub as S3.
"""

from __future__ import annotations

import json
import os
import random
import ssl
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path
from typing import Any, Final, Protocol

import trustme

from bench.measure import cpu_seconds_so_far, descendants, waiting_seconds_so_far
from bench.shapes import item
from support.accounts import Accounts
from support.services import Endpoint
from support.tables import create_table, fill

EXPORT: Final = "export"
IMPORT: Final = "import"
SCRIPTS: Final = Path(__file__).parents[1]


class Service(Protocol):
    """DynamoDB and S3, given to programs as `environment`; `url` is that of DynamoDB."""

    url: str
    environment: dict[str, str]

    def tables(self, shape: str, items: int) -> tuple[str, str]:
        """The names of a table with items and of one to import them into, prepared before the measurement."""
        ...

    def counts(self) -> dict[str, int]:
        """The items seen so far, by direction; a direction that it cannot count is missing."""
        ...

    def cpu_seconds(self) -> float:
        """Its own CPU so far."""
        ...

    def waiting_seconds(self) -> float:
        """How long it has waited for a core so far: together with its CPU, the time that it was busy."""
        ...

    def forget(self, bucket: str) -> None:
        """Frees the memory of a bucket's objects."""
        ...


class Stub:
    """The stub, which has every table of every shape."""

    def __init__(self, url: str, pid: int, authority: str | None) -> None:
        self.url = url
        self.environment = {"AWS_ENDPOINT_URL": url}
        if authority:
            self.environment["AWS_CA_BUNDLE"] = authority
        self._pid = pid
        trust = urllib.request.HTTPSHandler(context=ssl.create_default_context(cafile=authority))
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), trust)

    def tables(self, shape: str, items: int) -> tuple[str, str]:
        self._ask(f"/_stub/shape/{shape}")
        return f"{shape}-{items}", f"copy-{shape}-{items}"

    def counts(self) -> dict[str, int]:
        stats = self._ask("/_stub/stats")
        return {EXPORT: stats["scanned_items"], IMPORT: stats["puts"]}

    def cpu_seconds(self) -> float:
        return cpu_seconds_so_far(self._pid)

    def waiting_seconds(self) -> float:
        return waiting_seconds_so_far(self._pid)

    def forget(self, bucket: str) -> None:
        self._ask(f"/{bucket}", "DELETE")

    def _ask(self, path: str, method: str = "GET") -> dict[str, Any]:
        request = urllib.request.Request(self.url + path, method=method)
        with self._opener.open(request, timeout=60) as answer:
            told: dict[str, Any] = json.loads(answer.read() or "{}")
            return told


class Emulator:
    """A real engine: a table is filled, and imported into an empty one, whose items are counted by a scan.

    It cannot count what an export has read, but the count of its import shows that, too.
    """

    def __init__(self, endpoint: Endpoint, pids: set[int], stub: Stub) -> None:
        self.url = endpoint.url
        self.environment = {"AWS_ENDPOINT_URL": endpoint.url, "AWS_ENDPOINT_URL_S3": stub.url}
        self._pids = pids
        self._stub = stub
        self._copies: list[str] = []

    def tables(self, shape: str, items: int) -> tuple[str, str]:
        source = f"{shape}-{items}"
        copy = f"copy-{len(self._copies)}-of-{source}"
        rng = random.Random(1)
        with closing(Accounts()) as accounts:
            client = accounts.dynamodb(self.url)
            create_table(client, source)
            create_table(client, copy)
            assert items == fill(client, source, (item(shape, number, rng) for number in range(items)))
        self._copies.append(copy)
        return source, copy

    def counts(self) -> dict[str, int]:
        with closing(Accounts()) as accounts:
            pages = accounts.dynamodb(self.url).get_paginator("scan")
            return {
                IMPORT: sum(
                    page["Count"]
                    for copy in self._copies
                    for page in pages.paginate(TableName=copy, Select="COUNT")
                )
            }

    def cpu_seconds(self) -> float:
        return sum(map(cpu_seconds_so_far, self._pids))

    def waiting_seconds(self) -> float:
        return sum(map(waiting_seconds_so_far, self._pids))

    def forget(self, bucket: str) -> None:
        self._stub.forget(bucket)


@contextmanager
def open_tls_stub(folder: Path) -> Iterator[Stub]:
    """The stub over TLS; its certificate, and that of the authority which issued it, are written into `folder`."""
    authority, chain, issuer = trustme.CA(), folder / "stub.pem", folder / "authority.pem"
    authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(chain)
    authority.cert_pem.write_to_path(issuer)
    with open_stub("--certificate", str(chain), authority=str(issuer)) as stub:
        yield stub


@contextmanager
def open_stub(*options: str, authority: str | None = None) -> Iterator[Stub]:
    """The stub in a process of its own."""
    command = [sys.executable, "-m", "bench.stub", *options]
    with subprocess.Popen(
        command, cwd=SCRIPTS, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin
        assert process.stdout
        yield Stub(process.stdout.readline().strip(), process.pid, authority)
        process.stdin.close()


@contextmanager
def open_emulator(start: Callable[[], AbstractContextManager[Endpoint]], stub: Stub) -> Iterator[Emulator]:
    """An emulator that `start` serves; its processes are the ones that are new below this one."""
    before = set(descendants(os.getpid()))
    with start() as endpoint:
        new = set(descendants(os.getpid())) - before
        yield Emulator(endpoint, {pid for pid in new if _parent(pid) == os.getpid()}, stub)


def _parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
