"""Applications that write to a table all the time: puts, updates and deletes of random keys, by several threads."""

import random
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

from botocore.exceptions import ClientError

# An emulator takes some hundred writes a second; between two of a thread, others get their turn.
PAUSE_SECONDS = 0.002


class Writers:
    """Writes until `stop`, or until the service denies it; `count` writes were confirmed.

    Keys are pk (S) and sk (N): three for each of `keys` partition keys, or those that `key` draws.
    """

    def __init__(
        self,
        client: Any,
        table: str,
        *,
        threads: int = 3,
        keys: int = 200,
        seed: int = 0,
        key: Callable[[random.Random], dict[str, Any]] | None = None,
        pause_seconds: float = PAUSE_SECONDS,
    ) -> None:
        self._client = client
        self._table = table
        self._key = key or (lambda rng: _random_key(rng, keys))
        self._pause_seconds = pause_seconds
        self._stopped = threading.Event()
        self._threads = [
            threading.Thread(
                target=self._write, args=(random.Random(f"{seed}-{number}"), number), daemon=True
            )
            for number in range(threads)
        ]
        self._counts = [0] * threads
        self._errors: list[BaseException] = []

    @property
    def count(self) -> int:
        return sum(self._counts)

    def start(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def stop(self) -> None:
        """Ends the writers; raises what one of them met."""
        self._stopped.set()
        for thread in self._threads:
            thread.join()
        if self._errors:
            raise self._errors[0]

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopped.set()
        for thread in self._threads:
            thread.join()

    def wait_for(self, more: int, seconds: float = 60.0) -> None:
        """Returns once so many more writes are confirmed."""
        wanted, deadline = self.count + more, time.monotonic() + seconds
        while self.count < wanted:
            assert time.monotonic() < deadline, f"{self.count} writes, not {wanted}"
            assert not self._errors, self._errors
            time.sleep(0.02)

    def _write(self, rng: random.Random, number: int) -> None:
        try:
            while not self._stopped.is_set():
                self._write_once(rng)
                self._counts[number] += 1
                time.sleep(self._pause_seconds)
        except ClientError as error:
            self._errors.append(error)

    def _write_once(self, rng: random.Random) -> None:
        key = self._key(rng)
        kind = rng.random()
        if kind < 0.45:
            item = key | {
                "v": {"N": str(rng.random())},
                "text": {"S": 'ü\n"😀' * rng.randrange(20)},
                "blob": {"B": rng.randbytes(9)},
            }
            self._client.put_item(TableName=self._table, Item=item)
        elif kind < 0.75:
            self._client.update_item(
                TableName=self._table,
                Key=key,
                UpdateExpression="SET changed = :now, tags = :tags REMOVE v",
                ExpressionAttributeValues={
                    ":now": {"N": str(rng.random())},
                    ":tags": {"SS": [str(rng.random()), "a"]},
                },
            )
        else:
            self._client.delete_item(TableName=self._table, Key=key)


def _random_key(rng: random.Random, keys: int) -> dict[str, Any]:
    return {"pk": {"S": f"key-{rng.randrange(keys)}"}, "sk": {"N": str(rng.randrange(3))}}
