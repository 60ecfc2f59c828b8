"""Houses for tests: a database with an installation in it, and all that is needed to act there.

    from tests.houses import House, build_house, engine, house, plots   # in a folder's conftest.py

    def test_a_guarantee(house: House) -> None:          # runs on SQLite and on PostgreSQL
        issued = house.issue(name="scheduler-prod", scopes=("read",))
        assert house.verdict(issued.token) is VerdictCode.VALID

Each engine's database is migrated and installed once a process and copied for each test: 5 ms a
test on SQLite, 60 ms on PostgreSQL. Time stands still at `SOME_TIME` until `house.clock` is moved,
and chance is repeated, so the same test makes the same ids and tokens each time. `house` takes both
engines; `build_house("sqlite")` takes one.
"""

import re
import shutil
import sqlite3
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg
import pytest
from sqlalchemy import Engine

from keyturn.domain.activity import Actor, ActorType
from keyturn.domain.authority import UNBOUNDED
from keyturn.domain.digest import PepperRing, fingerprint
from keyturn.domain.network import Address, parse_address
from keyturn.domain.seal import Sealer
from keyturn.domain.slot import SlotName
from keyturn.domain.token import Token
from keyturn.domain.verdict import VerdictCode
from keyturn.services.attest import Attestation, Notary, attest
from keyturn.services.context import Context
from keyturn.services.identify import Caller, Identification, identify, reference
from keyturn.services.install import FirstInstallation, Installed
from keyturn.services.issue import IssuedKey, KeyDraft, issue_key
from keyturn.services.journal import Act
from keyturn.services.provision import ProvisionedWorkspace, WorkspaceDraft, provision_workspace
from keyturn.services.strongbox import Strongbox
from keyturn.storage.contract import OnDamage, Store
from keyturn.storage.keys import KeyView
from keyturn.storage.migrate import migrate
from keyturn.storage.postgresql import PostgresStore, postgres_engine
from keyturn.storage.sealed import Damage
from keyturn.storage.sqlite import SqliteStore, sqlite_engine
from keyturn.testing import FakeClock, SeededEntropy
from tests.servers.postgres import Postgres

__all__ = ["ENGINES", "Ground", "House", "Plots", "build_house", "engine", "house", "plots"]

ENGINES = ("sqlite", "postgresql")

BRAND = "kt"
SEALER = Sealer(b"row key of houses".ljust(32, b"."))
RING = PepperRing({1: b"pepper of houses".ljust(32, b".")}, current=1)
STRONGBOX = Strongbox(b"strongbox key of houses".ljust(32, b"."))
NOTARY = Notary(b"seed of houses".ljust(32, b"."))
ROOT_FINGERPRINT = "root fingerprint of houses"
PEPPER_FINGERPRINTS = {1: fingerprint(b"pepper of houses".ljust(32, b"."))}

_PARAMETER = re.compile(r"(?<!:):(\w+)")


class Raw:
    """A connection behind Keyturn's back, committing each statement. Parameters are `:named`.

    On SQLite it heeds no CHECK. What is read comes as it stands, valid text or not.
    """

    def __init__(self, connection: sqlite3.Connection | psycopg.Connection[Any]) -> None:
        self.connection = connection

    def run(self, statement: str, **values: object) -> list[tuple[Any, ...]]:
        return [tuple(row.values()) for row in self.rows(statement, **values)]

    def rows(self, statement: str, **values: object) -> list[dict[str, Any]]:
        """As `run`, each row by column."""
        cursor: sqlite3.Cursor | psycopg.Cursor[Any]
        if isinstance(self.connection, sqlite3.Connection):
            cursor = self.connection.execute(statement, values)
        else:
            if values:
                statement = _PARAMETER.sub(r"%(\1)s", statement.replace("%", "%%"))
            cursor = self.connection.execute(statement.encode(), values or None)
        if cursor.description is None:
            return []
        names = [column[0] for column in cursor.description]
        return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]


