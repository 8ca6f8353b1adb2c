"""The change log: what is written comes back, readers check all that they can, and two writers cannot both commit."""

import gzip
import hashlib
import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ddb_shared.errors import ExportError, ShardError
from ddb_shared.format import changes as log
from ddb_shared.format.change_lines import Change, change_line, compress_lines, decode_changes
from ddb_shared.format.changes import Closed, FinishRequest, LogRecord, Position, StreamRecord, SummaryRecord
from ddb_shared.storage.base import ConflictError
from support.memory import MemoryFolder

DATA = Path(__file__).parents[2] / "data"
LINE = b'{"Metadata":{"WriteTimestampMicros":{"N":"1"}},"Keys":{"pk":{"S":"a"}}}\n'
VALUES = st.one_of(
    st.text().map(lambda text: {"S": text}),
    st.integers().map(lambda number: {"N": str(number)}),
    st.lists(st.text()).map(lambda texts: {"L": [{"M": {text: {"NULL": True}}} for text in texts]}),
)
IMAGES = st.dictionaries(st.text(min_size=1), VALUES, max_size=4)


def sample() -> MemoryFolder:
    """A log of version 1."""
    return MemoryFolder.of(DATA / "changes-1", "moves/AWSDynamoDB/01732350000000-0badcafe")


def record(number: int, lines: list[bytes], **members: Any) -> tuple[LogRecord, bytes]:
    """A record and the data file that it commits."""
    data = compress_lines(lines)
    return (
        LogRecord(
            number=number,
            file=log.data_file(number, "0badcafe"),
            stored_bytes=len(data),
            sha256=hashlib.sha256(data).hexdigest(),
            changes=len(lines),
            written_at="2026-01-01T00:00:00.000Z",
            total_changes=number,
            total_expired=0,
            **members,
        ),
        data,
    )


def stored(*records: LogRecord) -> MemoryFolder:
    storage = MemoryFolder()
    for each in records:
        log.write_new(storage, log.record_file(each.number), each)
    return storage


def numbered(count: int) -> list[LogRecord]:
    return [record(number + 1, [LINE])[0] for number in range(count)]


class TestLines:
    """One change a line."""

    @given(
        micros=st.integers(0, 2**53), sequence=st.integers(0, 10**39).map(str), expired=st.booleans(), keys=IMAGES,
        image=st.none() | IMAGES, indent=st.sampled_from([None, 1]),
    )  # fmt: skip
    def test_a_change_comes_back(
        self, micros: int, sequence: str, expired: bool, keys: dict[str, Any], image: dict[str, Any] | None, indent: int | None
    ) -> None:  # fmt: skip
        """Whatever the images hold, and however the service lays out its JSON."""
        raw = [msgspec.Raw(json.dumps(each, indent=indent).encode()) for each in (keys, image)]
        line = change_line(
            micros=micros, sequence=sequence, expired=expired, keys=raw[0], new_image=None if image is None else raw[1]
        )  # fmt: skip
        assert line.endswith(b"}\n")
        assert line.count(b"\n") == 1
        (change,) = decode_changes(line)
        assert (micros, sequence, expired) == (change.micros, change.sequence, change.expired)
        assert keys == json.loads(bytes(change.keys))
        assert image == (None if change.new_image is None else json.loads(bytes(change.new_image)))

    def test_a_line_is_in_aws_own_form(self) -> None:
        """The member names and their order are those of an incremental export, with two further ones in Metadata."""
        line = change_line(
            micros=1690000000000000,
            sequence="100000000000000000001",
            expired=True,
            keys=msgspec.Raw(b'{"pk":{"S":"a"}}'),
            new_image=None,
        )
        assert (
            b'{"Metadata":{"WriteTimestampMicros":{"N":"1690000000000000"},"SequenceNumber":{"S":"100000000000000000001"},'
            b'"UserIdentity":{"S":"dynamodb.amazonaws.com"}},"Keys":{"pk":{"S":"a"}}}\n'
        ) == line

    def test_a_line_of_an_incremental_export_is_read(self) -> None:
        """Old images are skipped, and what only our lines have is empty."""
        line = (
            b'{"Metadata":{"WriteTimestampMicros":{"N":"1690000000123456"}},"Keys":{"pk":{"S":"a"}},'
            b'"OldImage":{"pk":{"S":"a"},"v":{"N":"1"}},"NewImage":{"pk":{"S":"a"},"v":{"N":"2"}}}\n'
        )
        (change,) = decode_changes(line)
        assert (1690000000123456, "", False) == (change.micros, change.sequence, change.expired)
        assert change.new_image is not None
        assert b'{"pk":{"S":"a"},"v":{"N":"2"}}' == bytes(change.new_image)

    @pytest.mark.parametrize(
        "text", [b"{}", b"[]", b'{"Keys":{}}', LINE[:-3], b'{"Metadata":{},"Keys":{}}', b"\xff"]
    )
    def test_what_is_no_change_is_refused(self, text: bytes) -> None:
        """A line without keys or time, and what is not JSON or not UTF-8."""
        with pytest.raises((msgspec.DecodeError, UnicodeDecodeError)):
            decode_changes(text + b"\n")


