"""The options that say what a destination is: its configuration, and a file with its credential.

A credential enters by a file or by standard input, never as an argument, where other users and the
shell's history see it.
"""

import functools
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import cast

import click

from keyturn.cli.connection import warn_of_readers
from keyturn.cli.destination_kinds import KINDS
from keyturn.cli.ending import WRONG, CommandFailed

STDIN = "-"
_LARGEST_BYTES = 65_536
_SECRET = frozenset(member for kind in KINDS.values() for member in kind.credential)
_HOW = (
    "--credential-file takes the text of a token, or a JSON object of texts, like "
    '{"role_id": "…", "secret_id": "…"}.'
)

Config = dict[str, object]
Credential = dict[str, str]


def destination_options(command: Callable[..., None]) -> Callable[..., None]:
    """Gives a command `--set`, `--config-file` and `--credential-file`: as `settings`, `config` and
    `credential`, the last two None where they are not given."""

    @click.option(
        "--set",
        "settings",
        multiple=True,
        metavar="MEMBER=TEXT",
        help="A member of the configuration; @FILE for the text is what stands in that file. May "
        "be repeated.",
    )
    @click.option(
        "--config-file",
        type=click.Path(exists=True, dir_okay=False),
        metavar="FILE",
        help="A JSON object with the whole configuration.",
    )
    @click.option(
        "--credential-file",
        metavar="FILE",
        help="What it acts with there: JSON, or a bare token; `-` is standard input.",
    )
    @functools.wraps(command)
    def call(
        *args: object,
        settings: tuple[str, ...],
        config_file: str | None,
        credential_file: str | None,
        **kwargs: object,
    ) -> None:
        kwargs["settings"] = _settings(settings)
        kwargs["config"] = None if config_file is None else _config(Path(config_file))
        kwargs["credential"] = None if credential_file is None else _credential(credential_file)
        command(*args, **kwargs)

    return call


def _settings(given: tuple[str, ...]) -> Config:
    found: Config = {}
    for text in given:
        member, equals, value = text.partition("=")
        if not equals or not member:
            raise click.UsageError("--set takes a member and a text: mount=secret.")
        if member in _SECRET:
            raise CommandFailed(
                f"--set {member}=… was given as an argument, where other users and the shell's "
                "history see it.",
                remedy=f"Give {member} by --credential-file, and replace it if it was genuine.",
                code=WRONG,
            )
        found[member] = _text_of(Path(value[1:])) if value.startswith("@") else value
    return found


def _config(path: Path) -> Config:
    try:
        value = json.loads(_text_of(path))
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise click.UsageError('--config-file takes a JSON object, like {"mount": "secret"}.')
    held = sorted(_SECRET & value.keys())
    if held:
        raise CommandFailed(
            f"{path} has {', '.join(held)} in the configuration, which is shown.",
            remedy="Give it by --credential-file.",
            code=WRONG,
        )
    return value


def _credential(file: str) -> Credential:
    """What is wrong with it is told without any of it."""
    text = _typed() if file == STDIN else _text_of(Path(file), is_secret=True)
    if not text.startswith("{"):
        if not text or any(one.isspace() for one in text):
            raise click.UsageError(_HOW)
        return {"token": text}
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        value = None
    if isinstance(value, dict) and value.get("type") == "service_account":
        return {"service_account": text}
    if not isinstance(value, dict) or not all(isinstance(one, str) for one in value.values()):
        raise click.UsageError(_HOW)
    return cast("Credential", value)


def _typed() -> str:
    if sys.stdin.isatty():
        return str(click.prompt("Credential", hide_input=True, err=True)).strip()
    return _decoded(sys.stdin.buffer.read(_LARGEST_BYTES + 1), "Standard input")


def _text_of(path: Path, *, is_secret: bool = False) -> str:
    if is_secret:
        warn_of_readers(path, "the credential")
    with path.open("rb") as opened:
        return _decoded(opened.read(_LARGEST_BYTES + 1), str(path))


def _decoded(content: bytes, named: str) -> str:
    if len(content) > _LARGEST_BYTES:
        raise click.UsageError(f"{named} has more than {_LARGEST_BYTES:,} bytes.")
    try:
        return content.decode().strip()
    except UnicodeDecodeError:
        raise click.UsageError(f"{named} is not in UTF-8.") from None
