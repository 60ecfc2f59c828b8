"""Connecting destinations: made, changed, proven, and taken away by an administrator.

A destination's address and credential decide who is given the tokens of every slot that names it,
so nobody but an administrator of the workspace sees to them.

A credential is sent to no other place than the one that it was given for: who changes the
configuration gives it anew. Else each administrator could read out what another has entered.

Proving talks to the other side, which takes time: it happens between two transactions, and what it
found is written only over the destination that it was found of. It begins no further call where
that could end after `PROOF_SECONDS`.
"""

import hmac
import json
import logging
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from uuid import UUID

from keyturn.destinations.contract import (
    SECONDS,
    ConfigurationFault,
    DestinationFault,
    DestinationKind,
    FaultKind,
    Opening,
)
from keyturn.destinations.contract import Destination as Opened
from keyturn.destinations.place import MARK
from keyturn.domain.activity import SYSTEM, Category
from keyturn.domain.authority import Rights
from keyturn.domain.destination import (
    MOST_CONFIG_BYTES,
    MOST_CREDENTIAL_BYTES,
    MOST_OF_A_WORKSPACE,
    Destination,
    DestinationState,
    check_destination_name,
    marked_by,
)
from keyturn.domain.error import (
    DestinationExists,
    DestinationInUse,
    DestinationUnknown,
    Fault,
    IntegrityFailed,
    PermissionMissing,
    RequestInvalid,
    VersionMoved,
    WorkspaceUnknown,
)
from keyturn.domain.permission import Permission
from keyturn.domain.text import refuse_token
from keyturn.services.context import Context
from keyturn.services.define import require_version
from keyturn.services.dispatch import hurry_deliveries, redirect_deliveries
from keyturn.services.identify import reaffirm
from keyturn.services.journal import Act, Author, Subject, note
from keyturn.storage.log import Change
from keyturn.storage.transaction import Reading, Writing

NONCE_BYTES = 16
PROOF_SECONDS = 15.0
_MOST_SLOTS = 10_000
_PAGE = 500
_RESTORED = "A backup was restored: see that nothing newer is there, and prove it again."

_log = logging.getLogger("keyturn.destinations")