class TestRecords:
    """What is committed."""

    @given(
        positions=st.dictionaries(
            st.text(min_size=1),
            st.builds(
                Position, sequence=st.integers().map(str), closed=st.booleans(), at=st.integers(0, 2**53)
            ),
        ),
        number=st.integers(1, 10**12 - 1),
        total=st.integers(0, 2**62),
    )
    def test_a_record_comes_back(self, positions: dict[str, Position], number: int, total: int) -> None:
        """Every member, whatever shards are called."""
        written = LogRecord(
            number=number, written_at="now", positions=positions, total_changes=total, total_expired=0
        )
        assert written == log.read_record(stored(written), number)

    def test_a_number_is_committed_once(self) -> None:
        """The second of two captures is told."""
        storage = stored(*numbered(1))
        with pytest.raises(ConflictError):
            log.write_new(storage, log.record_file(1), numbered(1)[0])

    def test_what_is_not_written_yet_is_none(self) -> None:
        """Readers ask for the next record again and again."""
        storage = MemoryFolder()
        assert (None, None) == (log.read_record(storage, 1), log.latest(storage))
        assert (None, None, None) == (
            log.read_stream(storage),
            log.read_finish(storage),
            log.read_closed(storage),
        )

    @pytest.mark.parametrize(
        "members",
        [
            {"number": 2},
            {"file": "../manifest.json"},
            {"file": "000000000002-0badcafe.json.gz"},
            {"file": "000000000001-0badcafe.json.gz/../../../x"},
            {"format": "ddb-transfer/2"},
            {"positions": []},
            {"total_changes": None},
        ],
    )
    def test_an_altered_record_is_refused(self, members: dict[str, Any]) -> None:
        """Another number, a file elsewhere, an unknown version, damaged members."""
        storage = stored(*numbered(1))
        document = json.loads(storage.files[log.record_file(1)]) | members
        storage.files[log.record_file(1)] = json.dumps(document).encode()
        with pytest.raises(ExportError, match="000000000001"):
            log.read_record(storage, 1)

    @pytest.mark.parametrize("count", [1, 255, 256, 257, 999, 1000, 1001, 1999, 2000, 2300])
    @pytest.mark.parametrize("with_summaries", [True, False])
    def test_the_newest_record_is_found(self, count: int, with_summaries: bool) -> None:
        """However long the log, with and without the summaries that a crash may have left out."""
        records = numbered(count)
        storage = stored(*records)
        for number in range(log.SUMMARY_EVERY, count + 1, log.SUMMARY_EVERY):
            if with_summaries:
                log.write_summary(storage, SummaryRecord(number=number))
        assert records[-1] == log.latest(storage)

    def test_the_state_adds_up(self) -> None:
        """The newest position of each shard; with a summary the records before it are not read."""
        positions = [
            {"a": Position(sequence="1"), "b": Position()},
            {"a": Position(sequence="2", closed=True)},
        ]
        records = [record(number + 1, [LINE], positions=moved)[0] for number, moved in enumerate(positions)]
        storage = stored(*records)
        state = log.read_state(storage)
        assert {"a": Position(sequence="2", closed=True), "b": Position()} == state.positions
        assert (2, 2) == (state.number, state.total_changes)
        log.write_summary(storage, state)
        log.write_summary(storage, state)
        for number in (1, 2):
            del storage.files[log.record_file(number)]
        assert state == log.read_state(storage)


