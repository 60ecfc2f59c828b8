"""Judging incidents: what is known of one at this moment, and the writing of each of its steps."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from uuid import UUID

from keyturn.domain.activity import Category
from keyturn.domain.evidence import Use
from keyturn.domain.incident import (
    CallerStanding,
    ContainedKey,
    Incident,
    is_counted,
    looks_back_to,
    state_of,
)
from keyturn.domain.key import Key, KeyState, KeyStatus
from keyturn.domain.network import parse_address
from keyturn.domain.permission import covers_slot
from keyturn.domain.place import place_of
from keyturn.domain.recovery import (
    NOWHERE,
    Addresses,
    KeyRecovery,
    Spot,
    judge_key,
    tell_next_step,
)
from keyturn.domain.runtime import NamedNetwork
from keyturn.domain.traffic import hour_of
from keyturn.services.context import Context
from keyturn.services.journal import Author, Subject, note
from keyturn.services.tombstone import is_tombstone
from keyturn.storage.log import Change
from keyturn.storage.transaction import Reading, Writing

_CHUNK = 500
_LONGEST_CHAIN = 20
_MOST_NAMED = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgedKey:
    """A contained key with what is known of it. `key` is its present record, None where that was
    changed from outside."""

    recovery: KeyRecovery
    key: Key | None

    @property
    def contained(self) -> ContainedKey:
        return self.recovery.key

    def status(self, now: int) -> KeyStatus:
        """A key whose record cannot be trusted is denied, like a revoked one."""
        return KeyStatus.REVOKED if self.key is None else self.key.status(now)


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgedIncident:
    """An incident and its keys. `unreached` are (id, name), the name None where it is not known."""

    incident: Incident
    keys: tuple[JudgedKey, ...]
    unreached: tuple[tuple[UUID, str | None], ...]

    @property
    def contained(self) -> tuple[ContainedKey, ...]:
        return tuple(one.contained for one in self.keys)

    def next_step(self, now: int) -> str:
        return tell_next_step(self.incident, [one.recovery for one in self.keys], now)

    def replaced_at(self) -> int | None:
        """When the last of the keys that need a replacement got it; None where one has none."""
        needing = [one.contained for one in self.keys if one.recovery.needs_replacement]
        times = [one.replaced_at for one in needing]
        return None if None in times else max((at for at in times if at is not None), default=None)

    def recovered_at(self, now: int) -> int | None:
        """When the last of the keys was recovered or waived; None where one is neither."""
        if not self.keys or not all(one.is_settled(now) for one in self.contained):
            return None
        return max(_settled_at(one) for one in self.contained)

    def within(self, patterns: tuple[str, ...]) -> "JudgedIncident":
        """What of it may be shown to who may read these slots."""
        if "*" in patterns:
            return self
        kept = tuple(one for one in self.keys if covers_slot(patterns, str(one.contained.slot)))
        return replace(self, keys=kept, unreached=())


def _settled_at(key: ContainedKey) -> int:
    if key.recovered_at is not None:
        return key.recovered_at
    return key.contained_at if key.waiver is None else key.waiver.at


def judge_incident(
    transaction: Reading,
    incident: Incident,
    keys: Sequence[ContainedKey] | None = None,
    known: Mapping[UUID, Key] | None = None,
) -> JudgedIncident:
    """Everything that is known of an incident now. `known` are records of keys that this
    transaction has read or written. Raises `IntegrityFailed` where its keys were changed from
    outside."""
    keys = transaction.incidents.keys_within(incident) if keys is None else keys
    known = {} if known is None else known
    wanted = {*(one.key_id for one in keys), *incident.unreached} - set(known)
    read, _ = transaction.keys.among(incident.workspace_id, wanted)
    records = {**known, **read}
    recoveries = [
        replace(one, is_replaceable=_is_known(records.get(one.key.key_id)))
        for one in judge_keys(transaction, incident, keys, known)
    ]
    names = ((id_, records.get(id_)) for id_ in incident.unreached)
    return JudgedIncident(
        incident=incident,
        keys=tuple(JudgedKey(recovery=one, key=records.get(one.key.key_id)) for one in recoveries),
        unreached=tuple((id_, None if key is None else key.name) for id_, key in names),
    )


def _is_known(key: Key | None) -> bool:
    return key is not None and not is_tombstone(key)


def followed_keys(transaction: Reading, incident: Incident) -> set[UUID]:
    """The ids of all keys whose uses tell where an incident stands."""
    keys = transaction.incidents.keys_within(incident)
    chains = _chains(transaction, incident.workspace_id, keys)
    return {*(one.key_id for one in keys), *chains.everything()}


def judge_keys(
    transaction: Reading,
    incident: Incident,
    keys: Sequence[ContainedKey],
    known: Mapping[UUID, Key] | None = None,
) -> list[KeyRecovery]:
    """What is known of each of these keys of an incident. While that is open, a replacement that
    lives no more is none; once it is closed, its keys stay as they were."""
    place = incident.workspace_id
    workspace = transaction.workspaces.find(place)
    networks = () if workspace is None else workspace.networks
    slots = transaction.slots.among(place, {one.slot for one in keys})
    chains = _chains(transaction, place, keys)
    addresses = _addresses(transaction, incident, keys, networks)
    if incident.is_open:
        keys = _with_living(transaction, place, keys, chains, known or {})
    uses = _uses(transaction, {*(one.key_id for one in keys), *chains.everything()})
    judged = []
    for one in keys:
        slot = slots.get(one.slot)
        judged.append(
            judge_key(
                one,
                incident.placements,
                uses.get(one.key_id, ()),
                [use for id_ in chains.of(one) for use in uses.get(id_, ())],
                () if slot is None else slot.notes.runtimes or (),
                networks,
                addresses,
                is_succeeded=one.replacement_key_id is None and bool(chains.of(one)),
            )
        )
    return judged


def _with_living(
    transaction: Reading,
    place: UUID,
    keys: Sequence[ContainedKey],
    chains: "_Chains",
    known: Mapping[UUID, Key],
) -> Sequence[ContainedKey]:
    """The keys, each without its replacement where that and all that followed it were revoked."""
    following = chains.everything()
    records, _ = transaction.keys.among(place, following - set(known))
    revoked = {
        id_: key.revoked_at or key.updated_at
        for id_, key in {**known, **records}.items()
        if id_ in following and key.state is KeyState.REVOKED
    }
    found = []
    for one in keys:
        chain = chains.of(one)
        is_dead = bool(chain) and chain <= revoked.keys()
        found.append(one.unreplaced(max(revoked[id_] for id_ in chain)) if is_dead else one)
    return found


def _addresses(
    transaction: Reading,
    incident: Incident,
    keys: Sequence[ContainedKey],
    networks: tuple[NamedNetwork, ...],
) -> Addresses:
    """From where the runtimes were allowed of which an address was called an intruder's."""
    runtimes = {
        one.runtime
        for one in incident.placements
        if one.standing is CallerStanding.INTRUDER
        and one.network is not None
        and parse_address(one.network) is not None
    }
    if not runtimes or not keys:
        return NOWHERE
    since = min(map(looks_back_to, keys))
    found: dict[Spot, set[str]] = {}
    for caller in transaction.traffic.callers([one.key_id for one in keys], hour_of(since)):
        address = None if caller.network is None else parse_address(caller.network)
        if caller.runtime in runtimes and caller.network is not None and address is not None:
            spot = (caller.runtime, place_of(address, networks))
            found.setdefault(spot, set()).add(caller.network)
    return {spot: frozenset(seen) for spot, seen in found.items()}


