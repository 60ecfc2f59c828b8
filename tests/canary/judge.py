"""Sweeps the sinks of a run on every processor, and judges what is found.

It runs as a process of its own (`python -m tests.canary.judge RUN`), because it forks, and pytest
has threads by then. `RUN` is a file in JSON; the verdict is one more, on standard output.
"""

import contextlib
import json
import multiprocessing
import os
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from tests.canary.allowed import ANSWER, REASONS, reason_for
from tests.canary.registry import Canary, read_canaries
from tests.canary.sinks import Run, sinks_of
from tests.canary.sweep import Index, places_in

PART_BYTES = 8 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a sweep saw. Nothing in it is a secret."""

    tokens: int
    roots: int
    sinks: int
    size_bytes: int
    seconds: float
    encodings: tuple[str, ...]
    allowed: dict[str, int]
    leaks: tuple[str, ...] = field(default=())

    def __str__(self) -> str:
        return (
            f"canary: {self.tokens} tokens and {self.roots} roots, {self.sinks} sinks, "
            f"{self.size_bytes} bytes swept in {self.seconds:.1f} s, {len(self.leaks)} hits"
        )


@dataclass(frozen=True, slots=True)
class _Part:
    path: Path
    part: range


@dataclass(slots=True)
class _Seen:
    """What one part of a file holds."""

    allowed: Counter[str] = field(default_factory=Counter)
    answered: Counter[str] = field(default_factory=Counter)
    leaks: list[str] = field(default_factory=list)


def judge(canaries: Sequence[Canary], paths: Sequence[Path], processes: int) -> Outcome:
    """Looks for the canaries in the files."""
    began = time.monotonic()
    _shared.index = Index(canaries)
    parts = sorted(_parts(paths), key=lambda one: -len(one.part))
    allowed: Counter[str] = Counter(dict.fromkeys(REASONS, 0))
    answered: Counter[str] = Counter()
    leaks: list[str] = []
    for seen in _each(parts, processes):
        allowed.update(seen.allowed)
        answered.update(seen.answered)
        leaks += seen.leaks
    leaks += [f"answered {times} times: {hint}" for hint, times in answered.items() if times > 1]
    tokens = sum(canary.token is not None for canary in canaries)
    return Outcome(
        tokens=tokens,
        roots=len(canaries) - tokens,
        sinks=len(paths),
        size_bytes=sum(len(one.part) for one in parts),
        seconds=time.monotonic() - began,
        encodings=tuple(_shared.index.encodings),
        allowed=dict(allowed),
        leaks=tuple(sorted(leaks)),
    )


class _Shared:
    """What forked processes have from their parent without its being sent to them."""

    index = Index(())


_shared = _Shared()


def _parts(paths: Sequence[Path]) -> Iterator[_Part]:
    for path in paths:
        try:
            size = path.stat().st_size
        except FileNotFoundError:
            continue  # in a folder of everybody's another program's file may go
        for first in range(0, size, PART_BYTES):
            yield _Part(path, range(first, min(first + PART_BYTES, size)))


def _each(parts: Sequence[_Part], processes: int) -> Iterator[_Seen]:
    if processes == 1:
        yield from map(_look, parts)
        return
    with multiprocessing.get_context("fork").Pool(processes) as pool:
        yield from pool.imap_unordered(_look, parts, chunksize=4)


def _look(one: _Part) -> _Seen:
    seen = _Seen()
    with contextlib.suppress(FileNotFoundError):
        _look_into(one, seen)
    return seen


def _look_into(one: _Part, seen: _Seen) -> None:
    for place in places_in(_shared.index, one.path, one.part):
        reason = reason_for(place)
        if reason is None:
            seen.leaks.append(repr(place))
            continue
        seen.allowed[reason] += 1
        if reason == ANSWER and place.canary.hint is not None:
            seen.answered[place.canary.hint] += 1


def main(description: str) -> None:
    read = json.loads(Path(description).read_text())
    run = Run(
        folder=Path(read["folder"]),
        postgres=Path(read["postgres"]),
        project=Path(read["project"]),
        home=Path(read["home"]),
        temporary=tuple(map(Path, read["temporary"])),
        began=read["began"],
    )
    outcome = judge(read_canaries(run.folder), sinks_of(run), os.cpu_count() or 1)
    json.dump({**asdict(outcome), "line": str(outcome)}, sys.stdout)


if __name__ == "__main__":
    main(sys.argv[1])
