"""The end of a capture, where commands are interrupted, or given again after others: what is said is what is true then."""

import time
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from ddb_export.capture import capture, gate, log_writer, silence, stream
from ddb_export.capture.blocking import statement_id
from ddb_export.capture.gate import Gate
from ddb_export.capture.result import FinishResult
from ddb_export.capture.standby import Standby
from ddb_shared.aws.clients import Aws, AwsOptions
from ddb_shared.command.invocation import Invocation
from ddb_shared.errors import StateError
from ddb_shared.format import changes as log
from ddb_shared.format.changes import DISABLED
from ddb_shared.format.manifest import new_export_id
from ddb_shared.runtime import lease as leases
from ddb_shared.runtime.lease import LeaseHeldError, LeaseLostError
from ddb_shared.runtime.stop import Stop
from ddb_shared.storage.s3 import S3Storage
from ddb_shared.table.description import describe
from support.accounts import Accounts
from support.environment import REGION, SECRET, SOURCE
from support.replay import changes
from support.services import Endpoint
from support.tables import SIMPLE_KEY, create_table

CALLER = Invocation("ddb-export", (("profile", ("--profile", "old")),))
STREAM = {"StreamEnabled": True, "StreamViewType": "NEW_IMAGE"}


class Killed(BaseException):
    """The command is gone."""


class Lab:
    """A table at MiniStack, and the folder of an export that follows it; no run does."""

    def __init__(self, aws: Endpoint, accounts: Accounts, name: str, *, of_others: bool) -> None:
        self.client = accounts.dynamodb(aws, SOURCE)
        self.name = name
        self.aws = Aws(AwsOptions(region=REGION, endpoint_url=aws.url))
        self.aws.s3.create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": REGION})
        self.storage = S3Storage(self.aws.s3, name, f"AWSDynamoDB/{new_export_id(time.time())}")
        create_table(self.client, name, SIMPLE_KEY)
        if of_others:
            self.client.update_table(TableName=name, StreamSpecification=STREAM)
        stream.declare(self.storage, describe(self.aws.dynamodb, name), changes_only=False)
        stream.ensure(self.storage, self.aws, name, Stop())

    def put(self, key: str) -> object:
        return self.client.put_item(TableName=self.name, Item={"pk": {"S": key}})

    def finish(self, *, block_writes: bool = False) -> FinishResult:
        return gate.finish(self.aws, self.storage.url, Stop(), block_writes=block_writes, caller=CALLER)

    def finish_killed(
        self, monkeypatch: pytest.MonkeyPatch, step: str, *, block_writes: bool = False
    ) -> None:
        """`--finish` that dies before one of its steps."""

        def die(*_: object) -> None:
            raise Killed

        with monkeypatch.context() as patch:
            patch.setattr(Gate, step, die)
            with pytest.raises(Killed):
                self.finish(block_writes=block_writes)

    def is_blocked(self) -> bool:
        arn = describe(self.aws.dynamodb, self.name).arn
        try:
            return statement_id(self.storage) in self.client.get_resource_policy(ResourceArn=arn)["Policy"]
        except self.client.exceptions.PolicyNotFoundException:
            return False


