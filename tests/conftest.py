"""What every test may ask for: a real PostgreSQL, an event loop, a Hypothesis profile."""

import os
import shutil
import signal
import sys
from collections.abc import Iterator
from multiprocessing.util import Finalize
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests.canary.plugin import CANARIES, Canaries
from tests.servers.founded import Foundations
from tests.servers.memory import move_into_memory
from tests.servers.postgres import (
    Postgres,
    PostgresUnavailable,
    create_run_folder,
    obtain_server,
    remove_run,
)

# Before anything asks where files are made, and before any worker or program is started.
MEMORY_FOLDER = move_into_memory()
if MEMORY_FOLDER is not None:
    # After all that this process has there itself: multiprocessing removes its own at -100.
    Finalize(None, shutil.rmtree, (MEMORY_FOLDER,), {"ignore_errors": True}, exitpriority=-200)
# Else every program that a test starts would compile all of the product again.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

# So that a test that fails in what is shared shows what it compared.
pytest.register_assert_rewrite(
    "tests.houses", "keyturn.testing.destinations", "keyturn.testing.storage"
)

IS_CI = os.environ.get("CI") == "true"

# The machine's speed is not what a property test judges. In CI a failure must come back when
# the run is repeated, so the examples are the same each time.
settings.register_profile(
    "dev", deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True
)
settings.register_profile("ci", settings.get_profile("dev"), derandomize=True, database=None)
settings.load_profile("ci" if IS_CI else "dev")

# Who starts the run in the background may have these ignored (`&` in a script, `nohup`), and every
# program that a test starts would inherit it.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)
signal.signal(signal.SIGQUIT, signal.SIG_DFL)

RUN_FOLDER = pytest.StashKey[Path]()
# Where a test takes many seconds.
LONG = ("canary", "deliveries_live", "demo", "documentation", "kills", "nodes", "rotations_live")


def pytest_configure(config: pytest.Config) -> None:
    worker_input = getattr(config, "workerinput", None)
    if worker_input is not None:  # a worker of pytest-xdist
        config.stash[RUN_FOLDER] = Path(worker_input["postgres_run_folder"])
        config.pluginmanager.register(Canaries(config, config.stash[RUN_FOLDER]))
        return
    config.stash[RUN_FOLDER] = create_run_folder()
    config.pluginmanager.register(Canaries(config, config.stash[RUN_FOLDER]))
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that unconfigure runs


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: object) -> None:
    config: pytest.Config = node.config  # type: ignore[attr-defined]
    node.workerinput["postgres_run_folder"] = str(config.stash[RUN_FOLDER])  # type: ignore[attr-defined]


def pytest_unconfigure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput") and RUN_FOLDER in config.stash:
        remove_run(config.stash[RUN_FOLDER])


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Long tests come first in the share that each worker begins with. What is stolen at the end is
    then short, and no worker waits for the last long test of another."""
    workers = int(getattr(config, "workerinput", {}).get("workercount", 1))
    long = [item for item in items if item.path.parent.name in LONG]
    short = [item for item in items if item.path.parent.name not in LONG]
    ordered: list[pytest.Item] = []
    for left in range(workers, 0, -1):
        # As pytest-xdist shares them out: to each an equal part of what is left.
        size = (len(long) + len(short)) // left
        part = min(size, len(long) // left)
        ordered += long[:part] + short[: size - part]
        long, short = long[part:], short[size - part :]
    items[:] = ordered


@pytest.fixture(scope="session", autouse=True)
def _canaries(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Lets the sweep at the end of the run know where this process's tests have their folders."""
    request.config.stash[CANARIES].note_base(tmp_path_factory)


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="session")
def postgres(request: pytest.FixtureRequest) -> Postgres:
    """The run's PostgreSQL server."""
    try:
        return obtain_server(request.config.stash[RUN_FOLDER])
    except PostgresUnavailable as refusal:
        reason = str(refusal)
    if IS_CI:
        pytest.fail(f"in CI PostgreSQL is not to be missed: {reason}", pytrace=False)
    pytest.skip(f"NOT TESTED ON POSTGRESQL: {reason}")


@pytest.fixture(scope="session")
def foundations(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Foundations]:
    """Installations on either engine, made once and copied."""

    def postgres() -> Postgres:
        server = request.getfixturevalue("postgres")
        assert isinstance(server, Postgres)
        return server

    made = Foundations(tmp_path_factory.mktemp("foundations"), postgres)
    yield made
    made.clear()


@pytest.fixture(scope="session")
def postgres_template() -> str | None:
    """The URL of the database that `postgres_url` copies; None for an empty one.

    A folder of tests that wants a schema at once overrides this in its own conftest.
    """
    return None


@pytest.fixture
def postgres_url(postgres: Postgres, postgres_template: str | None) -> Iterator[str]:
    """The URL of a database that is this test's own."""
    url = postgres.create_database(postgres_template)
    yield url
    postgres.drop_database(url)
