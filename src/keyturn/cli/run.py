"""`keyturn run`: a command gets its token when it is started, and the new one when that changes."""

import os
import re
import signal
from pathlib import Path
from types import FrameType

import click

from keyturn.ambient import SystemClock
from keyturn.cli.ending import FAULT, LATER, WRONG, CommandFailed
from keyturn.cli.run_child import BY_SIGNAL, Command, become, find_command
from keyturn.cli.run_injection import InFile, Injection, InVariable
from keyturn.cli.run_supervision import OnChange, Supervisor, say
from keyturn.client.configuration import API_KEY
from keyturn.client.errors import ConfigurationFault, SourceFault
from keyturn.client.sources.contract import Source, take
from keyturn.client.sources.naming import source_of
from keyturn.domain.redaction import holds_shape
from keyturn.domain.token import Token

_FIRST_PAUSE_SECONDS = 0.25
_LONGEST_PAUSE_SECONDS = 5.0
_ASKS_TO_END = (signal.SIGTERM, signal.SIGHUP)
# What the loader and the shell read themselves, and tell of where they cannot use it.
_LOADING = re.compile(r"(?:LD_|DYLD_|GLIBC_|PYTHON)|(?:PATH|IFS|ENV|BASH_ENV)$")
_UNFIT = ("SIGKILL", "SIGSTOP", "SIGCHLD")


class SignalName(click.ParamType[signal.Signals]):
    """HUP, hup or SIGHUP."""

    name = "signal"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> signal.Signals:
        if isinstance(value, signal.Signals):
            return value
        name = f"SIG{str(value).upper().removeprefix('SIG')}"
        if name in _UNFIT or name not in signal.Signals.__members__:
            self.fail("Name a signal that a program can take, like HUP or USR1.", param, ctx)
        return signal.Signals[name]


@click.command(context_settings={"allow_interspersed_args": False})
@click.option(
    "--from",
    "place",
    required=True,
    metavar="SOURCE",
    help="Where the token is: env:NAME, file:PATH, vault:MOUNT/PATH#FIELD, aws:NAME[#FIELD], "
    "gcp:PROJECT/NAME or azure:VAULT_URL/NAME.",
)
@click.option(
    "--env",
    "variable",
    metavar="NAME",
    help=f"The variable in which the command gets the token. Default: {API_KEY}.",
)
@click.option(
    "--file",
    type=click.Path(path_type=Path),
    metavar="PATH",
    help="Write the token to this file (0600) instead; KEYTURN_API_KEY_FILE names it to the "
    "command.",
)
@click.option(
    "--on-change",
    type=click.Choice([one.value for one in OnChange]),
    help="When the token changes: end the command and start it anew; send it a signal, with the "
    "new token in a file; end it, and end; or nothing. Default: restart.",
)
@click.option(
    "--signal",
    "number",
    type=SignalName(),
    metavar="NAME",
    help="The signal to send; alone, it means --on-change signal. Default: HUP.",
)
@click.option(
    "--every",
    type=click.FloatRange(0.1, 86_400),
    default=5.0,
    show_default=True,
    metavar="SECONDS",
    help="How often the place is read. A file is looked at twice a second.",
)
@click.option(
    "--grace",
    type=click.FloatRange(0, 3_600),
    default=10.0,
    show_default=True,
    metavar="SECONDS",
    help="How long the command may take to end, before it is killed.",
)
@click.option(
    "--settle",
    type=click.FloatRange(0, 3_600),
    default=2.0,
    show_default=True,
    metavar="SECONDS",
    help="How long the command has run before a signal tells it of a new token: one that has not "
    "set its handler yet would be ended by it.",
)
@click.option(
    "--wait",
    type=click.FloatRange(0, 86_400),
    default=30.0,
    show_default=True,
    metavar="SECONDS",
    help="How long to go on trying where the place has no token at the start.",
)
@click.option(
    "--once", is_flag=True, help="Read the token once and become the command: --on-change ignore."
)
@click.argument("command", nargs=-1, metavar="-- COMMAND...", type=click.UNPROCESSED)
@click.pass_context
def run(
    ctx: click.Context,
    place: str,
    variable: str | None,
    file: Path | None,
    on_change: str | None,
    number: signal.Signals | None,
    every: float,
    grace: float,
    settle: float,
    wait: float,
    once: bool,
    command: tuple[str, ...],
) -> None:
    """Run a command with a token, and give it the new one when the token changes.

    The token is in the command's environment, or in a file that only this user reads; never in its
    arguments or in a log. A rotation needs no deployment then: what Keyturn delivers to the place,
    the command has a few seconds later.

    \b
    Examples:
      keyturn run --from file:/run/secrets/scheduler.token -- ./worker
      keyturn run --from vault:secret/keyturn/scheduler-prod#api_key -- ./worker --queue mail
      keyturn run --from aws:prod/scheduler --signal HUP -- ./server
      keyturn run --from env:SCHEDULER_TOKEN --once -- ./job

    Signals are passed on, and the command's exit code is the exit code: 128 and the signal's
    number where it was killed, 126 where it cannot be run, 127 where there is none. Before it is
    started, 7 says that no token was to be had, 2 that it was asked for wrongly.
    """
    if not command:
        raise click.UsageError("Name the command to run after --, as in `-- ./worker`.")
    reaction = _reaction(OnChange(on_change) if on_change else None, number, once)
    is_in_file = _is_in_file(variable, file, reaction)
    found = find_command(command, os.environ)
    source = _source(place)
    token = _first_token(source, wait)
    injection = InFile(file, os.environ) if is_in_file else InVariable(variable or API_KEY)
    try:
        if reaction is OnChange.IGNORE:
            _become(found, injection, token)
        supervisor = Supervisor(
            found,
            injection,
            os.environ,
            source=source,
            token=token,
            on_change=reaction,
            number=number or signal.SIGHUP,
            every_seconds=every,
            grace_seconds=grace,
            settle_seconds=settle,
        )
        code = supervisor.run()
    except OSError as error:
        raise CommandFailed(
            f"The token cannot be written ({error.strerror}).",
            remedy="Name a file in a folder of your own with --file.",
            code=FAULT,
        ) from error
    finally:
        injection.close()
    ctx.exit(code)


