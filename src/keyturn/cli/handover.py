"""Where a new token goes: to a file (0600), to the terminal, or on demand to standard output.

Its way is made sure of before anything is created, since a token is shown only once: a pipe without
`--output` ends with 2, and the file is opened before the call is made.
"""

import contextlib
import os
import sys
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

import click
from msgspec import Struct

from keyturn.cli.ending import CommandFailed
from keyturn.domain.token import Token

STANDARD_OUTPUT = "-"


class Handover:
    """The way of one token. Enter it before the token is made; leave it, and what was not used is
    gone."""

    def __init__(self, target: str | None) -> None:
        is_closed = getattr(sys.stdout, "name", None) == os.devnull
        if target == STANDARD_OUTPUT and is_closed:
            raise click.UsageError("Standard output is closed; say with --output where it can go.")
        if target is None and not sys.stdout.isatty():
            raise click.UsageError(
                "Standard output is no terminal; say where the token goes with --output FILE, "
                "or --output - for standard output."
            )
        self._path = None if target in (None, STANDARD_OUTPUT) else Path(str(target)).absolute()
        self._draft: Path | None = None
        self.is_piped = target == STANDARD_OUTPUT
        self.is_shown = target is None

    @property
    def path(self) -> Path | None:
        """The file that the token goes to, None for standard output."""
        return self._path

    def __enter__(self) -> Self:
        if self._path is not None:
            self._draft = _opened(self._path)
        return self

    def give(self, token: Token) -> None:
        """Writes the token to its file. Raises `OSError` where it cannot."""
        if self._path is None or self._draft is None:
            return
        descriptor = os.open(self._draft, os.O_WRONLY | os.O_TRUNC)
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(token.reveal() + "\n")
            file.flush()
            os.fsync(file.fileno())
        self._draft.rename(self._path)
        self._draft = None

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._draft is not None:
            with contextlib.suppress(OSError):
                self._draft.unlink()


def issued_members(issued: Struct, token: Token | None) -> dict[str, object]:
    """The members of what was made, with the token only where it goes to standard output."""
    members = {name: getattr(issued, name) for name in issued.__struct_fields__}
    return {**members, "api_key": None if token is None else token.reveal()}


def output_option(command: Callable[..., None]) -> Callable[..., None]:
    """Gives a command `--output`."""
    return click.option(
        "-o",
        "--output",
        "target",
        metavar="FILE",
        help="Where the token goes (0600); `-` is standard output. Needed where standard output "
        "is no terminal.",
    )(command)


def _opened(path: Path) -> Path:
    if os.path.lexists(path):
        raise CommandFailed(
            f"There is something at {path} already, which is not written over.",
            remedy="Name another file with --output, or remove it first.",
        )
    draft = path.with_name(f".{path.name}.{os.getpid()}.draft")
    try:
        os.close(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    except OSError as error:
        raise CommandFailed(
            f"The token cannot be written to {path} ({error.strerror}); nothing was made.",
            remedy="Say with --output FILE where it can go, and repeat.",
        ) from error
    return draft
