"""Drift: how the slots on the server differ from those that files declare. Pure: no I/O.

1. A plan is what would make the server say what the files say: slots to be made, and slots to be
   changed, each from the version that was seen.
2. What a file does not say of its slot is taken away, but for its destinations: those stay, unless
   the file says `destinations: []`. Only an administrator changes them, and a file of a team that
   may not is none that has to name them.
3. A slot that no file has is told and left alone. It is no drift: keys make slots by themselves,
   and each team may have a file of its own.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from keyturn.cli.declaration import MEMBERS, Declared, normal
from keyturn.client import Slot
from keyturn.domain.slot import ExpectedRuntime, SlotNotes

Value = str | int | tuple[ExpectedRuntime, ...] | tuple[str, ...] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class MemberChange:
    """A member of a slot before and after."""

    member: str
    old: Value
    new: Value


@dataclass(frozen=True, slots=True, kw_only=True)
class SlotChange:
    """A slot to be made (`version` is None), or to be changed from that version."""

    slot: str
    version: int | None
    members: tuple[MemberChange, ...]
    notes: SlotNotes


@dataclass(frozen=True, slots=True, kw_only=True)
class Drift:
    """What is to be done, by the names of the slots, and what is to be left alone."""

    changes: tuple[SlotChange, ...]
    unchanged: int
    not_in_file: tuple[str, ...]

    @property
    def made(self) -> int:
        return sum(one.version is None for one in self.changes)

    @property
    def changed(self) -> int:
        return len(self.changes) - self.made


def find_drift(declared: Sequence[Declared], present: Iterable[Slot]) -> Drift:
    """The plan that leads from the slots that are `present` to those that are `declared`."""
    there = {slot.name: slot for slot in present}
    wanted = {str(one.name): one.notes for one in declared}
    changes = [_change(name, wanted[name], there.get(name)) for name in sorted(wanted)]
    needed = tuple(one for one in changes if one is not None)
    return Drift(
        changes=needed,
        unchanged=len(wanted) - len(needed),
        not_in_file=tuple(sorted(there.keys() - wanted.keys())),
    )


def notes_of(slot: Slot) -> SlotNotes:
    """What the server says of a slot, as the files would say it."""
    return normal(
        SlotNotes(
            owner=slot.owner,
            purpose=slot.purpose,
            runbook_url=slot.runbook_url,
            rotation_period_days=slot.rotation_period_days,
            runtimes=tuple(
                ExpectedRuntime(
                    name=one.name, max_call_interval_seconds=one.max_call_interval_seconds
                )
                for one in slot.runtimes
            ),
            destinations=tuple(slot.destinations) or None,
        )
    )


def members_of(notes: SlotNotes) -> Mapping[str, Value]:
    """The members that say something, in their order."""
    values = {member: getattr(notes, member) for member in MEMBERS}
    return {member: value for member, value in values.items() if value is not None}


def _change(name: str, wanted: SlotNotes, there: Slot | None) -> SlotChange | None:
    present = SlotNotes() if there is None else notes_of(there)
    kept = present.destinations if wanted.destinations is None else wanted.destinations
    wanted = replace(wanted, destinations=kept or None)
    old, new = members_of(present), members_of(wanted)
    if there is not None and old == new:
        return None
    return SlotChange(
        slot=name,
        version=None if there is None else there.version,
        members=tuple(
            MemberChange(member=member, old=old.get(member), new=new.get(member))
            for member in MEMBERS
            if old.get(member) != new.get(member)
        ),
        notes=wanted,
    )