@pytest.fixture(autouse=True)
def source(monkeypatch: pytest.MonkeyPatch) -> None:
    """Credentials of the source account, a base that is complete, and short silences."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", SOURCE)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    monkeypatch.setattr(Gate, "_require_base", lambda _: None)
    for module in (silence, capture):
        monkeypatch.setattr(module, "QUIET_SECONDS", 0.5)
    monkeypatch.setattr(log_writer, "HEARTBEAT_SECONDS", 0.5)


@pytest.fixture
def lab(aws: Endpoint, accounts: Accounts, unique_name: Callable[[], str]) -> Lab:
    """With a stream of our own."""
    return Lab(aws, accounts, unique_name(), of_others=False)


@pytest.fixture
def lab_of_others(aws: Endpoint, accounts: Accounts, unique_name: Callable[[], str]) -> Lab:
    """With a stream that was there before."""
    return Lab(aws, accounts, unique_name(), of_others=True)


def after_requests(patch: pytest.MonkeyPatch, then: Callable[[], object]) -> None:
    """Makes something happen right after each request is stored."""
    request = Gate._request

    def request_then(self: Gate, *words: Any) -> None:
        request(self, *words)
        then()

    patch.setattr(Gate, "_request", request_then)


def test_writes_that_were_allowed_again_are_not_part_of_the_proof(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Blocked, the stream disabled, killed, unblocked: what is written since is in no stream, and nothing proves its absence."""
    lab.finish_killed(monkeypatch, "_wait_for_end", block_writes=True)
    request = log.read_finish(lab.storage)
    assert request is not None
    assert ("writes blocked", True) == (request.proof, lab.is_blocked())
    gate.unblock_writes(lab.aws, lab.storage.url)
    result = lab.finish()
    assert ("stream disabled", False) == (result.proof, result.writes_blocked)
    assert "operator's word" in result.explains


