"""Putting the parts together: the one place that names a concrete engine."""

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from types import ModuleType

from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from keyturn import __version__
from keyturn.ambient import SystemClock, SystemEntropy
from keyturn.destinations.aws import AwsKind
from keyturn.destinations.azure import AzureKind
from keyturn.destinations.command import CommandKind
from keyturn.destinations.contract import DestinationKind
from keyturn.destinations.file import FileKind
from keyturn.destinations.gcp import GcpKind
from keyturn.destinations.kubernetes import KubernetesKind
from keyturn.destinations.vault import VaultKind
from keyturn.domain.digest import PepperRing
from keyturn.domain.error import (
    InstallationFault,
    IntegrityFailed,
    KeyturnError,
    StorageUnavailable,
)
from keyturn.domain.seal import Sealer
from keyturn.http.app import build_app
from keyturn.http.desk import Desk, Readiness
from keyturn.http.metrics import Metrics
from keyturn.http.verify import VerifyEndpoint
from keyturn.outbound.client import GuardedOutbound
from keyturn.outbound.guard import AddressGuard
from keyturn.server.background import Background
from keyturn.server.checks import ChecksFile
from keyturn.server.countries import find_countries
from keyturn.server.diagnose import database_fault
from keyturn.server.edge import Edge
from keyturn.server.files import make_private_folder
from keyturn.server.heads import HeadsFile
from keyturn.server.lock import FileLock
from keyturn.server.mail import open_postbox
from keyturn.server.secret import PepperFile, RootSecret, load_root_secret
from keyturn.server.settings import DELIVERED, Settings
from keyturn.services.attest import Notary
from keyturn.services.context import Context
from keyturn.services.courier import Courier
from keyturn.services.follow import answer
from keyturn.services.meter import Meter
from keyturn.services.notify import Notifier
from keyturn.services.strongbox import Strongbox
from keyturn.services.watch import DamageWatch
from keyturn.services.witness import Witness
from keyturn.storage.contract import Store
from keyturn.storage.installation import Installation
from keyturn.storage.migrate import known_revisions, newest_revision, present_revision

DEFAULT_BRAND = "kt"
READY_SECONDS = 1.0
READY_AT_MOST_SECONDS = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class House:
    """An opened installation, with everything that its verbs need."""

    settings: Settings
    context: Context
    notary: Notary
    damage: DamageWatch


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
    if not settings.home.exists():
        raise InstallationFault(
            f"There is no data folder at {settings.home}.",
            remedy="Run `keyturn init` first, or name the right folder in KEYTURN_HOME.",
        )
    with FileLock(settings.home / "lock", settings.home):
        path = settings.sqlite_path
        if path is not None:
            file = path.resolve()
            with FileLock(file.with_name(f"{file.name}.lock"), path):
                yield lambda: True
        else:
            with _sole_of_server(settings) as is_sole:
                yield is_sole


@contextmanager
def _sole_of_server(settings: Settings) -> Iterator[Callable[[], bool]]:
    lock = _postgresql().DatabaseLock(settings.database_url)
    try:
        held = lock.hold()
    except StorageUnavailable as error:
        raise database_fault(settings, error) from error
    if not held:
        raise InstallationFault(
            "Another Keyturn serves this database.",
            remedy="Stop it first; this version serves a database from one process.",
        )
    try:
        yield lock.hold
    finally:
        lock.release()


def is_served(settings: Settings) -> bool:
    """Whether a process serves this database or this data folder. Raises `StorageUnavailable`."""
    if FileLock(settings.home / "lock", settings.home).is_held():
        return True
    path = settings.sqlite_path
    if path is None:
        held: bool = _postgresql().DatabaseLock(settings.database_url).is_held()
        return held
    file = path.resolve()
    return FileLock(file.with_name(f"{file.name}.lock"), path).is_held()


def make_context(
    settings: Settings,
    secret: RootSecret,
    store: Store,
    brand: str,
    newest_pepper: int | None = None,
) -> Context:
    """The context of an installation, on the real clock and the real generator. `newest_pepper` is
    the one that is recorded; the file may be ahead of it."""
    peppers = PepperFile(settings.root_secret_file, secret)
    return Context(
        store=store,
        ring=PepperRing(secret.peppers, newest_pepper or secret.newest, peppers),
        strongbox=Strongbox(secret.key("strongbox")),
        kinds=make_kinds(settings),
        clock=SystemClock(),
        entropy=SystemEntropy(),
        brand=brand,
        environments=settings.environments,
        country_of=find_countries(),
        activity_retention_days=settings.activity_retention_days,
        request_retention_days=settings.request_retention_days,
        has_mail=settings.mail_server is not None,
        may_send_plain=bool(settings.outbound_networks),
        log_check=ChecksFile(settings.checks_file, Notary(secret.key("activity-heads"))).last,
    )


