"""What is retried, how often and after which wait."""

import random

import pytest
from botocore.exceptions import ResponseStreamingError
from hypothesis import given
from hypothesis import strategies as st

from ddb_shared.errors import RequestError, ServiceError
from ddb_shared.retry import POLICIES, FailureKind, RetryPolicy, classify, retry_broken_responses

KNOWN = {
    FailureKind.THROTTLED: (
        "ProvisionedThroughputExceededException", "ThrottlingException", "RequestLimitExceeded", "Throttling",
        "ThrottledException", "RequestThrottledException", "TooManyRequestsException", "LimitExceededException", "SlowDown",
    ),
    FailureKind.TRANSIENT: (
        "InternalServerError", "ServiceUnavailable", "ReplicatedWriteConflictException", "TransactionConflictException",
        "TransactionInProgressException", "RequestTimeout", "RequestTimeoutException",
        "connection", "timeout", "checksum", "malformed",
    ),
    FailureKind.EXPIRED: ("ExpiredTokenException", "ExpiredToken", "RequestExpired"),
    FailureKind.SKEWED: ("RequestTimeTooSkewed",),
    FailureKind.INVALID: ("ValidationException", "SerializationException", "ItemCollectionSizeLimitExceededException"),
    FailureKind.FATAL: (
        "ResourceNotFoundException", "AccessDeniedException", "ConditionalCheckFailedException", "ResourceInUseException",
        "InvalidSignatureException", "UnrecognizedClientException", "MissingAuthenticationTokenException",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("kind", "code"), [(kind, code) for kind, codes in KNOWN.items() for code in codes])
def test_each_code_that_dynamodb_documents_has_its_kind(kind: FailureKind, code: str) -> None:
    """The list is AWS's: throttling, transient, expired, skewed, invalid, and what no retry fixes."""
    assert kind is classify(RequestError(code, "", 400))


@pytest.mark.parametrize("status", [500, 502, 503, 504])
def test_any_server_error_is_transient(status: int) -> None:
    """An answer of a load balancer has no code of DynamoDB."""
    assert FailureKind.TRANSIENT is classify(RequestError(f"HTTP {status}", "", status))


@pytest.mark.parametrize(("status", "kind"), [(408, FailureKind.TRANSIENT), (429, FailureKind.THROTTLED)])
def test_a_busy_answer_without_a_code_is_retried(status: int, kind: FailureKind) -> None:
    """A proxy or load balancer gives no code of DynamoDB."""
    assert kind is classify(RequestError(f"HTTP {status}", "", status))


@pytest.mark.parametrize("status", [400, 403, 404, 413])
def test_an_unknown_client_error_is_fatal(status: int) -> None:
    """What nobody listed is not retried."""
    assert FailureKind.FATAL is classify(RequestError("SomethingNewException", "", status))


@pytest.mark.parametrize(
    "message",
    [
        "Signature expired: 20240514T111420Z is now earlier than 20240514T111620Z (20240514T112120Z - 5 min.)",
        "Signature not yet current: 20240514T111420Z is still later than 20240514T110000Z",
    ],
)
def test_a_signature_of_another_time_is_skew_not_bad_credentials(message: str) -> None:
    """InvalidSignatureException says in its message alone that only the clock is wrong."""
    assert FailureKind.SKEWED is classify(RequestError("InvalidSignatureException", message, 400))


@given(
    attempt=st.integers(0, 10_000),
    seed=st.integers(),
    base=st.floats(0, 10),
    cap=st.floats(0, 100),
)
def test_a_wait_lies_between_nothing_and_the_doubled_base(
    attempt: int, seed: int, base: float, cap: float
) -> None:
    """Full jitter: from 0 to base x 2^n, and never above the cap, however many attempts there were."""
    wait = RetryPolicy(attempts=1, base_seconds=base, cap_seconds=cap).wait_seconds(
        attempt, random.Random(seed)
    )
    assert 0 <= wait <= min(cap, base * 2.0 ** min(attempt, 30))


def test_waits_fill_their_whole_range() -> None:
    """Clients that were refused together spread over the whole interval, not around its middle."""
    rng = random.Random(1)
    waits = [RetryPolicy(50, 0.05, 20.0).wait_seconds(3, rng) for _ in range(2_000)]
    assert min(waits) < 0.02
    assert max(waits) > 0.38
    assert 0.18 < sum(waits) / len(waits) < 0.22


def test_a_kind_has_a_policy_exactly_if_it_is_retried() -> None:
    """Invalid and fatal errors have none, so no loop can retry them."""
    assert set(FailureKind) - {FailureKind.INVALID, FailureKind.FATAL} == set(POLICIES)


def test_throttling_is_waited_out_for_minutes() -> None:
    """A table that lets nothing through is given more than five minutes on average before the run gives up."""
    policy = POLICIES[FailureKind.THROTTLED]
    mean = sum(
        min(policy.cap_seconds, policy.base_seconds * 2**attempt) / 2
        for attempt in range(policy.attempts - 1)
    )
    assert 300 < mean < 600


class Broken:
    """A call to S3 whose response ends early `failures` times."""

    def __init__(self, failures: int) -> None:
        self.calls = 0
        self.waits: list[float] = []
        self._failures = failures

    def __call__(self) -> str:
        self.calls += 1
        if self.calls <= self._failures:
            raise ResponseStreamingError(error="cut off")
        return "all of it"


@pytest.mark.parametrize(("failures", "attempts", "calls"), [(2, None, 3), (1, 2, 2)])
def test_a_response_that_ended_early_is_asked_for_again(
    failures: int, attempts: int | None, calls: int
) -> None:
    """With a wait before each further try."""
    call = Broken(failures)
    assert retry_broken_responses(call, attempts=attempts, sleep=call.waits.append) == "all of it"
    assert (call.calls, len(call.waits)) == (calls, failures)
    assert all(wait >= 0 for wait in call.waits)


@pytest.mark.parametrize(("attempts", "calls"), [(None, POLICIES[FailureKind.TRANSIENT].attempts), (1, 1)])
def test_responses_that_always_end_early_are_an_error(attempts: int | None, calls: int) -> None:
    """After as many tries as are allowed, and no wait after the last; the renewal of a lease has one."""
    call = Broken(1_000)
    with pytest.raises(ServiceError, match=f"ended early {calls} times in a row"):
        retry_broken_responses(call, attempts=attempts, sleep=call.waits.append)
    assert (call.calls, len(call.waits)) == (calls, calls - 1)
