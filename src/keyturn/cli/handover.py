"""Where a new token goes: to a file (0600), to the terminal, or on demand to standard output.

1. Its way is made sure of before anything is created, since a token is shown only once: a pipe
   without `--output` ends with 2, and the file is opened before the call is made.
2. A token that could not be let go of belongs to nobody: what was made is taken back. So a
   terminal that hangs up does not end the command in the middle: it is found to be gone when the
   token would be shown.
3. Once the token is where it belongs, nothing that fails later takes it back.
"""

import contextlib
import os
import signal
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

import click

from keyturn.cli.ending import INTERRUPTED, CommandFailed
from keyturn.cli.naming import short
from keyturn.cli.output import Output, harmless

STANDARD_OUTPUT = "-"
SECRET = "signing secret"
_SAY_WHERE = "Say with --output FILE where it can go, and repeat."


class Revealed(Protocol):
    """A secret that shows itself when it is asked to: a token, or a webhook's signing secret."""

    def reveal(self) -> str: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Issued:
    """What was made: a few words for people, members for programs, and the token, or what else is
    shown once; `noun` is what people call it and `member` what the API does."""

    what: str  # workspace acme
    id: str
    members: Mapping[str, object]
    token: Revealed
    quiet_id: str = ""  # told alone by --quiet, where it is not `id`
    noun: str = "token"
    member: str = "api_key"


class Handover:
    """The way of one token. Enter it before the token is made; leave it, and what was not used is
    gone. `unsure` says what to do where it was interrupted meanwhile, `noun` what it is called.
    None `is_needed` for a token that is delivered to destinations."""

    def __init__(
        self, target: str | None, *, unsure: str, noun: str = "token", is_needed: bool = True
    ) -> None:
        is_closed = getattr(sys.stdout, "name", None) == os.devnull
        if target == STANDARD_OUTPUT and is_closed:
            raise click.UsageError("Standard output is closed; say with --output where it can go.")
        self._has_way = target is not None or sys.stdout.isatty()
        if is_needed and not self._has_way:
            raise click.UsageError(
                f"Standard output is no terminal; say where the {noun} goes with --output FILE, "
                "or --output - for standard output."
            )
        self._unsure = unsure
        self._noun = noun
        self._path = None if target in (None, STANDARD_OUTPUT) else Path(str(target))
        self._draft: Path | None = None
        self._is_piped = target == STANDARD_OUTPUT

    def __enter__(self) -> Self:
        self._on_hang_up = signal.signal(signal.SIGHUP, signal.SIG_IGN)
        # Asked to end, it takes back what it must, as on Ctrl-C.
        self._on_end = signal.signal(signal.SIGTERM, signal.default_int_handler)
        if self._path is not None:
            self._draft = _opened(self._path, self._noun)
        return self

    def deliver(self, output: Output, issued: Issued, take_back: Callable[[], str]) -> None:
        """Lets go of the token, and tells where it is. `take_back` undoes what was made, and says
        so. Raises `CommandFailed`."""
        if not self._has_way:
            raise CommandFailed(
                f"The {issued.noun} is delivered nowhere after all; {take_back()}",
                remedy=_SAY_WHERE,
            )
        place = self._path or "standard output"
        try:
            self._let_go(output, issued)
        except OSError as error:
            raise CommandFailed(
                f"The {issued.noun} cannot be written to {place} ({error.strerror}); {take_back()}",
                remedy=_SAY_WHERE,
            ) from error
        except KeyboardInterrupt as error:
            if not self._has_arrived():
                raise CommandFailed(
                    f"Interrupted before the {issued.noun} was written to {place}; {take_back()}",
                    remedy="The same command makes another.",
                    code=INTERRUPTED,
                ) from error
        if self._path is not None:
            self._forget_draft()
            with contextlib.suppress(OSError):
                _settle(self._path.absolute().parent)
            _tell(output, issued, self._path)
        elif self._is_piped and not output.as_json:
            output.note(f"{_made(issued)}.")

    def _let_go(self, output: Output, issued: Issued) -> None:
        if self._path is not None:
            self._write(self._path, issued.token)
        elif output.as_json:
            output.json({**issued.members, issued.member: issued.token.reveal()})
        elif self._is_piped or output.is_quiet:
            click.echo(issued.token.reveal())
        else:
            click.echo(
                f"{harmless(_made(issued))}.\n\n  {issued.token.reveal()}\n\nThis is its "
                f"{issued.noun}, shown this once. Store it where it is needed."
            )

    def _write(self, path: Path, token: Revealed) -> None:
        if self._draft is None:
            raise RuntimeError("a handover is entered before anything is made")
        descriptor = os.open(self._draft, os.O_WRONLY | os.O_TRUNC)
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(token.reveal() + "\n")
            file.flush()
            os.fsync(file.fileno())
        try:
            # Unlike a renaming, a link never takes the place of what has come to be there.
            path.hardlink_to(self._draft)
        except FileExistsError:
            raise FileExistsError(0, "Something has come to be there", str(path)) from None

    def _has_arrived(self) -> bool:
        if self._path is None or self._draft is None:
            return False
        try:
            return self._path.samefile(self._draft)
        except OSError:
            return False

    def _forget_draft(self) -> None:
        if self._draft is not None:
            with contextlib.suppress(OSError):
                self._draft.unlink()
            self._draft = None

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        signal.signal(signal.SIGHUP, self._on_hang_up)
        signal.signal(signal.SIGTERM, self._on_end)
        self._forget_draft()
        if isinstance(error, KeyboardInterrupt):
            raise CommandFailed(
                "Interrupted while it was being made: it may be there, and nobody has its "
                f"{self._noun}.",
                remedy=self._unsure,
                code=INTERRUPTED,
            ) from error


def output_option(command: Callable[..., None]) -> Callable[..., None]:
    """Gives a command `--output`."""
    return _output_option("token")(command)


def secret_output_option(command: Callable[..., None]) -> Callable[..., None]:
    """As `output_option`, for a signing secret."""
    return _output_option(SECRET)(command)


def _output_option(noun: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    return click.option(
        "-o",
        "--output",
        "target",
        metavar="FILE",
        help=f"Where the {noun} goes (0600); `-` is standard output. Needed where standard output "
        "is no terminal.",
    )


def _made(issued: Issued) -> str:
    return f"Made {issued.what}, id {short(issued.id)}"


def _tell(output: Output, issued: Issued, path: Path) -> None:
    if output.as_json:
        output.json({**issued.members, issued.member: None})
    elif output.is_quiet:
        output.say(issued.quiet_id or issued.id)
    else:
        output.say(f"{_made(issued)}.")
        output.say(f"Its {issued.noun} is in {path}")


def _opened(path: Path, noun: str) -> Path:
    if os.path.lexists(path):
        raise CommandFailed(
            f"There is something at {path} already, which is not written over.",
            remedy="Name another file with --output, or remove it first.",
        )
    try:
        draft = path.absolute().with_name(f".{path.name}.draft")
        with contextlib.suppress(FileNotFoundError):
            draft.unlink()  # of one that was killed
        os.close(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else "no name of a file"
        raise CommandFailed(
            f"The {noun} cannot be written to {path} ({why}); nothing was made.", remedy=_SAY_WHERE
        ) from error
    return draft


def _settle(folder: Path) -> None:
    """Waits until the file's name is on the disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
