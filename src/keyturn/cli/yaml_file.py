"""A file in YAML 1.2, or in JSON, which is a part of it: what stands where. Pure: no I/O.

1. All faults of a file are told at once, each with its line. Where the YAML itself breaks off,
   nobody knows what follows: that is told alone.
2. Aliases stay what they are, one node in several places, so that a small file grows to nothing.
3. No sentence repeats a value, since it may be a token; names are repeated without one.
"""

import difflib
import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode

from keyturn.domain.redaction import holds_token, redact
from keyturn.domain.text import without_controls

LARGEST_BYTES = 1 << 20

_STR = "tag:yaml.org,2002:str"
_INT = "tag:yaml.org,2002:int"
_NULL = "tag:yaml.org,2002:null"
_MERGE = "tag:yaml.org,2002:merge"
_LONGEST_SHOWN = 80
_LONGEST_NUMBER = 9
_WHOLE = re.compile(r"0|[1-9][0-9]*")
# YAML 1.2.2, 5.1: what may stand in a stream.
_UNPRINTABLE = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")

# The members of a mapping by their names: the node of the name, and that of the value.
Members = dict[str, tuple[Node, Node]]


@dataclass(frozen=True, slots=True, order=True)
class Fault:
    """What is wrong in a file, at a line, and what helps."""

    file: str
    line: int
    detail: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.detail}"


class YamlFile:
    """One file, and what was found to be wrong in it."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._faults: set[Fault] = set()
        self._token_lines: set[int] = set()

    @property
    def faults(self) -> list[Fault]:
        """By line. Of a line that holds a token, that alone is told."""
        others = (one for one in self._faults if one.line not in self._token_lines)
        tokens = (
            Fault(
                self.name,
                line,
                "A token stands here. Take it out, and revoke it: who has the file has it too.",
            )
            for line in self._token_lines
        )
        return sorted([*tokens, *others])

    def note(self, line: int, detail: str, *, where: str = "") -> None:
        """Notes a fault. `where` names the member."""
        self._faults.add(Fault(self.name, line, f"{where}: {detail}" if where else detail))

    # --- from bytes to nodes ---------------------------------------------------------------------

    def root(self, content: bytes) -> Node | None:
        """The node that holds all others. None where there is none, which is noted."""
        text = self._decoded(content)
        if text is None:
            return None
        self._token_lines = {
            number for number, line in enumerate(text.split("\n"), start=1) if holds_token(line)
        }
        root = self._composed(text)
        if root is not None and is_null(root):
            self.note(1, "There is nothing in this file. Slots stand under `slots:`.")
            return None
        return root

    def _decoded(self, content: bytes) -> str | None:
        if len(content) > LARGEST_BYTES:
            self.note(1, f"A file may have at most {LARGEST_BYTES:,} bytes. Make several of it.")
            return None
        try:
            text = content.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            line = content.count(b"\n", 0, error.start) + 1
            self.note(line, "This is no text in UTF-8. Save it as UTF-8, or name another file.")
            return None
        odd = _UNPRINTABLE.search(text)
        if odd is not None:
            line = text.count("\n", 0, odd.start()) + 1
            self.note(line, "A control character stands here, as in no YAML. Take it out.")
            return None
        return text

    def _composed(self, text: str) -> Node | None:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of anchors that are given twice
                root: Node | None = YAML(typ="safe", pure=True).compose(text)
        except RecursionError:
            self.note(1, "This is nested deeper than any file of slots. Look at its brackets.")
            return None
        except MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            self.note(1 if mark is None else mark.line + 1, _syntax(error))
            return None
        except (YAMLError, ValueError):
            self.note(1, "This is no YAML. Look at what stands before the slots.")
            return None
        if root is None:
            self.note(1, "There is nothing in this file. Slots stand under `slots:`.")
        return root

    # --- what stands in nodes --------------------------------------------------------------------

    def members(self, node: MappingNode, where: str = "") -> Members:
        """The members by name. Each is named once."""
        found: Members = {}
        for key, value in node.value:
            if not isinstance(key, ScalarNode):
                self.note(line_of(key), "A name stands here, no list and no mapping.", where=where)
            elif key.tag == _MERGE:
                self.note(
                    line_of(key),
                    "YAML 1.2 has no `<<`. Use `defaults`, or a file of its own with other ones.",
                    where=where,
                )
            elif key.value in found:
                first = line_of(found[key.value][0])
                self.note(
                    line_of(key),
                    f"{shown(key.value)} stands already in line {first}. Leave one of them out.",
                    where=where,
                )
            else:
                found[key.value] = (key, value)
        return found

    def refuse_unknown(self, members: Members, known: Sequence[str], where: str = "") -> None:
        """Notes each member that is not `known`."""
        for name, (key, _) in members.items():
            if name in known:
                continue
            near = difflib.get_close_matches(name[:_LONGEST_SHOWN], known, n=1)
            hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(known)}."
            self.note(line_of(key), f"There is no member {shown(name)}; {hint}", where=where)

    def string(self, node: Node, where: str) -> str | None:
        """The text that a node is. None where it is something else, which is noted."""
        if not isinstance(node, ScalarNode) or node.tag != _STR:
            self.note(line_of(node), "This is a text; put it in quotes.", where=where)
            return None
        return _joined(node.value)

    def whole(self, node: Node, where: str, otherwise: str) -> int | None:
        """The whole number that a node is. None where it is something else: `otherwise`."""
        text = str(node.value) if node.tag == _INT else ""
        if len(text) > _LONGEST_NUMBER or _WHOLE.fullmatch(text) is None:
            self.note(line_of(node), otherwise, where=where)
            return None
        return int(text)


def is_null(node: Node) -> bool:
    """Whether a node says nothing: null, `~`, or what is left out."""
    return bool(node.tag == _NULL)


def is_string(node: Node) -> bool:
    return bool(node.tag == _STR)


def line_of(node: Node) -> int:
    """The line that a node begins in, from 1 on."""
    line: int = node.start_mark.line
    return line + 1


def shown(name: str) -> str:
    """A name from a file, fit to stand in a sentence."""
    return without_controls(redact(name), _LONGEST_SHOWN)


def _joined(text: str) -> str:
    """JSON spells a character beyond U+FFFF as two halves (RFC 8259, 7); here they are one."""
    try:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le")
    except UnicodeDecodeError:
        return text


def _syntax(error: MarkedYAMLError) -> str:
    problem = without_controls(redact(str(error.problem or error.context)), 200)
    if "another document" in problem:
        return "A second document begins here. Put it into a file of its own."
    if "'\\t'" in problem:
        return "A tab stands here. YAML is indented with spaces."
    if "mapping values are not allowed" in problem:
        return "Another `:` stands here. Put the text in quotes, or mend the indentation."
    return f"The YAML breaks off here ({problem}). Look at the indentation and the quotes."
