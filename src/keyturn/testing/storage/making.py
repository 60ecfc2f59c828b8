"""Records to keep: plain ones, told apart by a number or by chance that repeats."""

from collections.abc import Sequence
from dataclasses import replace
from typing import TypeVar
from uuid import UUID

from keyturn.domain.activity import SYSTEM, ActivityStatus, Actor, ActorType, Category, Entry
from keyturn.domain.channel import Channel, ChannelKind, ChannelState, SigningSecret
from keyturn.domain.delivery import Delivery, DeliveryState
from keyturn.domain.destination import Destination, DestinationState
from keyturn.domain.finding import Finding, FindingKind, FindingState, Severity, SubjectType
from keyturn.domain.incident import (
    Because,
    ContainedKey,
    Containment,
    Incident,
    IncidentReason,
    IncidentState,
    Outcome,
    hash_keys,
)
from keyturn.domain.instant import DAY
from keyturn.domain.key import Key, KeyState
from keyturn.domain.message import Envelope, Message, MessageState
from keyturn.domain.network import parse_address
from keyturn.domain.operator import Operator, OperatorKind
from keyturn.domain.posture.check import CheckId
from keyturn.domain.posture.waiver import PostureWaiver
from keyturn.domain.request import Request
from keyturn.domain.rotation import Ending, Rotation, RotationState, RotationTerms
from keyturn.domain.runtime import Runtime
from keyturn.domain.slot import Slot, SlotName, SlotNotes
from keyturn.domain.workspace import Workspace, WorkspaceStatus
from keyturn.storage.contract import Store
from keyturn.storage.log import Change
from keyturn.storage.transaction import Writing
from keyturn.testing.ambience import SOME_TIME, SeededEntropy

Item = TypeVar("Item")

HOME = UUID("01900000-0000-7000-8000-00000000000a")
ABROAD = UUID("01900000-0000-7000-8000-00000000000b")
NOBODY = UUID("01900000-0000-7000-8000-0000000000ff")


class Dice:
    """Chance that is the same in each run."""

    def __init__(self, seed: int) -> None:
        self._entropy = SeededEntropy(seed)

    def below(self, bound: int) -> int:
        return int.from_bytes(self._entropy.take(8), "big") % bound

    def pick(self, items: Sequence[Item]) -> Item:
        return items[self.below(len(items))]

    def bytes(self, size_bytes: int) -> bytes:
        return self._entropy.take(size_bytes)


def id_of(number: int) -> UUID:
    """An id; a larger number is a newer one."""
    return UUID(int=0x01900000_0000_7000_8000_000000000000 + 0x1000 + number)


def key(number: int, *, workspace_id: UUID = HOME, slot: str = "scheduler-prod") -> Key:
    """An active key in its first version."""
    return Key(
        id=id_of(number),
        workspace_id=workspace_id,
        slot=slot_name(slot),
        brand="kt",
        name=slot,
        scopes=("read",),
        permissions=(),
        allowed_cidrs=(),
        metadata="{}",
        state=KeyState.ACTIVE,
        compromised=False,
        digest=bytes(32),
        peppers="1",
        created_at=SOME_TIME,
        created_by=None,
        not_before=None,
        expires_at=None,
        last_rotated_at=None,
        updated_at=SOME_TIME,
        revoked_at=None,
        revocation_reason=None,
        version=1,
    )


def slot_name(spelled: str) -> SlotName:
    service, _, environment = spelled.rpartition("-")
    return SlotName(service=service, environment=environment)


def slot(
    name: str,
    *,
    workspace_id: UUID = HOME,
    created_at: int = SOME_TIME,
    owner: str | None = None,
) -> Slot:
    return Slot(
        workspace_id=workspace_id,
        name=slot_name(name),
        notes=SlotNotes(owner=owner),
        created_at=created_at,
        updated_at=created_at,
        version=1,
    )