@dataclass(frozen=True, slots=True)
class Ground:
    """Where a database is: a file of SQLite's, or an address of PostgreSQL's."""

    engine: str
    place: str

    def open(self, on_damage: OnDamage) -> Store:
        if self.engine == "sqlite":
            return SqliteStore(Path(self.place), SEALER, on_damage)
        return PostgresStore(self.place, SEALER, on_damage)

    def administration(self) -> Engine:
        """An engine for migrations and checks; dispose of it."""
        if self.engine == "sqlite":
            return sqlite_engine(Path(self.place))
        return postgres_engine(self.place)

    @contextmanager
    def raw(self) -> Iterator[Raw]:
        connection: sqlite3.Connection | psycopg.Connection[Any]
        if self.engine == "sqlite":
            connection = sqlite3.connect(self.place, isolation_level=None)
            connection.text_factory = partial(str, encoding="utf-8", errors="surrogateescape")
            connection.execute("PRAGMA ignore_check_constraints=ON")
            connection.execute("PRAGMA synchronous=OFF")
        else:
            connection = psycopg.connect(self.place, autocommit=True)
        try:
            yield Raw(connection)
        finally:
            connection.close()


class House:
    """One installation as tests use it: `context` for verbs, `operator` as the caller of them."""

    def __init__(self, ground: Ground, installed: Installed, seed: int = 1) -> None:
        self.ground = ground
        self.installed = installed
        self.clock = FakeClock()
        self.damage: list[Damage] = []
        self.store = ground.open(self.damage.append)
        self.context = Context(
            store=self.store,
            ring=RING,
            strongbox=STRONGBOX,
            clock=self.clock,
            entropy=SeededEntropy(seed),
            brand=BRAND,
        )
        self.operator = Caller(
            actor=Actor(type=ActorType.USER, id=installed.operator_id, label="first operator"),
            rights=UNBOUNDED,
            workspace_id=None,
        )

    @property
    def engine(self) -> str:
        return self.ground.engine

    @property
    def token(self) -> Token:
        """The first operator's."""
        return self.installed.token

    @property
    def workspace_id(self) -> UUID:
        """The workspace `default`."""
        return self.installed.workspace_id

    # --- acting ----------------------------------------------------------------------------------

    def act(self, caller: Caller | None = None, request_id: str = "request-1") -> Act:
        """A management call, the operator's own if nobody is named."""
        return Act(caller=caller or self.operator, request_id=request_id)

    def provision(self, name: str = "acme") -> ProvisionedWorkspace:
        return provision_workspace(self.context, self.act(), WorkspaceDraft(name=name))

    def issue(
        self,
        *,
        by: Caller | None = None,
        workspace_id: UUID | None = None,
        slot: str | None = None,
        **draft: Any,
    ) -> IssuedKey:
        """A key; `draft` are members of `KeyDraft`, `slot` is spelled `scheduler-prod`."""
        asked = KeyDraft(**({"name": "scheduler-prod"} if slot is None else {}) | draft)
        if slot is not None:
            asked = replace(asked, slot=SlotName.parse(slot))
        place = workspace_id or (by and by.workspace_id) or self.workspace_id
        return issue_key(self.context, self.act(by), place, asked)

    # --- looking ---------------------------------------------------------------------------------

    def identify(self, token: Token, address: Address | None = None) -> Identification:
        """What the door says of a token now."""
        asked = reference(token)
        reading = self.store.credentials.read([asked])
        return identify(
            RING, token, reading.found.get(asked.id), now=self.clock.now(), address=address
        )

    def verdict(self, token: Token, address: Address | None = None) -> VerdictCode:
        return self.identify(token, address).code

    def caller(self, token: Token) -> Caller:
        """Who presents this token. Raises as `Identification.require`."""
        return self.identify(token).require()

    def caller_within(self, address: str, token: Token) -> Caller:
        """As `caller`, from an address."""
        return self.identify(token, parse_address(address)).require()

    def view(self, key_id: UUID, workspace_id: UUID | None = None) -> KeyView:
        with self.store.read() as transaction:
            view = transaction.keys.view(workspace_id or self.workspace_id, key_id)
        assert view is not None
        return view

    def position(self) -> int:
        with self.store.read() as transaction:
            return transaction.head().position

    def signed_head(self) -> str:
        """A line for the file of heads, of where the log stands now."""
        with self.store.read() as transaction:
            return NOTARY.sign(transaction.head(), self.clock.now()).line()

    def attest(self, lines: Iterable[str] = ()) -> Attestation:
        return attest(self.context, NOTARY, lines)

    # --- behind its back, and beside it ----------------------------------------------------------

    @contextmanager
    def raw(self) -> Iterator[Raw]:
        with self.ground.raw() as raw:
            yield raw

    def run(self, statement: str, **values: object) -> list[tuple[Any, ...]]:
        """One statement behind Keyturn's back."""
        with self.ground.raw() as raw:
            return raw.run(statement, **values)

    def again(self, seed: int = 2) -> "House":
        """The same database as a fresh process sees it, which remembers nothing. Close it."""
        fresh = House(self.ground, self.installed, seed)
        fresh.clock = self.clock
        fresh.context = replace(fresh.context, clock=self.clock)
        return fresh

    def close(self) -> None:
        self.store.close()


