"""Lists of jobs, page by page: botocore has no paginators for ListImports and ListBulkOperations."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any


def pages_of(call: Callable[..., dict[str, Any]], member: str, **request: Any) -> Iterator[dict[str, Any]]:
    """The entries of every page; `member` holds them."""
    token: dict[str, str] = {}
    while True:
        page = call(**request, **token)
        yield from page.get(member, ())
        if "NextToken" not in page:
            return
        token = {"NextToken": page["NextToken"]}
