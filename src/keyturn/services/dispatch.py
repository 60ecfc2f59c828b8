"""Dispatching: a new token is put into the outbox, in the transaction that makes its key.

And what a person or the end of a rotation does to what is in it. The carrying is `deliver.py`'s.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from uuid import UUID

from keyturn.domain.activity import Category
from keyturn.domain.delivery import Delivery, DeliveryAct, DeliveryState
from keyturn.domain.destination import MOST_OF_A_SLOT, Destination
from keyturn.domain.error import (
    DeliveryLast,
    DeliveryUnknown,
    DestinationUnproven,
    IntegrityFailed,
    RequestInvalid,
    RevealRefused,
)
from keyturn.domain.finding import FindingKind
from keyturn.domain.key import Key, KeyState
from keyturn.domain.permission import Permission
from keyturn.domain.rotation import Rotation
from keyturn.domain.text import TEXT_LENGTH, check_text
from keyturn.domain.token import Token
from keyturn.domain.workspace import Reveal
from keyturn.services.context import Context
from keyturn.services.find import note_finding
from keyturn.services.identify import reaffirm
from keyturn.services.journal import Act, Author, Subject, note
from keyturn.storage.deliveries import DeliveryFilter
from keyturn.storage.keys import KeyView
from keyturn.storage.transaction import Writing

# Called with the transaction, before it commits, so that an answer is kept with its change.
Remember = Callable[[Writing, Delivery], None]


def choose(
    transaction: Writing, view: KeyView, asked: tuple[str, ...] | None
) -> Sequence[Destination]:
    """Where the token of a new key goes: where it is asked to, else where its slot's go. None of
    them is for nowhere: it is shown. Raises `RequestInvalid`, `DestinationUnproven`, or
    `RevealRefused` where the workspace shows no token."""
    place = view.key.workspace_id
    own = () if view.slot is None else view.slot.notes.destinations or ()
    chosen = []
    for index, name in enumerate(own if asked is None else asked):
        destination = transaction.destinations.named(place, name)
        if destination is None:
            pointer = "/deliver_to" if asked is None else f"/deliver_to/{index}"
            raise RequestInvalid.at(pointer, f"There is no destination {name}.")
        if not destination.is_proven:
            raise DestinationUnproven(
                f"The destination {name} is not proven, so nothing is delivered there: "
                f"`keyturn destinations prove {name}` says what is wrong."
            )
        chosen.append(destination)
    workspace = transaction.workspaces.find(place)
    if not chosen and workspace is not None and workspace.reveal is Reveal.NEVER:
        raise RevealRefused(
            "This workspace shows tokens to nobody. Give the slot a destination, or name one in "
            "`deliver_to`."
        )
    return chosen


def dispatch(
    context: Context,
    transaction: Writing,
    author: Author,
    key: Key,
    token: Token,
    destinations: Sequence[Destination],
    rotation_id: UUID | None,
    now: int,
) -> tuple[Delivery, ...]:
    """Puts the token into the outbox, sealed, once for each destination."""
    sent = []
    for destination in destinations:
        delivery = Delivery(
            id=context.new_id(now),
            workspace_id=key.workspace_id,
            slot=key.slot,
            key_id=key.id,
            rotation_id=rotation_id,
            destination_id=destination.id,
            destination=destination.name,
            state=DeliveryState.WAITING,
            token=None,
            previous=None,
            mark=None,
            begun_at=None,
            attempts=0,
            failures=0,
            next_at=now,
            fault_kind=None,
            fault=None,
            location=None,
            receipt=None,
            delivered_at=None,
            checked_at=None,
            ended_at=None,
            created_at=now,
            created_by=author.actor.label,
            updated_at=now,
        )
        plain = token.reveal().encode()
        sealed = context.strongbox.seal(context.entropy, token_place(delivery), plain)
        delivery = replace(delivery, token=sealed)
        transaction.deliveries.silence(destination.id, key.slot)
        transaction.deliveries.add(delivery)
        note_delivery(context, transaction, author, delivery, "created", now)
        sent.append(delivery)
    return tuple(sent)


def token_place(delivery: Delivery) -> tuple[str, ...]:
    """What the token of a delivery is sealed for, and for nothing else."""
    return _place_of(delivery, "token")


def previous_place(delivery: Delivery) -> tuple[str, ...]:
    """As `token_place`, for the token that stood there before."""
    return _place_of(delivery, "previous")


def _place_of(delivery: Delivery, column: str) -> tuple[str, ...]:
    ids = (delivery.workspace_id, delivery.id, delivery.key_id, delivery.destination_id)
    return ("deliveries", column, *map(str, ids))


def settle_deliveries(
    context: Context, transaction: Writing, author: Author, rotation: Rotation, now: int
) -> None:
    """What the end of a rotation means for its deliveries: where the new key is no more and the
    old one lives, its token is taken back; else what is delivered is done with.

    A damaged record is nobody's to carry out, and keeps no rotation from ending.
    """
    place = rotation.workspace_id
    is_dead = _is_revoked(transaction, place, rotation.new_key_id)
    has_way_back = not _is_revoked(transaction, place, rotation.old_key_id)
    wanted = DeliveryFilter(key_id=rotation.new_key_id)
    for delivery in transaction.deliveries.list(place, wanted, limit=MOST_OF_A_SLOT, before=None):
        if not is_dead:
            following = delivery.kept(now)
        elif has_way_back or not delivery.is_begun:
            following = delivery.taken_back(now)
        else:
            following = delivery.given_up("Neither of the two keys works any more.", now)
        keep_delivery(context, transaction, author, delivery, following, now)


def _is_revoked(transaction: Writing, place: UUID, id_: UUID) -> bool:
    """Whether a key is no more; a damaged one is denied."""
    try:
        key = transaction.keys.find(place, id_)
    except IntegrityFailed:
        return True
    return key is None or key.state is KeyState.REVOKED


def look_first(transaction: Writing, deliveries: Sequence[Delivery], now: int) -> bool:
    """Whether an end has to wait until it has been looked once more whether each token that was
    delivered is still there, which is then done at once: a place may have gone back since."""
    unseen = [one for one in deliveries if not one.is_seen_at(now)]
    for delivery in unseen:
        transaction.deliveries.replace(delivery.looked_for(now))
    return bool(unseen)


def hurry_deliveries(transaction: Writing, destination_id: UUID, now: int) -> None:
    """Has everything tried at once that waits for a destination which is in order again."""
    for delivery in transaction.deliveries.of_destination(destination_id):
        if delivery.is_open:
            transaction.deliveries.replace(delivery.hurried(now))


def redirect_deliveries(
    context: Context, transaction: Writing, author: Author, destination: Destination, now: int
) -> None:
    """What is delivered to a destination that has been changed is not known to be there."""
    for delivery in transaction.deliveries.of_destination(destination.id):
        following = delivery.redirected(now)
        keep_delivery(context, transaction, author, delivery, following, now)


def keep_delivery(
    context: Context,
    transaction: Writing,
    author: Author,
    delivery: Delivery,
    following: Delivery,
    now: int,
    *,
    reason: str | None = None,
) -> None:
    """Writes what has become of a delivery, and where its state is another, an entry."""
    if following is delivery:
        return
    transaction.deliveries.replace(following)
    if delivery.is_failing and not following.is_failing:
        _resolve(context, transaction, author, delivery, now)
    if following.state is not delivery.state:
        verb = "lost" if following.state is DeliveryState.WAITING else following.state.value
        note_delivery(context, transaction, author, following, verb, now, reason=reason)


def _resolve(
    context: Context, transaction: Writing, author: Author, delivery: Delivery, now: int
) -> None:
    """It does not fail any more, whoever saw to that: so nobody is told that it does."""
    kinds, subjects = (FindingKind.DELIVERY_FAILING,), (str(delivery.key_id),)
    for finding in transaction.findings.unresolved_of(delivery.workspace_id, kinds, subjects):
        if finding.mark == str(delivery.id):
            resolved = finding.resolved(now)
            transaction.findings.replace(resolved, finding.version)
            note_finding(context, transaction, author, resolved, now)


def note_delivery(
    context: Context,
    transaction: Writing,
    author: Author,
    delivery: Delivery,
    verb: str,
    now: int,
    *,
    reason: str | None = None,
) -> None:
    """Writes the entry of what has become of a delivery."""
    note(
        context,
        transaction,
        actor=author.actor,
        request_id=author.request_id,
        action=f"delivery.{verb}",
        category=Category.INTEGRATION,
        subject=Subject(workspace_id=delivery.workspace_id, type="delivery", id=str(delivery.id)),
        message=f"The delivery of slot {delivery.slot} to {delivery.destination}: {verb}.",
        metadata={
            "slot": str(delivery.slot),
            "destination": delivery.destination,
            "key_id": str(delivery.key_id),
            "rotation_id": None if delivery.rotation_id is None else str(delivery.rotation_id),
            "location": delivery.location,
            "fault_kind": delivery.fault_kind,
            "fault": delivery.fault,
            "reason": reason,
        },
        now=now,
    )


def hurry_delivery(
    context: Context,
    act: Act,
    workspace_id: UUID,
    id: UUID,  # noqa: A002
    remember: Remember | None = None,
) -> Delivery:
    """Has a delivery tried at once. Raises `DeliveryUnknown`, `DeliveryClosed` or
    `PermissionMissing`."""
    with context.store.change() as transaction:
        now = context.clock.now()
        delivery = _found(transaction, act, workspace_id, id, now)
        hurried = delivery.hurried(now)
        transaction.deliveries.replace(hurried)
        if remember is not None:
            remember(transaction, hurried)
    return hurried


def cancel_delivery(
    context: Context,
    act: Act,
    workspace_id: UUID,
    id: UUID,  # noqa: A002
    reason: str,
    remember: Remember | None = None,
) -> Delivery:
    """Gives a delivery up: a person sees to that place. Raises `DeliveryLast` where nobody else has
    the token, `DeliveryUnknown`, `DeliveryClosed` or `PermissionMissing`."""
    reason = check_text(reason, "/reason", longest=TEXT_LENGTH)
    with context.store.change() as transaction:
        now = context.clock.now()
        delivery = _found(transaction, act, workspace_id, id, now)
        _require_other(transaction, delivery)
        cancelled = delivery.ended(DeliveryAct.CANCEL, delivery.fault, now)
        author = Author.of(act)
        keep_delivery(context, transaction, author, delivery, cancelled, now, reason=reason)
        if remember is not None:
            remember(transaction, cancelled)
    return cancelled


def _found(transaction: Writing, act: Act, workspace_id: UUID, id_: UUID, now: int) -> Delivery:
    rights = reaffirm(transaction, act.caller, now)
    delivery = transaction.deliveries.find(workspace_id, id_)
    if delivery is None:
        raise DeliveryUnknown("There is no delivery with this id.")
    rights.require(Permission.KEYS_WRITE, delivery.slot)
    return delivery


def _require_other(transaction: Writing, delivery: Delivery) -> None:
    """A key that works and whose token nobody has could be used by nobody, and be seen by all; so
    could the old one, where its token is being put back. Raises `DeliveryLast` or
    `DeliveryClosed`."""
    delivery.require_open()
    is_back = delivery.state is DeliveryState.RESTORING
    key_id = _replaced_by(transaction, delivery) if is_back else delivery.key_id
    if key_id is None or _is_revoked(transaction, delivery.workspace_id, key_id):
        return
    has_token = (
        (DeliveryState.RESTORING, DeliveryState.RESTORED)
        if is_back
        else (DeliveryState.WAITING, DeliveryState.DELIVERED)
    )
    others = transaction.deliveries.of_key(delivery.key_id)
    if any(one.id != delivery.id and one.state in has_token for one in others):
        return
    if is_back:
        raise DeliveryLast("The old token would be nowhere: revoke the old key instead.")
    way_out = "roll its rotation back" if delivery.rotation_id else "revoke the key"
    raise DeliveryLast(f"Nobody else has the token of this key: {way_out} instead.")


def _replaced_by(transaction: Writing, delivery: Delivery) -> UUID | None:
    """The old key of the rotation that a delivery belongs to."""
    if delivery.rotation_id is None:
        return None
    rotation = transaction.rotations.find(delivery.workspace_id, delivery.rotation_id)
    return None if rotation is None else rotation.old_key_id
