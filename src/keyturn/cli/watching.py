"""Looking on until something ends: a live page on a terminal, elsewhere a line for each change.

1. It only looks. Interrupted, it says that the thing goes on.
2. A server that is started anew, or that cannot be reached for a while, ends nothing: it is asked
   again until it answers.
"""

import os
import shutil
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime
from types import TracebackType
from typing import Generic, Self, TypeVar

import click

from keyturn.ambient import SystemClock
from keyturn.cli.ending import INTERRUPTED, may_pass
from keyturn.cli.output import Output, harmless, spelled
from keyturn.cli.page import wrapped
from keyturn.cli.when import now
from keyturn.client.errors import KeyturnClientError

T = TypeVar("T")

_SECONDS_BETWEEN = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Watched(Generic[T]):
    """What is looked at. `page` gives all of it as lines, so wide and so many at most, `changes`
    what is to be told since it was last seen, and `essence` what makes it another for programs."""

    url: str
    read: Callable[[], T]
    goes_on: Callable[[T], bool]
    page: Callable[[T, datetime, int | None, int | None], list[str]]
    changes: Callable[[T | None, T, datetime], Iterable[str]]
    essence: Callable[[T], object]
    interrupted: str  # what is told to who stops looking


def watch(watched: Watched[T], output: Output, first: T) -> T:
    """Shows it until it ends; gives how it ended."""
    clock = SystemClock()
    found = first
    try:
        with _face(watched, output) as face:
            face.show(found)
            while watched.goes_on(found):
                clock.sleep(_SECONDS_BETWEEN)
                try:
                    found = watched.read()
                except KeyturnClientError as error:
                    if not may_pass(error):
                        raise
                    face.miss(found)
                else:
                    face.show(found)
    except KeyboardInterrupt:
        output.note("")
        output.note(watched.interrupted)
        raise click.exceptions.Exit(INTERRUPTED) from None
    return found


class _Face(ABC, Generic[T]):
    """How a thing is shown while it goes on."""

    def __enter__(self) -> Self:
        return self

    @abstractmethod
    def show(self, found: T) -> None:
        """What stands now."""

    @abstractmethod
    def miss(self, last: T) -> None:
        """There is no answer just now."""

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        pass


class _Live(_Face[T]):
    """A page that changes in its place."""

    def __init__(self, watched: Watched[T]) -> None:
        from rich.console import Console
        from rich.live import Live

        self._watched = watched
        self._stack = ExitStack()
        self._live = Live(
            console=Console(highlight=False, markup=False), auto_refresh=False, transient=False
        )
        self._missing_since: float | None = None
        self._clock = SystemClock()

    def __enter__(self) -> Self:
        self._stack.enter_context(self._live)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.close()

    def show(self, found: T) -> None:
        self._missing_since = None
        self._draw(found, "")

    def miss(self, last: T) -> None:
        if self._missing_since is None:
            self._missing_since = self._clock.elapsed()
        seconds = round(self._clock.elapsed() - self._missing_since)
        word = f"No answer from {self._watched.url} for {seconds} s; it is asked again."
        self._draw(last, word)

    def _draw(self, found: T, word: str) -> None:
        from rich.text import Text

        columns, lines = shutil.get_terminal_size()
        shown = self._watched.page(found, now(), columns - 1, lines - 2)
        if word:
            shown += ["", *wrapped(word, columns - 1)]
        self._live.update(Text.from_ansi("\n".join(shown), no_wrap=True), refresh=True)


class _Lines(_Face[T]):
    """A line for each change, with its time."""

    def __init__(self, watched: Watched[T]) -> None:
        self._watched = watched
        self._before: T | None = None
        self._is_missing = False

    def show(self, found: T) -> None:
        if self._is_missing:
            self._say("It answers again.")
        self._is_missing = False
        for line in self._watched.changes(self._before, found, now()):
            self._say(line)
        self._before = found

    def miss(self, last: T) -> None:
        del last
        if not self._is_missing:
            self._say(f"No answer from {self._watched.url}; it is asked again.")
        self._is_missing = True

    def _say(self, line: str) -> None:
        click.echo(f"{spelled(now())}  {harmless(line)}")
        sys.stdout.flush()


class _Records(_Face[T]):
    """The thing as one line of JSON, whenever it has changed."""

    def __init__(self, watched: Watched[T], output: Output) -> None:
        self._watched = watched
        self._output = output
        self._last: object = None

    def show(self, found: T) -> None:
        told = self._watched.essence(found)
        if told != self._last:
            self._last = told
            self._output.json(found, is_line=True)
            sys.stdout.flush()

    def miss(self, last: T) -> None:
        pass


class _Silent(_Face[T]):
    def show(self, found: T) -> None:
        pass

    def miss(self, last: T) -> None:
        pass


def _face(watched: Watched[T], output: Output) -> _Face[T]:
    if output.as_json:
        return _Records(watched, output)
    if output.is_quiet:
        return _Silent()
    is_screen = sys.stdout.isatty() and os.environ.get("TERM", "dumb") != "dumb"
    return _Live(watched) if is_screen else _Lines(watched)
