"""A DynamoDB that fails on purpose, for tests of the commands as real processes.

    with fake_dynamodb(FaultPlan(faults=(Fault(kind=FaultKind.UNPROCESSED, probability=0.3),))) as fake:
        run("ddb-import", …, "--endpoint-url", fake.url)
        assert fake.stats().unprocessed_items > 0

What it does right is proven by the same tests as the real engines (test_contract.py), what it does wrong by
test_faults.py. It has one region, indexes in nothing but what writes cost, no filters, and checks no signatures. Its streams have
what the emulators' lack: many shards, generations of them, trimming and expiry (StreamPlan).
"""

from __future__ import annotations

import os
import subprocess
import sys
import urllib.request
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import msgspec

from support.fake.identity import DEFAULT_ACCOUNT
from support.fake.plan import Consumption, Fault, FaultKind, FaultPlan, Stats, StreamPlan, TableStats

__all__ = [
    "DEFAULT_ACCOUNT",
    "Consumption",
    "FakeServer",
    "Fault",
    "FaultKind",
    "FaultPlan",
    "Stats",
    "StreamPlan",
    "TableStats",
    "fake_dynamodb",
]

_TESTS: Final = Path(__file__).parents[1]
_ANSWER_SECONDS: Final = 30.0


@dataclass(frozen=True, slots=True)
class FakeServer:
    """A running fake; `url` serves DynamoDB and STS."""

    url: str

    def stats(self) -> Stats:
        """What happened since the start or the last reset."""
        return msgspec.json.decode(self._ask("stats"), type=Stats)

    def table(self, account: str, name: str) -> TableStats:
        """The figures of one table."""
        return self.stats().tables[f"{account}/{name}"]

    def change(self, plan: FaultPlan) -> None:
        """Goes over to another plan, whose faults count their calls from now on."""
        self._ask("faults", msgspec.json.encode(plan))

    def reset(self) -> None:
        """Sets the figures back to zero; tables and plan stay."""
        self._ask("reset", b"")

    def items(self, account: str, name: str) -> list[dict[str, Any]]:
        """All items of a table as DynamoDB JSON in hash order, past all faults."""
        items: list[dict[str, Any]] = msgspec.json.decode(self._ask(f"items?account={account}&table={name}"))
        return items

    def load(self, account: str, name: str, items: Iterable[dict[str, Any]]) -> None:
        """Stores items of DynamoDB JSON (binary as base64), past all faults and figures."""
        self._ask(f"items?account={account}&table={name}", msgspec.json.encode(list(items)))

    def consumption(self, account: str, name: str) -> Consumption:
        """What a table consumed since the last reset, and when."""
        return msgspec.json.decode(self._ask(f"consumption?account={account}&table={name}"), type=Consumption)

    def expire(self, account: str, name: str, keys: Iterable[dict[str, Any]]) -> None:
        """Deletes items as time to live does, so that their stream records say so."""
        self._ask(f"expire?account={account}&table={name}", msgspec.json.encode(list(keys)))

    def end_shards(self, account: str, name: str, *, children: int) -> None:
        """Ends each open shard of a table's stream: it splits, or rolls over to one child."""
        self._ask(f"shards?account={account}&table={name}&children={children}", b"")

    def advance(self, seconds: float) -> None:
        """Lets time pass for the streams: records are trimmed, iterators expire."""
        self._ask(f"advance?seconds={seconds}", b"")

    def credentials_uri(self, account: str, seconds: float = 3600) -> str:
        """For AWS_CONTAINER_CREDENTIALS_FULL_URI: each fetch gives a new session token that expires in `seconds`.

        SDKs fetch again when less than 15 minutes are left.
        """
        return f"{self.url}/_fake/credentials?account={account}&seconds={seconds}"

    def _ask(self, path: str, body: bytes | None = None) -> bytes:
        request = urllib.request.Request(f"{self.url}/_fake/{path}", data=body)
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(request, timeout=_ANSWER_SECONDS) as response:
            answer: bytes = response.read()
        return answer


@contextmanager
def fake_dynamodb(plan: FaultPlan = FaultPlan()) -> Iterator[FakeServer]:  # noqa: B008 - frozen
    """A fake in a process of its own on a free loopback port, until the block ends."""
    environment = os.environ | {"PYTHONPATH": str(_TESTS)}
    command = [sys.executable, "-m", "support.fake.server"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(msgspec.json.encode(plan) + b"\n")
        process.stdin.flush()
        url = process.stdout.readline().decode().strip()
        if not url:
            raise RuntimeError(
                f"the fake did not start; its error output says why (exit code {process.wait()})"
            )
        try:
            yield FakeServer(url)
        finally:
            process.stdin.close()
            process.wait()
