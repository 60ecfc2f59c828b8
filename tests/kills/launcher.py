"""`keyturn` in a process that kills itself at a named point.

    KILLS_AT='create/before COMMIT' python -m tests.kills.launcher serve

The product has no hook for this. What passes is heard from outside: SQLAlchemy tells of each
statement and each commit, and a few functions of the operating system and of the rim are wrapped.

1. A point is named `<operation>/<before|after> <what>`, and ` #2` and so on where an operation
   passes it again: `create/before INSERT keys`, `create/after COMMIT`, `create/after answer`.
2. A request whose `X-Request-Id` is `at.<operation>.<anything>` begins an operation, which lasts
   until the next request. What comes before the first request is `$KILLS_OPERATION`'s.
3. What a thread of the background does meanwhile stands under its name:
   `verify/recording: before COMMIT`.
4. `$KILLS_DAYS_AGO` sets the clock of the process back, so that what it makes is old.
5. The product is loaded late: who only names points needs none of it.
6. At the point that `$KILLS_AT` names, the process gets SIGKILL. Points that are passed
   are written to the file `$KILLS_POINTS`, if it is named.
"""

import functools
import os
import re
import signal
import sys
import threading
from collections import Counter
from collections.abc import Callable, MutableMapping
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, event
from sqlalchemy.engine.default import DefaultDialect

from tests.servers.forked import settle

KILL_AT = "KILLS_AT"
DAYS_AGO = "KILLS_DAYS_AGO"
OPERATION = "KILLS_OPERATION"
POINTS = "KILLS_POINTS"
BACKGROUND = (
    "recording",
    "rotating",
    "overseeing",
    "delivering",
    "delivery",
    "launching",
    "notifying",
    "following",
    "watching",
    "tidying",
    "holding",
    "scrubbing",
    "last",
)

_MARK = re.compile(rb"at\.([a-z-]+)\.")
_STATEMENT = re.compile(
    r"\s*(INSERT|UPDATE|DELETE|CREATE|ALTER|DROP|SELECT|[A-Z]+)"
    r"(?:(?: INTO| FROM)? (?:(?:UNIQUE )?(?:TABLE|INDEX) )?(?:IF NOT EXISTS )?\"?(\w+))?",
    re.DOTALL,
)
_SOURCE = re.compile(r"\bFROM (\w+)")
_WRITING = frozenset({"INSERT", "UPDATE", "DELETE", "CREATE", "ALTER", "DROP"})


class Points:
    """What is passed, in which operation, and where to end."""

    def __init__(self, operation: str | None, kill_at: str | None, file: Path | None) -> None:
        self._operation = operation
        self._kill_at = kill_at
        self._file = None if file is None else file.open("a", buffering=1)
        self._passed: Counter[str] = Counter()
        self._lock = threading.Lock()

    def begin(self, operation: str | None) -> None:
        with self._lock:
            self._operation = operation
            self._passed.clear()

    def reach(self, when: str, what: str) -> bool:
        """Notes that a point is passed; says whether it is the last one."""
        thread = threading.current_thread().name
        whose = f"{thread}: " if thread in BACKGROUND else ""
        with self._lock:
            if self._operation is None:
                return False
            name = f"{self._operation}/{whose}{when} {what}"
            self._passed[name] += 1
            if self._passed[name] > 1:
                name += f" #{self._passed[name]}"
            if self._file is not None:
                self._file.write(f"{name}\n")
            return name == self._kill_at

    def come(self, when: str, what: str) -> None:
        if self.reach(when, what):
            end()

    def around(self, what: str, action: Callable[..., Any]) -> Callable[..., Any]:
        """The action, with a point before and one after it."""

        @functools.wraps(action)
        def wrapped(*arguments: Any, **named: Any) -> Any:
            self.come("before", what)
            result = action(*arguments, **named)
            self.come("after", what)
            return result

        return wrapped


def end() -> None:
    """Nothing is closed, flushed or given back."""
    os.kill(os.getpid(), signal.SIGKILL)


def listen() -> None:
    """Puts the points in the way of everything that this process does from now on."""
    named = os.environ.get(POINTS)
    points = Points(
        os.environ.get(OPERATION), os.environ.get(KILL_AT), Path(named) if named else None
    )
    _listen_to_the_database(points)
    _listen_to_the_disk(points)
    _listen_to_the_wire(points)
    _set_back(int(os.environ.get(DAYS_AGO, "0")))


def _set_back(days: int) -> None:
    if days:
        from keyturn.ambient import SystemClock
        from keyturn.domain.instant import DAY

        now = SystemClock.now
        SystemClock.now = lambda clock: now(clock) - days * DAY  # type: ignore[method-assign,assignment]


# --- where it listens ----------------------------------------------------------------------------


