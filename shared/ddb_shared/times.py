"""Times as the manifests write them."""

from __future__ import annotations

import datetime as dt


def now_text() -> str:
    """Now, RFC 3339 in UTC with milliseconds and `Z`, as AWS's manifests have it."""
    return dt.datetime.now(dt.UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
