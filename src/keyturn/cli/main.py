"""`keyturn`: the command, its groups, and how it ends (`ending.py` has the exit codes)."""

import contextlib
import errno
import io
import os
import sys
from collections.abc import Sequence

import click

from keyturn import __version__
from keyturn.cli.completion import VARIABLE
from keyturn.cli.ending import FAULT, INTERRUPTED, WRONG, CommandFailed, Ending, ending_of
from keyturn.cli.lazy import Lazy, lazy_group
from keyturn.client.errors import KeyturnClientError
from keyturn.domain.error import (
    InstallationFault,
    IntegrityFailed,
    KeyturnError,
    RequestInvalid,
    StorageUnavailable,
)
from keyturn.domain.redaction import redact
from keyturn.domain.text import without_controls

_LONGEST_LINE = 10_000

_CALLS = "Commands that call Keyturn (KEYTURN_URL, KEYTURN_API_KEY_FILE)"
_INSTALLATION = "Commands on the installation itself (KEYTURN_HOME)"
_CALLERS = "Commands beside the programs that call"
_HERE = "Commands that need neither"

COMMANDS = lazy_group(
    keys=Lazy("keyturn.cli.keys:keys", "Make, list, change, suspend and revoke keys.", _CALLS),
    slots=Lazy(
        "keyturn.cli.slots:slots", "Services in environments: owner, purpose, runbook.", _CALLS
    ),
    rotations=Lazy(
        "keyturn.cli.rotations:rotations", "Replace keys, on the evidence of their traffic.", _CALLS
    ),
    contain=Lazy("keyturn.cli.contain:contain", "A key has leaked: end it, now.", _CALLS),
    incidents=Lazy(
        "keyturn.cli.incidents:incidents",
        "Exposed keys: contained, known, replaced, recovered.",
        _CALLS,
    ),
    destinations=Lazy(
        "keyturn.cli.destinations:destinations", "Where new tokens are delivered.", _CALLS
    ),
    deliveries=Lazy(
        "keyturn.cli.deliveries:deliveries", "New tokens on their way to destinations.", _CALLS
    ),
    drill=Lazy(
        "keyturn.cli.drill:drill",
        "Rehearse a rotation or revocations, on a slot of its own.",
        _CALLS,
    ),
    findings=Lazy(
        "keyturn.cli.findings:findings", "What a person should know of keys and slots.", _CALLS
    ),
    posture=Lazy(
        "keyturn.cli.posture:posture", "Whether the workspace keeps to the guide.", _CALLS
    ),
    channels=Lazy("keyturn.cli.channels:channels", "Where you are told of what happens.", _CALLS),
    messages=Lazy(
        "keyturn.cli.messages:messages", "What was told, what waits, what nobody took.", _CALLS
    ),
    apply=Lazy("keyturn.cli.apply:apply", "Many slots from one file: plan, apply, drift.", _CALLS),
    verify=Lazy("keyturn.cli.verify:verify", "May this token do this now?", _CALLS),
    requests=Lazy("keyturn.cli.requests:requests", "What was done with keys.", _CALLS),
    usage=Lazy("keyturn.cli.usage:usage", "How a key was used, over time and by whom.", _CALLS),
    activity=Lazy(
        "keyturn.cli.activity:activity", "Who changed what; its log shows tampering.", _CALLS
    ),
    self=Lazy("keyturn.cli.self:self_", "What your own token is, and may do.", _CALLS),
    **{
        "staff-changes": Lazy(
            "keyturn.cli.staff_changes:staff_changes",
            "Somebody has left: what they knew, and new keys for it.",
            _CALLS,
        )
    },
    workspaces=Lazy("keyturn.cli.workspaces:workspaces", "Tenants, for operators.", _CALLS),
    run=Lazy("keyturn.cli.run:run", "Run a command with a token, and with the new one.", _CALLERS),
    init=Lazy("keyturn.cli.install:init", "Make an installation.", _INSTALLATION),
    dev=Lazy(
        "keyturn.cli.serve:dev", "Run the whole product here, made if need be.", _INSTALLATION
    ),
    serve=Lazy("keyturn.cli.serve:serve", "Serve an installation.", _INSTALLATION),
    migrate=Lazy(
        "keyturn.cli.install:migrate", "Bring the database to this version.", _INSTALLATION
    ),
    operators=Lazy(
        "keyturn.cli.operators:operators", "Operators and gateway credentials.", _INSTALLATION
    ),
    pepper=Lazy("keyturn.cli.pepper:pepper", "The pepper that digests stand under.", _INSTALLATION),
    backup=Lazy(
        "keyturn.cli.backup:backup",
        "Write everything but the root secret to a file.",
        _INSTALLATION,
    ),
    restore=Lazy(
        "keyturn.cli.backup:restore", "Restore such a file into an empty database.", _INSTALLATION
    ),
    doctor=Lazy("keyturn.cli.doctor:doctor", "Check this installation.", _INSTALLATION),
    demo=Lazy(
        "keyturn.cli.demo:demo",
        "See a key rotated without a hand and a leak contained, live.",
        _HERE,
    ),
    completion=Lazy(
        "keyturn.cli.completion:completion", "Completion for bash, zsh and fish.", _HERE
    ),
)


