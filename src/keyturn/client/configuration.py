"""Where Keyturn is and which token is presented, where a program does not say it: from the
environment (docs/reference/settings.md)."""

from collections.abc import Mapping
from pathlib import Path

from keyturn.client.errors import ConfigurationFault
from keyturn.domain.token import Token

URL = "KEYTURN_URL"
API_KEY = "KEYTURN_API_KEY"
API_KEY_FILE = "KEYTURN_API_KEY_FILE"
WORKSPACE = "KEYTURN_WORKSPACE"
DEFAULT_URL = "http://127.0.0.1:8420"


def address(environ: Mapping[str, str], given: str | None) -> str:
    """The address of Keyturn."""
    return given or environ.get(URL) or DEFAULT_URL


def credential(
    environ: Mapping[str, str], given: str | Token | None, file: str | Path | None
) -> str | Token | None:
    """The token to present: the one given, else from the file given, else from the environment.
    Raises `ConfigurationFault` for a file that cannot be read, or for both at once."""
    if given is not None and file is not None:
        raise ConfigurationFault("Give the token, or the file that has it, but not both.")
    if given is not None:
        return given
    if file is not None:
        return read_token(Path(file))
    held, named = environ.get(API_KEY), environ.get(API_KEY_FILE)
    if held and named:
        raise ConfigurationFault(f"Set {API_KEY} or {API_KEY_FILE}, but not both.")
    return read_token(Path(named)) if named else held or None


def read_token(path: Path) -> str:
    """What stands in the file of a token."""
    try:
        return path.read_text("ascii").strip()
    except UnicodeDecodeError:
        raise ConfigurationFault(f"The file {path} holds no token.") from None
    except OSError as error:
        raise ConfigurationFault(
            f"The token's file {path} cannot be read ({error.strerror})."
        ) from error
