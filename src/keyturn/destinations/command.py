"""A program of the operator's: for a place that Keyturn does not know itself.

1. Programs are fixed in the settings, by name; a destination names one and passes no argument.
2. It is asked by one JSON object on its input and answers by one on its output:

       {"action": "read" | "write", "workspace_id", "destination_id", "slot", "service",
        "environment", "value", "expected"}
       read:  {"value": "…", "version": "…"}, or {"value": null} where there is nothing
       write: {"version": "…"}

   `value` and `expected` are null for a read; `expected` is the version that must still stand,
   null for nothing. Comparing is the program's part.
3. It ends with 0. 9 says that another version stands than expected, 8 that it may not, 7 that
   what it needs is not there; all else is a failure. What it says on its error output is not shown.
4. It runs without our environment, in `/`, and is ended with all that it has started when its time
   is over.
"""

import json
import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from keyturn.destinations.contract import (
    SECONDS,
    DestinationFault,
    FaultKind,
    Held,
    Opening,
)
from keyturn.destinations.json_server import conflict, not_understood
from keyturn.destinations.members import Members
from keyturn.destinations.program import run_program
from keyturn.domain.ambience import Clock
from keyturn.domain.slot import SlotName

CONFLICT_CODE = 9
DENIED_CODE = 8
MISSING_CODE = 7

_FAULTS = {
    DENIED_CODE: (FaultKind.DENIED, "The program says that it may not."),
    MISSING_CODE: (FaultKind.MISSING, "The program says that what it needs is not there."),
}
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}", re.ASCII)
_SPELLING = "write `name=/path/to/program argument; other=/path/to/another`"


def parse_commands(text: str) -> Mapping[str, tuple[str, ...]]:
    """The programs that a setting names, parted by `;`. ValueError says what is wrong."""
    commands: dict[str, tuple[str, ...]] = {}
    for item in _split(text):
        name, equals, line = item.partition("=")
        name = name.strip()
        if not equals or _NAME.fullmatch(name) is None:
            raise ValueError(
                f"a command has a name of a-z, 0-9, _ and - before its `=`: {_SPELLING}"
            )
        if name in commands:
            raise ValueError(f"the command `{name}` is named twice")
        parts = _words(line)
        if not parts or not Path(parts[0]).is_absolute():
            raise ValueError(f"the program of `{name}` begins with /: {_SPELLING}")
        commands[name] = parts
    return commands


def _words(line: str) -> tuple[str, ...]:
    try:
        return tuple(shlex.split(line))
    except ValueError:
        raise ValueError(f"a line ends in the middle of an escape: {_SPELLING}") from None


def _split(text: str) -> list[str]:
    """The items between `;`, where that is not quoted."""
    items, start, quote = [], 0, ""
    for index, sign in enumerate(text):
        if quote:
            quote = "" if sign == quote else quote
        elif sign in "'\"":
            quote = sign
        elif sign == ";":
            items.append(text[start:index])
            start = index + 1
    if quote:
        raise ValueError(f"a quotation mark is not closed: {_SPELLING}")
    return [item for item in (*items, text[start:]) if item.strip()]


class CommandKind:
    name = "command"
    about = "A program that the operator has named in the settings"

    def __init__(
        self,
        commands: Mapping[str, tuple[str, ...]],
        clock: Clock,
        *,
        seconds: float = SECONDS,
    ) -> None:
        self._commands = dict(commands)
        self._clock = clock
        self._seconds = seconds

    def check(
        self, config: Mapping[str, object], credential: Mapping[str, str]
    ) -> Mapping[str, object]:
        members = Members(config, credential)
        wanted = "Give the name of a command that the operator has set up."
        name = members.text("command", _NAME, wanted)
        if _NAME.fullmatch(name) is not None and name not in self._commands:
            members.fault("/config/command", wanted)
        members.end()
        return {"command": name}

    def open(self, opening: Opening) -> "CommandDestination":
        name = str(opening.config["command"])
        words = self._commands.get(name)
        if words is None:
            raise DestinationFault(
                FaultKind.MISSING, f"The settings no longer have a command `{name}`."
            )
        return CommandDestination(
            _Program(words=words, clock=self._clock, seconds=self._seconds), opening, name
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Program:
    words: tuple[str, ...]
    clock: Clock
    seconds: float

    def ask(self, question: Mapping[str, object]) -> Mapping[str, object]:
        code, output = run_program(
            self.words, json.dumps(question).encode(), clock=self.clock, seconds=self.seconds
        )
        if code == 0:
            return _members(output)
        if code == CONFLICT_CODE:
            raise conflict()
        kind, detail = _FAULTS.get(code, (FaultKind.BROKEN, "The program has failed."))
        raise DestinationFault(kind, detail)


class CommandDestination:
    def __init__(self, program: _Program, opening: Opening, name: str) -> None:
        self._program = program
        self._ids = {
            "workspace_id": str(opening.workspace_id),
            "destination_id": str(opening.destination_id),
        }
        self._name = name

    def read(self, slot: SlotName) -> Held | None:
        answer = self._program.ask(self._question("read", slot, None, None))
        if "value" not in answer:
            raise not_understood()
        value = answer["value"]
        if value is None:
            return None
        if not isinstance(value, str):
            raise not_understood()
        return Held(value=value, version=_version(answer))

    def write(self, slot: SlotName, value: str, expected: str | None) -> str:
        return _version(self._program.ask(self._question("write", slot, value, expected)))

    def locate(self, slot: SlotName) -> str:
        return f"{self._name}: {slot}"

    def close(self) -> None:
        """Nothing runs between two calls."""

    def _question(
        self, action: str, slot: SlotName, value: str | None, expected: str | None
    ) -> Mapping[str, object]:
        return {
            "action": action,
            **self._ids,
            "slot": str(slot),
            "service": slot.service,
            "environment": slot.environment,
            "value": value,
            "expected": expected,
        }


def _version(answer: Mapping[str, object]) -> str:
    version = answer.get("version")
    if not isinstance(version, str) or not 1 <= len(version) <= 256:
        raise not_understood()
    return version


def _members(output: bytes) -> Mapping[str, object]:
    try:
        members = json.loads(output)
    except (ValueError, RecursionError):
        raise not_understood() from None
    if not isinstance(members, dict):
        raise not_understood()
    return members
