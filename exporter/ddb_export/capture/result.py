"""What the commands that end a capture print: --finish, --cancel and --unblock."""

from __future__ import annotations

import msgspec

from ddb_shared.command.invocation import Invocation


class FinishResult(msgspec.Struct, frozen=True, kw_only=True):
    """What `--finish --json` prints: how many changes were captured, and which proof there is that these are all."""

    status: str = "closed"
    export: str
    changes: int
    expired: int
    proof: str
    explains: str
    closed_at: str
    writes_blocked: bool
    seconds: float

    def text(self, caller: Invocation) -> str:
        """The same for people."""
        expired = f" ({self.expired:,} of them deletions by time to live)" if self.expired else ""
        lines = [
            f"Closed at {self.closed_at}: {self.changes:,} changes captured{expired}. Proof: {self.proof}.",
            self.explains,
            f"An import with --follow ends once it has applied them. Then compare: ddb-verify {self.export} TABLE",
        ]
        if self.writes_blocked:
            lines.append(denied(self.export, caller))
        return "\n".join(lines)


class CancelResult(msgspec.Struct, frozen=True, kw_only=True):
    """What `--cancel --json` prints."""

    status: str = "cancelled"
    export: str
    stream_disabled: bool
    writes_blocked: bool
    seconds: float

    def text(self, caller: Invocation) -> str:
        """The same for people."""
        stream = (
            "The stream that was enabled for it is disabled."
            if self.stream_disabled
            else "The stream is left as it is."
        )
        blocked = f"\n{denied(self.export, caller)}" if self.writes_blocked else ""
        return f"The follow of {self.export} is cancelled; its changes are not complete. {stream}{blocked}"


class UnblockResult(msgspec.Struct, frozen=True, kw_only=True):
    """What `--unblock --json` prints: `unblocked`, or `not blocked` where there was nothing to do."""

    status: str
    export: str
    table: str

    def text(self, _: Invocation) -> str:
        """The same for people."""
        if self.status == "unblocked":
            return f"The resource policy of table {self.table} is as it was before --block-writes."
        return f"The resource policy of table {self.table} does not deny writes; nothing was changed."


def denied(url: str, caller: Invocation, what: str = "the source") -> str:
    """That writes are denied still, and how the caller allows them again; the URL is that of an export or a move."""
    return f"Writes to {what} are still denied. Allow them again with: {caller.next('--unblock', url)}"
