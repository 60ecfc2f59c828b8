"""What files declare of slots. Pure: no I/O.

    defaults:                        # what each slot of this file says, where it says nothing else
      rotation_period_days: 90
    slots:
      scheduler-prod:
        owner: payments@example.com
        runtimes:
          - nightly=26h              # or: {name: nightly, max_call_interval_seconds: 93600}
          - worker
        destinations:                # where its new tokens are delivered
          - vault-prod
      worker-prod:                   # the defaults alone

1. The members are the API's, and judged by the domain's own rules: what passes here, the server
   takes.
2. A member that is null says nothing, and takes a default away.
3. What is named by an alias counts each time, so that a small file cannot grow large.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from keyturn.cli.when import seconds_of
from keyturn.cli.yaml_file import Fault, Members, YamlFile, is_null, is_string, line_of, shown
from keyturn.domain.destination import MOST_OF_A_SLOT, check_destination_names
from keyturn.domain.error import RequestInvalid
from keyturn.domain.runtime import check_runtime
from keyturn.domain.slot import (
    LONGEST_CALL_INTERVAL_SECONDS,
    ExpectedRuntime,
    SlotName,
    SlotNotes,
    check_expected,
    make_slot_name,
)

MOST_SLOTS = 10_000
MOST_EXPECTED = 50_000

MEMBERS = ("owner", "purpose", "runbook_url", "rotation_period_days", "runtimes", "destinations")
_RUNTIME_MEMBERS = ("name", "max_call_interval_seconds")

T = TypeVar("T")
Said = dict[str, object]


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A file's name, as it was given, and what stands in it."""

    name: str
    content: bytes = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Declared:
    """A slot as a file declares it, with normal notes."""

    name: SlotName
    notes: SlotNotes
    file: str
    line: int


@dataclass(frozen=True, slots=True)
class Declaration:
    """What files declare, and what is wrong in them. With faults, nothing of it is to be used."""

    slots: Sequence[Declared]
    faults: Sequence[Fault]


def read_declaration(sources: Sequence[Source]) -> Declaration:
    """What the files say together. Each has its own defaults; a slot stands in one of them."""
    found: dict[SlotName, Declared] = {}
    faults: list[Fault] = []
    for source in sources:
        file = YamlFile(source.name)
        for slot in _Reader(file).read(source.content):
            other = found.setdefault(slot.name, slot)
            if other is not slot:
                first = f"{other.file}:{other.line}"
                file.note(slot.line, f"{slot.name} stands already in {first}. Leave one out.")
        faults += file.faults
    return Declaration(list(found.values()), faults)


def normal(notes: SlotNotes) -> SlotNotes:
    """These notes in their one form: another order of the runtimes or of the destinations says the
    same. No runtimes are nothing said; no destinations are, since unsaid ones stay."""
    runtimes = tuple(sorted(notes.runtimes or (), key=lambda one: one.name))
    return SlotNotes(
        owner=notes.owner,
        purpose=notes.purpose,
        runbook_url=notes.runbook_url,
        rotation_period_days=notes.rotation_period_days,
        runtimes=runtimes or None,
        destinations=None if notes.destinations is None else tuple(sorted(notes.destinations)),
    )