def way_out(settings: Settings) -> GuardedOutbound:
    """How everything is called that somebody else has named."""
    return GuardedOutbound(AddressGuard(settings.outbound_networks), SystemClock())


def make_kinds(settings: Settings) -> Mapping[str, DestinationKind]:
    """The kinds of destinations, by name."""
    clock, outbound = SystemClock(), way_out(settings)
    kinds: tuple[DestinationKind, ...] = (
        FileKind(settings.delivery_folder),
        CommandKind(settings.delivery_commands, clock),
        VaultKind(outbound, clock),
        KubernetesKind(outbound, clock),
        AwsKind(outbound, clock),
        GcpKind(outbound, clock),
        AzureKind(outbound, clock),
    )
    return {kind.name: kind for kind in kinds}


@contextmanager
def opened(settings: Settings, *, patient: bool = False) -> Iterator[House]:
    """The installation that the settings name, checked before it is given out; `patient` is for
    checks of the whole of it.

    Raises `InstallationFault` where the secret, the database or what is in it does not fit.
    """
    secret = load_root_secret(settings.root_secret_file)
    require_present(settings)
    damage = DamageWatch()
    store = open_store(settings, secret, damage, patient=patient)
    try:
        try:
            with store.read() as transaction:
                installation = transaction.installation.find()
        except StorageUnavailable as error:
            raise database_fault(settings, error) from error
        brand = require_fitting(settings, secret, installation)
        newest = None if installation is None else installation.newest_pepper
        yield House(
            settings=settings,
            context=make_context(settings, secret, store, brand, newest),
            notary=Notary(secret.key("activity-heads")),
            damage=damage,
        )
    finally:
        store.close()


@contextmanager
def signed_head(house: House) -> Iterator[None]:
    """Signs the head of the log before the block tells that something was changed, since no restore
    would know of it otherwise; and after it, what the block changed itself.

    Raises `InstallationFault` after the block where that could not be: the change stands.
    """
    heads = HeadsFile(house.settings.heads_file, house.notary)
    _fault_of_signing(heads, house)
    try:
        yield
    finally:
        fault = _fault_of_signing(heads, house)
    if fault is not None:
        raise InstallationFault(
            f"The change is made, but the head of the log is not signed: {fault}",
            remedy="Mend that and make a backup: it signs the head, and so does a server. Until "
            "then, restoring an older backup would undo this unasked.",
        )


def _fault_of_signing(heads: HeadsFile, house: House) -> str | None:
    try:
        heads.recall(house.context.store.memory)
        heads.sign(house.context)
    except OSError as error:
        return f"{house.settings.heads_file} cannot be written ({error.strerror})."
    except (StorageUnavailable, IntegrityFailed) as error:
        return error.detail
    return None


def check_in(house: House) -> None:
    """To be called by a server that holds its lock and does not listen yet. A pepper that is being
    brought in is recorded only after its answer, or is found here. Raises `InstallationFault` where
    that is one that it lacks."""
    answer(house.context)
    with house.context.store.read() as transaction:
        installation = transaction.installation.find()
    secret = load_root_secret(house.settings.root_secret_file)
    require_fitting(house.settings, secret, installation)


def require_present(settings: Settings) -> None:
    """Raises `InstallationFault` unless the database is there, at the revision that we need."""
    revision = require_known(settings)
    if revision == newest_revision():
        return
    raise InstallationFault(
        f"The database is at revision {revision}, this version needs {newest_revision()}.",
        remedy="Back it up with the version that it is of, or copy it with its engine's own tools; "
        "then run `keyturn migrate`.",
    )


def require_known(settings: Settings) -> str:
    """The revision of the database. Raises `InstallationFault` unless it is one that we know."""
    path = settings.sqlite_path
    if path is not None and not path.is_file():
        raise InstallationFault(
            f"There is no database at {path}.",
            remedy="Run `keyturn init` first, or name the right one in KEYTURN_HOME or "
            "KEYTURN_DATABASE_URL.",
        )
    revision = revision_of(settings)
    if revision is None:
        raise InstallationFault(
            "The database has no installation.",
            remedy="Run `keyturn init` first, or name the right one in KEYTURN_DATABASE_URL.",
        )
    if revision not in known_revisions():
        raise InstallationFault(
            f"The database was made by a newer Keyturn (its revision is {revision}).",
            remedy="Install that version again; data is never migrated backwards.",
        )
    return revision


def revision_of(settings: Settings) -> str | None:
    """The revision of the database, None for one without our tables. Raises
    `InstallationFault`."""
    engine = migration_engine(settings)
    try:
        return present_revision(engine)
    except SQLAlchemyError as error:
        raise database_fault(settings, error) from error
    finally:
        engine.dispose()