class _Chains:
    """Which keys took the place of which, one after the other."""

    def __init__(self) -> None:
        self.next: dict[UUID, set[UUID]] = {}

    def of(self, key: ContainedKey) -> set[UUID]:
        """The replacement of a contained key, and what has replaced that since; of one that was
        revoked before, what had taken its place."""
        found: set[UUID] = set()
        first = _first(key)
        begun: set[UUID] = set() if first is None else {first}
        if first == key.key_id:
            begun = set(self.next.get(first, ()))
        while begun:
            found |= begun
            begun = {id_ for one in begun for id_ in self.next.get(one, ())} - found
        return found

    def everything(self) -> set[UUID]:
        return {*self.next, *(id_ for ids in self.next.values() for id_ in ids)}


def _first(key: ContainedKey) -> UUID | None:
    """Where a chain of replacements begins, None where nothing may have taken a key's place."""
    if key.replacement_key_id is None and key.state_before is KeyState.REVOKED:
        return key.key_id
    return key.replacement_key_id


def _chains(transaction: Reading, place: UUID, keys: Sequence[ContainedKey]) -> _Chains:
    chains = _Chains()
    begun = {id_ for one in keys if (id_ := _first(one)) is not None}
    for _ in range(_LONGEST_CHAIN):
        if not begun:
            break
        found: dict[UUID, set[UUID]] = {id_: set() for id_ in begun}
        for source in (transaction.rotations, transaction.incidents):
            for id_, following in source.successors(place, begun).items():
                found[id_] |= following
        chains.next |= found
        begun = {id_ for ids in found.values() for id_ in ids} - set(chains.next)
    return chains


