"""What the commands that end a capture print: --finish, --cancel and --unblock."""

from __future__ import annotations

import msgspec


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

    def text(self) -> str:
        """The same for people."""
        expired = f" ({self.expired:,} of them deletions by time to live)" if self.expired else ""
        lines = [
            f"Closed at {self.closed_at}: {self.changes:,} changes captured{expired}. Proof: {self.proof}.",
            self.explains,
            f"An import with --follow ends once it has applied them. Then compare: ddb-verify {self.export} TABLE",
        ]
        if self.writes_blocked:
            lines.append(denied(self.export))
        return "\n".join(lines)


class CancelResult(msgspec.Struct, frozen=True, kw_only=True):
    """What `--cancel --json` prints."""

    status: str = "cancelled"
    export: str
    stream_disabled: bool
    writes_blocked: bool
    seconds: float

    def text(self) -> str:
        """The same for people."""
        stream = (
            "The stream that was enabled for it is disabled."
            if self.stream_disabled
            else "The stream is left as it is."
        )
        blocked = f"\n{denied(self.export)}" if self.writes_blocked else ""
        return f"The follow of {self.export} is cancelled; its changes are not complete. {stream}{blocked}"


class UnblockResult(msgspec.Struct, frozen=True, kw_only=True):
    """What `--unblock --json` prints: `unblocked`, or `not blocked` where there was nothing to do."""

    status: str
    export: str
    table: str

    def text(self) -> str:
        """The same for people."""
        if self.status == "unblocked":
            return f"The resource policy of table {self.table} is as it was before --block-writes."
        return f"The resource policy of table {self.table} does not deny writes; nothing was changed."


def denied(export: str) -> str:
    """That writes are denied still, and how to allow them again."""
    return f"Writes to the source are still denied. Allow them again with: ddb-export --unblock {export}"
