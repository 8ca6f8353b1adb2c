"""A proxy before MiniStack that does what no local DynamoDB does: it lets a caller use another account's table by its ARN.

As if each table had a resource policy that allows everything to everyone; the account is the access key.
https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/access-control-resource-based.html
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

from aiohttp import web

from support.reverse_proxy import forward, serving
from support.services import Endpoint, free_port

_TARGET: Final = re.compile(
    rb'"(?:TableName|ResourceArn|TableArn|StreamArn)": ?"([^"]+)"|"RequestItems": ?\{"([^"]+)"'
)
_ARN: Final = re.compile(r"arn:aws:dynamodb:[a-z0-9-]+:(\d{12}):table/.*")


@dataclass
class TablesOfOthers:
    """A running proxy: `named` are the tables of all requests to DynamoDB, as they were named, by operation."""

    behind: str
    url: str
    named: set[tuple[str, str]] = field(default_factory=set)

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """What the table's own account is answered."""
        _, _, operation = request.headers.get("X-Amz-Target", "").partition("DynamoDB_20120810.")
        found = _TARGET.search(await request.read()) if operation else None
        if found is None:
            return await forward(request, self.behind)
        table = (found[1] or found[2]).decode()
        self.named.add((operation, table))
        account = _ARN.fullmatch(table)
        signature = request.headers.get("Authorization", "")
        owner = re.sub(r"Credential=[^/]+/", f"Credential={account[1]}/", signature) if account else signature
        return await forward(request, self.behind, Authorization=owner)


@contextmanager
def tables_of_others(behind: Endpoint) -> Iterator[TablesOfOthers]:
    """A proxy on a free loopback port, until the block ends."""
    port = free_port()
    proxy = TablesOfOthers(behind.url, f"http://127.0.0.1:{port}")
    with serving(proxy.answer, port):
        yield proxy
