"""The root secret: the one file without which the database is of no use to anybody.

It holds a root of 32 bytes, from which each purpose gets a key of its own by HKDF (RFC 5869), and
the peppers by version. It is never in the environment, which other processes and crash reports can
read, and never in the database, whose thief is the one it protects from.
"""

import base64
import json
import logging
import stat
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from keyturn.domain.ambience import Entropy
from keyturn.domain.digest import fingerprint
from keyturn.domain.error import InstallationFault
from keyturn.server.files import write_private

FORMAT = 1
_FINGERPRINT_BYTES = 8

_log = logging.getLogger("keyturn.secret")


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
    def newest(self) -> int:
        """The version of the pepper that was made last."""
        return max(self.peppers)

    @property
    def fingerprint(self) -> str:
        """Tells two roots apart and gives nothing away."""
        return self.key("fingerprint")[:_FINGERPRINT_BYTES].hex()

    @property
    def pepper_fingerprints(self) -> dict[int, str]:
        return {version: fingerprint(one) for version, one in sorted(self.peppers.items())}

    def text(self) -> str:
        """The whole of it, for its file alone."""
        content = {
            "about": "Keyturn root secret. Keep it out of backups of the database.",
            "format": FORMAT,
            "root": base64.b64encode(self.root).decode(),
            "peppers": {
                str(version): base64.b64encode(pepper).decode()
                for version, pepper in sorted(self.peppers.items())
            },
        }
        return json.dumps(content, indent=2) + "\n"


def _derived(secret: bytes, purpose: str) -> bytes:
    info = f"keyturn/{purpose}".encode()
    return HKDF(algorithm=SHA256(), length=32, salt=None, info=info).derive(secret)


def make_root_secret(path: Path, entropy: Entropy) -> RootSecret:
    """Makes the file (0600), all of it or, on a failure, none."""
    secret = RootSecret(entropy.take(32), {1: entropy.take(32)})
    write_private(path, secret.text())
    return secret


def add_pepper(path: Path, entropy: Entropy) -> RootSecret:
    """Adds a pepper to the file, which stays whole and its owner's whatever happens, and gives what
    stands in it then. Who calls makes sure that no other does so at the same time.

    The file itself is written, not a link to it that somebody made.
    """
    path = path.resolve()
    present = load_root_secret(path)
    following = {**present.peppers, present.newest + 1: entropy.take(32)}
    status = path.stat()
    write_private(
        path, RootSecret(present.root, following).text(), owner=(status.st_uid, status.st_gid)
    )
    return load_root_secret(path)


class PepperFile:
    """The file as a running process follows it: read again only where it is another one.

    What cannot be read is logged once, without a word of what stands in it, and gives what was read
    before it.
    """

    def __init__(self, path: Path, secret: RootSecret) -> None:
        self._path = path
        self._fingerprint = secret.fingerprint
        self._peppers: Mapping[int, bytes] = secret.peppers
        self._state: tuple[int, ...] | None = None
        self._lock = threading.Lock()
        self.reads = 0

    def __call__(self) -> Mapping[int, bytes]:
        """The peppers that the file has."""
        with self._lock:
            state = self._look()
            if state != self._state:
                self._state = state
                self._read()
            return self._peppers

    def _look(self) -> tuple[int, ...]:
        """What cannot stay the same where the file is another one; nothing for no file."""
        try:
            found = self._path.stat()
        except OSError:
            return ()
        return (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)

    def _read(self) -> None:
        self.reads += 1
        try:
            secret = load_root_secret(self._path)
        except InstallationFault as fault:
            _log.error("%s %s", fault.detail, fault.remedy)
            return
        if secret.fingerprint != self._fingerprint:
            _log.error("the root secret at %s is another installation's", self._path)
            return
        if not self._peppers.keys() <= secret.peppers.keys():
            _log.error("the root secret at %s is an older copy: it lacks peppers", self._path)
        self._peppers = secret.peppers


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
        if any(len(pepper) != 32 for pepper in peppers.values()):
            raise ValueError("a pepper of another size")
    except (ValueError, KeyError, TypeError, AttributeError):
        raise InstallationFault(
            f"The file {path} is no root secret, or it is damaged.",
            remedy="Restore it from your escrow; without it no key can be verified.",
        ) from None
    return secret
