"""Every action that a verb writes is in the list of events, which people are told."""

import ast
from collections.abc import Iterator
from pathlib import Path

from keyturn.domain.delivery import DeliveryState
from keyturn.domain.event import EVENT_TYPES, TRIAL
from keyturn.domain.finding import FindingState
from keyturn.domain.rotation import OPEN_STATES, RotationState

SERVICES = Path("src/keyturn/services")
# Of the installation, so nobody's; or told as failed, so no event.
OF_NO_WORKSPACE = {"installation", "integrity", "operator", "pepper"}

# What no literal says: an expression, and all that it can be.
RESOLVED = {
    "subject.type": {"api_key", "operator"},
    "following.state.value": {state.value for state in DeliveryState},
    "finding.state.value": {state.value for state in FindingState},
    "str(ended.state)": {state.value for state in RotationState if state not in OPEN_STATES},
    # Where notes are made it is said by a literal.
    "one.action": set(),
    "step.verb": {"advanced", "counted", "recovered", "relapsed"},
    "_told(workspace, following)": {"updated", "suspended", "resumed"},
}
# A delivery that waits again was lost; one that is open was opened: neither is told by that word.
NEVER_TOLD = {"delivery.waiting", "finding.open"}

_Function = ast.FunctionDef


class Source:
    """All functions of the services, and the string constants that their modules name."""

    def __init__(self) -> None:
        self.functions: list[tuple[str, _Function]] = []
        self.constants: dict[str, str] = {"TRIAL": TRIAL}
        for path in sorted(SERVICES.glob("*.py")):
            tree = ast.parse(path.read_text(encoding="utf-8"))
            for node in ast.walk(tree):
                if isinstance(node, ast.FunctionDef):
                    self.functions.append((path.name, node))
            for one in tree.body:
                if isinstance(one, ast.Assign) and isinstance(one.value, ast.Constant):
                    [target] = one.targets
                    if isinstance(target, ast.Name) and isinstance(one.value.value, str):
                        self.constants[target.id] = one.value.value

    def actions(self) -> Iterator[str]:
        """All that is given as an `action` anywhere."""
        for module, function in self.functions:
            for call in _calls(function):
                for keyword in call.keywords:
                    if keyword.arg == "action":
                        yield from self.spelled(module, function, keyword.value)

    def spelled(self, module: str, function: _Function, value: ast.expr) -> set[str]:
        """All that an expression in a function can be. Raises where that cannot be said."""
        match value:
            case ast.Constant(value=str(text)):
                return {text}
            case ast.IfExp():
                return self.spelled(module, function, value.body) | self.spelled(
                    module, function, value.orelse
                )
            case ast.JoinedStr():
                told = {""}
                for part in value.values:
                    inner = part.value if isinstance(part, ast.FormattedValue) else part
                    ends = self.spelled(module, function, inner)
                    told = {one + end for one in told for end in ends}
                return told
            case ast.Name(id=name):
                return self._named(module, function, name)
            case _:
                return RESOLVED[ast.unparse(value)]

    def _named(self, module: str, function: _Function, name: str) -> set[str]:
        arguments = [one.arg for one in (*function.args.args, *function.args.kwonlyargs)]
        told: set[str] = set()
        if name in arguments:
            place = arguments.index(name)
            for at, caller, call in self._calls_of(module, function):
                told |= self.spelled(at, caller, _argument(call, name, place, arguments))
            return told
        for node in ast.walk(function):
            if isinstance(node, ast.Assign):
                [target] = node.targets
                first = target.elts[0] if isinstance(target, ast.Tuple) else target
                if isinstance(first, ast.Name) and first.id == name:
                    told |= self.spelled(module, function, node.value)
        return told or {self.constants[name]}

    def _calls_of(
        self, module: str, function: _Function
    ) -> Iterator[tuple[str, _Function, ast.Call]]:
        for at, caller in self.functions:
            if function.name.startswith("_") and at != module:
                continue
            for call in _calls(caller):
                called = call.func
                name = called.attr if isinstance(called, ast.Attribute) else ast.unparse(called)
                if name == function.name and len(call.args) + len(call.keywords) > 1:
                    yield at, caller, call


def _calls(function: _Function) -> Iterator[ast.Call]:
    return (node for node in ast.walk(function) if isinstance(node, ast.Call))


def _argument(call: ast.Call, name: str, place: int, arguments: list[str]) -> ast.expr:
    for keyword in call.keywords:
        if keyword.arg == name:
            return keyword.value
    return call.args[place - (arguments[0] == "self")]


def test_the_list_of_events_has_every_action_that_is_written() -> None:
    written = {one for one in Source().actions() if one not in NEVER_TOLD}
    told = {one for one in written if one.partition(".")[0] not in OF_NO_WORKSPACE}
    assert told == set(EVENT_TYPES)