def _listen_to_the_database(points: Points) -> None:
    wrote = threading.local()

    def before(_connection: Any, _cursor: Any, statement: str, *_rest: Any) -> None:
        what = describe(statement)
        if what.partition(" ")[0] in _WRITING:
            wrote.anything = True
        points.come("before", what)

    def after(_connection: Any, _cursor: Any, statement: str, *_rest: Any) -> None:
        points.come("after", describe(statement))

    event.listen(Engine, "before_cursor_execute", before)
    event.listen(Engine, "after_cursor_execute", after)
    commit = DefaultDialect.do_commit

    def do_commit(self: Any, connection: Any) -> None:
        what = "COMMIT" if getattr(wrote, "anything", False) else "COMMIT of nothing"
        wrote.anything = False
        points.come("before", what)
        commit(self, connection)  # type: ignore[no-untyped-call]
        points.come("after", what)

    DefaultDialect.do_commit = do_commit  # type: ignore[method-assign]


def describe(statement: str) -> str:
    """A statement in two words: its verb and its table."""
    found = _STATEMENT.match(statement)
    if found is None:
        return statement[:20]
    verb, table = found.groups()
    if verb == "SELECT":
        sources = _SOURCE.findall(statement)  # those of its subqueries stand before its own
        return f"SELECT {sources[-1]}" if sources else "SELECT"
    return verb if table is None or verb not in _WRITING else f"{verb} {table}"


# The number of the process, which differs from run to run.
_DRAFT = re.compile(r"\.\d+\.draft$")


def _listen_to_the_disk(points: Points) -> None:
    """Files that Keyturn writes itself in this folder: the root secret, a token, heads, locks."""
    names: dict[int, str] = {}
    folder = f"{Path.cwd()}/"
    opening, writing, syncing, renaming = os.open, os.write, os.fsync, os.rename

    def open_(path: Any, flags: int, *rest: Any, **named: Any) -> int:
        place = Path(os.fsdecode(path)).absolute()
        is_read = not flags & (os.O_WRONLY | os.O_RDWR)
        if is_read or not str(place).startswith(folder):
            descriptor = opening(path, flags, *rest, **named)
            names.pop(descriptor, None)
            return descriptor
        name = _DRAFT.sub(".draft", place.name)
        points.come("before", f"opening {name}")
        descriptor = opening(path, flags, *rest, **named)
        names[descriptor] = name
        points.come("after", f"opening {name}")
        return descriptor

    def write(descriptor: int, data: Any) -> int:
        if descriptor not in names:
            return writing(descriptor, data)
        what = f"writing {names[descriptor]}"
        points.come("before", what)
        if points.reach("half", what):
            writing(descriptor, bytes(data)[: len(data) // 2])
            end()
        written = writing(descriptor, data)
        points.come("after", what)
        return written

    def fsync(descriptor: int) -> None:
        what = f"syncing {names.get(descriptor, 'the folder')}"
        points.come("before", what)
        syncing(descriptor)
        points.come("after", what)

    def rename(source: Any, target: Any, **named: Any) -> None:
        what = f"renaming {_DRAFT.sub('.draft', Path(os.fsdecode(source)).name)}"
        points.come("before", what)
        renaming(source, target, **named)
        points.come("after", what)

    for name, function in (("open", open_), ("write", write), ("fsync", fsync), ("rename", rename)):
        setattr(os, name, function)


def _listen_to_the_wire(points: Points) -> None:
    from keyturn.http.replay import Replay
    from keyturn.server.edge import Edge

    call = Edge.__call__

    async def judged(self: Edge, scope: Any, receive: Any, send: Any) -> None:
        points.begin(_operation_of(scope))

        async def answering(message: MutableMapping[str, Any]) -> None:
            what = "head of the answer" if message["type"] == "http.response.start" else "answer"
            points.come("before", what)
            await send(message)
            points.come("after", what)

        await call(self, scope, receive, answering)

    Edge.__call__ = judged  # type: ignore[method-assign]
    Replay.keep = points.around("keeping the answer", Replay.keep)  # type: ignore[method-assign]


def _operation_of(scope: Any) -> str | None:
    for name, text in scope.get("headers", ()):
        if name == b"x-request-id" and (found := _MARK.match(text)):
            return str(found[1].decode())
    return None


def become_mortal(
    arguments: tuple[str, ...],
    environment: dict[str, str],
    folder: str,
    output: str,
    errors: str,
) -> None:
    """As `tests.servers.forked.become`, with the points in its way."""
    settle(environment, folder, output, errors)
    listen()
    from keyturn.cli import main

    main(arguments)


if __name__ == "__main__":
    listen()
    from keyturn.cli import main

    main(sys.argv[1:])
