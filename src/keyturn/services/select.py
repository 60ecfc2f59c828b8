"""Selecting: which keys are exposed, by their ids, by their tokens, or by what they have in common.

Nothing is changed here, and no right is judged; that is `respond.py`'s.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from uuid import UUID

from keyturn.domain.destination import check_destination_name
from keyturn.domain.error import IncidentCountMoved, RequestInvalid
from keyturn.domain.incident import MOST_KEYS
from keyturn.domain.key import Key
from keyturn.domain.slot import SlotName
from keyturn.domain.text import check_text
from keyturn.domain.token import Token
from keyturn.services.context import Context
from keyturn.storage.keys import KeyFilter, KeyView
from keyturn.storage.transaction import Reading

PAGE = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Which keys are exposed, by what they have in common; None asks for any."""

    slot: SlotName | None = None
    owner: str | None = None
    created_by: UUID | None = None
    destination: str | None = None
    since: int | None = None
    until: int | None = None
    expected_count: int | None = None

    def checked(self) -> "Selection":
        """Raises `RequestInvalid`, also where nothing is selected by."""
        if replace(self, expected_count=None) == Selection():
            raise RequestInvalid.at("/select", "Select by at least one member.")
        if self.destination is not None:
            check_destination_name(self.destination, "/select/destination")
        owner = None if self.owner is None else check_text(self.owner, "/select/owner")
        return replace(self, owner=owner)


@dataclass(frozen=True, slots=True, kw_only=True)
class Named:
    """Keys named one by one; None stands for what can be no key. With tokens, each must be the
    key's own."""

    ids: tuple[UUID | None, ...]
    tokens: tuple[Token | None, ...] | None = field(default=None, repr=False)


Exposed = Named | Selection


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """Keys that were found exposed: those whose records are sound, and the ids of those that have
    been changed from outside, or taken away."""

    sound: tuple[Key, ...]
    damaged: tuple[UUID, ...] = ()
    unmatched: tuple[int, ...] = ()

    @property
    def ids(self) -> tuple[UUID, ...]:
        return (*(one.id for one in self.sound), *self.damaged)


def find_exposed_keys(
    context: Context,
    transaction: Reading,
    workspace_id: UUID,
    exposed: Exposed,
    patterns: tuple[str, ...],
    now: int,
) -> Found:
    if isinstance(exposed, Selection):
        chosen = [one.key for one in select_keys(transaction, workspace_id, exposed, patterns, now)]
        if exposed.expected_count is not None and exposed.expected_count != len(chosen):
            raise IncidentCountMoved(
                f"The selection holds {len(chosen)} keys, and {exposed.expected_count} were "
                "expected; nothing was contained.",
                keys=tuple((str(one.id), one.name) for one in chosen),
            )
        return Found(sound=tuple(chosen))
    wanted = {id_ for id_ in exposed.ids if id_ is not None}
    sound, damaged = transaction.keys.among(workspace_id, wanted)
    damaged |= _taken_away(transaction, workspace_id, wanted - set(sound) - damaged)
    unmatched = set()
    matched: dict[UUID, None] = {}
    for index, id_ in enumerate(exposed.ids):
        token = None if exposed.tokens is None else exposed.tokens[index]
        key = None if id_ is None else sound.get(id_)
        is_right = exposed.tokens is None or (
            # What a damaged record says of its secret is not to be trusted: its id is enough.
            token is not None
            and (id_ in damaged or (key is not None and _holds(context, key, token)))
        )
        if id_ is not None and is_right and (key is not None or id_ in damaged):
            matched[id_] = None
        else:
            unmatched.add(index)
    return Found(
        sound=tuple(sound[id_] for id_ in matched if id_ in sound),
        damaged=tuple(id_ for id_ in matched if id_ in damaged),
        unmatched=tuple(sorted(unmatched)),
    )


def _holds(context: Context, key: Key, token: Token) -> bool:
    """Whether the token is this key's own, whatever state that is in."""
    if key.slot.environment != token.environment:
        return False
    return context.ring.matches(
        key.digest,
        key.peppers,
        workspace_id=key.workspace_id,
        id=key.id,
        secret=token.secret(),
    )


def _taken_away(transaction: Reading, workspace_id: UUID, ids: Iterable[UUID]) -> frozenset[UUID]:
    """Those of the ids that were keys of the workspace, and have no record any more."""
    genuine = transaction.activity.last_genuine_changes("key", [str(id_) for id_ in ids])
    return frozenset(
        UUID(ref) for ref, one in genuine.items() if one.workspace_id == str(workspace_id)
    )


def select_keys(
    transaction: Reading,
    workspace_id: UUID,
    selection: Selection,
    patterns: tuple[str, ...],
    now: int,
) -> Sequence[KeyView]:
    """The keys of a selection that are not revoked, in the slots that these patterns reach, oldest
    first. Raises `RequestInvalid` where there are too many for one incident."""
    wanted = KeyFilter(
        status=None,
        now=now,
        slots=patterns,
        service=None if selection.slot is None else selection.slot.service,
        environment=None if selection.slot is None else selection.slot.environment,
        owner=selection.owner,
        created_by=selection.created_by,
        destination=selection.destination,
        since=selection.since,
        until=selection.until,
        is_revoked=False,
    )
    chosen: list[KeyView] = []
    before: UUID | None = None
    while True:
        page = transaction.keys.list(workspace_id, wanted, limit=PAGE, before=before)
        chosen += page
        if len(chosen) > MOST_KEYS:
            raise RequestInvalid.at("/select", f"An incident may have {MOST_KEYS} keys.")
        if len(page) < PAGE:
            return chosen[::-1]
        before = page[-1].key.id
