"""Who calls, and whether the credentials still hold: access keys, session tokens and the clock. No signature is checked."""

from __future__ import annotations

import email.utils
import re
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from support.fake.errors import FakeError
from support.fake.plan import FaultKind, FaultPlan

SKEW_SECONDS: Final = 300
DEFAULT_ACCOUNT: Final = "123456789012"

_CREDENTIAL: Final = re.compile(r"Credential=([^/]+)/\d{8}/([^/]+)/")
_STAMP: Final = "%Y%m%dT%H%M%SZ"


@dataclass(frozen=True, slots=True)
class Caller:
    """The credentials of a call; a 12-digit access key is its own account, all others share one."""

    access_key: str
    region: str
    token: str | None
    stamp: str

    @property
    def account(self) -> str:
        """12 digits."""
        return self.access_key if re.fullmatch(r"\d{12}", self.access_key) else DEFAULT_ACCOUNT

    @property
    def arn(self) -> str:
        """As STS tells it."""
        return f"arn:aws:iam::{self.account}:root"


class Identity:
    """Checks credentials by the plan, and hands out new ones; `faults` counts the refusals."""

    def __init__(self, plan: FaultPlan) -> None:
        self.plan = plan
        self.tokens: Counter[str] = Counter()
        self.faults: Counter[str] = Counter()
        self._newest = ""
        self._issued = 0

    def now(self) -> float:
        """The fake's clock."""
        return time.time() + self.plan.clock_offset_seconds

    def date(self) -> str:
        """The fake's clock as a Date header."""
        return email.utils.formatdate(self.now(), usegmt=True)

    def caller(self, headers: Mapping[str, str]) -> Caller:
        """Who calls; raises MissingAuthenticationTokenException for an unsigned call."""
        match = _CREDENTIAL.search(headers.get("Authorization", ""))
        if match is None:
            raise FakeError("MissingAuthenticationTokenException", "Request is missing Authentication Token")
        return Caller(match[1], match[2], headers.get("X-Amz-Security-Token"), headers.get("X-Amz-Date", ""))

    def check(self, caller: Caller) -> None:
        """Raises for expired credentials and for a clock that is more than five minutes off."""
        if self._expired(caller):
            self.faults[FaultKind.EXPIRED_TOKEN] += 1
            raise expired()
        skew = _epoch(caller.stamp) - self.now()
        if abs(skew) > SKEW_SECONDS:
            self.faults[FaultKind.SKEWED] += 1
            raise skewed(caller.stamp, self.now())

    def _expired(self, caller: Caller) -> bool:
        token = caller.token
        if caller.access_key in self.plan.expired or token in self.plan.expired:
            return True
        if token is None:
            return False
        if token not in self.tokens:
            self._newest = token
        self.tokens[token] += 1
        if self.plan.newest_token_only and token != self._newest:
            return True
        limit = self.plan.calls_per_token
        return limit is not None and self.tokens[token] > limit

    def issue(self, account: str, seconds: float) -> dict[str, Any]:
        """New credentials as a container's or instance's metadata service hands them out; the newest from now on."""
        self._issued += 1
        token = self._newest = f"token-{self._issued}"
        self.tokens[token] = 0
        expiration = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + seconds))
        return {"AccessKeyId": account, "SecretAccessKey": "secret", "Token": token, "Expiration": expiration}


def expired() -> FakeError:
    """The answer to credentials that have expired."""
    return FakeError("ExpiredTokenException", "The security token included in the request is expired")


def skewed(stamp: str, now: float) -> FakeError:
    """The answer to a signature of another time, in AWS's words."""
    at = _text(now)
    if _epoch(stamp) < now:
        edge = f"is now earlier than {_text(now - SKEW_SECONDS)} ({at} - 5 min.)"
        return FakeError("InvalidSignatureException", f"Signature expired: {stamp} {edge}")
    edge = f"is still later than {_text(now + SKEW_SECONDS)} ({at} + 5 min.)"
    return FakeError("InvalidSignatureException", f"Signature not yet current: {stamp} {edge}")


def denied(caller: Caller, operation: str) -> FakeError:
    """The answer to a caller without permission."""
    action = f"dynamodb:{operation}"
    text = (
        f"is not authorized to perform: {action} because no identity-based policy allows the {action} action"
    )
    return FakeError("AccessDeniedException", f"User: {caller.arn} {text}")


def caller_identity(caller: Caller) -> str:
    """GetCallerIdentity's answer."""
    result = f"<Arn>{caller.arn}</Arn><UserId>{caller.account}</UserId><Account>{caller.account}</Account>"
    return (
        '<GetCallerIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/">'
        f"<GetCallerIdentityResult>{result}</GetCallerIdentityResult>"
        "<ResponseMetadata><RequestId>00000000-0000-0000-0000-000000000000</RequestId></ResponseMetadata>"
        "</GetCallerIdentityResponse>"
    )


def _text(epoch: float) -> str:
    return time.strftime(_STAMP, time.gmtime(epoch))


def _epoch(stamp: str) -> float:
    try:
        return email.utils.mktime_tz((*time.strptime(stamp, _STAMP)[:9], 0))
    except ValueError as error:
        raise FakeError(
            "IncompleteSignatureException", f"Date must be in ISO-8601 'basic format': {stamp}"
        ) from error
