"""Putting the parts together."""

import asyncio
import logging
import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from uuid import UUID

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
from keyturn.http.app import build_app
from keyturn.http.desk import Desk
from keyturn.http.metrics import Metrics
from keyturn.http.sight import Sight
from keyturn.http.sole_sight import SoleSight
from keyturn.http.verify import VerifyEndpoint
from keyturn.outbound.client import GuardedOutbound
from keyturn.outbound.guard import AddressGuard
from keyturn.server.background import Background
from keyturn.server.checks import ChecksFile
from keyturn.server.countries import find_countries
from keyturn.server.diagnose import database_fault
from keyturn.server.edge import Edge
from keyturn.server.engines import open_store
from keyturn.server.files import make_private_folder
from keyturn.server.fitting import require_fitting, require_present
from keyturn.server.follower import Member
from keyturn.server.heads import HeadsFile
from keyturn.server.mail import open_postbox
from keyturn.server.membership import Membership, join
from keyturn.server.prober import Prober
from keyturn.server.readiness import ReadinessCheck
from keyturn.server.secret import PepperFile, RootSecret, load_root_secret
from keyturn.server.settings import DELIVERED, Settings
from keyturn.services.attest import Notary
from keyturn.services.context import Context
from keyturn.services.courier import Courier
from keyturn.services.fellows import Fellows
from keyturn.services.follow import answer
from keyturn.services.meter import Meter
from keyturn.services.notify import Notifier
from keyturn.services.strongbox import Strongbox
from keyturn.services.watch import DamageWatch
from keyturn.services.witness import Witness
from keyturn.storage.contract import Store

DEFAULT_BRAND = "kt"


CHECK_IN_AGAIN_SECONDS = 1.0

_log = logging.getLogger("keyturn.node")


@dataclass(frozen=True, slots=True, kw_only=True)
class House:
    """An opened installation, with everything that its verbs need."""

    settings: Settings
    context: Context
    notary: Notary
    damage: DamageWatch


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


def check_in(house: House, node: str = "") -> None:
    """To be called by a server that holds its lock and does not listen yet, and once more when
    other nodes know of it; `node` is its id where there may be several. A pepper that is being
    brought in is recorded only after its answer, or is found here. Raises `InstallationFault` where
    that is one that it lacks."""
    answer(house.context, node)
    with house.context.store.read() as transaction:
        installation = transaction.installation.find()
    secret = load_root_secret(house.settings.root_secret_file)
    require_fitting(house.settings, secret, installation)


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """What serves: the HTTP application and what runs beside it. `membership` is there where it may
    be one of several."""

    edge: Edge
    desk: Desk
    background: Background
    membership: Membership | None
    prober: Prober | None
    check_in: Callable[[], None]

    async def begin(self) -> None:
        """To be called on the event loop, before anything is answered. Raises
        `InstallationFault`."""
        if self.membership is not None:
            if await self.membership.begin():
                await asyncio.to_thread(self.check_in)
            else:
                self.membership.at_first_lease(self._check_in_late)
        if self.prober is not None:
            self.prober.begin()

    async def _check_in_late(self) -> None:
        while True:
            try:
                return await asyncio.to_thread(self.check_in)
            except InstallationFault as fault:
                # It listens already; `/readyz` says what it lacks.
                _log.critical("%s %s", fault.detail, fault.remedy)
                return None
            except KeyturnError as error:
                _log.warning("not checked in yet: %s", error.detail)
            await asyncio.sleep(CHECK_IN_AGAIN_SECONDS)

    def end(self) -> None:
        """To be called once nothing is answered any more."""
        if self.membership is not None:
            self.membership.end()
        self.background.stop()
        self.desk.lookups.shutdown(wait=False, cancel_futures=True)


def build_node(house: House, leads: Callable[[bool], bool], node_id: UUID, port: int) -> Node:
    """One node of the installation, not yet started. `leads` has it lead the others, or leave that
    to another; `port` is the one that it listens on."""
    context, settings = house.context, house.settings
    if settings.delivery_folder == settings.home / DELIVERED:
        make_private_folder(settings.delivery_folder)
    heads = HeadsFile(settings.heads_file, house.notary)
    heads.recall(context.store.memory)
    meter = Meter(context)
    metrics = Metrics()
    member = Member(
        id=str(node_id),
        name=settings.node_name or f"{socket.gethostname()}:{port}",
        version=__version__,
        lease_seconds=float(settings.freshness_seconds),
    )
    membership = join(context, meter, member, settings.home, metrics.propagated)
    sight: Sight = SoleSight(context.store.credentials, node_id, member.name)
    fellows = None
    if membership is not None:
        sight = membership.sight
        fellows = Fellows(membership.cluster, member.id)
        metrics.watch_verifier(membership.sight.figures)
    witness = Witness(context, meter, fellows)
    desk = Desk(
        context=context,
        meter=meter,
        witness=witness,
        metrics=metrics,
        node_id=node_id,
        version=__version__,
        environment=settings.environment,
        proxies=settings.trusted_proxies,
        check=ReadinessCheck(context, None if membership is None else sight.fault),
        sight=sight,
    )
    edge = Edge(
        app=build_app(desk),
        verify=VerifyEndpoint(desk),
        desk=desk,
        body_timeout_seconds=settings.body_timeout_seconds,
    )
    courier = Courier(context, way_out(settings), open_postbox(settings))
    background = Background(
        context=context,
        meter=meter,
        metrics=metrics,
        damage=house.damage,
        heads=heads,
        witness=witness,
        notifier=Notifier(context, courier),
        leads=lambda: leads(membership is None or membership.follower.is_of_one_history),
        forget_nodes=None if membership is None else membership.forget,
        node=member.id,
    )
    prober = None
    if membership is not None:
        prober = Prober(
            context=context,
            node_id=node_id,
            barrier=membership.sight.barrier,
            leads=background.leads,
            every_seconds=float(settings.probe_seconds),
        )
    return Node(
        edge=edge,
        desk=desk,
        background=background,
        membership=membership,
        prober=prober,
        check_in=partial(check_in, house, member.id),
    )