def workspace(id: UUID = HOME, name: str = "acme") -> Workspace:  # noqa: A002
    return Workspace(
        id=id,
        name=name,
        status=WorkspaceStatus.ACTIVE,
        networks=(),
        created_at=SOME_TIME,
        updated_at=SOME_TIME,
        version=1,
    )


def operator(number: int) -> Operator:
    return Operator(
        id=id_of(number),
        name=f"operator {number}",
        kind=OperatorKind.OPERATOR,
        digest=bytes(32),
        peppers="1",
        created_at=SOME_TIME,
        expires_at=None,
        revoked_at=None,
        updated_at=SOME_TIME,
        version=1,
    )


def request(
    at: int,
    *,
    key_id: UUID | None = None,
    workspace_id: UUID | None = HOME,
    code: str = "valid",
    runtime: str = "worker",
    declared: bool = True,
    ip: str | None = None,
    path: str | None = None,
    request_id: str = "request-1",
    environment: str | None = None,
    place: str | None = None,
    is_check_in: bool = False,
    method: str | None = None,
    user_agent: str | None = None,
    scopes: tuple[str, ...] = (),
    named_network: str | None = None,
    country: str | None = None,
    browser: str | None = None,
) -> Request:
    return Request(
        at=at,
        request_id=request_id,
        workspace_id=workspace_id,
        key_id=key_id,
        code=code,
        runtime=Runtime(runtime, declared=declared),
        address=None if ip is None else parse_address(ip),
        user_agent=user_agent,
        method=method,
        path=path,
        scopes=scopes,
        environment=environment,
        place=place,
        is_check_in=is_check_in,
        named_network=named_network,
        country=country,
        browser=browser,
    )


def rotation(
    number: int,
    *,
    workspace_id: UUID = HOME,
    slot: str = "scheduler-prod",
    old: int = 1,
    new: int = 2,
    state: RotationState = RotationState.OVERLAPPING,
) -> Rotation:
    """A rotation of the keys `old` and `new` in its first version."""
    made = Rotation(
        id=id_of(number),
        workspace_id=workspace_id,
        slot=slot_name(slot),
        old_key_id=id_of(old),
        new_key_id=id_of(new),
        state=state,
        terms=RotationTerms(
            quiet_seconds=300, brownout_seconds=60, lookback_seconds=86_400, auto_complete=True
        ),
        started_at=SOME_TIME,
        started_by="operator 1",
        deadline=SOME_TIME + DAY,
        brownout=None,
        lifts=0,
        lifted_at=None,
        met=(),
        decisions=(),
        ending=None,
        updated_at=SOME_TIME,
        version=1,
    )
    return made if made.is_open else replace(made, ending=ending())


def ending() -> Ending:
    return Ending(
        at=SOME_TIME + 1,
        by="operator 1",
        reason="Everybody has moved.",
        is_forced=True,
        evidence='{"runtimes":[]}',
        evidence_until=SOME_TIME,
    )


def finding(
    number: int,
    *,
    workspace_id: UUID = HOME,
    slot: str = "scheduler-prod",
    kind: FindingKind = FindingKind.UNOWNED,
    subject_id: str = "scheduler-prod",
    mark: str = "",
    state: FindingState = FindingState.OPEN,
    severity: Severity = Severity.INFO,
) -> Finding:
    return Finding(
        id=id_of(number),
        workspace_id=workspace_id,
        kind=kind,
        subject_type=SubjectType.SLOT,
        subject_id=subject_id,
        slot=slot_name(slot),
        mark=mark,
        severity=severity,
        state=state,
        since=SOME_TIME,
        evidence="{}",
        acknowledged_at=None,
        acknowledged_by=None,
        acknowledge_reason=None,
        resolved_at=SOME_TIME if state is FindingState.RESOLVED else None,
        updated_at=SOME_TIME,
        version=1,
    )


