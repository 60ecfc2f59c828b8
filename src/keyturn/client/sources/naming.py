"""How a place is written, as on the command line after `--from`:

    env:NAME                          a variable of this process; `env:` is KEYTURN_API_KEY
    file:/run/secrets/scheduler.token a file; so are secrets that Kubernetes or Docker mount
    vault:MOUNT/PATH#FIELD            Vault or OpenBao, KV version 2; #api_key by itself
    aws:NAME#FIELD                    AWS Secrets Manager, a name or an ARN
    gcp:PROJECT/NAME#FIELD            Google Cloud Secret Manager, the latest version
    azure:https://VAULT/NAME#FIELD    Azure Key Vault

`#FIELD` is a member of the JSON that the secret is; without it (but for Vault) the secret is the
token itself. A mount with a slash in its name is written with %2F.
"""

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from urllib.parse import unquote, urlsplit

from keyturn.ambient import SystemClock
from keyturn.client.errors import ConfigurationFault
from keyturn.client.sources.contract import Source
from keyturn.client.sources.environment import EnvironmentSource
from keyturn.client.sources.file import FileSource
from keyturn.domain.redaction import holds_shape

DEFAULT_VARIABLE = "KEYTURN_API_KEY"
DEFAULT_FIELD = "api_key"

_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_AWS = re.compile(r"[A-Za-z0-9/_+=.@:-]{1,2048}")
_GCP = re.compile(r"([a-z0-9.:-]{1,100})/([A-Za-z0-9_-]{1,255})")
_AZURE = re.compile(r"[A-Za-z0-9-]{1,127}")
_FIELD = re.compile(r"[^\s#\x00-\x1f\x7f]{1,255}")


def source_of(text: str, environ: Mapping[str, str]) -> Source:
    """The source that is written so. Raises `ConfigurationFault`."""
    if holds_shape(text):
        raise ConfigurationFault(
            "A token was given where the name of its place belongs, like file:/run/secrets/token."
        )
    scheme, colon, rest = text.strip().partition(":")
    if scheme == "env":
        return _environment(rest, environ)
    if scheme == "vault" and colon:
        return _vault(rest, environ)
    make = _KINDS.get(scheme)
    if make is None or not colon:
        kinds = ", ".join(f"{one}:" for one in ("env", "vault", *_KINDS))
        raise ConfigurationFault(f"`{text}` is no source: one begins with {kinds}.")
    return make(rest)


def _environment(rest: str, environ: Mapping[str, str]) -> Source:
    variable = rest or DEFAULT_VARIABLE
    if _VARIABLE.fullmatch(variable) is None:
        raise ConfigurationFault("A source env: is written env:NAME, with a variable's name.")
    return EnvironmentSource(variable, environ)


def _file(rest: str) -> Source:
    path = rest.removeprefix("//") if rest.startswith("///") else rest
    if not path or "\0" in path:
        raise ConfigurationFault("A source file: is written file:/path/of/the.token.")
    return FileSource(Path(path).expanduser())


def _vault(rest: str, environ: Mapping[str, str]) -> Source:
    from keyturn.client.sources.vault import VaultPlace, VaultSource

    place, field = _parted(rest, DEFAULT_FIELD)
    mount, _, path = place.strip("/").partition("/")
    parts = [unquote(mount), *path.split("/")]
    if any(part in ("", ".", "..") for part in parts) or not place.isprintable():
        raise ConfigurationFault("A source vault: is written vault:MOUNT/PATH#FIELD.")
    return VaultSource(
        f"vault:{mount}/{path}#{field}",
        VaultPlace(mount=unquote(mount), path=path, field=field or DEFAULT_FIELD),
        environ,
        SystemClock(),
    )


def _aws(rest: str) -> Source:
    from keyturn.client.sources.aws import AwsSource

    secret, field = _parted(rest)
    if _AWS.fullmatch(secret) is None:
        raise ConfigurationFault("A source aws: is written aws:NAME or aws:NAME#FIELD.")
    return AwsSource(f"aws:{rest}", secret=secret, field=field)


def _gcp(rest: str) -> Source:
    from keyturn.client.sources.gcp import GcpSource

    place, field = _parted(rest)
    match = _GCP.fullmatch(place)
    if match is None:
        raise ConfigurationFault("A source gcp: is written gcp:PROJECT/NAME.")
    return GcpSource(f"gcp:{rest}", project=match[1], secret=match[2], field=field)


def _azure(rest: str) -> Source:
    from keyturn.client.sources.azure import AzureSource

    place, field = _parted(rest)
    url, _, secret = place.rpartition("/")
    if "://" not in url:
        url = f"https://{url}"
    if not _is_https(url) or _AZURE.fullmatch(secret) is None:
        raise ConfigurationFault(
            "A source azure: is written azure:https://NAME.vault.azure.net/SECRET."
        )
    return AzureSource(f"azure:{rest}", vault_url=url, secret=secret, field=field)


def _is_https(url: str) -> bool:
    """The machine's identity is sent there."""
    try:
        parts = urlsplit(url)
        is_bare = not (parts.path or parts.query or "@" in parts.netloc)
        return parts.scheme == "https" and bool(parts.hostname) and is_bare
    except ValueError:
        return False


def _parted(rest: str, default: str | None = None) -> tuple[str, str | None]:
    place, hash_, field = rest.partition("#")
    if hash_ and _FIELD.fullmatch(field) is None:
        raise ConfigurationFault("After the # stands the name of a field, like #api_key.")
    return place, field or default


_KINDS: dict[str, Callable[[str], Source]] = {
    "file": _file,
    "aws": _aws,
    "gcp": _gcp,
    "azure": _azure,
}
