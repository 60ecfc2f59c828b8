"""`keyturn drill`: what is done in earnest is rehearsed, on the installation that it is done on."""

import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from typing import TYPE_CHECKING

import click
import msgspec

from keyturn.ambient import SystemClock, SystemEntropy
from keyturn.cli import drill_revocation as revoking
from keyturn.cli import drill_rotation as rotating
from keyturn.cli.connection import calling, client_at
from keyturn.cli.drill_ground import ENVIRONMENT, Act, DrillFailed, Ground
from keyturn.cli.drill_revocation import Figures
from keyturn.cli.ending import FAULT, INTERRUPTED, CommandFailed
from keyturn.cli.output import Column, Output, counted, spelled
from keyturn.cli.when import now
from keyturn.client.errors import KeyturnClientError
from keyturn.domain.permission import Permission

if TYPE_CHECKING:
    from keyturn.client import Keyturn

_ID_BYTES = 4
SPREAD = ("median", "99 %", "longest")
_CLEAN = "nothing live is left"


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one step. `detail` says what was wrong."""

    claim: str
    ok: bool
    seconds: float
    detail: str | None = None


class Drill(msgspec.Struct, kw_only=True):
    """What became of a drill. `figures` are there where it measures."""

    id: str
    slot: str
    passed: bool = False
    interrupted: bool = False
    seconds: float = 0.0
    healthy_calls: int = 0
    first_request_id: str
    last_request_id: str = ""
    steps: list[Step] = msgspec.field(default_factory=list)
    figures: Figures | None = None

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
    ground = _ground(client, rotating.NEEDED)
    run = _Run(ground, output, "Rotation")
    run.remedy = f"`keyturn rotations show {ground.slot}` shows where its last rotation stood."
    run.carry_out(rotating.Rehearsal(ground, run.purpose).acts())


@drill.command()
@click.option(
    "--node",
    "urls",
    multiple=True,
    metavar="URL",
    help="A node to ask, past what balances between them; again for each. Default: the one that "
    "is called.",
)
@click.option(
    "--revocations",
    type=click.IntRange(1, 200),
    default=20,
    show_default=True,
    help="How many keys are made and revoked.",
)
@calling
def revocation(client: "Keyturn", output: Output, urls: tuple[str, ...], revocations: int) -> None:
    """Rehearse revocations on this installation, and measure them.

    A caller at each node asks about a key all the time. The key is revoked, and from the answer on
    no node may let it in; again and again, with another key each time. How long the answer took,
    and when the last call was let in, is told at the end. All keys are revoked, whatever happens;
    the slot stays, and says how it ended. Ends with 0 where all was as it must be, else with 1.

    The token needs keys:read, keys:write and verify, for `drill-*` at least.

    \b
    Examples:
      keyturn drill revocation
      keyturn drill revocation --node http://10.0.0.1:8420 --node http://10.0.0.2:8420
      keyturn drill revocation --revocations 100 --json
    """
    ground = _ground(client, revoking.NEEDED)
    run = _Run(ground, output, "Revocation")
    run.remedy = "`keyturn doctor` and `/readyz` of each node say how it stands."
    with ExitStack() as stack:
        nodes = [
            revoking.Node(url=url, client=stack.enter_context(client_at(url))) for url in urls
        ] or [revoking.Node(url="This Keyturn", client=client)]
        rehearsal = revoking.Revocations(
            ground, nodes, purpose=run.purpose, revocations=revocations
        )
        run.figures = rehearsal.figures
        run.carry_out(rehearsal.acts())


def _ground(client: "Keyturn", needed: Sequence[Permission]) -> Ground:
    """The ground of a new drill. Raises what says that it cannot be held here."""
    ground = Ground(client, f"drill-{SystemEntropy().take(_ID_BYTES).hex()}")
    ground.require_permissions(needed)
    ground.living_keys()  # before anything is made: a workspace is named, and answers
    return ground


class _Run:
    """One drill, from its first step to the last, and what is told of it."""

    def __init__(self, ground: Ground, output: Output, kind: str) -> None:
        self.remedy = ""
        self.figures: Figures | None = None
        self._ground = ground
        self._output = output
        self._clock = SystemClock()
        self._title = f"{kind} drill of {spelled(now())}"
        self._drill = Drill(id=ground.name, slot=ground.slot, first_request_id=f"{ground.name}-1")

    @property
    def purpose(self) -> str:
        """What the slot says while it goes on."""
        return f"{self._title}: begun"

    def carry_out(self, acts: Iterator[Act]) -> None:
        """Raises `CommandFailed` where it did not pass."""
        began = self._clock.elapsed()
        self._say(f"{'RESULT':<8}{'TIME':>7}  STEP")
        with _ending_in_order():
            try:
                self._play(acts)
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

    def _play(self, acts: Iterator[Act]) -> None:
        for act in acts:
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
        done.figures = self.figures
        if self._output.as_json:
            self._output.json(done)
        elif self._output.is_quiet:
            self._output.say(done.slot)
        else:
            self._output.say("")
            if self.figures is None:
                self._output.say(
                    f"{done.outcome.capitalize()}: {counted(done.healthy_calls, 'call')} that had "
                    f"to be allowed{', and all were' if done.passed else ''}."
                )
            else:
                self._tell_figures(self.figures)
                self._output.say(f"{done.outcome.capitalize()}.")
            self._output.say(
                f"Recorded on slot {done.slot}, and under the request ids "
                f"{done.first_request_id} to {done.last_request_id}."
            )
        if not done.passed:
            raise self._failure()

    def _tell_figures(self, figures: Figures) -> None:
        if not figures.revocations:
            return
        columns = (Column("figure"), *(Column(one, right=True) for one in SPREAD))
        self._output.table(columns, figures.rows())
        unanswered = figures.unanswered_calls
        more = f" and {unanswered} not answered" if unanswered else ""
        self._output.say(
            f"{counted(figures.revocations, 'revocation')} at {counted(figures.nodes, 'node')}, "
            f"{counted(figures.calls, 'call')} beside them{more}: "
            f"{figures.let_in_after_the_answer} let in after an answer."
        )

    def _failure(self) -> CommandFailed:
        wrong = next((step for step in self._drill.steps if not step.ok), None)
        if wrong is None:
            return CommandFailed("The drill was interrupted.", code=INTERRUPTED)
        return CommandFailed(
            f"The drill failed where {wrong.claim}: {wrong.detail}",
            remedy=self.remedy,
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
