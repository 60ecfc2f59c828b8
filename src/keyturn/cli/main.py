"""`keyturn`: the command, its groups, and how it ends.

Exit codes: 0 done, 1 it could not be done (the sentence says why and what helps), 2 it was asked
for wrongly, 130 interrupted.
"""

import errno
import os
import sys
from collections.abc import Sequence

import click

from keyturn import __version__
from keyturn.cli.lazy import Lazy, lazy_group
from keyturn.domain.error import (
    InstallationFault,
    IntegrityFailed,
    KeyturnError,
    RequestInvalid,
    StorageUnavailable,
)

FAULT = 1
WRONG = 2
INTERRUPTED = 130

COMMANDS = lazy_group(
    init=Lazy("keyturn.cli.install:init", "Make an installation."),
    dev=Lazy("keyturn.cli.serve:dev", "Run the whole product here, made if need be."),
    serve=Lazy("keyturn.cli.serve:serve", "Serve an installation."),
    migrate=Lazy("keyturn.cli.install:migrate", "Bring the database to this version."),
    operators=Lazy("keyturn.cli.operators:operators", "Operators and gateway credentials."),
    activity=Lazy("keyturn.cli.activity:activity", "The activity log."),
    doctor=Lazy("keyturn.cli.doctor:doctor", "Check this installation."),
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
    try:
        result = keyturn.main(args=arguments, prog_name="keyturn", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except click.exceptions.Abort:
        click.echo("Interrupted.", err=True)
        return INTERRUPTED
    except InstallationFault as error:
        _tell(error.detail, error.remedy)
        return FAULT
    except RequestInvalid as error:
        for fault in error.faults:
            _tell(f"--{fault.pointer.lstrip('/').partition('_')[0]}: {fault.detail}")
        return WRONG
    except KeyturnError as error:
        is_stored = isinstance(error, StorageUnavailable | IntegrityFailed)
        _tell(f"{error.detail} ({error.code})", "Run `keyturn doctor`." if is_stored else "")
        return FAULT
    except OSError as error:
        return _tell_of_system(error)
    return result if isinstance(result, int) else 0


def _tell(detail: str, remedy: str = "") -> None:
    click.echo(f"keyturn: {detail}" + (f"\n  {remedy}" if remedy else ""), err=True)


def _tell_of_system(error: OSError) -> int:
    """What the operating system refused, without the stack that led there."""
    if error.filename is None:
        # Standard output: nothing more can go there, at the end of the interpreter neither.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        if error.errno == errno.EPIPE:
            return FAULT
    place = "Standard output" if error.filename is None else error.filename
    _tell(
        f"{place} cannot be used ({error.strerror}).",
        "Check the path, the rights of this user, and that there is room on the disk.",
    )
    return FAULT