def _reaction(on_change: OnChange | None, number: signal.Signals | None, once: bool) -> OnChange:
    if once and on_change not in (None, OnChange.IGNORE):
        raise click.UsageError("With --once nothing is done on a change; leave --on-change out.")
    if once:
        on_change = OnChange.IGNORE
    if number is not None and on_change not in (None, OnChange.SIGNAL):
        raise click.UsageError("--signal goes with --on-change signal alone.")
    return on_change or (OnChange.RESTART if number is None else OnChange.SIGNAL)


def _is_in_file(variable: str | None, file: Path | None, reaction: OnChange) -> bool:
    if variable is not None and file is not None:
        raise click.UsageError("Give --env or --file, but not both.")
    if variable is not None and reaction is OnChange.SIGNAL:
        raise click.UsageError(
            "A program that runs has its variables for life: with --on-change signal the token is "
            "in a file. Leave --env out."
        )
    if variable is not None and _LOADING.match(variable) is not None:
        raise click.BadParameter(
            "This variable says what is loaded or run, and would show the token; name another.",
            param_hint="--env",
        )
    if variable is not None and (not variable or "=" in variable or "\0" in variable):
        raise click.BadParameter("This is no name of a variable.", param_hint="--env")
    if holds_shape(variable or "") or holds_shape(str(file or "")):
        raise click.UsageError("A token was given where a name belongs.")
    return file is not None or reaction is OnChange.SIGNAL


def _source(place: str) -> Source:
    try:
        return source_of(place, os.environ)
    except ConfigurationFault as fault:
        raise click.BadParameter(str(fault), param_hint="--from") from fault


def _first_token(source: Source, wait_seconds: float) -> Token:
    """Tries until there is one. Raises `CommandFailed` after so many seconds."""
    clock = SystemClock()
    ends_at, pause, is_told = clock.elapsed() + wait_seconds, _FIRST_PAUSE_SECONDS, False
    # The first process of a container is not ended by a signal that it says nothing of.
    heard = [one for one in _ASKS_TO_END if signal.getsignal(one) is not signal.SIG_IGN]
    before = [(one, signal.signal(one, _end)) for one in heard]
    try:
        while True:
            try:
                return take(source)
            except ConfigurationFault as fault:
                raise CommandFailed(str(fault), code=WRONG) from fault
            except SourceFault as fault:
                left = ends_at - clock.elapsed()
                if left <= 0 or not fault.may_pass:
                    raise _given_up(fault, wait_seconds) from fault
                if not is_told:
                    say(f"{fault} Trying again for {wait_seconds:g} s.")
                    is_told = True
            clock.sleep(min(pause, left))
            pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)
    finally:
        for one, handler in before:
            signal.signal(one, handler)


def _given_up(fault: SourceFault, wait_seconds: float) -> CommandFailed:
    return CommandFailed(
        str(fault),
        remedy="Nothing was started. Look at what --from names"
        + (f"; --wait goes on for longer than {wait_seconds:g} s." if fault.may_pass else "."),
        code=LATER,
    )


def _end(number: int, _frame: FrameType | None) -> None:
    raise SystemExit(BY_SIGNAL + number)


def _become(command: Command, injection: Injection, token: Token) -> None:
    injection.put(token)
    become(command, injection.environment(os.environ))