class Plots:
    """Hands out databases: with nothing in them, with the tables, or with an installation."""

    def __init__(self, folder: Path, postgres: Callable[[], Postgres]) -> None:
        self._folder = folder
        self._postgres = postgres
        self._migrated: dict[str, Ground] = {}
        self._installed: dict[str, tuple[Ground, Installed]] = {}
        self._count = 0

    def empty(self, engine: str) -> Ground:
        return self._copy(engine, None)

    def migrated(self, engine: str) -> Ground:
        return self._copy(engine, self._with_tables(engine))

    def installed(self, engine: str) -> tuple[Ground, Installed]:
        if engine not in self._installed:
            ground = self._copy(engine, self._with_tables(engine))
            self._installed[engine] = (ground, _install(ground))
        ground, installed = self._installed[engine]
        return self._copy(engine, ground), installed

    def clear(self, ground: Ground) -> None:
        if ground.engine == "postgresql":
            self._postgres().drop_database(ground.place)
        else:
            for suffix in ("", "-wal", "-shm"):
                Path(ground.place + suffix).unlink(missing_ok=True)

    def _with_tables(self, engine: str) -> Ground:
        if engine not in self._migrated:
            ground = self._copy(engine, None)
            administration = ground.administration()
            migrate(administration)
            administration.dispose()
            self._migrated[engine] = ground
        return self._migrated[engine]

    def _copy(self, engine: str, source: Ground | None) -> Ground:
        if engine == "postgresql":
            template = None if source is None else source.place
            return Ground(engine, self._postgres().create_database(template))
        self._count += 1
        place = self._folder / f"{self._count}.db"
        if source is not None:
            shutil.copyfile(source.place, place)
        return Ground(engine, str(place))


def _install(ground: Ground) -> Installed:
    store = ground.open(_complain)
    context = Context(
        store=store,
        ring=RING,
        strongbox=STRONGBOX,
        clock=FakeClock(),
        entropy=SeededEntropy(0),
        brand=BRAND,
    )
    installed = FirstInstallation(context).keep(
        root_fingerprint=ROOT_FINGERPRINT, pepper_fingerprints=PEPPER_FINGERPRINTS
    )
    store.close()
    if ground.engine == "sqlite":  # the file alone is copied, not the log beside it
        with ground.raw() as raw:
            raw.run("PRAGMA wal_checkpoint(TRUNCATE)")
    return installed


def _complain(damage: Damage) -> None:
    raise AssertionError(f"a new installation is damaged: {damage}")


@pytest.fixture(scope="session")
def plots(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Plots:
    """Databases of any stage; PostgreSQL is started only by who asks for it."""

    def postgres() -> Postgres:
        server = request.getfixturevalue("postgres")
        assert isinstance(server, Postgres)
        return server

    return Plots(tmp_path_factory.mktemp("plots"), postgres)


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest) -> str:
    """Each engine in turn."""
    return str(request.param)


@pytest.fixture
def build_house(plots: Plots) -> Iterator[Callable[[str], House]]:
    """Builds houses, on the engine named; they are closed and cleared after the test."""
    houses: list[House] = []

    def build(engine: str) -> House:
        houses.append(House(*plots.installed(engine)))
        return houses[-1]

    yield build
    for house in houses:
        house.close()
        plots.clear(house.ground)


@pytest.fixture
def house(engine: str, build_house: Callable[[str], House]) -> House:
    """An installation of this test's own, on each engine in turn."""
    return build_house(engine)
