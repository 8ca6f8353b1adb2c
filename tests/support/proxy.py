"""A proxy before a local service that injects AWS's own errors and breaks connections: microburst, from PyPI."""

from __future__ import annotations

import json
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from support.services import Endpoint, free_port

_START_SECONDS: Final = 30.0


@dataclass(frozen=True)
class Proxy:
    """A running proxy; `url` answers as the service behind it, but for its rules."""

    url: str

    def rules(self, *rules: dict[str, Any]) -> None:
        """Replaces the rules; see microburst's documentation for their form."""
        self._ask("rules", json.dumps(rules).encode(), "POST")

    def fired(self) -> int:
        """How many faults were injected since the start."""
        return len(json.loads(self._ask("fired?limit=100000")))

    def _ask(self, path: str, body: bytes | None = None, method: str = "GET") -> bytes:
        request = urllib.request.Request(f"{self.url}/_microburst/{path}", body, method=method)
        request.add_header("Content-Type", "application/json")
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(request, timeout=10) as response:
            answer: bytes = response.read()
        return answer


@contextmanager
def fault_proxy(behind: Endpoint) -> Iterator[Proxy]:
    """A proxy on a free loopback port, until the block ends."""
    port = free_port()
    command = [
        str(Path(sys.executable).with_name("microburst")),
        "--upstream",
        behind.url,
        "--port",
        str(port),
    ]
    with subprocess.Popen(
        [*command, "--host", "127.0.0.1"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        proxy = Proxy(f"http://127.0.0.1:{port}")
        try:
            _await_health(proxy)
            yield proxy
        finally:
            process.terminate()


def _await_health(proxy: Proxy) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while True:
        try:
            proxy._ask("health")
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)
        else:
            return