class _Reader:
    """Reads the slots of one file."""

    def __init__(self, file: YamlFile) -> None:
        self._file = file
        self._expected = 0

    def read(self, content: bytes) -> Iterator[Declared]:
        root = self._file.root(content)
        if root is None:
            return
        members = self._file.members(root) if isinstance(root, MappingNode) else {}
        if "slots" not in members:
            self._file.note(
                line_of(root),
                "There is no `slots:` here. Write it, and each slot under it, like scheduler-prod.",
            )
            return
        self._file.refuse_unknown(members, ("defaults", "slots"))
        defaults = self._notes(members["defaults"][1], "defaults") if "defaults" in members else {}
        yield from self._slots(*members["slots"], defaults)

    def _slots(self, key: Node, node: Node, defaults: Said) -> Iterator[Declared]:
        if not isinstance(node, MappingNode):
            self._file.note(
                line_of(key),
                "Slots stand under `slots:` by their names, like `scheduler-prod:`. Where none is "
                "meant, write `slots: {}`.",
            )
            return
        if len(node.value) > MOST_SLOTS:
            self._file.note(
                line_of(key), f"There may be at most {MOST_SLOTS:,} slots. Make several files."
            )
            return
        for text, (name, value) in self._file.members(node).items():
            yield from self._slot(text, name, value, defaults)
            if self._expected > MOST_EXPECTED:
                self._file.note(
                    line_of(name),
                    f"Up to here, with all aliases, there are more than {MOST_EXPECTED:,} "
                    "runtimes. Make several files.",
                )
                return

    def _slot(self, text: str, key: Node, node: Node, defaults: Said) -> Iterator[Declared]:
        name, said = self._name(text, line_of(key)), self._notes(node, shown(text))
        if name is None:
            return
        self._expected += _count_of(defaults) if "runtimes" not in said else 0
        yield Declared(
            name=name, notes=_made({**defaults, **said}), file=self._file.name, line=line_of(key)
        )

    def _name(self, text: str, line: int) -> SlotName | None:
        service, dash, environment = text.rpartition("-")
        where = f"{shown(text)} is no slot"
        if not dash:
            self._file.note(
                line, "A slot is a service and an environment, like scheduler-prod.", where=where
            )
            return None
        return self._judged(lambda: make_slot_name(service, environment), line, where)

    # --- the members of a slot -------------------------------------------------------------------

    def _notes(self, node: Node, where: str) -> Said:
        """The members that are said here; of a faulty one, nothing."""
        if is_null(node):
            return {}
        if not isinstance(node, MappingNode):
            self._file.note(
                line_of(node),
                "Members stand under it, like `owner: payments@example.com`.",
                where=where,
            )
            return {}
        members = self._file.members(node, where)
        self._file.refuse_unknown(members, MEMBERS, where)
        return {
            member: self._member(member, members[member][1], f"{where}, {member}")
            for member in MEMBERS
            if member in members
        }

    def _member(self, member: str, node: Node, where: str) -> object:
        if is_null(node):
            return None
        if member == "runtimes":
            return self._runtimes(node, where)
        if member == "destinations":
            return self._destinations(node, where)
        value = (
            self._file.whole(node, where, "This is a whole number of days, like 90.")
            if member == "rotation_period_days"
            else self._line(node, where)
        )
        if value is None:
            return None
        checked = self._judged(lambda: _made({member: value}).checked(), line_of(node), where)
        return None if checked is None else getattr(checked, member)

    def _line(self, node: Node, where: str) -> str | None:
        text = self._file.string(node, where)
        if text is not None and "\n" in text.strip():
            self._file.note(
                line_of(node), "This is one line; `>-` folds several into one.", where=where
            )
            return None
        return text

    def _destinations(self, node: Node, where: str) -> tuple[str, ...]:
        if not isinstance(node, SequenceNode):
            self._file.note(
                line_of(node), "This is a list; write `- vault-prod` under it.", where=where
            )
            return ()
        # One more than may be shows that there are too many.
        found = [self._file.string(one, where) for one in node.value[: MOST_OF_A_SLOT + 1]]
        names = tuple(one for one in found if one is not None)
        self._judged(lambda: check_destination_names(names, "/destinations"), line_of(node), where)
        return names

    # --- runtimes --------------------------------------------------------------------------------

    def _runtimes(self, node: Node, where: str) -> tuple[ExpectedRuntime, ...]:
        if not isinstance(node, SequenceNode):
            self._file.note(
                line_of(node), "This is a list; write `- nightly` under it.", where=where
            )
            return ()
        self._expected += len(node.value)
        if self._expected > MOST_EXPECTED:
            return ()
        found = [self._runtime(one, where) for one in node.value]
        runtimes = tuple(one for one in found if one is not None)
        self._judged(lambda: check_expected(runtimes), line_of(node), where)
        return runtimes

    def _runtime(self, node: Node, where: str) -> ExpectedRuntime | None:
        if isinstance(node, MappingNode):
            return self._long_runtime(self._file.members(node, where), node, where)
        text = self._file.string(node, where) if isinstance(node, ScalarNode) else ""
        if text is None:
            return None
        name, is_bounded, span = text.partition("=")
        seconds = seconds_of(span)
        if not name or (is_bounded and seconds is None):
            self._file.note(
                line_of(node), "A runtime is written `nightly` or `nightly=26h`.", where=where
            )
            return None
        return self._expecting(name, seconds, node, where)

    def _long_runtime(
        self, members: Members, node: MappingNode, where: str
    ) -> ExpectedRuntime | None:
        self._file.refuse_unknown(members, _RUNTIME_MEMBERS, where)
        if "name" not in members:
            self._file.note(
                line_of(node), "This runtime has no name; write `name: nightly`.", where=where
            )
            return None
        interval = members.get("max_call_interval_seconds")
        seconds = None if interval is None else self._interval(interval[1], where)
        name = self._file.string(members["name"][1], f"{where}, name")
        if name is None:
            return None
        return self._expecting(name, seconds, members["name"][1], where)

    def _interval(self, node: Node, where: str) -> int | None:
        if is_null(node):
            return None
        span = seconds_of(str(node.value)) if is_string(node) else None
        if span is not None:
            return span
        return self._file.whole(
            node,
            f"{where}, max_call_interval_seconds",
            "This is a number of seconds, or a span like 26h.",
        )

    def _expecting(
        self, name: str, seconds: int | None, node: Node, where: str
    ) -> ExpectedRuntime | None:
        if seconds is not None and not 1 <= seconds <= LONGEST_CALL_INTERVAL_SECONDS:
            self._file.note(
                line_of(node),
                f"This is 1 to {LONGEST_CALL_INTERVAL_SECONDS} seconds, and that is ten years.",
                where=where,
            )
            return None
        if self._judged(lambda: check_runtime(name, "/name"), line_of(node), where) is None:
            return None
        return ExpectedRuntime(name=name, max_call_interval_seconds=seconds)

    def _judged(self, judge: Callable[[], T], line: int, where: str) -> T | None:
        try:
            return judge()
        except RequestInvalid as error:
            for fault in error.faults:
                self._file.note(line, fault.detail, where=where)
            return None


def _count_of(said: Mapping[str, object]) -> int:
    runtimes = said.get("runtimes")
    return len(runtimes) if isinstance(runtimes, tuple) else 0


def _made(said: Mapping[str, object]) -> SlotNotes:
    return normal(SlotNotes(**said))  # type: ignore[arg-type]  # each was read by its member
