"""Performances of the demonstration, each in a folder of its own."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.demo.performance import Performance
from tests.servers.openbao import require_program

Perform = Callable[..., Performance]


@pytest.fixture(scope="session")
def bao() -> str:
    """OpenBao's program. Who asks for it is not tested where there is none, which CI does not
    forgive."""
    return require_program()


@pytest.fixture
def perform(tmp_path: Path) -> Iterator[Perform]:
    """Starts the demonstration, with a short time of traffic; what is left of it is ended."""
    started: list[Performance] = []

    def start(*options: str) -> Performance:
        performance = Performance(tmp_path / f"stage{len(started)}", *options)
        started.append(performance)
        return performance

    yield start
    for performance in started:
        performance.close()
