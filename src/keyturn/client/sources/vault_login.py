"""Where Vault is and who asks, from the environment by the names of Vault's own command line.

    VAULT_ADDR, VAULT_NAMESPACE, VAULT_CACERT
    VAULT_TOKEN; or VAULT_TOKEN_FILE; or VAULT_ROLE_ID with VAULT_SECRET_ID or VAULT_SECRET_ID_FILE
    (an AppRole, at VAULT_APPROLE_MOUNT, by itself `approle`); or ~/.vault-token of `vault login`

OpenBao's `BAO_…` goes before each. Files are read anew each time: agents replace them.
"""

import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from keyturn.client.errors import ConfigurationFault
from keyturn.client.sources.contract import unreadable

_DEFAULT_ADDRESS = "https://127.0.0.1:8200"
_MOST_BYTES = 65_536


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """A secret that is at hand, or stands in a file."""

    text: str | None = field(default=None, repr=False)
    file: Path | None = None

    def read(self, name: str) -> str:
        """Raises `SourceFault`, in the name of the source that needs it."""
        text = self.text
        if self.file is not None:
            try:
                with self.file.open("rb") as file:
                    text = file.read(_MOST_BYTES).decode("ascii", errors="replace")
            except OSError as error:
                raise unreadable(
                    name, f"the credential's file {self.file} cannot be read ({error.strerror})"
                ) from None
        text = (text or "").strip()
        # It goes into a header, and the library's error would show it.
        if not text or not text.isascii() or not text.isprintable():
            raise unreadable(name, "the credential for Vault is empty, or damaged")
        return text


@dataclass(frozen=True, slots=True, kw_only=True)
class AppRole:
    role_id: str
    secret: Held
    mount: str

    def read_secret(self, name: str) -> str:
        return self.secret.read(name)


@dataclass(frozen=True, slots=True, kw_only=True)
class Login:
    address: str
    namespace: str | None
    ca_file: str | None
    credential: Held | AppRole

    def trust(self, name: str) -> ssl.SSLContext | bool:
        """What the library verifies by. Raises `SourceFault`."""
        if self.ca_file is None:
            return True
        try:
            return ssl.create_default_context(cafile=self.ca_file)
        except (OSError, ssl.SSLError):
            raise unreadable(
                name, f"{self.ca_file} (VAULT_CACERT) cannot be read, or is no certificate"
            ) from None


def login_of(environ: Mapping[str, str]) -> Login:
    """Raises `ConfigurationFault`."""
    namespace = _named(environ, "NAMESPACE")
    if namespace is not None and not (namespace.isascii() and namespace.isprintable()):
        raise ConfigurationFault("VAULT_NAMESPACE has characters that no namespace has.")
    return Login(
        address=_address(_named(environ, "ADDR") or _DEFAULT_ADDRESS),
        namespace=namespace,
        ca_file=_named(environ, "CACERT"),
        credential=_credential(environ),
    )


def _credential(environ: Mapping[str, str]) -> Held | AppRole:
    token, token_file = _named(environ, "TOKEN"), _named(environ, "TOKEN_FILE")
    if token is not None:
        return Held(text=token)
    if token_file is not None:
        return Held(file=Path(token_file))
    role_id = _named(environ, "ROLE_ID")
    if role_id is not None:
        secret, secret_file = _named(environ, "SECRET_ID"), _named(environ, "SECRET_ID_FILE")
        if (secret is None) is (secret_file is None):
            raise ConfigurationFault(
                "VAULT_ROLE_ID needs VAULT_SECRET_ID_FILE or VAULT_SECRET_ID beside it, not both."
            )
        return AppRole(
            role_id=role_id,
            secret=Held(text=secret) if secret_file is None else Held(file=Path(secret_file)),
            mount=_named(environ, "APPROLE_MOUNT") or "approle",
        )
    home = environ.get("HOME")
    helper = Path(home, ".vault-token") if home else None
    if helper is not None and helper.is_file():
        return Held(file=helper)
    raise ConfigurationFault(
        "Vault needs a credential: set VAULT_TOKEN_FILE, VAULT_TOKEN, or VAULT_ROLE_ID with "
        "VAULT_SECRET_ID_FILE."
    )


def _named(environ: Mapping[str, str], name: str) -> str | None:
    return environ.get(f"BAO_{name}") or environ.get(f"VAULT_{name}") or None


def _address(text: str) -> str:
    try:
        parts = urlsplit(text.strip())
        is_plain = not (parts.query or parts.fragment or "@" in parts.netloc)
        if parts.scheme in ("http", "https") and parts.hostname and is_plain and parts.port != 0:
            return f"{parts.scheme}://{parts.netloc}{parts.path.rstrip('/')}"
    except ValueError:
        pass
    raise ConfigurationFault("VAULT_ADDR must be like https://vault.example.com:8200.")