def contained(number: int, *, incident: int = 1, workspace_id: UUID = HOME) -> ContainedKey:
    """Key `number`, as it is in an incident from its beginning."""
    return ContainedKey(
        incident_id=id_of(incident),
        workspace_id=workspace_id,
        key_id=id_of(number),
        name=f"key {number}",
        slot=slot_name("scheduler-prod"),
        because=Because.NAMED,
        state_before=KeyState.ACTIVE,
        exposed_since=SOME_TIME - DAY,
        contained_at=SOME_TIME,
        replacement_key_id=None,
        replaced_at=None,
        recovered_at=None,
        waiver=None,
        updated_at=SOME_TIME,
        version=1,
    )


def incident(
    number: int,
    *keys: ContainedKey,
    workspace_id: UUID = HOME,
    state: IncidentState = IncidentState.CONTAINED,
    reason: IncidentReason = IncidentReason.LEAKED,
) -> Incident:
    """An incident over these keys in its first version."""
    is_closed = state is IncidentState.CLOSED
    return Incident(
        id=id_of(number),
        workspace_id=workspace_id,
        state=state,
        reason=reason,
        detail=None,
        found_url=None,
        exposed_since=None,
        containment=Containment.REVOKE,
        opened_at=SOME_TIME + number,
        opened_by="operator 1",
        contained_at=SOME_TIME + number,
        counted_at=None,
        keys_hash=hash_keys(keys),
        placements=(),
        unreached=(),
        closed_at=SOME_TIME + number if is_closed else None,
        closed_by="operator 1" if is_closed else None,
        outcome=Outcome.CONFIRMED if is_closed else None,
        updated_at=SOME_TIME + number,
        version=1,
    )


def destination(
    number: int, *, workspace_id: UUID = HOME, name: str = "vault", kind: str = "vault"
) -> Destination:
    """One that is not proven, in its first version."""
    return Destination(
        id=id_of(number),
        workspace_id=workspace_id,
        name=name,
        kind=kind,
        config="{}",
        credential=b"sealed",
        nonce="0" * 32,
        state=DestinationState.UNPROVEN,
        proven_at=None,
        fault=None,
        created_at=SOME_TIME,
        created_by="operator 1",
        updated_at=SOME_TIME,
        version=1,
    )


def channel(
    number: int,
    *,
    workspace_id: UUID = HOME,
    name: str = "hooks",
    kind: ChannelKind = ChannelKind.WEBHOOK,
    state: ChannelState = ChannelState.ACTIVE,
    since: int = 0,
) -> Channel:
    is_webhook = kind is ChannelKind.WEBHOOK
    secret = SigningSecret(sealed=b"sealed", created_at=SOME_TIME, ends_at=None)
    return Channel(
        id=id_of(number),
        workspace_id=workspace_id,
        kind=kind,
        name=name,
        url="https://hooks.example.com/" if is_webhook else None,
        addresses=() if is_webhook else ("ops@example.com",),
        to_owners=not is_webhook,
        events=("*",),
        state=state,
        reason=None,
        secrets=(secret,) if is_webhook else (),
        since=since,
        created_at=SOME_TIME,
        created_by="operator 1",
        updated_at=SOME_TIME,
        version=1,
    )


def waiver(
    number: int,
    *,
    workspace_id: UUID = HOME,
    check: CheckId = CheckId.OWNED,
    key_id: UUID | None = None,
    slot: str | None = "scheduler-prod",
    until: int = SOME_TIME + DAY,
    created_at: int = SOME_TIME,
    reason: str = "until the move",
) -> PostureWaiver:
    """A waiver in its first version."""
    return PostureWaiver(
        id=id_of(number),
        workspace_id=workspace_id,
        check=check,
        key_id=key_id,
        slot=None if slot is None else slot_name(slot),
        reason=reason,
        until=until,
        created_at=created_at,
        created_by="ops",
        ended_at=None,
        ended_by=None,
        updated_at=created_at,
        version=1,
    )


