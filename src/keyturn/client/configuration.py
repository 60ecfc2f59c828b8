"""Where Keyturn is and which token is presented, where a program does not say it: from the
environment (docs/reference/settings.md)."""

import math
from collections.abc import Mapping
from pathlib import Path

from keyturn.client.attempts import RetryPolicy
from keyturn.client.errors import ConfigurationFault
from keyturn.client.exchange import Session
from keyturn.client.key_source import KeySource
from keyturn.client.sources.file import FileSource
from keyturn.domain.ambience import Clock, Entropy
from keyturn.domain.redaction import holds_shape
from keyturn.domain.token import Token, parse_token

URL = "KEYTURN_URL"
API_KEY = "KEYTURN_API_KEY"
API_KEY_FILE = "KEYTURN_API_KEY_FILE"
WORKSPACE = "KEYTURN_WORKSPACE"
DEFAULT_URL = "http://127.0.0.1:8420"


def open_session(
    environ: Mapping[str, str],
    *,
    url: str | None,
    api_key: str | Token | KeySource | None,
    api_key_file: str | Path | None,
    workspace: str | None,
    runtime: str | None,
    retry: RetryPolicy | None,
    clock: Clock,
    entropy: Entropy,
) -> Session:
    """What a client's calls have in common: of what is given, else of the environment. An empty
    `workspace` is none, whatever the environment says."""
    return Session(
        url=address(environ, url),
        api_key=credential(environ, api_key, api_key_file),
        workspace=(environ.get(WORKSPACE) if workspace is None else workspace) or None,
        runtime=runtime,
        retry=retry or RetryPolicy(),
        clock=clock,
        entropy=entropy,
    )


def check_timeout(seconds: float) -> float:
    """Raises `ConfigurationFault` for what is no time to wait."""
    if not 0 < seconds < math.inf:
        raise ConfigurationFault("The timeout is a number of seconds, more than 0.")
    return seconds


def address(environ: Mapping[str, str], given: str | None) -> str:
    """The address of Keyturn."""
    return given or environ.get(URL) or DEFAULT_URL


def credential(
    environ: Mapping[str, str], given: str | Token | KeySource | None, file: str | Path | None
) -> str | Token | KeySource | None:
    """The token to present: the one given, else from the file given, else from the environment.
    Raises `ConfigurationFault` for a file that cannot be read, or for both at once."""
    if given is not None and file is not None:
        raise ConfigurationFault("Give the token, or the file that has it, but not both.")
    if given is not None:
        return given
    if file is not None:
        return _kept(Path(file))
    held, named = environ.get(API_KEY), environ.get(API_KEY_FILE)
    if held and named:
        raise ConfigurationFault(f"Set {API_KEY} or {API_KEY_FILE}, but not both.")
    return _kept(Path(named)) if named else held or None


def _kept(path: Path) -> str | KeySource:
    """The file of a token as a source, which follows it when it changes. What is no ordinary file
    (a pipe) can be read once only; what holds no token is refused by whom it is given to."""
    text = read_token(path)
    if parse_token(text) is None or not path.is_file():
        return text
    source = KeySource(FileSource(path))
    source.refresh()
    return source


def read_token(path: Path) -> str:
    """What stands in the file of a token. Raises `ConfigurationFault`."""
    if holds_shape(str(path)):
        raise ConfigurationFault(
            "A token was given where the name of its file belongs; write it into a file."
        )
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise ConfigurationFault(
            f"The token's file {path} cannot be read ({error.strerror})."
        ) from error
    text = raw.strip()
    if not text.isascii():  # before it is decoded: that error would carry all of it along
        raise ConfigurationFault(f"The file {path} holds no token.")
    return text.decode("ascii")
