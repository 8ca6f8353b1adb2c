"""The sections of the benchmark. Each is one function that returns its rows; SECTIONS names them all."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from bench import applying, capturing, following, partitions, verification
from bench.contestants import Contestant, boto3, dynamodump, floor, on_cluster, ours
from bench.lab import Lab, Run
from bench.picture import memory_over_time
from bench.rows import Row, fit_rows, rows_of, startup_rows
from bench.services import Service, Stub, open_emulator
from support.services import ServiceMissingError, dynamodb_local, local_aws

# Two sizes for each shape and speed: between them lies a second of CPU or more, so that the slope is not noise.
FAST: Final = {
    "small": (200_000, 1_000_000),
    "typical": (20_000, 600_000),
    "large": (5_000, 25_000),
    "huge": (200, 1_000),
    "binary": (50_000, 250_000),
}
SLOW: Final = {
    "small": (8_000, 40_000),
    "typical": (4_000, 20_000),
    "large": (1_000, 5_000),
    "huge": (25, 125),
    "binary": (4_000, 20_000),
}
GROWTH: Final = (10_000, 30_000, 100_000, 300_000, 1_000_000)
HUGE: Final = (500, 2_000)
CLUSTER: Final = (20_000, 3_000_000)
PLATEAU: Final = 10_000_000
EMULATED: Final = (10_000, 50_000)
TEN: Final = 10
REPEATS: Final = 3
# One costs two seconds, and its noise is that of the whole figure.
STARTUP_REPEATS: Final = 9
QUICK_SHARE: Final = 50
QUICK_SECONDS: Final = 2.0


@dataclass(frozen=True, kw_only=True)
class Bench:
    """What all sections share. `quick` runs everything with few items: its figures are meaningless."""

    stub: Stub
    tls_stub: Stub
    storage: Path
    picture: Path
    quick: bool
    labs: list[Lab] = field(default_factory=list)

    def lab(self, service: Service | None = None) -> Lab:
        """A new lab, by default against the stub."""
        self.labs.append(Lab(service or self.stub, self.storage))
        return self.labs[-1]

    def sizes(self, *items: int) -> tuple[int, ...]:
        """Numbers of items; for a quick run only the smallest and largest, divided by QUICK_SHARE."""
        return tuple(max(2, size // QUICK_SHARE) for size in (items[0], items[-1])) if self.quick else items

    def race(
        self, section: str, contestants: Sequence[Contestant], shape: str, service: Service | None = None
    ) -> list[Run]:
        """Each program with both of its sizes, in turn."""
        lab = self.lab(service)
        for contestant in contestants:
            for items in self.sizes(*(SLOW if contestant.slow else FAST)[shape]):
                lab.move(section, contestant, shape, items)
        return lab.runs

    def races(
        self, section: str, contestants: Sequence[Contestant], service: Service | None = None
    ) -> list[Row]:
        """Typical items: the programs in turn, several times."""
        runs: list[Run] = []
        for _ in range(1 if self.quick else REPEATS):
            runs += self.race(section, contestants, "typical", service)
        return rows_of(runs)


def headline(bench: Bench) -> list[Row]:
    """Typical items over TLS: every program, several times in turns."""
    contestants = [ours(), ours("parquet"), boto3(), dynamodump(), floor(), floor("bare")]
    return bench.races("headline", contestants, bench.tls_stub)


def plain_http(bench: Bench) -> list[Row]:
    """The same without TLS, which no service of AWS serves."""
    return bench.races("plain_http", [ours(), boto3(), floor(), floor("bare")])


def startup(bench: Bench) -> list[Row]:
    """What every command costs once: tables of ten items, with default options."""
    lab = bench.lab()
    for _ in range(1 if bench.quick else STARTUP_REPEATS):
        for contestant in (ours(processes=None), boto3()):
            lab.move("startup", contestant, "typical", TEN)
    return startup_rows(lab.runs)


def shapes(bench: Bench) -> list[Row]:
    """The other shapes."""
    contestants = [ours(), boto3(), floor(), dynamodump()]
    others = [shape for shape in FAST if shape != "typical"]
    return rows_of([run for shape in others for run in bench.race("shapes", contestants, shape)])


def scaling(bench: Bench) -> list[Row]:
    """One process and two."""
    return bench.races("scaling", [ours(processes=1), ours(processes=2)])


def cluster(bench: Bench) -> list[Row]:
    """One worker of a Dask cluster and two; scheduler and workers take seconds to start, whose noise the larger size outweighs."""
    lab = bench.lab()
    for workers in (1, 2):
        for items in bench.sizes(*CLUSTER):
            lab.move("cluster", on_cluster(workers), "typical", items)
    return rows_of(lab.runs)


def growth(bench: Bench) -> list[Row]:
    """CPU and memory of the default two processes as the table grows, and the straight line through the CPU."""
    lab = bench.lab()
    sizes = bench.sizes(*GROWTH)
    for form in ("jsonl", "parquet"):
        # the small ones twice: the noise of their start-up bends the line
        for items in (*sizes, *sizes[:-1]):
            lab.move("growth", ours(form, 2), "typical", items)
    return rows_of(lab.runs, every_size=True) + fit_rows(lab.runs)


def memory(bench: Bench) -> list[Row]:
    """Memory of the default two processes with items of 400 KB."""
    lab = bench.lab()
    for form in ("jsonl", "parquet"):
        for items in bench.sizes(*HUGE):
            lab.move("memory", ours(form, 2), "huge", items)
    return rows_of(lab.runs, every_size=True)


def plateau(bench: Bench) -> list[Row]:
    """Memory of the default two processes over a long export and import, as a picture as well."""
    lab = bench.lab()
    (items,) = set(bench.sizes(PLATEAU))
    lab.move("plateau", ours("jsonl", 2), "typical", items)
    bench.picture.parent.mkdir(exist_ok=True)
    bench.picture.write_text(memory_over_time(lab.runs))
    return rows_of(lab.runs)


def emulators(bench: Bench) -> list[Row]:
    """Local engines of DynamoDB: how busy they are during an export and an import."""
    rows = []
    for name, start in (("MiniStack", local_aws), ("DynamoDB Local", dynamodb_local)):
        try:
            with open_emulator(start, bench.stub) as emulator:
                sizes = bench.sizes(*EMULATED)
                # it loads and compiles its code on first use
                bench.lab(emulator).move("warm-up", ours(), "typical", sizes[0] - 1)
                lab = bench.lab(emulator)
                for items in sizes:
                    lab.move(f"on {name}", ours(processes=2), "typical", items)
                rows += rows_of(lab.runs)
        except ServiceMissingError as error:
            print(f"{name} is left out: {error}", file=sys.stderr)
    return rows


def hot_partitions(bench: Bench) -> list[Row]:
    """An import into a table of 8 partitions of 1,000 WCU each that throttles by partition."""
    seconds = QUICK_SECONDS if bench.quick else partitions.SECONDS
    return [found.row() for found in partitions.measure(seconds)]


def verify(bench: Bench) -> list[Row]:
    """The workers of a verification, by representation and side."""
    if bench.quick:
        return verification.measure(bench.stub.url, rounds=1, pages=1)
    return verification.measure(bench.stub.url)


def captured_changes(bench: Bench) -> list[Row]:
    """The capture of a table's changes, from few stream shards and from many."""
    if bench.quick:
        return capturing.measure(bench.stub.url, rounds=1, changes=4_000)
    return capturing.measure(bench.stub.url)


def applied_changes(bench: Bench) -> list[Row]:
    """The workers that apply a captured log, and an increment of AWS."""
    if bench.quick:
        return applying.measure(bench.stub.url, rounds=1, files=2)
    return applying.measure(bench.stub.url)


def followed_changes(bench: Bench) -> list[Row]:
    """How long a change takes from the source to the destination, at 1,000 changes a second."""
    return following.measure(bench.stub.url, seconds=QUICK_SECONDS if bench.quick else following.SECONDS)


SECTIONS: Final[dict[str, Callable[[Bench], list[Row]]]] = {
    section.__name__: section
    for section in (
        headline,
        plain_http,
        startup,
        shapes,
        scaling,
        cluster,
        growth,
        memory,
        plateau,
        emulators,
        hot_partitions,
        verify,
        captured_changes,
        applied_changes,
        followed_changes,
    )
}