def delivery(
    number: int,
    *,
    workspace_id: UUID = HOME,
    slot: str = "scheduler-prod",
    key: int = 1,
    rotation: int | None = None,
    destination: int = 1,
    name: str = "vault",
    state: DeliveryState = DeliveryState.WAITING,
    token: bytes | None = b"sealed",
    next_at: int = SOME_TIME,
    failures: int = 0,
) -> Delivery:
    """The delivery of the token of the key `key` to the destination `destination`."""
    return Delivery(
        id=id_of(number),
        workspace_id=workspace_id,
        slot=slot_name(slot),
        key_id=id_of(key),
        rotation_id=None if rotation is None else id_of(rotation),
        destination_id=id_of(destination),
        destination=name,
        state=state,
        token=token,
        previous=None,
        mark=None,
        begun_at=None,
        attempts=failures,
        failures=failures,
        next_at=next_at,
        fault_kind=None,
        fault=None,
        location=None,
        receipt=None,
        delivered_at=None,
        checked_at=None,
        ended_at=None,
        created_at=SOME_TIME,
        created_by="operator 1",
        updated_at=SOME_TIME,
    )


def message(
    number: int,
    *,
    channel: int = 1,
    workspace_id: UUID = HOME,
    subject: str = "api_key/1",
    event: str = "api_key.created",
    due_at: int = SOME_TIME,
    tries: int = 0,
    created_at: int = SOME_TIME,
) -> Message:
    """One that waits; `number` is that of its event, and makes its id."""
    return Message(
        envelope=Envelope(
            id=id_of(number),
            channel_id=id_of(channel),
            workspace_id=workspace_id,
            number=number,
            event=event,
            subject=subject,
            body='{"type":"api_key.created"}',
            recipients=("ops@example.com",),
            created_at=created_at,
        ),
        state=MessageState.WAITING,
        tries=tries,
        due_at=due_at,
        hurries=0,
        ended_at=None,
        reason=None,
        reached=(),
        attempts=(),
    )


def entry(
    number: int,
    *,
    workspace_id: UUID | None = HOME,
    action: str = "api_key.created",
    version: int | None = None,
    created_at: int = SOME_TIME,
    retention_days: int = 400,
) -> Entry:
    """An entry about key `number`."""
    return Entry(
        id=id_of(number),
        workspace_id=workspace_id,
        actor=SYSTEM,
        action=action,
        category=Category.SECURITY,
        resource_type="api_key",
        resource_id=str(id_of(number)),
        resource_version=version,
        status=ActivityStatus.SUCCESS,
        message="Something was done.",
        metadata={},
        request_id=None,
        retention_days=retention_days,
        created_at=created_at,
        expires_at=created_at + retention_days * DAY,
        position=None,
    )


def actor(number: int) -> Actor:
    return Actor(type=ActorType.USER, id=id_of(number), label=f"operator {number}")


def log_key(transaction: Writing, made: Key) -> int:
    """Writes the change of a key, and the entry that tells of it."""
    told = replace(entry(0, workspace_id=made.workspace_id), resource_id=str(made.id))
    return transaction.log.append(
        replace(told, resource_version=made.version),
        Change(kind="key", ref=str(made.id), version=made.version),
    )


def log_slot(transaction: Writing, made: Slot) -> int:
    return transaction.log.append(
        entry(0, workspace_id=made.workspace_id, version=made.version),
        Change(kind="slot", ref=f"{made.workspace_id}/{made.name}", version=made.version),
    )


def log_workspace(transaction: Writing, made: Workspace) -> int:
    return transaction.log.append(
        entry(0, workspace_id=made.id, version=made.version),
        Change(kind="workspace", ref=str(made.id), version=made.version),
    )


def log_operator(transaction: Writing, made: Operator) -> int:
    return transaction.log.append(
        entry(0, workspace_id=None, version=made.version),
        Change(kind="operator", ref=str(made.id), version=made.version),
    )


