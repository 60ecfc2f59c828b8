"""Commands that call Keyturn over HTTP: where it is, which token is presented, how the answer is
shown."""

import contextlib
import functools
import os
import stat
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from keyturn.cli.ending import REFUSED, TOKEN_SET, WRONG, CommandFailed
from keyturn.cli.naming import refuse_token
from keyturn.cli.output import Output, harmless, output_options
from keyturn.client.configuration import API_KEY_FILE, WORKSPACE, address, credential
from keyturn.client.errors import (
    ApiError,
    ConfigurationFault,
    KeyturnClientError,
    NotUnderstood,
)
from keyturn.client.key_source import KeySource
from keyturn.domain.token import Token

if TYPE_CHECKING:  # completion and help do without an HTTP library
    from keyturn.client import Keyturn

# A person waits, who may see to it that it answers.
ATTEMPTS = 4


def calling(command: Callable[..., None]) -> Callable[..., None]:
    """Gives a command a client and an output, and the options that both need."""

    @click.option("--url", metavar="URL", help="Where Keyturn is. Default: KEYTURN_URL.")
    @click.option(
        "--api-key-file",
        type=click.Path(dir_okay=False),
        metavar="FILE",
        help="The file that holds the token to present. Default: KEYTURN_API_KEY_FILE, or the "
        "token itself in KEYTURN_API_KEY.",
    )
    @click.option(
        "--workspace",
        metavar="ID",
        help="The workspace that an operator acts in. Default: KEYTURN_WORKSPACE.",
    )
    @output_options
    @functools.wraps(command)
    def call(
        *args: object,
        url: str | None,
        api_key_file: str | None,
        workspace: str | None,
        output: Output,
        **kwargs: object,
    ) -> None:
        for text in _texts(click.get_current_context().params.values()):
            _check(text)
        with _client(url, api_key_file, workspace) as client:
            try:
                command(client, output, *args, **kwargs)
            except KeyturnClientError as error:
                told = _of_other_version(client, error)
                if told is None:
                    raise
                raise told from error

    return call


@contextlib.contextmanager
def client_in(workspace_id: str) -> "Iterator[Keyturn]":
    """A client as the command's own, that acts in this workspace; in "", in that of what it
    names."""
    given = click.get_current_context().params
    with _client(given.get("url"), given.get("api_key_file"), workspace_id, warns=False) as client:
        yield client


@contextlib.contextmanager
def client_at(url: str) -> "Iterator[Keyturn]":
    """A client as the command's own, of the node that `--node` names. It sends each call once."""
    given = click.get_current_context().params
    file, workspace = given.get("api_key_file"), given.get("workspace")
    try:
        client = _client(url, file, workspace, warns=False, attempts=1)
    except ConfigurationFault as fault:
        raise click.BadParameter(str(fault), param_hint="--node") from fault
    with client:
        yield client


def workspace_of_environment() -> str | None:
    """The one workspace that the environment, and no option, has this command act in."""
    is_named = click.get_current_context().params.get("workspace")
    return None if is_named else os.environ.get(WORKSPACE) or None


def _texts(values: Iterable[object]) -> Iterator[str]:
    for value in values:
        if isinstance(value, str):
            yield value
        elif isinstance(value, tuple):
            yield from _texts(value)


def _check(text: str) -> None:
    """Before anything is sent or kept, the same for every argument."""
    refuse_token(text)
    try:
        text.encode()
    except UnicodeEncodeError:
        raise click.UsageError("An argument is not in UTF-8.") from None


def _client(
    url: str | None,
    file: str | None,
    workspace: str | None,
    *,
    warns: bool = True,
    attempts: int = ATTEMPTS,
) -> "Keyturn":
    import logging

    from keyturn.client import Keyturn, RetryPolicy
    from keyturn.client.notices import LOGGER

    # What the client would log of a key on its way out is told by `verify` and `self` themselves.
    logging.getLogger(LOGGER).addHandler(logging.NullHandler())
    token = _token(file, warns=warns)
    return Keyturn(
        address(os.environ, url),
        api_key=token,
        workspace=os.environ.get(WORKSPACE) if workspace is None else workspace,
        retry=RetryPolicy(most_attempts=attempts),
    )


def _token(file: str | None, *, warns: bool) -> str | Token | KeySource:
    token = credential(os.environ, None, file)
    if not token:
        raise CommandFailed("There is no token to present.", remedy=TOKEN_SET, code=REFUSED)
    named = file or os.environ.get(API_KEY_FILE)
    if named and warns:
        warn_of_readers(Path(named), "the token")
    return token


def warn_of_readers(path: Path, what: str) -> None:
    """A word on standard error, where a file with a secret is not its owner's alone."""
    with contextlib.suppress(OSError):
        if stat.S_IMODE(path.stat().st_mode) & 0o077:
            sentence = f"keyturn: Others can read {what} in {path}: `chmod 600 {path}`."
            click.echo(harmless(sentence), err=True)


def _of_other_version(client: "Keyturn", error: KeyturnClientError) -> CommandFailed | None:
    """What helps where an answer is none that this version knows: the server is of another one."""
    is_odd = isinstance(error, NotUnderstood) or (
        isinstance(error, ApiError) and error.code in ("route.unknown", "route.method")
    )
    if not is_odd:
        return None
    from keyturn import __version__

    try:
        about = client.about()
    except KeyturnClientError:
        return None
    if about.service != "keyturn":
        return CommandFailed(
            f"What answers at {client.url} is not Keyturn but {about.service}.",
            remedy="Check the address in KEYTURN_URL or --url.",
            code=WRONG,
        )
    if about.version == __version__:
        return None
    return CommandFailed(
        f"The Keyturn at {client.url} is version {about.version} and this command is "
        f"{__version__}: they do not understand each other here.",
        remedy=f"Install `keyturn=={about.version}` where you call from, or bring the server to "
        f"{__version__}.",
    )
