"""`keyturn drill`: what is done in earnest is rehearsed, on the installation that it is done on."""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

import click
import msgspec

from keyturn.ambient import SystemClock, SystemEntropy
from keyturn.cli.connection import calling
from keyturn.cli.drill_ground import ENVIRONMENT, DrillFailed, Ground
from keyturn.cli.drill_rotation import Rehearsal
from keyturn.cli.ending import FAULT, INTERRUPTED, CommandFailed
from keyturn.cli.output import Output, counted, spelled
from keyturn.cli.when import now
from keyturn.client.errors import KeyturnClientError

if TYPE_CHECKING:
    from keyturn.client import Keyturn

_ID_BYTES = 4
_CLEAN = "nothing live is left"


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one step. `detail` says what was wrong."""

    claim: str
    ok: bool
    seconds: float
    detail: str | None = None


class Drill(msgspec.Struct, kw_only=True):
    """What became of a drill."""

    id: str
    slot: str
    passed: bool = False
    interrupted: bool = False
    seconds: float = 0.0
    healthy_calls: int = 0
    first_request_id: str
    last_request_id: str = ""
    steps: list[Step] = msgspec.field(default_factory=list)

    @property
    def outcome(self) -> str:
        if self.interrupted:
            return f"interrupted after {self.seconds:.1f} s"
        return f"{'passed in' if self.passed else 'failed after'} {self.seconds:.1f} s"


@click.group()
def drill() -> None:
    """Rehearsals on a slot of their own, which leave nothing live."""


@drill.command()
@calling
def rotation(client: "Keyturn", output: Output) -> None:
    """Rehearse a rotation on this installation: about ten seconds, on a slot of its own.

    Three runtimes are played. A rotation waits for the one that was forgotten, is browned out,
    ends by itself; a second one is rolled back. At each step it is checked that no healthy call is
    denied and that no dead key works. Both keys are revoked at the end, whatever happens; the slot
    stays, and says how it ended. Ends with 0 where all was as it must be, else with 1.

    The token needs keys:read, keys:write, rotations:write and verify, for `drill-*` at least.

    \b
    Examples:
      keyturn drill rotation
      keyturn drill rotation --workspace 06aSDUtCJxNn2WzPHQ7kVt --json
    """
    name = f"drill-{SystemEntropy().take(_ID_BYTES).hex()}"
    ground = Ground(client, name)
    ground.require_permissions()
    ground.living_keys()  # before anything is made: a workspace is named, and answers
    _Run(ground, output).carry_out()


class _Run:
    """One drill, from its first step to the last, and what is told of it."""

    def __init__(self, ground: Ground, output: Output) -> None:
        self._ground = ground
        self._output = output
        self._clock = SystemClock()
        self._title = f"Rotation drill of {spelled(now())}"
        self._drill = Drill(id=ground.name, slot=ground.slot, first_request_id=f"{ground.name}-1")

    def carry_out(self) -> None:
        """Raises `CommandFailed` where it did not pass."""
        began = self._clock.elapsed()
        self._say(f"{'RESULT':<8}{'TIME':>7}  STEP")
        with _ending_in_order():
            try:
                self._play()
            except KeyboardInterrupt:
                self._drill.interrupted = True
                self._output.note("Interrupted: what was made is revoked.")
            except BaseException:
                self._clear()
                raise
            self._step(_CLEAN, self._clear)
        self._drill.passed = not self._drill.interrupted and all(
            step.ok for step in self._drill.steps
        )
        self._drill.seconds = round(self._clock.elapsed() - began, 1)
        self._drill.healthy_calls = self._ground.verified
        self._write_down()
        self._tell()

    def _play(self) -> None:
        for act in Rehearsal(self._ground, f"{self._title}: begun").acts():
            if not self._step(act.claim, act.show):
                return

    def _step(self, claim: str, show: Callable[[], None]) -> bool:
        began, detail = self._clock.elapsed(), None
        try:
            show()
        except (DrillFailed, KeyturnClientError) as error:
            detail = str(error)
        seconds = round(self._clock.elapsed() - began, 1)
        step = Step(claim=claim, ok=detail is None, seconds=seconds, detail=detail)
        self._drill.steps.append(step)
        self._say(f"{'ok' if step.ok else 'failed':<8}{seconds:>5.1f} s  {claim}")
        if detail is not None:
            self._say(f"{'':<17}{detail}")
        return step.ok

    def _clear(self) -> None:
        """Raises `DrillFailed` where something lives on."""
        try:
            self._ground.clear()
            living = self._ground.living_keys()
        except KeyturnClientError as error:
            raise DrillFailed(f"{error} {self._left}") from error
        except KeyboardInterrupt:
            self._output.note(self._left)
            raise
        if living:
            raise DrillFailed(self._left)

    @property
    def _left(self) -> str:
        return (
            "Keys of this drill may live on; they expire within an hour. `keyturn keys list "
            f"--service {self._ground.name} --environment {ENVIRONMENT}` shows them."
        )

    def _write_down(self) -> None:
        try:
            self._ground.write_down(f"{self._title}: {self._drill.outcome}")
        except KeyturnClientError as error:
            self._output.note(f"keyturn: How it ended could not be written on its slot: {error}")
        self._drill.last_request_id = self._ground.last_request_id

    def _tell(self) -> None:
        done = self._drill
        if self._output.as_json:
            self._output.json(done)
        elif self._output.is_quiet:
            self._output.say(done.slot)
        else:
            self._output.say("")
            self._output.say(
                f"{done.outcome.capitalize()}: {counted(done.healthy_calls, 'call')} that had to "
                f"be allowed{', and all were' if done.passed else ''}."
            )
            self._output.say(
                f"Recorded on slot {done.slot}, and under the request ids "
                f"{done.first_request_id} to {done.last_request_id}."
            )
        if not done.passed:
            raise self._failure()

    def _failure(self) -> CommandFailed:
        wrong = next((step for step in self._drill.steps if not step.ok), None)
        if wrong is None:
            return CommandFailed("The drill was interrupted.", code=INTERRUPTED)
        return CommandFailed(
            f"The drill failed where {wrong.claim}: {wrong.detail}",
            remedy=f"`keyturn rotations show {self._drill.slot}` shows where its last rotation "
            "stood.",
            code=INTERRUPTED if self._drill.interrupted else FAULT,
        )

    def _say(self, line: str) -> None:
        """A line of the table. That nobody reads it any more ends nothing."""
        if not (self._output.as_json or self._output.is_quiet):
            with suppress(OSError):
                self._output.say(line)


@contextmanager
def _ending_in_order() -> Iterator[None]:
    """Asked to end, or with its terminal gone, a drill clears up first, as on Ctrl-C."""
    numbers = (signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.getsignal(number) for number in numbers}
    for number, handler in before.items():
        if handler is not signal.SIG_IGN:  # as under `nohup`
            signal.signal(number, signal.default_int_handler)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