def require_fitting(
    settings: Settings, secret: RootSecret, installation: Installation | None
) -> str:
    """The brand of the installation. Raises `InstallationFault` where the secret, the peppers or
    the brand are not the ones that it was made with."""
    if installation is None:
        raise InstallationFault(
            "The database has no installation.", remedy="Run `keyturn init` first."
        )
    if installation.root_fingerprint != secret.fingerprint:
        raise InstallationFault(
            f"The root secret (fingerprint {secret.fingerprint}) is not the one of this database "
            f"(fingerprint {installation.root_fingerprint}).",
            remedy="Name the right file in KEYTURN_ROOT_SECRET_FILE.",
        )
    for version, fingerprint in installation.pepper_fingerprints.items():
        if secret.pepper_fingerprints.get(version) != fingerprint:
            raise InstallationFault(
                f"The root secret at {settings.root_secret_file} lacks pepper {version} of this "
                "database: it is a copy from before `keyturn pepper rotate`, or another's.",
                remedy="Put the newest copy of the file there, from the machine where the pepper "
                "was rotated or from your escrow. What was made under this pepper needs it.",
            )
    if settings.brand is not None and settings.brand != installation.brand:
        raise InstallationFault(
            f"KEYTURN_BRAND is {settings.brand}, but this installation's brand is "
            f"{installation.brand}, which stands in every token.",
            remedy="Take KEYTURN_BRAND out of the settings.",
        )
    return installation.brand


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """What serves: the HTTP application and what runs beside it."""

    edge: Edge
    desk: Desk
    background: Background


def build_node(house: House, is_sole: Callable[[], bool]) -> Node:
    """One node of the installation, not yet started."""
    context, settings = house.context, house.settings
    if settings.delivery_folder == settings.home / DELIVERED:
        make_private_folder(settings.delivery_folder)
    meter = Meter(context)
    witness = Witness(context, meter)
    metrics = Metrics()
    desk = Desk(
        context=context,
        meter=meter,
        witness=witness,
        metrics=metrics,
        node_id=context.new_id(context.clock.now()),
        version=__version__,
        environment=settings.environment,
        proxies=settings.trusted_proxies,
        check=ReadinessCheck(context),
    )
    edge = Edge(
        app=build_app(desk),
        verify=VerifyEndpoint(desk),
        desk=desk,
        body_timeout_seconds=settings.body_timeout_seconds,
    )
    heads = HeadsFile(settings.heads_file, house.notary)
    heads.recall(context.store.memory)
    courier = Courier(context, way_out(settings), open_postbox(settings))
    background = Background(
        context=context,
        meter=meter,
        metrics=metrics,
        damage=house.damage,
        heads=heads,
        witness=witness,
        notifier=Notifier(context, courier),
        is_sole=is_sole,
    )
    return Node(edge=edge, desk=desk, background=background)


class ReadinessCheck:
    """Looks once in a while, however many ask: anybody may.

    Who asks while somebody else looks is given the last outcome, for as long as it is of use.
    """

    def __init__(self, context: Context) -> None:
        self._context = context
        self._turn = threading.Lock()
        self._last: tuple[float, Readiness] | None = None

    def __call__(self) -> Readiness:
        if self._turn.acquire(timeout=-1 if self._last is None else 0):
            try:
                return self._recent(READY_SECONDS) or self._look()
            finally:
                self._turn.release()
        return self._recent(READY_AT_MOST_SECONDS) or Readiness(
            is_ready=False,
            checks={"database": "unavailable", "log": "unknown", "peppers": "unknown"},
        )

    def _recent(self, seconds: float) -> Readiness | None:
        last = self._last
        is_recent = last is not None and self._context.clock.elapsed() - last[0] < seconds
        return last[1] if last is not None and is_recent else None

    def _look(self) -> Readiness:
        readiness = check_readiness(self._context)
        self._last = (self._context.clock.elapsed(), readiness)
        return readiness


def check_readiness(context: Context) -> Readiness:
    """Whether the database answers, the head of its log is sound, and each pepper is there."""
    checks = {"database": "ok", "log": "ok", "peppers": "ok"}
    try:
        context.store.ping()
        with context.store.read() as transaction:
            transaction.head()
        checks["log"] = context.store.memory.fault or "ok"
        checks["peppers"] = _find_lack(context) or "ok"
    except StorageUnavailable:
        checks["database"] = "unavailable"
        checks["log"] = checks["peppers"] = "unknown"
    except KeyturnError as error:
        checks["log"] = error.detail
    return Readiness(is_ready=all(word == "ok" for word in checks.values()), checks=checks)


def _find_lack(context: Context) -> str | None:
    """What the file of the root secret lacks, or None."""
    try:
        with context.store.read() as transaction:
            installation = transaction.installation.find()
    except IntegrityFailed as error:
        return error.detail
    recorded = {} if installation is None else installation.pepper_fingerprints
    for version, fingerprint in recorded.items():
        if context.ring.fingerprint(version) != fingerprint:
            return f"The file of the root secret lacks pepper {version}."
    return None
