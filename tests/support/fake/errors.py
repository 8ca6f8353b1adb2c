"""DynamoDB's errors in the form that they have on the wire."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import msgspec

_SERVICE: Final = "com.amazonaws.dynamodb.v20120810#"
_COMMON: Final = "com.amazon.coral.service#"
_NAMESPACES: Final = {
    "ValidationException": "com.amazon.coral.validate#",
    "AccessDeniedException": _COMMON,
    "ExpiredTokenException": _COMMON,
    "InvalidSignatureException": _COMMON,
    "MissingAuthenticationTokenException": _COMMON,
    "SerializationException": _COMMON,
    "UnknownOperationException": _COMMON,
}
_THROTTLE_MESSAGES: Final = {
    "ProvisionedThroughputExceededException": "The level of configured provisioned throughput for the table was "
    "exceeded. Consider increasing your provisioning level with the UpdateTable API.",
    "ThrottlingException": "Throughput exceeds the current capacity of your table or index. DynamoDB is automatically "
    "scaling your table or index so please try again shortly. If exceptions persist, check if you have a hot key: "
    "https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/bp-partition-key-design.html",
    "RequestLimitExceeded": "Throughput exceeds the current throughput limit for your account. Please contact AWS "
    "Support at https://aws.amazon.com/support request a limit increase.",
}


@dataclass(frozen=True, slots=True)
class Reason:
    """Why a request was throttled: one of AWS's 16 words, and the ARN of the table."""

    reason: str
    resource: str


class FakeError(Exception):
    """An error that the fake answers with."""

    def __init__(
        self, code: str, message: str, *, status: int = 400, reasons: tuple[Reason, ...] = ()
    ) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.status = status
        self.reasons = reasons

    def body(self) -> bytes:
        """The answer's body; ThrottlingException writes its reasons in lower case the others do not."""
        body: dict[str, Any] = {"__type": _NAMESPACES.get(self.code, _SERVICE) + self.code}
        body["Message" if self.code == "AccessDeniedException" else "message"] = self.message
        if self.reasons:
            lower = self.code == "ThrottlingException"
            body["throttlingReasons" if lower else "ThrottlingReasons"] = self.reasons
        return msgspec.json.encode(body)


def invalid(message: str) -> FakeError:
    """A ValidationException."""
    return FakeError("ValidationException", message)


def not_found(detail: str = "") -> FakeError:
    """A ResourceNotFoundException; the control plane names the table, the data plane does not."""
    return FakeError("ResourceNotFoundException", "Requested resource not found" + detail)


def throttled(code: str, *reasons: Reason) -> FakeError:
    """One of the three throttling errors, with its reasons."""
    return FakeError(code, _THROTTLE_MESSAGES.get(code, "Rate exceeded"), reasons=reasons)