# Called with the transaction, before it commits, so that an answer is kept with its change.
Remember = Callable[[Writing, Destination], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class DestinationDraft:
    """What is asked for. The credential does not show itself."""

    name: str
    kind: str
    config: Mapping[str, object]
    credential: Mapping[str, str] = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class DestinationAmendment:
    """What is to change; None stays."""

    config: Mapping[str, object] | None = None
    credential: Mapping[str, str] | None = field(default=None, repr=False)


def require_admin(rights: Rights) -> None:
    """Raises `PermissionMissing` for who is no administrator of the workspace."""
    if not rights.is_admin:
        raise PermissionMissing(f"This needs the permission {Permission.ADMIN}.")


def connect_destination(
    context: Context,
    act: Act,
    workspace_id: UUID,
    draft: DestinationDraft,
    remember: Remember | None = None,
) -> Destination:
    """Makes a destination, not yet proven. Raises `RequestInvalid`, `DestinationExists`,
    `PermissionMissing` or `WorkspaceUnknown`; then nothing has happened."""
    check_destination_name(draft.name)
    config = check_config(context, draft.kind, draft.config, draft.credential)
    with context.store.change() as transaction:
        now = context.clock.now()
        require_admin(reaffirm(transaction, act.caller, now))
        if transaction.workspaces.find(workspace_id) is None:
            raise WorkspaceUnknown("There is no workspace with this id.")
        _require_room(transaction, workspace_id, draft.name)
        id_ = context.new_id(now)
        destination = Destination(
            id=id_,
            workspace_id=workspace_id,
            name=draft.name,
            kind=draft.kind,
            config=config,
            credential=_seal(context, workspace_id, id_, draft.credential),
            nonce=context.entropy.take(NONCE_BYTES).hex(),
            state=DestinationState.UNPROVEN,
            proven_at=None,
            fault=None,
            created_at=now,
            created_by=act.caller.actor.label,
            updated_at=now,
            version=1,
        )
        transaction.destinations.add(destination)
        _note(context, transaction, Author.of(act), destination, "created", now)
        if remember is not None:
            remember(transaction, destination)
    return destination


def _require_room(transaction: Writing, workspace_id: UUID, name: str) -> None:
    try:
        present = transaction.destinations.named(workspace_id, name)
    except IntegrityFailed as error:
        raise DestinationExists(f"{error.detail} Its name is taken until then.") from None
    if present is not None:
        raise DestinationExists(
            f"There is a destination {name} already: change it, or take another name."
        )
    if transaction.destinations.count(workspace_id, None) >= MOST_OF_A_WORKSPACE:
        raise RequestInvalid.at("", f"There may be at most {MOST_OF_A_WORKSPACE} destinations.")


def check_config(
    context: Context, kind: str, config: Mapping[str, object], credential: Mapping[str, str]
) -> str:
    """The configuration in its one spelling, as JSON text. Raises `RequestInvalid`."""
    known = context.kinds.get(kind)
    if known is None:
        raise RequestInvalid.at("/kind", f"A kind is one of {', '.join(sorted(context.kinds))}.")
    spelled = json.dumps(config)
    refuse_token(spelled, "/config")
    if len(spelled.encode()) > MOST_CONFIG_BYTES:
        raise RequestInvalid.at("/config", f"This may have at most {MOST_CONFIG_BYTES} bytes.")
    if len(json.dumps(credential).encode()) > MOST_CREDENTIAL_BYTES:
        detail = f"This may have at most {MOST_CREDENTIAL_BYTES} bytes."
        raise RequestInvalid.at("/credential", detail)
    try:
        checked = known.check(config, credential)
    except ConfigurationFault as fault:
        faults = tuple(Fault(pointer=pointer, detail=detail) for pointer, detail in fault.faults)
        raise RequestInvalid(faults[0].detail, faults) from None
    return json.dumps(checked, sort_keys=True, separators=(",", ":"))


def change_destination(
    context: Context,
    act: Act,
    workspace_id: UUID,
    name: str,
    amendment: DestinationAmendment,
    *,
    expected: frozenset[int] | None = None,
    remember: Remember | None = None,
) -> Destination:
    """Gives it another configuration or credential; it is to be proven anew. Raises
    `RequestInvalid`, `DestinationUnknown`, `VersionMoved` or `PermissionMissing`."""
    if amendment == DestinationAmendment():
        raise RequestInvalid.at("", "Say what is to change.")
    with context.store.change() as transaction:
        now = context.clock.now()
        require_admin(reaffirm(transaction, act.caller, now))
        present = find_destination(transaction, workspace_id, name)
        require_version(present.version, expected)
        config, credential = _amended(context, present, amendment)
        following = present.changed(
            config=config,
            credential=_seal(context, workspace_id, present.id, credential),
            nonce=context.entropy.take(NONCE_BYTES).hex(),
            now=now,
        )
        transaction.destinations.replace(following, present.version)
        _note(context, transaction, Author.of(act), following, "updated", now)
        redirect_deliveries(context, transaction, Author.of(act), following, now)
        if remember is not None:
            remember(transaction, following)
    return following


def _amended(
    context: Context, present: Destination, amendment: DestinationAmendment
) -> tuple[str, Mapping[str, str]]:
    """The configuration in its one spelling, and the credential. Raises `RequestInvalid` where a
    credential that was given for another configuration would go along."""
    given = amendment.credential
    credential = credential_of(context, present) if given is None else given
    if amendment.config is None:
        config = check_config(context, present.kind, json.loads(present.config), credential)
        return config, credential
    config = check_config(context, present.kind, amendment.config, credential)
    if credential and given is None and config != present.config:
        raise RequestInvalid.at(
            "/credential",
            "Give the credential too: it is not sent to another place than the one it was given "
            "for.",
        )
    return config, credential


def remove_destination(
    context: Context,
    act: Act,
    workspace_id: UUID,
    name: str,
    *,
    expected: frozenset[int] | None = None,
) -> None:
    """Takes a destination away, its credential with it. What it holds stays there. Raises
    `DestinationInUse`, `DestinationUnknown`, `VersionMoved` or `PermissionMissing`."""
    with context.store.change() as transaction:
        now = context.clock.now()
        require_admin(reaffirm(transaction, act.caller, now))
        present = find_destination(transaction, workspace_id, name)
        require_version(present.version, expected)
        _require_unused(transaction, present)
        following = present.removed(now)
        transaction.destinations.replace(following, present.version)
        _note(context, transaction, Author.of(act), following, "removed", now)


def _require_unused(transaction: Writing, destination: Destination) -> None:
    slots = transaction.slots.list(
        destination.workspace_id,
        patterns=("*",),
        service=None,
        environment=None,
        owner=None,
        limit=_MOST_SLOTS,
        before=None,
    )
    users = [str(one.name) for one in slots if destination.name in (one.notes.destinations or ())]
    if users:
        more = f" and {len(users) - 5} more" if len(users) > 5 else ""
        raise DestinationInUse(
            f"These slots deliver to {destination.name}: {', '.join(users[:5])}{more}. Give them "
            "another destination first."
        )
    if transaction.deliveries.is_in_use(destination.id):
        raise DestinationInUse(
            f"A token is on its way to {destination.name}, or its rotation is open: wait for that, "
            f"`keyturn deliveries list --destination {destination.name}`."
        )


def find_destination(transaction: Reading, workspace_id: UUID, name: str) -> Destination:
    """The destination of a name. Raises `DestinationUnknown`."""
    destination = transaction.destinations.named(workspace_id, name)
    if destination is None:
        raise DestinationUnknown(f"There is no destination {name}.")
    return destination


def prove_destination(context: Context, act: Act, workspace_id: UUID, name: str) -> Destination:
    """Writes the mark, reads it back, and keeps what was found. Raises `DestinationUnknown`,
    `VersionMoved` where somebody changed the destination meanwhile, or `PermissionMissing`."""
    with context.store.read() as reading:
        require_admin(reaffirm(reading, act.caller, context.clock.now()))
        present = find_destination(reading, workspace_id, name)
    fault = fault_of(context, present)
    with context.store.change() as transaction:
        now = context.clock.now()
        require_admin(reaffirm(transaction, act.caller, now))
        found = find_destination(transaction, workspace_id, name)
        if (found.id, found.nonce) != (present.id, present.nonce):
            raise VersionMoved("This was changed while it was being proven; prove it again.")
        following = found.proved(now) if fault is None else found.disproved(fault, now)
        transaction.destinations.replace(following, found.version)
        if fault is None:
            hurry_deliveries(transaction, found.id, now)
        verb = "proven" if fault is None else "unproven"
        _note(context, transaction, Author.of(act), following, verb, now)
    return following


def doubt_destinations(context: Context, transaction: Writing, now: int) -> int:
    """Takes the proof away from every destination of a restored database, and says of how many: it
    is an old copy, or a second one beside the first, and what it would deliver may be older than
    what is there."""
    places: list[UUID] = []
    before: UUID | None = None
    while page := transaction.workspaces.list(limit=_PAGE, before=before):
        places += [one.id for one in page]
        before = page[-1].id
    doubted, author = 0, Author(actor=SYSTEM, request_id=None)
    for place in places:
        found = transaction.destinations.list(place, None, limit=MOST_OF_A_WORKSPACE, before=None)
        for one in found:
            if one.is_proven:
                following = one.disproved(_RESTORED, now)
                transaction.destinations.replace(following, one.version)
                _note(context, transaction, author, following, "unproven", now)
                doubted += 1
    return doubted


def fault_of(context: Context, destination: Destination) -> str | None:
    """Tries the destination with its mark: why it cannot be used, None where it can."""
    begun = context.clock.elapsed()

    def require_time() -> None:
        if context.clock.elapsed() - begun > PROOF_SECONDS - SECONDS:
            raise DestinationFault(
                FaultKind.TIMED_OUT, "It answers too slowly: its mark was not proven in time."
            )

    try:
        opened = open_destination(context, destination)
        try:
            return _mark(opened, destination, require_time)
        finally:
            with suppress(DestinationFault):
                opened.close()
    except (DestinationFault, IntegrityFailed) as fault:
        return fault.detail
    except Exception as error:  # noqa: BLE001  (a kind that breaks is a destination that fails)
        _log.error("destination %s failed: %s", destination.id, type(error).__name__)
        return "It failed in a way that is not provided for; the server's log names the fault."


def _mark(opened: Opened, destination: Destination, require_time: Callable[[], None]) -> str | None:
    require_time()
    held = opened.read(MARK)
    if held is not None:
        owner = marked_by(held.value)
        if owner is None:
            return f"Something else lies at {opened.locate(MARK)}, where its mark belongs."
        if owner != destination.id:
            return (
                f"Another destination has marked this place as its own, at {opened.locate(MARK)}. "
                "Take another place, or take that mark away if it is of no use any more."
            )
    require_time()
    opened.write(MARK, destination.mark, None if held is None else held.version)
    require_time()
    again = opened.read(MARK)
    if again is None or not hmac.compare_digest(again.value.encode(), destination.mark.encode()):
        return "What was written there was not what could be read back."
    return None


def open_destination(context: Context, destination: Destination) -> Opened:
    """The destination, ready for use. Raises `DestinationFault`, or `IntegrityFailed` where its
    credential was changed from outside."""
    return kind_of(context, destination).open(
        Opening(
            workspace_id=destination.workspace_id,
            destination_id=destination.id,
            config=json.loads(destination.config),
            credential=credential_of(context, destination),
        )
    )


def kind_of(context: Context, destination: Destination) -> DestinationKind:
    """Raises `DestinationFault` where this process does not know the kind."""
    kind = context.kinds.get(destination.kind)
    if kind is None:
        raise DestinationFault(
            FaultKind.MISSING,
            f"This installation knows no destinations of kind {destination.kind}.",
        )
    return kind


def credential_of(context: Context, destination: Destination) -> dict[str, str]:
    """Raises `IntegrityFailed` where it was changed from outside."""
    place = _credential_place(destination.workspace_id, destination.id)
    opened: dict[str, str] = json.loads(context.strongbox.open(place, destination.credential))
    return opened


def _seal(context: Context, workspace_id: UUID, id_: UUID, credential: Mapping[str, str]) -> bytes:
    plain = json.dumps(dict(credential), sort_keys=True).encode()
    return context.strongbox.seal(context.entropy, _credential_place(workspace_id, id_), plain)


def _credential_place(workspace_id: UUID, id_: UUID) -> tuple[str, ...]:
    return ("destinations", "credential", str(workspace_id), str(id_))


def _note(
    context: Context,
    transaction: Writing,
    author: Author,
    destination: Destination,
    verb: str,
    now: int,
) -> None:
    note(
        context,
        transaction,
        actor=author.actor,
        request_id=author.request_id,
        action=f"destination.{verb}",
        category=Category.INTEGRATION,
        subject=Subject(
            workspace_id=destination.workspace_id,
            type="destination",
            id=str(destination.id),
            change=Change(kind="destination", ref=str(destination.id), version=destination.version),
        ),
        message=f"The destination {destination.name} is {verb}.",
        metadata={
            "name": destination.name,
            "kind": destination.kind,
            "fault": destination.fault,
        },
        now=now,
    )