@click.group(cls=COMMANDS, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, message="keyturn %(version)s")
def keyturn() -> None:
    """Keyturn keeps API keys safe through their whole life."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the command line and ends the process."""
    sys.exit(run(arguments))


def run(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line; gives its exit code."""
    _prepare_streams()
    try:
        result = keyturn.main(args=arguments, prog_name="keyturn", standalone_mode=False)
    except CommandFailed as error:
        return _end(error.ending)
    except KeyturnClientError as error:
        return _end(ending_of(error))
    except click.ClickException as error:
        shown = io.StringIO()
        error.show(shown)
        _say(shown.getvalue().rstrip("\n"))
        return error.exit_code
    except click.exceptions.Abort:
        _say("Interrupted.")
        return INTERRUPTED
    except KeyturnError as error:
        return _tell_of_installation(error)
    except OSError as error:
        return _tell_of_system(error)
    return result if isinstance(result, int) else 0


def _prepare_streams() -> None:
    """Gives each standard stream that the caller closed (`>&-`) the null device: nothing else that
    is opened, a database for one, may get its number and be written to. What a stream cannot spell
    stands in it as `?`."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode))  # noqa: PTH123, SIM115  (until the end)
    if isinstance(sys.stdout, io.TextIOWrapper):
        with contextlib.suppress(OSError):
            sys.stdout.reconfigure(errors="replace")


def _end(ending: Ending) -> int:
    _tell(ending.detail, ending.remedy)
    return ending.code


def _tell(detail: str, remedy: str = "") -> None:
    _say(f"keyturn: {detail}" + (f"\n  {remedy}" if remedy else ""))


def _say(text: str) -> None:
    """On standard error, where it is the last word: a reader that has gone changes nothing. It may
    repeat what was typed, so what has a token's shape is taken out."""
    try:
        sys.stdout.flush()
    except OSError:
        _give_up_output()
    with contextlib.suppress(OSError):
        lines = (without_controls(line, _LONGEST_LINE) for line in redact(text).split("\n"))
        click.echo("\n".join(lines), err=True)


def _give_up_output() -> None:
    """Nothing more can go to standard output, at the end of the interpreter neither."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


def _tell_of_installation(error: KeyturnError) -> int:
    """What a command on the installation itself met."""
    match error:
        case InstallationFault() if VARIABLE in os.environ:
            pass  # a shell that completes shows nothing of it
        case InstallationFault():
            _tell(error.detail, error.remedy)
        case RequestInvalid():
            for fault in error.faults:
                _tell(f"--{fault.pointer.lstrip('/').partition('_')[0]}: {fault.detail}")
            return WRONG
        case StorageUnavailable() | IntegrityFailed():
            _tell(f"{error.detail} ({error.code})", "Run `keyturn doctor`.")
        case _:
            _tell(f"{error.detail} ({error.code})")
    return FAULT


def _tell_of_system(error: OSError) -> int:
    """What the operating system refused, without the stack that led there."""
    if error.filename is None:
        _give_up_output()
        if error.errno == errno.EPIPE:
            return FAULT
    place = "Standard output" if error.filename is None else error.filename
    _tell(
        f"{place} cannot be used ({error.strerror}).",
        "Check the path, the rights of this user, and that there is room on the disk.",
    )
    return FAULT