def test_a_block_of_after_the_end_of_the_stream_proves_nothing(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was written between the two is in no stream; but writes are denied, and the result says so."""
    lab.finish_killed(monkeypatch, "_wait_for_end")
    result = lab.finish(block_writes=True)
    assert ("stream disabled", True, True) == (result.proof, result.writes_blocked, lab.is_blocked())
    assert f"ddb-export --unblock {lab.storage.url} --profile old" in result.text(CALLER)


def test_a_block_that_an_interrupted_command_left_is_told(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """By --finish without the option, and by --cancel."""
    lab.finish_killed(monkeypatch, "_wait_for_silence", block_writes=True)
    result = lab.finish()
    assert ("stream disabled", True) == (result.proof, result.writes_blocked)
    closed = msgspec.json.decode(lab.storage.read(log.CLOSED).data)  # type: ignore[union-attr] # it is there
    lab.storage.write(log.CLOSED, msgspec.json.encode(closed | {"cancelled": True}))
    cancelled = gate.cancel(lab.aws, lab.storage.url, Stop())
    assert (True, True) == (
        cancelled.writes_blocked,
        f"ddb-export --unblock {lab.storage.url} --profile old" in cancelled.text(CALLER),
    )
    gate.unblock_writes(lab.aws, lab.storage.url)
    cancelled = gate.cancel(lab.aws, lab.storage.url, Stop())
    assert (False, False) == (cancelled.writes_blocked, "--unblock" in cancelled.text(CALLER))


def test_an_unblock_while_the_gate_waits_ends_it(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """The stream stays enabled, and nothing is requested."""
    wait = Gate._wait_for_silence

    def unblocked_meanwhile(self: Gate) -> object:
        found = wait(self)
        gate.unblock_writes(lab.aws, lab.storage.url)
        return found

    monkeypatch.setattr(Gate, "_wait_for_silence", unblocked_meanwhile)
    with pytest.raises(StateError, match="no longer denies writes"):
        lab.finish(block_writes=True)
    assert log.read_finish(lab.storage) is None
    assert stream.stream_of(describe(lab.aws.dynamodb, lab.name)).is_enabled


def test_changes_after_the_request_are_waited_for(
    lab_of_others: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stream of others stays enabled: one late change makes the gate look for silence again, and it is captured."""
    late = iter(["late"])
    after_requests(monkeypatch, lambda: [lab_of_others.put(key) for key in late])
    result = lab_of_others.finish()
    assert ("quiet", 1, 1) == (result.proof, result.changes, len(changes(lab_of_others.storage)))


def test_writers_that_go_on_after_the_request_are_refused(
    lab_of_others: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not waited for without limit; and the request that is left does not close the log at the next silence."""
    lab = lab_of_others
    monkeypatch.setattr(silence, "REFUSE_SECONDS", 0.0)
    after_requests(monkeypatch, lambda: lab.put("late"))
    with pytest.raises(StateError, match="still being written: 1 changes"):
        lab.finish()
    request = log.read_finish(lab.storage)
    assert request is not None
    assert (0, None) == (request.changes, log.read_closed(lab.storage))


def test_what_arrives_after_the_stream_was_disabled_is_no_noise(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An earlier --finish has proved silence and disabled the stream: what it still holds is read, not refused as a writer's."""
    lab.finish_killed(monkeypatch, "_request")
    lab.put("late")
    log.write_new(lab.storage, log.FINISH, log.FinishRequest(requested_at="noon", by="ops", proof=DISABLED))
    record = log.read_stream(lab.storage)
    assert record is not None
    stream.disable(lab.aws, lab.name, record, Stop())
    monkeypatch.setattr(silence, "REFUSE_SECONDS", 0.0)
    result = lab.finish()
    assert ("stream disabled", 1) == (result.proof, result.changes)


def test_a_silence_of_before_the_wait_proves_nothing(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is measured from the first record that comes after the wait began, not from the last one before it."""
    monkeypatch.setattr(Standby, "ensure_capture", lambda _: None)
    monkeypatch.setattr(silence, "POLL_SECONDS", 0.0)
    record = log.read_stream(lab.storage)
    assert record is not None

    def heartbeat(number: int, second: float) -> None:
        log.write_new(
            lab.storage,
            log.record_file(number),
            log.LogRecord(
                number=number,
                written_at=f"2026-01-01T00:00:{second:06.3f}Z",
                total_changes=0,
                total_expired=0,
            ),
        )

    heartbeat(1, 0.0)
    read, later = log.read_record, iter([(2, 10.0), (3, 10.2), (4, 10.5)])

    def read_next(storage: S3Storage, number: int) -> object:
        if (found := read(storage, number)) is None:
            heartbeat(*next(later))
        return found

    monkeypatch.setattr(log, "read_record", read_next)
    found = Gate(lab.aws, lab.storage.url, Stop(), CALLER)._wait_for_silence()
    assert isinstance(found, log.LogRecord)
    assert 4 == found.number


def test_a_log_that_another_run_closes_meanwhile_gets_no_more_records(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The lease is free since that run has ended: --finish takes it, and reports the end instead of capturing once more."""
    read = leases.read
    closed = log.Closed(closed_at="noon", last_number=0, proof=DISABLED, explains="It was.")

    def read_late(storage: S3Storage) -> object:
        if log.read_closed(lab.storage) is None:
            log.write_new(lab.storage, log.CLOSED, closed)
        return read(storage)

    monkeypatch.setattr(leases, "read", read_late)
    result = lab.finish()
    assert ("noon", DISABLED) == (result.closed_at, result.proof)
    assert log.latest(lab.storage) is None


def test_a_gate_that_loses_its_lease_ends(lab_of_others: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its own capture is stopped then, and nobody else closes the log."""
    lab = lab_of_others
    monkeypatch.setattr(leases, "RENEW_SECONDS", 0.2)

    def take_lease() -> None:
        found = leases.read(lab.storage)
        assert found is not None
        lab.storage.write(leases.FILE, msgspec.json.encode(msgspec.structs.replace(found.lease, nonce="x")))

    after_requests(monkeypatch, take_lease)
    with pytest.raises(LeaseLostError):
        lab.finish()
    assert log.read_closed(lab.storage) is None


def test_a_lease_that_another_run_takes_at_this_moment_is_no_error(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    """--finish leaves the capture to that run, and takes over once its lease is free."""
    hold = leases.hold
    raced: list[str] = []

    def lose_the_race(storage: S3Storage, stop: Stop, *, activity: str) -> object:
        if raced:
            return hold(storage, stop, activity=activity)
        raced.append(storage.url)
        raise LeaseHeldError(f"{activity}: another run has just taken the lease.")

    monkeypatch.setattr(leases, "hold", lose_the_race)
    lab.put("one")
    assert (1, DISABLED) == (lab.finish().changes, DISABLED)
    assert raced
