"""What each way to close a capture proves, in a sentence."""

from __future__ import annotations

import datetime as dt

from ddb_shared.format.changes import BLOCKED, DISABLED, FinishRequest


def explain(request: FinishRequest, newest_at: int, changes: int) -> str:
    """What the proof of the request covers. `newest_at` is the time of the newest change in epoch microseconds, 0 if unknown."""
    newest = (
        f" The newest change is of {_text(newest_at)}."
        if newest_at
        else ""
        if changes
        else " No change was captured."
    )
    if request.proof == BLOCKED:
        covers = (
            f"The table's resource policy has denied writes since {request.blocked_at}; nothing arrived for five seconds after that, "
            "then the stream was disabled and each of its shards was read to the end: the captured changes are all that were made "
            "before, and later ones are denied. DynamoDB takes some time to apply a policy to all requests, and names no limit: a "
            "write that it still let through after the stream was disabled is missing."
        )
    elif request.proof == DISABLED:
        covers = (
            "The stream was disabled and each of its shards was read to the end: every change made before that is captured. "
            "That nobody has written since is the operator's word."
        )
    else:
        blocked = (
            f"The table's resource policy has denied writes since {request.blocked_at}. "
            if request.blocked_at
            else ""
        )
        covers = (
            f"{blocked}The stream belongs to others and stays enabled: for five seconds each of its shards was read again, and "
            "nothing had arrived. A change made since, or one that DynamoDB had not put into the stream by then, is missing."
        )
    return covers + newest


def _text(micros: int) -> str:
    return f"{dt.datetime.fromtimestamp(micros / 1e6, dt.UTC):%Y-%m-%d %H:%M:%S} UTC"
