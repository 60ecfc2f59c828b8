"""The servers that destinations of the vendors' own libraries are tested against."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.servers.ministack import MinistackUnavailable, run_ministack


@pytest.fixture(scope="session")
def ministack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """The port of a real emulation of AWS, one a test process."""
    folder: Path = tmp_path_factory.mktemp("ministack")
    try:
        with run_ministack(folder) as port:
            yield port
            return
    except MinistackUnavailable as refusal:
        reason = str(refusal)
    if os.environ.get("CI") == "true":
        pytest.fail(f"in CI ministack is not to be missed: {reason}", pytrace=False)
    pytest.skip(f"NOT TESTED ON AWS: {reason}")
