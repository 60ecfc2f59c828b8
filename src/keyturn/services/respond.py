"""Responding: exposed keys are contained, and an incident is opened over them, in one transaction.

1. Containing comes before everything: whatever the rights of a key, whatever its state, whether its
   record can be read or its slot is being rotated. Only the slot counts: who contains must hold the
   permission for it.
2. A key is in one open incident at most. Who contains it again joins that; where it turns out to
   have been exposed for longer, or the caller reaches more slots, what it made and is not contained
   yet is contained in an incident of its own.
3. What a contained key made while it was exposed is contained with it, and so on from there. What
   it had made before is listed, and so is what lies in slots that the caller may not reach, and
   keys of others that it changed or gave back meanwhile: a thief may have widened one of his own.
   However much a thief has made, it keeps nothing from being contained: of more keys than one
   incident holds the rest is listed too, and contained by whoever says it once more.
4. A rotation that a contained key is in is cancelled; its other key works on.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from uuid import UUID

from keyturn.domain.activity import Category
from keyturn.domain.authority import Rights
from keyturn.domain.error import (
    IncidentNoKey,
    IncidentUnknown,
    IntegrityFailed,
    KeyContained,
    KeyUnknown,
    PermissionMissing,
    RequestInvalid,
)
from keyturn.domain.incident import (
    MOST_KEYS,
    Because,
    CallerStanding,
    ContainedKey,
    Containment,
    Incident,
    IncidentReason,
    IncidentState,
    Placement,
    hash_keys,
)
from keyturn.domain.key import Key, KeyState, RevocationReason
from keyturn.domain.permission import Permission
from keyturn.domain.rotation import Rotation, RotationAct
from keyturn.domain.runtime import check_runtime
from keyturn.domain.text import TEXT_LENGTH, check_text, check_url
from keyturn.services.conclude import end_rotation, free_old_key
from keyturn.services.context import Context
from keyturn.services.define import require_version
from keyturn.services.freeze import Scope, scope_of, windows_of
from keyturn.services.identify import reaffirm
from keyturn.services.issue import key_subject
from keyturn.services.journal import Act, Author, Note, Subject, note, note_all
from keyturn.services.judge import (
    JudgedIncident,
    incident_subject,
    judge_incident,
    judge_keys,
    keep_incident,
    next_of,
)
from keyturn.services.select import Exposed, Found, Named, Selection, find_exposed_keys
from keyturn.services.tombstone import make_tombstone
from keyturn.storage.transaction import Reading, Writing

_MOST_NAMED = 20

REVOKED_AS = {
    IncidentReason.LEAKED: RevocationReason.COMPROMISED,
    IncidentReason.SUSPECTED: RevocationReason.COMPROMISED,
    IncidentReason.STAFF_CHANGE: RevocationReason.STAFF_CHANGE,
    IncidentReason.OTHER: RevocationReason.COMPROMISED,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Exposure:
    """What is said of an exposure; None is for not known, and for `exposed_since` for since each
    key was made."""

    reason: IncidentReason = IncidentReason.LEAKED
    detail: str | None = None
    found_url: str | None = None
    exposed_since: int | None = None
    containment: Containment = Containment.REVOKE

    def checked(self, now: int) -> "Exposure":
        """This exposure in its one spelling. Raises `RequestInvalid`."""
        if self.exposed_since is not None and self.exposed_since > now:
            raise RequestInvalid.at("/exposed_since", "This lies in the future.")
        return replace(
            self,
            detail=None
            if self.detail is None
            else check_text(self.detail, "/detail", longest=TEXT_LENGTH),
            found_url=None if self.found_url is None else check_url(self.found_url, "/found_url"),
        )

    @property
    def revokes_as(self) -> RevocationReason | None:
        """What keys are revoked as, None where they are suspended."""
        return None if self.containment is Containment.SUSPEND else REVOKED_AS[self.reason]


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenedIncident:
    """An incident that was opened, or joined where it `is_open_already`. `unmatched` are the places
    of what named no key, `elsewhere` the keys that another open incident contains, with its id."""

    judged: JudgedIncident
    is_open_already: bool
    unmatched: tuple[int, ...]
    elsewhere: tuple[tuple[UUID, UUID], ...]


# Called with the transaction, before it commits, so that an answer is kept with its change.
Remember = Callable[[Writing, OpenedIncident], None]
RememberJudged = Callable[[Writing, JudgedIncident], None]


def open_incident(
    context: Context,
    act: Act,
    workspace_id: UUID,
    exposure: Exposure,
    exposed: Exposed,
    arrived: int,
    remember: Remember | None = None,
) -> OpenedIncident:
    """Contains keys, and opens an incident over them, or joins the one that has them. `arrived` is
    when the call came. Raises `IncidentNoKey`, `IncidentCountMoved`, `RequestInvalid` or
    `PermissionMissing`; then nothing is contained."""
    exposure = exposure.checked(context.clock.now())
    if isinstance(exposed, Selection):
        exposed = exposed.checked()
    with context.store.change() as transaction:
        now = context.clock.now()
        rights = reaffirm(transaction, act.caller, now)
        rights.require(Permission.INCIDENTS_WRITE)
        patterns = rights.slots(Permission.INCIDENTS_WRITE)
        found = find_exposed_keys(context, transaction, workspace_id, exposed, patterns, now)
        if not found.ids:
            raise IncidentNoKey("Nothing of what was given is a key of this workspace.")
        _require(rights, found, Permission.INCIDENTS_WRITE)
        opened = contain(
            context,
            transaction,
            Author.of(act),
            workspace_id,
            exposure,
            found,
            patterns,
            min(arrived, now),
            now,
            action="incident.key_contained",
        )
        if remember is not None:
            remember(transaction, opened)
    return opened


def _require(rights: Rights, found: Found, permission: Permission) -> None:
    for key in found.sound:
        rights.require(permission, key.slot)
    # Which slot such a key is in stands in its record, which is not to be trusted.
    if found.damaged:
        rights.require(permission)
    if found.damaged and "*" not in rights.slots(permission):
        raise PermissionMissing(
            "The record of a key was changed from outside; to contain it this needs the permission "
            f"{permission} for every slot."
        )


def contain(
    context: Context,
    transaction: Writing,
    author: Author,
    workspace_id: UUID,
    exposure: Exposure,
    found: Found,
    patterns: tuple[str, ...],
    arrived: int,
    now: int,
    *,
    action: str,
    most: int = MOST_KEYS,
) -> OpenedIncident:
    """Contains keys that were found, in a transaction that has begun. Who calls has judged the
    rights; what those keys made is contained where `patterns` reach it, up to `most` keys. The
    entries of the keys that were named tell of `action`."""
    present = transaction.incidents.open_of_keys(workspace_id, found.ids)
    new = Found(
        sound=tuple(one for one in found.sound if one.id not in present),
        damaged=tuple(id_ for id_ in found.damaged if id_ not in present),
    )
    windows = windows_of(transaction, exposure.exposed_since, found, present)
    scope = scope_of(transaction, workspace_id, new, windows, patterns, most, now)
    if not new.ids and all(key.state is KeyState.REVOKED for key, _, _ in scope.keys):
        joined = next(present[id_] for id_ in found.ids)
        judged = judge_incident(transaction, joined)
        return _opened(judged, found, present, is_open_already=True)
    buried = _bury(context, transaction, workspace_id, exposure, new.damaged, now)
    moved = _contain(transaction, scope, buried, exposure, now)
    incident_id = context.new_id(now)
    rotations = transaction.rotations.open_of_keys(
        workspace_id, [*(key.id for key, _, _ in scope.keys), *new.damaged]
    )
    keys = _records(incident_id, scope, buried, rotations, now)
    incident = _make(incident_id, author, workspace_id, exposure, keys, scope, arrived, now)
    transaction.incidents.add(incident)
    transaction.incidents.add_keys(keys)
    _note_opened(context, transaction, author, incident, keys, now)
    _note_contained(context, transaction, author, incident, keys, moved, buried, action, now)
    for rotation in rotations:
        _cancel(context, transaction, author, rotation, {one.key_id for one in keys}, now)
    known = {**{key.id: key for key, _, _ in scope.keys}, **moved}
    judged = judge_incident(transaction, incident, keys, known)
    return _opened(judged, found, present, is_open_already=False)


def _opened(
    judged: JudgedIncident,
    found: Found,
    present: Mapping[UUID, Incident],
    *,
    is_open_already: bool,
) -> OpenedIncident:
    return OpenedIncident(
        judged=judged,
        is_open_already=is_open_already,
        unmatched=found.unmatched,
        elsewhere=tuple(
            (id_, present[id_].id)
            for id_ in found.ids
            if id_ in present and present[id_].id != judged.incident.id
        ),
    )


def _bury(
    context: Context,
    transaction: Writing,
    workspace_id: UUID,
    exposure: Exposure,
    damaged: Sequence[UUID],
    now: int,
) -> dict[UUID, Key]:
    """Puts a record without rights in the place of each that was changed from outside."""
    buried = {}
    for id_ in damaged:
        reason = exposure.revokes_as or REVOKED_AS[exposure.reason]
        version = transaction.activity.next_version("key", str(id_))
        key = make_tombstone(context, workspace_id, id_, reason, now)
        buried[id_] = replace(key, version=version)
        transaction.keys.bury(buried[id_])
    return buried


def _contain(
    transaction: Writing, scope: Scope, buried: Mapping[UUID, Key], exposure: Exposure, now: int
) -> dict[UUID, Key]:
    """Writes the keys that are not refused as they have to be yet, and gives them."""
    moved = dict(buried)
    changed = []
    for key, _, _ in scope.keys:
        following = key.contained(exposure.revokes_as, now)
        if following is not key:
            moved[key.id] = following
            changed.append((following, key.version))
    transaction.keys.replace_all(changed)
    return moved


def _records(
    incident_id: UUID,
    scope: Scope,
    buried: Mapping[UUID, Key],
    rotations: Sequence[Rotation],
    now: int,
) -> list[ContainedKey]:
    # What a rotation had suspended as a test was active, but for that.
    tested = {
        one.old_key_id for one in rotations if one.brownout is not None and one.brownout.is_ours
    }
    whole = [
        *scope.keys,
        *((key, Because.NAMED, key.created_at) for key in buried.values()),
    ]
    return [
        ContainedKey(
            incident_id=incident_id,
            workspace_id=key.workspace_id,
            key_id=key.id,
            name=key.name,
            slot=key.slot,
            because=because,
            # Of a damaged one nobody knows: it may have been at work.
            state_before=KeyState.ACTIVE if key.id in tested or key.id in buried else key.state,
            exposed_since=since,
            contained_at=now,
            replacement_key_id=None,
            replaced_at=None,
            recovered_at=None,
            waiver=None,
            updated_at=now,
            version=1,
        )
        for key, because, since in sorted(whole, key=lambda one: one[0].id)
    ]


def _make(
    incident_id: UUID,
    author: Author,
    workspace_id: UUID,
    exposure: Exposure,
    keys: Sequence[ContainedKey],
    scope: Scope,
    arrived: int,
    now: int,
) -> Incident:
    return Incident(
        id=incident_id,
        workspace_id=workspace_id,
        state=IncidentState.CONTAINED,
        reason=exposure.reason,
        detail=exposure.detail,
        found_url=exposure.found_url,
        exposed_since=exposure.exposed_since,
        containment=exposure.containment,
        opened_at=arrived,
        opened_by=author.actor.label,
        contained_at=now,
        counted_at=None,
        keys_hash=hash_keys(keys),
        placements=(),
        unreached=scope.unreached,
        closed_at=None,
        closed_by=None,
        outcome=None,
        updated_at=now,
        version=1,
    )


def _note_opened(
    context: Context,
    transaction: Writing,
    author: Author,
    incident: Incident,
    keys: Sequence[ContainedKey],
    now: int,
) -> None:
    many = "a key" if len(keys) == 1 else f"{len(keys)} keys"
    note(
        context,
        transaction,
        actor=author.actor,
        request_id=author.request_id,
        action="incident.opened",
        category=Category.SECURITY,
        subject=incident_subject(incident),
        message=f"An incident was opened over {many} ({incident.reason}).",
        metadata={
            "reason": incident.reason.value,
            "containment": incident.containment.value,
            "keys": len(keys),
            "key_ids": [str(one.key_id) for one in keys[:_MOST_NAMED]],
            "unreached": len(incident.unreached),
        },
        now=now,
    )


def _note_contained(
    context: Context,
    transaction: Writing,
    author: Author,
    incident: Incident,
    keys: Sequence[ContainedKey],
    moved: Mapping[UUID, Key],
    buried: Collection[UUID],
    action: str,
    now: int,
) -> None:
    """One entry for each key, with its change if there is one: it may have been revoked before."""
    verb = "revoked" if incident.containment is Containment.REVOKE else "suspended"
    notes = []
    for one in keys:
        key = moved.get(one.key_id)
        is_named = one.because is Because.NAMED
        who = one.name if is_named else f"{one.name}, which a contained key had made,"
        subject = Subject(workspace_id=one.workspace_id, type="api_key", id=str(one.key_id))
        notes.append(
            Note(
                action=action if is_named else "incident.key_contained",
                subject=subject if key is None else key_subject(key),
                message=f"Key {who} was contained ({verb if key is not None else 'as it was'}).",
                metadata={
                    "incident_id": str(incident.id),
                    "slot": str(one.slot),
                    "because": one.because.value,
                    **({} if one.key_id not in buried else {"damaged": True}),
                },
            )
        )
    note_all(context, transaction, author, Category.SECURITY, notes, now)


def _cancel(
    context: Context,
    transaction: Writing,
    author: Author,
    rotation: Rotation,
    contained: set[UUID],
    now: int,
) -> None:
    """Ends a rotation whose key is contained. The other key works on, also out of a brown-out."""
    is_old = rotation.old_key_id in contained
    if not is_old:
        # Whatever became of the other's record.
        with suppress(IntegrityFailed):
            old = transaction.keys.find(rotation.workspace_id, rotation.old_key_id)
            if old is not None:
                free_old_key(context, transaction, author, rotation, old, now)
    end_rotation(
        context,
        transaction,
        author,
        rotation,
        RotationAct.CANCEL,
        now,
        reason=f"The {'old' if is_old else 'new'} key is contained by an incident.",
        is_forced=True,
        evidence=None,
    )


def revoke_compromised(
    context: Context,
    act: Act,
    workspace_id: UUID,
    id: UUID,  # noqa: A002
    arrived: int,
    *,
    expected: frozenset[int] | None = None,
) -> UUID:
    """Revokes a key since it is compromised, with an incident over it: a new one, or the open one
    that contains it. Gives its id. Once more, it is the same one. Raises `KeyUnknown`,
    `VersionMoved` or `PermissionMissing`."""
    with context.store.change() as transaction:
        now = context.clock.now()
        rights = reaffirm(transaction, act.caller, now)
        author = Author.of(act)
        found = find_exposed_keys(context, transaction, workspace_id, Named(ids=(id,)), ("*",), now)
        if not found.ids:
            raise KeyUnknown("There is no key with this id.")
        _require(rights, found, Permission.KEYS_WRITE)
        key = next(iter(found.sound), None)
        if key is not None and key.state is not KeyState.REVOKED:
            require_version(key.version, expected)
        incident = transaction.incidents.open_of_keys(workspace_id, [id]).get(id)
        if incident is None and key is not None and key.compromised:
            incident = next(iter(transaction.incidents.of_key(workspace_id, id)), None)
        if incident is not None:
            _revoke_contained(context, transaction, author, incident, found, now)
            return incident.id
        patterns = rights.slots(Permission.KEYS_WRITE)
        opened = contain(
            context,
            transaction,
            author,
            workspace_id,
            Exposure(),
            found,
            patterns,
            min(arrived, now),
            now,
            action="api_key.revoked",
        )
        return opened.judged.incident.id


def _revoke_contained(
    context: Context,
    transaction: Writing,
    author: Author,
    incident: Incident,
    found: Found,
    now: int,
) -> None:
    """Has a key that is contained already, perhaps suspended, revoked for good."""
    place = incident.workspace_id
    buried = _bury(context, transaction, place, Exposure(), found.damaged, now)
    moved = list(buried.values())
    for key in found.sound:
        following = key.revoked(RevocationReason.COMPROMISED, now)
        if following is not key:
            transaction.keys.replace(following, key.version)
            moved.append(following)
    note_all(
        context,
        transaction,
        author,
        Category.SECURITY,
        [
            Note(
                action="api_key.revoked",
                subject=key_subject(one),
                message=f"Key {one.name} was revoked ({RevocationReason.COMPROMISED}).",
                metadata={"incident_id": str(incident.id), "slot": str(one.slot)},
            )
            for one in moved
        ],
        now,
    )


def require_free(transaction: Reading, key: Key) -> None:
    """Raises `KeyContained` where an open incident keeps the key suspended; of a revoked one it is
    known anyway that nothing brings it back."""
    if key.state is not KeyState.SUSPENDED:
        return
    incident = transaction.incidents.open_of_key(key.workspace_id, key.id)
    if incident is not None:
        raise KeyContained(
            f"The open incident {incident.id} contains this key. It is given back only where that "
            "is closed as a false alarm."
        )


def place_runtime(
    context: Context,
    act: Act,
    workspace_id: UUID,
    id: UUID,  # noqa: A002
    runtime: str,
    network: str | None,
    standing: CallerStanding,
    remember: RememberJudged | None = None,
) -> JudgedIncident:
    """Takes a person's word on a caller. Raises `IncidentUnknown`, `IncidentClosed`,
    `RequestInvalid` or `PermissionMissing`."""
    runtime = check_runtime(runtime, "/runtime")
    network = None if network is None else check_text(network, "/network")
    with context.store.change() as transaction:
        now = context.clock.now()
        rights = reaffirm(transaction, act.caller, now)
        incident = found_incident(transaction, workspace_id, id)
        keys = transaction.incidents.keys_within(incident)
        for one in keys:
            rights.require(Permission.INCIDENTS_WRITE, one.slot)
        author = Author.of(act)
        placement = Placement(
            runtime=runtime, network=network, standing=standing, by=author.actor.label, at=now
        )
        placed = incident.placed(placement)
        step = next_of(placed, judge_keys(transaction, placed, keys), None, now, keys)
        told = {"runtime": runtime, "network": network, "standing": standing.value}
        after = keep_incident(
            context, transaction, author, incident, step, now, verb="placed", told=told
        )
        judged = judge_incident(transaction, after, step.keys)
        if remember is not None:
            remember(transaction, judged)
    return judged


def found_incident(transaction: Reading, workspace_id: UUID, id_: UUID) -> Incident:
    """Raises `IncidentUnknown`, or `IntegrityFailed` where its record was changed from outside."""
    incident = transaction.incidents.find(workspace_id, id_)
    if incident is None:
        raise IncidentUnknown("There is no incident with this id.")
    return incident