class TestFiles:
    """What a reader checks of a data file."""

    def test_changes_are_read_in_order(self) -> None:
        """Those of the file that the record names."""
        storage, lines = MemoryFolder(), [LINE.replace(b'"1"', b'"%d"' % micros) for micros in range(500)]
        committed, storage.files["changes/" + log.data_file(1, "0badcafe")] = record(1, lines)
        changes = log.read_changes(storage, committed)
        assert list(range(500)) == [change.micros for change in changes]

    def test_a_record_of_positions_alone_has_no_changes(self) -> None:
        """It has no file either."""
        committed = LogRecord(number=1, written_at="now", total_changes=0, total_expired=0)
        assert [] == log.read_changes(MemoryFolder(), committed)

    @pytest.mark.parametrize(
        ("damage", "said"),
        [
            (lambda _: None, "is missing"),
            (lambda data: data[:-1], "differs"),
            (lambda data: data[:-1] + b"x", "differs"),
            (lambda _: gzip.compress(LINE), "differs"),
        ],
    )
    def test_an_altered_file_is_refused(self, damage: Any, said: str) -> None:
        """Missing, truncated, changed or replaced; the file is named."""
        storage = MemoryFolder()
        committed, data = record(1, [LINE, LINE])
        if (damaged := damage(data)) is not None:
            storage.files["changes/" + committed.file] = damaged
        with pytest.raises(ShardError, match=f"000000000001-0badcafe.json.gz {said}|{said}"):
            log.read_changes(storage, committed)

    @pytest.mark.parametrize(
        ("data", "said"),
        [
            (b"x", "gzip"),
            (gzip.compress(b"x", mtime=0), "damaged"),
            (gzip.compress(LINE, mtime=0), "holds 1"),
        ],
    )
    def test_a_file_that_is_as_recorded_but_not_changes_is_refused(self, data: bytes, said: str) -> None:
        """Not gzip, not JSON, another number of lines."""
        storage = MemoryFolder()
        committed = msgspec.structs.replace(
            record(1, [LINE, LINE])[0], stored_bytes=len(data), sha256=hashlib.sha256(data).hexdigest()
        )
        storage.files["changes/" + committed.file] = data
        with pytest.raises(ShardError, match=said):
            log.read_changes(storage, committed)


def test_a_log_of_version_1_is_read_for_ever() -> None:
    """The sample was written by the first release that had a log; what a reader makes of it never changes."""
    storage = sample()
    assert StreamRecord(
        table_arn="arn:aws:dynamodb:eu-central-1:111111111111:table/Orders",
        table_id="11991185-e7ab-4da5-8bab-03f0db0b7bfd",
        stream_arn="arn:aws:dynamodb:eu-central-1:111111111111:table/Orders/stream/2026-01-01T00:00:00.123",
        view="NEW_IMAGE",
        ours=True,
        intended_at="2026-01-01T00:00:00.000Z",
        enabled_at="2026-01-01T00:00:05.000Z",
    ) == log.read_stream(storage)
    first, second = (log.read_record(storage, number) for number in (1, 2))
    assert first is not None
    assert second == log.latest(storage)
    assert {"shardId-1": Position(sequence="300000000000000000002", at=1767225606000000)} == first.positions
    put, delete = log.read_changes(storage, first)
    assert isinstance(put, Change)
    assert (b'{"id":{"S":"a"},"n":{"N":"1"}}', None) == (bytes(put.image), delete.new_image)
    assert (False, True, "300000000000000000002") == (put.expired, delete.expired, delete.sequence)
    assert [] == log.read_changes(storage, second) if second else False
    assert SummaryRecord(
        number=2,
        written_at="2026-01-01T04:00:00.000Z",
        positions={"shardId-1": Position(sequence="300000000000000000002", closed=True, at=1767225606000000)},
        total_changes=2,
        total_expired=1,
    ) == log.read_state(storage)
    assert FinishRequest(
        requested_at="2026-01-01T04:00:00.000Z", by="ops on host", proof=log.DISABLED
    ) == log.read_finish(storage)
    closed = log.read_closed(storage)
    assert isinstance(closed, Closed)
    assert (2, 2, 1, False) == (closed.last_number, closed.changes, closed.expired, closed.cancelled)
