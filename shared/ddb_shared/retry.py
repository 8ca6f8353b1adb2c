"""Which failures are retried, how often and after which delay: the retry policy, as data.

The codes come from `botocore/retries/standard.py` and from the DynamoDB developer guide, "Error handling".
"""

from __future__ import annotations

import enum
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from http import HTTPStatus
from typing import Final, TypeVar

import botocore.exceptions as boto

from ddb_shared.errors import EXPIRED_CODES, RequestError, ServiceError

Result = TypeVar("Result")


class FailureKind(enum.Enum):
    """What an error of the data plane means for its request."""

    THROTTLED = "throttled"
    TRANSIENT = "transient"
    EXPIRED = "expired"
    SKEWED = "skewed"
    INVALID = "invalid"
    FATAL = "fatal"


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """Exponential backoff with full jitter: wait a random time up to `base_seconds` x 2^n, at most `cap_seconds`.

    `attempts` counts consecutive rounds without progress; a round that processed one item resets the count.
    Full jitter spreads out clients that were throttled together
    (https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/).
    """

    attempts: int
    base_seconds: float
    cap_seconds: float

    def wait_seconds(self, attempt: int, rng: random.Random) -> float:
        """The wait before try number `attempt` + 1, counted from 0."""
        return rng.uniform(0, min(self.cap_seconds, self.base_seconds * 2 ** min(attempt, 30)))


POLICIES: Final = {
    # 50 attempts, as in AWS's own bulk loader; 50 ms is the SDKs' base for DynamoDB and 20 s their cap: about seven
    # minutes on average for a table that processes nothing.
    FailureKind.THROTTLED: RetryPolicy(attempts=50, base_seconds=0.05, cap_seconds=20.0),
    # The SDKs have long made 10 attempts for DynamoDB; 12 take about half a minute, longer than a failover.
    FailureKind.TRANSIENT: RetryPolicy(attempts=12, base_seconds=0.05, cap_seconds=20.0),
    # New credentials either work at once or not at all; further attempts allow for a slow provider.
    FailureKind.EXPIRED: RetryPolicy(attempts=4, base_seconds=0.5, cap_seconds=5.0),
    # One correction by the service's clock is enough; a clock that steps in between takes a second one.
    FailureKind.SKEWED: RetryPolicy(attempts=4, base_seconds=0.0, cap_seconds=0.0),
}

_THROTTLING: Final = frozenset(
    {
        "ProvisionedThroughputExceededException",
        "ThrottlingException",
        "RequestLimitExceeded",
        "Throttling",
        "ThrottledException",
        "RequestThrottledException",
        "TooManyRequestsException",
        "LimitExceededException",
        "RequestThrottled",
        "BandwidthLimitExceeded",
        "PriorRequestNotComplete",
        "EC2ThrottledException",
        "SlowDown",
    }
)
_TRANSIENT: Final = frozenset(
    {
        "connection",
        "timeout",
        "checksum",
        "malformed",
        "InternalServerError",
        "InternalFailure",
        "ServiceUnavailable",
        "ServiceUnavailableException",
        "RequestTimeout",
        "RequestTimeoutException",
        "ReplicatedWriteConflictException",
        "TransactionConflictException",
        "TransactionInProgressException",
    }
)
# Messages of InvalidSignatureException when the clocks differ by more than five minutes.
_SKEW_TEXTS: Final = ("Signature expired", "Signature not yet current")
_INVALID: Final = frozenset(
    {"ValidationException", "SerializationException", "ItemCollectionSizeLimitExceededException"}
)


@cache
def _broken_responses() -> tuple[type[Exception], ...]:
    """Errors of S3 responses that end early: botocore retries only what fails before a response begins."""
    import botocore.parsers  # noqa: PLC0415 - 70 ms that `--help` does without
    import urllib3.exceptions  # noqa: PLC0415 - as above

    return (
        urllib3.exceptions.HTTPError,
        boto.ResponseStreamingError,
        boto.IncompleteReadError,
        boto.FlexibleChecksumError,
        botocore.parsers.ResponseParserError,
    )


def retry_broken_responses(
    call: Callable[[], Result],
    *,
    attempts: int | None = None,
    rng: random.Random | None = None,
    sleep: Callable[[float], None] = time.sleep,
) -> Result:
    """Repeats a call to S3 whose response ended early; raises ServiceError once `attempts`, or those of the policy, are used up."""
    policy, rng = POLICIES[FailureKind.TRANSIENT], rng or random.Random()
    attempts = attempts or policy.attempts
    attempt = 0
    while True:
        try:
            return call()
        except _broken_responses() as error:
            attempt += 1
            if attempt >= attempts:
                raise ServiceError(f"S3 responses ended early {attempt} times in a row: {error}") from error
            sleep(policy.wait_seconds(attempt, rng))


def classify(error: RequestError) -> FailureKind:
    """What `error` means; an unknown code with a 5xx status counts as transient."""
    # 429 and 408 also come from proxies and load balancers, without an AWS error code
    if error.code in _THROTTLING or error.status == HTTPStatus.TOO_MANY_REQUESTS:
        return FailureKind.THROTTLED
    if error.code in EXPIRED_CODES:
        return FailureKind.EXPIRED
    if error.code == "RequestTimeTooSkewed" or any(text in error.message for text in _SKEW_TEXTS):
        return FailureKind.SKEWED
    if error.code in _INVALID:
        return FailureKind.INVALID
    if error.code in _TRANSIENT or error.status == HTTPStatus.REQUEST_TIMEOUT or error.status >= 500:  # noqa: PLR2004 - HTTP's class of server errors
        return FailureKind.TRANSIENT
    return FailureKind.FATAL
