"""The root secret: the one file without which the database is of no use to anybody.

It holds a root of 32 bytes, from which each purpose gets a key of its own by HKDF (RFC 5869), and
the peppers by version. It is never in the environment, which other processes and crash reports can
read, and never in the database, whose thief is the one it protects from.
"""

import base64
import json
import stat
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from keyturn.domain.ambience import Entropy
from keyturn.domain.digest import PepperRing
from keyturn.domain.error import InstallationFault
from keyturn.server.files import write_private

FORMAT = 1
_FINGERPRINT_BYTES = 8


@dataclass(frozen=True, slots=True)
class RootSecret:
    """What the file holds. It never shows itself."""

    root: bytes
    peppers: dict[int, bytes]

    def __repr__(self) -> str:
        return f"<RootSecret {self.fingerprint}>"

    def key(self, purpose: str) -> bytes:
        """The 32 bytes for one purpose, and for no other."""
        return _derived(self.root, purpose)

    @property
    def ring(self) -> PepperRing:
        return PepperRing(self.peppers, max(self.peppers))

    @property
    def fingerprint(self) -> str:
        """Tells two roots apart and gives nothing away."""
        return self.key("fingerprint")[:_FINGERPRINT_BYTES].hex()

    @property
    def pepper_fingerprints(self) -> dict[int, str]:
        return {
            version: _derived(pepper, "pepper-fingerprint")[:_FINGERPRINT_BYTES].hex()
            for version, pepper in sorted(self.peppers.items())
        }


def _derived(secret: bytes, purpose: str) -> bytes:
    info = f"keyturn/{purpose}".encode()
    return HKDF(algorithm=SHA256(), length=32, salt=None, info=info).derive(secret)


def make_root_secret(path: Path, entropy: Entropy) -> RootSecret:
    """Makes the file (0600), all of it or, on a failure, none."""
    secret = RootSecret(entropy.take(32), {1: entropy.take(32)})
    text = json.dumps(
        {
            "about": "Keyturn root secret. Keep it out of backups of the database.",
            "format": FORMAT,
            "root": base64.b64encode(secret.root).decode(),
            "peppers": {
                str(version): base64.b64encode(pepper).decode()
                for version, pepper in secret.peppers.items()
            },
        },
        indent=2,
    )
    write_private(path, text + "\n")
    return secret


def load_root_secret(path: Path) -> RootSecret:
    """Reads the file. Raises `InstallationFault` where it is missing, open to others, or no such
    file; the message never repeats what stands in it."""
    try:
        status = path.stat()
        text = path.read_text("utf-8")
    except FileNotFoundError:
        raise InstallationFault(
            f"There is no root secret at {path}.",
            remedy="Run `keyturn init`, or name the file in KEYTURN_ROOT_SECRET_FILE.",
        ) from None
    except (OSError, UnicodeDecodeError):
        raise InstallationFault(
            f"The root secret at {path} cannot be read.",
            remedy="Give this user the right to read it, or restore it from your escrow.",
        ) from None
    if stat.S_IMODE(status.st_mode) & 0o077:
        raise InstallationFault(
            f"Others can read the root secret at {path}.", remedy=f"Run `chmod 600 {path}`."
        )
    return _parse(path, text)


def _parse(path: Path, text: str) -> RootSecret:
    try:
        content = json.loads(text)
        peppers = {
            int(version): base64.b64decode(pepper, validate=True)
            for version, pepper in content["peppers"].items()
        }
        secret = RootSecret(base64.b64decode(content["root"], validate=True), peppers)
        if content["format"] != FORMAT or len(secret.root) != 32 or min(peppers, default=0) < 1:
            raise ValueError("another format")
        secret.ring  # noqa: B018  (raises where a pepper has the wrong size)
    except (ValueError, KeyError, TypeError, AttributeError):
        raise InstallationFault(
            f"The file {path} is no root secret, or it is damaged.",
            remedy="Restore it from your escrow; without it no key can be verified.",
        ) from None
    return secret
