"""What is retried, how often and after which wait: the whole retry policy, as data.

The codes are those of `botocore/retries/standard.py` and of the DynamoDB developer guide, "Error handling".
"""

from __future__ import annotations

import enum
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, TypeVar

import botocore.exceptions as boto
import botocore.parsers
import urllib3.exceptions

from ddb_shared.errors import EXPIRED_CODES, ServiceError, WireError

Answer = TypeVar("Answer")


class Kind(enum.Enum):
    """What an error of the wire means for the request that met it."""

    THROTTLED = "throttled"
    TRANSIENT = "transient"
    EXPIRED = "expired"
    SKEWED = "skewed"
    INVALID = "invalid"
    FATAL = "fatal"


@dataclass(frozen=True, slots=True)
class Policy:
    """Exponential backoff with full jitter: wait a random time up to `base_seconds` x 2^n, at most `cap_seconds`.

    `attempts` counts rounds without any progress; a round that moved one item begins the count anew.
    Full jitter spreads clients that were refused together
    (https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/).
    """

    attempts: int
    base_seconds: float
    cap_seconds: float

    def wait_seconds(self, attempt: int, rng: random.Random) -> float:
        """The wait before try number `attempt` + 1, counted from 0."""
        return rng.uniform(0, min(self.cap_seconds, self.base_seconds * 2 ** min(attempt, 30)))


POLICIES: Final = {
    # 50 tries as AWS's own bulk loader makes; 50 ms is the SDKs' base for DynamoDB and 20 s their cap: together they
    # wait about seven minutes on average for a table that lets nothing through at all.
    Kind.THROTTLED: Policy(attempts=50, base_seconds=0.05, cap_seconds=20.0),
    # 10 tries are the SDKs' long-standing number for DynamoDB; about half a minute, longer than a fail-over.
    Kind.TRANSIENT: Policy(attempts=12, base_seconds=0.05, cap_seconds=20.0),
    # new credentials either work at once or not at all; the second try is for a provider that lags.
    Kind.EXPIRED: Policy(attempts=4, base_seconds=0.5, cap_seconds=5.0),
    # one correction by the service's own clock suffices; a step of the clock in between takes a second one.
    Kind.SKEWED: Policy(attempts=4, base_seconds=0.0, cap_seconds=0.0),
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
# InvalidSignatureException says so when the clocks are more than five minutes apart.
_SKEW_TEXTS: Final = ("Signature expired", "Signature not yet current")
_INVALID: Final = frozenset(
    {"ValidationException", "SerializationException", "ItemCollectionSizeLimitExceededException"}
)


# Answers of S3 that broke off on their way: botocore retries what fails before an answer begins, and no SDK these.
_BROKEN_ANSWERS: Final = (
    urllib3.exceptions.HTTPError,
    boto.ResponseStreamingError,
    boto.IncompleteReadError,
    boto.FlexibleChecksumError,
    botocore.parsers.ResponseParserError,
)


def patiently(
    call: Callable[[], Answer],
    *,
    rng: random.Random | None = None,
    sleep: Callable[[float], None] = time.sleep,
) -> Answer:
    """Calls S3 again while its answer breaks off; raises ServiceError when the policy's tries are used up."""
    policy, rng = POLICIES[Kind.TRANSIENT], rng or random.Random()
    attempt = 0
    while True:
        try:
            return call()
        except _BROKEN_ANSWERS as error:
            attempt += 1
            if attempt >= policy.attempts:
                raise ServiceError(f"S3's answers broke off {attempt} times in a row: {error}") from error
            sleep(policy.wait_seconds(attempt, rng))


def classify(error: WireError) -> Kind:
    """What `error` means; whatever is unknown and came with a 5xx status counts as transient."""
    if error.code in _THROTTLING:
        return Kind.THROTTLED
    if error.code in EXPIRED_CODES:
        return Kind.EXPIRED
    if error.code == "RequestTimeTooSkewed" or any(text in error.message for text in _SKEW_TEXTS):
        return Kind.SKEWED
    if error.code in _INVALID:
        return Kind.INVALID
    if error.code in _TRANSIENT or error.status >= 500:  # noqa: PLR2004 - HTTP's class of server errors
        return Kind.TRANSIENT
    return Kind.FATAL
