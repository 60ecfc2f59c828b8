"""Where several new tokens go: a file (0600) for each in one folder, or the terminal.

As with a single one (`handover.py`), the way is made sure of before anything is created, and
nothing that is there is written over.
"""

import os
import signal
import sys
from pathlib import Path
from types import TracebackType
from typing import Self

import click

from keyturn.cli.ending import INTERRUPTED, CommandFailed
from keyturn.cli.output import harmless
from keyturn.domain.token import Token

_SAY_WHERE = "Say with --output-dir DIR where they can go, and repeat."


class TokenFolder:
    """Enter it before the tokens are made. `unsure` says what to do after an interruption. None
    `is_needed` for tokens that are delivered to destinations."""

    def __init__(self, folder: str | None, *, unsure: str, is_needed: bool = True) -> None:
        self._has_way = folder is not None or sys.stdout.isatty()
        if is_needed and not self._has_way:
            raise click.UsageError(
                "Standard output is no terminal; say where the tokens go with --output-dir DIR."
            )
        self._folder = None if folder is None else Path(folder)
        self._unsure = unsure

    def __enter__(self) -> Self:
        self._on_hang_up = signal.signal(signal.SIGHUP, signal.SIG_IGN)
        self._on_end = signal.signal(signal.SIGTERM, signal.default_int_handler)
        if self._folder is not None:
            _prepare(self._folder)
        return self

    def put(self, name: str, token: Token) -> str:
        """Lets go of one token; gives where it is. Raises `OSError`."""
        if not self._has_way:
            raise OSError(0, "There is nowhere to put it after all")
        if self._folder is None:
            click.echo(f"{harmless(name.removesuffix('.token'))}\n\n  {token.reveal()}\n")
            return "shown above, once"
        path = self._folder / name
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(token.reveal() + "\n")
            file.flush()
            os.fsync(file.fileno())
        return str(path)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        signal.signal(signal.SIGHUP, self._on_hang_up)
        signal.signal(signal.SIGTERM, self._on_end)
        if isinstance(error, KeyboardInterrupt):
            raise CommandFailed(
                "Interrupted while the tokens were made: some may be there that nobody has.",
                remedy=self._unsure,
                code=INTERRUPTED,
            ) from error


def _prepare(folder: Path) -> None:
    """Makes the folder where there is none, and tries whether files can be made in it."""
    probe = folder / ".keyturn.draft"
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        os.close(os.open(probe, os.O_WRONLY | os.O_CREAT, 0o600))
        probe.unlink()
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else "no name of a folder"
        raise CommandFailed(
            f"Tokens cannot be written into {folder} ({why}); nothing was made.",
            remedy=_SAY_WHERE,
        ) from error