def log_rotation(transaction: Writing, made: Rotation) -> int:
    return transaction.log.append(
        entry(0, workspace_id=made.workspace_id, version=made.version),
        Change(kind="rotation", ref=str(made.id), version=made.version),
    )


def log_finding(transaction: Writing, made: Finding) -> int:
    return transaction.log.append(
        entry(0, workspace_id=made.workspace_id, version=made.version),
        Change(kind="finding", ref=str(made.id), version=made.version),
    )


def log_incident(transaction: Writing, made: Incident) -> int:
    return transaction.log.append(
        entry(0, workspace_id=made.workspace_id, version=made.version),
        Change(kind="incident", ref=str(made.id), version=made.version),
    )


def add_incident(store: Store, made: Incident, *keys: ContainedKey) -> None:
    with store.change() as transaction:
        transaction.incidents.add(made)
        transaction.incidents.add_keys(keys)
        log_incident(transaction, made)


def log_destination(transaction: Writing, made: Destination) -> int:
    return transaction.log.append(
        entry(0, workspace_id=made.workspace_id, version=made.version),
        Change(kind="destination", ref=str(made.id), version=made.version),
    )


def add_destinations(store: Store, *made: Destination) -> None:
    with store.change() as transaction:
        for one in made:
            transaction.destinations.add(one)
            log_destination(transaction, one)


def add_deliveries(store: Store, *made: Delivery) -> None:
    with store.change() as transaction:
        for one in made:
            transaction.deliveries.add(one)


def log_channel(transaction: Writing, made: Channel) -> int:
    return transaction.log.append(
        entry(0, workspace_id=made.workspace_id, version=made.version),
        Change(kind="channel", ref=str(made.id), version=made.version),
    )


def add_channels(store: Store, *made: Channel) -> None:
    with store.change() as transaction:
        for one in made:
            transaction.channels.add(one)
            log_channel(transaction, one)


def log_waiver(transaction: Writing, made: PostureWaiver) -> int:
    return transaction.log.append(
        entry(0, workspace_id=made.workspace_id, version=made.version),
        Change(kind="posture_waiver", ref=str(made.id), version=made.version),
    )


def add_waivers(store: Store, *made: PostureWaiver) -> None:
    with store.change() as transaction:
        for one in made:
            transaction.posture_waivers.add(one)
            log_waiver(transaction, one)


def add_messages(store: Store, *made: Message) -> None:
    with store.record() as transaction:
        for one in made:
            assert transaction.messages.add(one)


def add_rotations(store: Store, *made: Rotation) -> None:
    with store.change() as transaction:
        for one in made:
            transaction.rotations.add(one)
            log_rotation(transaction, one)


def add_findings(store: Store, *made: Finding) -> None:
    with store.change() as transaction:
        for one in made:
            transaction.findings.add(one)
            log_finding(transaction, one)


def add_keys(store: Store, *made: Key) -> None:
    with store.change() as transaction:
        for one in made:
            transaction.keys.add(one)
            log_key(transaction, one)


def add_slots(store: Store, *made: Slot) -> None:
    with store.change() as transaction:
        for one in made:
            transaction.slots.add(one)
            log_slot(transaction, one)


def add_workspaces(store: Store, *made: Workspace) -> None:
    with store.change() as transaction:
        for one in made:
            transaction.workspaces.add(one)
            log_workspace(transaction, one)


def add_operators(store: Store, *made: Operator) -> None:
    with store.change() as transaction:
        for one in made:
            transaction.operators.add(one)
            log_operator(transaction, one)


def record(store: Store, *made: Request, first: int = 1) -> None:
    """Keeps a batch; its requests have the ids `first` and on."""
    with store.record() as transaction:
        transaction.requests.record(
            [(str(id_of(first + index)), one) for index, one in enumerate(made)]
        )
