"""Slots as `keyturn apply` takes them, in YAML: sorted, and always spelled alike. Pure: no I/O."""

import json
import re
from collections.abc import Iterable, Iterator, Mapping

from keyturn.cli.drift import members_of, notes_of
from keyturn.client import Slot
from keyturn.domain.slot import ExpectedRuntime

Said = Mapping[str, object]

# What needs no quotes under any version of YAML; a colon or a # only where it can mean nothing.
_PLAIN = re.compile(r"[A-Za-z](?:[A-Za-z0-9@._/+-]|:(?=[A-Za-z0-9/])| (?=[A-Za-z0-9]))*", re.ASCII)
_WORDS = frozenset({"true", "false", "null", "yes", "no", "on", "off", "y", "n"})
_UNPRINTABLE = re.compile("[\x7f-\x9f\u2028-\u202e\u2066-\u2069\ufeff\ufffe\uffff]")


def exported(slots: Iterable[Slot]) -> dict[str, Said]:
    """What the slots say, by their names in order."""
    return {slot.name: _said(slot) for slot in sorted(slots, key=lambda one: one.name)}


def yaml_lines(slots: Mapping[str, Said]) -> Iterator[str]:
    """The slots as a file."""
    if not slots:
        yield "slots: {}"
        return
    yield "slots:"
    for name, said in slots.items():
        yield f"  {_spelled(name)}:" + ("" if said else " {}")
        for member, value in said.items():
            if not isinstance(value, list):
                yield f"    {member}: {_spelled(value)}"
                continue
            yield f"    {member}:"
            for one in value:
                if isinstance(one, str):
                    yield f"      - {_spelled(one)}"
                    continue
                for index, (key, inner) in enumerate(one.items()):
                    yield f"      {' ' if index else '-'} {key}: {_spelled(inner)}"


def _said(slot: Slot) -> Said:
    return {
        member: [_listed(one) for one in value] if isinstance(value, tuple) else value
        for member, value in members_of(notes_of(slot)).items()
    }


def _listed(one: ExpectedRuntime | str) -> object:
    if isinstance(one, str) or one.max_call_interval_seconds is None:
        return one if isinstance(one, str) else {"name": one.name}
    return {"name": one.name, "max_call_interval_seconds": one.max_call_interval_seconds}


def _spelled(value: object) -> str:
    if not isinstance(value, str):
        return str(value)
    if _PLAIN.fullmatch(value) and value.lower() not in _WORDS:
        return value
    # A text of JSON is one of YAML (YAML 1.2.2, 1.2).
    quoted = json.dumps(value, ensure_ascii=False)
    return _UNPRINTABLE.sub(lambda match: f"\\u{ord(match[0]):04x}", quoted)
