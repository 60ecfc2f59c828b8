"""The life of a command under `keyturn run`, from its start to the exit code that is ours.

1. The command's end is ours, with its exit code, whenever it ends by itself: what crashes after a
   restart is not started again.
2. A restart asks it to end (SIGTERM), waits, kills it, and starts it with the new token. Whoever
   asks us to end meanwhile is obeyed: nothing is started after that.
3. Signals are passed on. For a while after one that ends most programs no restart is begun, which
   would be taken for the answer to it.
4. No signal tells of a new token before the command has run for a while: one that has not set its
   handler yet would be ended by it. The newest token is told of then, once.
5. Nothing that befalls the place of the token harms a command that runs.
"""

import contextlib
import signal
from collections.abc import Mapping
from enum import StrEnum
from typing import assert_never

import click

from keyturn.ambient import SystemClock
from keyturn.cli.output import harmless
from keyturn.cli.run_child import Child, Command
from keyturn.cli.run_injection import Injection
from keyturn.cli.run_signals import Bell, is_typed
from keyturn.cli.run_watch import Back, Changed, Down, News, Watch
from keyturn.client.sources.contract import Source
from keyturn.domain.token import Token

_ENDING = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT)
_AGAIN_SECONDS = 1.0


class OnChange(StrEnum):
    RESTART = "restart"
    SIGNAL = "signal"
    EXIT = "exit"
    IGNORE = "ignore"


class Supervisor:
    def __init__(
        self,
        command: Command,
        injection: Injection,
        environ: Mapping[str, str],
        *,
        source: Source,
        token: Token,
        on_change: OnChange,
        number: signal.Signals,
        every_seconds: float,
        grace_seconds: float,
        settle_seconds: float,
    ) -> None:
        self._command = command
        self._injection = injection
        self._environ = environ
        self._source = source
        self._token = token
        self._on_change = on_change
        self._number = number
        self._grace_seconds = grace_seconds
        self._settle_seconds = settle_seconds if on_change is OnChange.SIGNAL else 0.0
        self._clock = SystemClock()
        self._bell = Bell()
        self._watch = Watch(source, token, every_seconds=every_seconds, wake=self._bell.ring)
        self._waiting: Token | None = None  # a new one, that nothing was done about yet
        self._not_before = float("-inf")  # until then nothing is done about it
        self._kill_at: float | None = None  # where it was asked to end, by us
        self._is_restarting = False
        self._is_killed = False
        self._is_unplaced = False

    def run(self) -> int:
        """Runs the command to its end; gives its exit code."""
        with self._bell.listening():
            child = self._started(self._token)
            self._watch.start()
            try:
                return self._until_end(child)
            finally:
                self._watch.stop()

    def _until_end(self, child: Child) -> int:
        while True:
            for number in self._bell.wait(self._pause()):
                self._pass_on(child, number)
            for news in self._watch.news():
                self._hear(news)
            code = child.code()
            if code is None:
                self._act(child)
            elif self._is_restarting and self._waiting is not None:
                child = self._started(self._waiting)
            else:
                return code
            child.reap_others()

    def _started(self, token: Token) -> Child:
        self._injection.put(token)
        self._token, self._waiting = token, None
        self._kill_at, self._is_restarting, self._is_killed = None, False, False
        child = Child(self._command, self._injection.environment(self._environ))
        self._not_before = self._clock.elapsed() + self._settle_seconds
        return child

    def _pause(self) -> float | None:
        """Seconds until something must be done without news; None where nothing must."""
        if self._kill_at is not None:
            return max(0.0, self._kill_at - self._clock.elapsed())
        if self._waiting is None or self._is_killed:
            return None
        return max(0.0, self._not_before - self._clock.elapsed())

    # --- what happens ----------------------------------------------------------------------------

    def _pass_on(self, child: Child, number: int) -> None:
        if number == signal.SIGCHLD:
            return
        if not is_typed(number):
            child.send(number)
        if number in _ENDING:
            self._kill_at, self._is_restarting = None, False
            self._not_before = max(self._not_before, self._clock.elapsed() + self._grace_seconds)

    def _hear(self, news: News) -> None:
        match news:
            case Changed(token=token):
                is_old = token.reveal() == self._token.reveal()
                self._waiting = None if is_old and not self._is_restarting else token
            case Down(why=why):
                say(f"{why} {self._command.name} goes on with the token that it has.")
            case Back():
                say(f"{self._source.name} can be read again.")
            case _:
                assert_never(news)

    def _act(self, child: Child) -> None:
        """What is due, with a command that runs."""
        now = self._clock.elapsed()
        if self._kill_at is not None:
            if now >= self._kill_at:
                self._kill_at, self._is_killed = None, True
                say(f"{self._command.name} has not ended in time: killing it")
                child.send(signal.SIGKILL)
            return
        token = self._waiting
        if token is None or self._is_killed or now < self._not_before:
            return
        if not self._is_placed(token):
            return
        match self._on_change:
            case OnChange.RESTART:
                self._tell_of(token, f"restarting {self._command.name}")
                self._ask_to_end(child, is_restarting=True)
            case OnChange.EXIT:
                self._tell_of(token, f"ending {self._command.name}")
                self._ask_to_end(child, is_restarting=False)
            case OnChange.SIGNAL:
                self._token, self._waiting = token, None
                self._tell_of(token, f"{self._number.name} to {self._command.name}")
                child.send(self._number)
            case OnChange.IGNORE:
                self._waiting = None
            case _:
                assert_never(self._on_change)

    def _is_placed(self, token: Token) -> bool:
        """Puts the token where the command finds it, while the old one still serves; where that
        cannot be done, later."""
        try:
            self._injection.put(token)
        except OSError as error:
            if not self._is_unplaced:
                say(f"The new token cannot be written ({error.strerror}): trying again.")
            self._is_unplaced = True
            self._not_before = self._clock.elapsed() + _AGAIN_SECONDS
            return False
        self._is_unplaced = False
        return True

    def _ask_to_end(self, child: Child, *, is_restarting: bool) -> None:
        self._is_restarting = is_restarting
        self._kill_at = self._clock.elapsed() + self._grace_seconds
        child.send(signal.SIGTERM)

    def _tell_of(self, token: Token, what: str) -> None:
        say(f"the token in {self._source.name} changed ({token.hint}…): {what}")


def say(sentence: str) -> None:
    """One line to people; a reader that has gone changes nothing."""
    with contextlib.suppress(OSError):
        click.echo(harmless(f"keyturn: {sentence}"), err=True)