def _uses(transaction: Reading, ids: set[UUID]) -> Mapping[UUID, Sequence[Use]]:
    uses: dict[UUID, list[Use]] = {}
    spelled = sorted(ids)
    for start in range(0, len(spelled), _CHUNK):
        for use in transaction.uses.of(spelled[start : start + _CHUNK]):
            uses.setdefault(use.key_id, []).append(use)
    return uses


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """What is to be written of an incident: its record, the keys that have changed, each with the
    version that it had, and what that is called. All its keys are `keys`."""

    incident: Incident
    keys: tuple[ContainedKey, ...]
    changed: tuple[tuple[ContainedKey, int], ...]
    verb: str


def next_of(
    incident: Incident,
    recoveries: Sequence[KeyRecovery],
    known_until: int | None,
    now: int,
    before: Sequence[ContainedKey],
) -> Step:
    """Where an incident stands by what is known now. `before` are its keys as they are kept."""
    old = {one.key_id: one for one in before}
    keys = tuple(one.key.judged(one.is_recovered, now) for one in recoveries)
    following = incident.over(keys, now)
    if known_until is not None and is_counted(incident, known_until):
        following = following.counted(now)
    following = following.standing_at(state_of(following, keys, now), now)
    return Step(
        incident=following,
        keys=keys,
        changed=tuple((one, old[one.key_id].version) for one in keys if one is not old[one.key_id]),
        verb=_verb(incident, following, list(old.values()), keys, now),
    )


def _verb(
    before: Incident,
    after: Incident,
    old: Sequence[ContainedKey],
    new: Sequence[ContainedKey],
    now: int,
) -> str:
    was = {one.key_id for one in old if one.recovered_at is not None}
    is_now = {one.key_id for one in new if one.recovered_at is not None}
    if was - is_now:
        return "relapsed"
    if is_now - was and all(one.is_settled(now) for one in new):
        return "recovered"
    if before.counted_at is None and after.counted_at is not None:
        return "counted"
    return "advanced"


def keep_incident(
    context: Context,
    transaction: Writing,
    author: Author,
    before: Incident,
    step: Step,
    now: int,
    *,
    verb: str,
    told: Mapping[str, object] | None = None,
) -> Incident:
    """Writes a step and its entry; one that changes nothing is not written."""
    if step.incident is before and not step.changed:
        return before
    after = replace(step.incident, version=before.version + 1, updated_at=now)
    transaction.incidents.replace_keys(step.changed)
    transaction.incidents.replace(after, before.version)
    note(
        context,
        transaction,
        actor=author.actor,
        request_id=author.request_id,
        action=f"incident.{verb}",
        category=Category.SECURITY,
        subject=incident_subject(after),
        message=f"The incident was {verb}." if verb != "advanced" else "The incident has come on.",
        metadata={
            "state": after.state.value,
            "keys_open": sum(not one.is_settled(now) for one in step.keys),
            "key_ids": [str(one.key_id) for one, _ in step.changed[:_MOST_NAMED]],
            **(told or {}),
        },
        now=now,
    )
    return after


def incident_subject(incident: Incident) -> Subject:
    """How the log names an incident and the step that it has just taken."""
    return Subject(
        workspace_id=incident.workspace_id,
        type="incident",
        id=str(incident.id),
        change=Change(kind="incident", ref=str(incident.id), version=incident.version),
    )
