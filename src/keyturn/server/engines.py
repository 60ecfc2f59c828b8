"""The engines behind the settings, and who may use a database beside whom.

The one place that names a concrete engine.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Protocol, TypeVar

from sqlalchemy import Engine

from keyturn.ambient import SystemClock
from keyturn.domain.error import InstallationFault, StorageUnavailable
from keyturn.domain.seal import Sealer
from keyturn.server.diagnose import database_fault
from keyturn.server.lock import FileLock
from keyturn.server.secret import RootSecret
from keyturn.server.settings import Settings
from keyturn.services.watch import DamageWatch
from keyturn.storage.contract import Store

Outcome = TypeVar("Outcome")

_LOOK_SECONDS = 0.5


class Durability(Protocol):
    """Whether a PostgreSQL database keeps what it has confirmed; see
    `storage.postgresql_durability`."""

    @property
    def unsafe(self) -> tuple[str, ...]: ...

    @property
    def standbys(self) -> int: ...

    @property
    def is_synchronous(self) -> bool: ...


class DatabaseLock(Protocol):
    """A lock of a PostgreSQL database; see `storage.postgresql_lock`."""

    def hold(self) -> bool: ...

    def hold_shared(self) -> bool: ...

    def share(self) -> bool: ...

    def lease_seconds(self) -> float: ...

    def release(self) -> None: ...


def migration_engine(settings: Settings, *, patient: bool = False) -> Engine:
    """An engine for checks, and where `patient` for migrations. Raises `InstallationFault`
    where a part is missing."""
    path = settings.sqlite_path
    if path is not None:
        from keyturn.storage.sqlite import sqlite_engine

        return sqlite_engine(path)
    module = _postgresql()
    engine: Engine = module.postgres_engine(
        settings.database_url, patience=module.unbounded() if patient else None
    )
    return engine


def open_store(
    settings: Settings, secret: RootSecret, damage: DamageWatch, *, patient: bool = False
) -> Store:
    """The store that the settings name; a `patient` one lets each question take its time. Raises
    `InstallationFault` where it cannot be opened."""
    sealer = Sealer(secret.key("row-mac"))
    path = settings.sqlite_path
    if path is not None:
        from keyturn.storage.sqlite import SqliteStore

        return SqliteStore(path, sealer, damage.report, clock=None if patient else SystemClock())
    module = _postgresql()
    store: Store = module.PostgresStore(
        settings.database_url,
        sealer,
        damage.report,
        patience=module.unbounded() if patient else None,
    )
    return store


def ask_durability(settings: Settings) -> Durability | None:
    """How a PostgreSQL keeps what it has confirmed; None on SQLite, which we set up ourselves.
    Raises `StorageUnavailable`."""
    if settings.sqlite_path is not None:
        return None
    found: Durability = _postgresql().ask_durability(settings.database_url)
    return found


def _postgresql() -> ModuleType:
    try:
        from keyturn.storage import postgresql
    except ModuleNotFoundError as error:
        raise InstallationFault(
            "KEYTURN_DATABASE_URL names PostgreSQL, whose driver is not installed.",
            remedy="Install `keyturn[server,postgres]`.",
        ) from error
    return postgresql


@contextmanager
def sole_process(settings: Settings) -> Iterator[Callable[[], bool]]:
    """Makes sure that no other process serves or changes this database or this data folder, and
    gives a way to make sure again.

    The lock of an SQLite database lies beside its file, whatever the data folder. Raises
    `InstallationFault` where one does.
    """
    with _own_folder(settings), _guard(settings) as guard:
        guard.require_alone()
        yield guard.alone


@contextmanager
def node_place(
    settings: Settings, prepare: Callable[[], object] | None
) -> Iterator[Callable[[bool], bool]]:
    """A node's place at its database, where others may be on PostgreSQL; gives a way to become the
    one that leads them, or to make sure of it; asked with False, to let another one lead. `prepare`
    has the database for itself before.

    Raises `InstallationFault` where somebody else has it for himself.
    """
    with _own_folder(settings), _guard(settings) as guard:
        if prepare is not None:
            guard.require_alone()
            prepare()
        guard.join()
        yield guard.leads


def is_served(settings: Settings) -> bool:
    """Whether a process serves this database or this data folder. Raises `StorageUnavailable`."""
    if FileLock(settings.home / "lock", settings.home).is_held():
        return True
    path = settings.sqlite_path
    if path is None:
        # Every node shares the lock that whoever must be alone has.
        held: bool = _postgresql().DatabaseLock(settings.database_url).is_held()
        return held
    file = path.resolve()
    return FileLock(file.with_name(f"{file.name}.lock"), path).is_held()


def _own_folder(settings: Settings) -> FileLock:
    if not settings.home.exists():
        raise InstallationFault(
            f"There is no data folder at {settings.home}.",
            remedy="Run `keyturn init` first, or name the right folder in KEYTURN_HOME.",
        )
    return FileLock(settings.home / "lock", settings.home)


class _Guard(Protocol):
    """Who keeps others from a database."""

    def require_alone(self) -> None: ...

    def alone(self) -> bool: ...

    def join(self) -> None: ...

    def leads(self, may: bool) -> bool: ...


@contextmanager
def _guard(settings: Settings) -> Iterator[_Guard]:
    path = settings.sqlite_path
    if path is None:
        module, url = _postgresql(), settings.database_url
        guard = _ServersGuard(
            settings,
            serving=module.DatabaseLock(url, module.SERVING),
            leading=module.DatabaseLock(url, module.LEADING),
        )
        try:
            yield guard
        finally:
            guard.release()
        return
    file = path.resolve()
    with FileLock(file.with_name(f"{file.name}.lock"), path):
        yield _FilesGuard()


class _FilesGuard:
    """Whoever has the lock of an SQLite file is alone, and leads."""

    def require_alone(self) -> None:
        return

    def alone(self) -> bool:
        return True

    def join(self) -> None:
        return

    def leads(self, may: bool) -> bool:
        return may


class _ServersGuard:
    """Of a PostgreSQL database: all its nodes share one lock, which whoever must be alone takes for
    itself; and one of them has a second lock, and leads."""

    def __init__(self, settings: Settings, *, serving: DatabaseLock, leading: DatabaseLock) -> None:
        self._settings = settings
        self._serving = serving
        self._leading = leading
        self._is_alone = False

    def require_alone(self) -> None:
        self._is_alone = self._told(self._serving.hold)
        if not self._is_alone:
            raise InstallationFault(
                "Another Keyturn serves this database.",
                remedy="Stop it first, on every host: this has to be alone with the database.",
            )
        # A node that is cut off from the database has lost its lock, and may verify for as long
        # as it was told that it may.
        while (seconds := self._told(self._serving.lease_seconds)) > 0:
            threading.Event().wait(min(seconds, _LOOK_SECONDS))

    def alone(self) -> bool:
        return self._serving.hold()

    def join(self) -> None:
        share = self._serving.share if self._is_alone else self._serving.hold_shared
        if not self._told(share):
            raise InstallationFault(
                "Another Keyturn makes, migrates or restores this database.",
                remedy="Wait until it is done, and repeat.",
            )

    def leads(self, may: bool) -> bool:
        if not may:
            self._leading.release()
            return False
        return self._serving.hold_shared() and self._leading.hold()

    def release(self) -> None:
        self._leading.release()
        self._serving.release()

    def _told(self, ask: Callable[[], Outcome]) -> Outcome:
        try:
            return ask()
        except StorageUnavailable as error:
            raise database_fault(self._settings, error) from error
