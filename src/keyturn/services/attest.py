"""Attesting the activity log: signing its head outside the database, and checking the whole chain.

Inside the database the chain shows every edit, removal and reordering. Only a head kept elsewhere
shows that the *end* was cut off together with a genuine older head row: so heads are signed
(Ed25519, RFC 8032) and written to a file beside the root secret, which may be copied anywhere.
"""

import base64
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from keyturn.domain.activity import GENESIS, Entry, chain
from keyturn.domain.error import IntegrityFailed
from keyturn.services.context import Context
from keyturn.storage.activity import Activity, Link, LoggedChange
from keyturn.storage.log import Head

_STEP = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedHead:
    """One line of the file of heads: where the log stood, signed."""

    number: int
    hash: str
    position: int
    at: int
    signature: str

    def line(self) -> str:
        return json.dumps(
            {
                "number": self.number,
                "hash": self.hash,
                "position": self.position,
                "at": self.at,
                "signature": self.signature,
            }
        )

    def signed(self) -> bytes:
        return f"keyturn/head/v1\n{self.number}\n{self.hash}\n{self.position}\n{self.at}".encode()


class Notary:
    """Signs heads and checks them, with the installation's signing key (a seed of 32 bytes)."""

    def __init__(self, seed: bytes) -> None:
        self._key = Ed25519PrivateKey.from_private_bytes(seed)

    @property
    def public_key(self) -> str:
        """The public half, base64, for whoever checks copies of the file elsewhere."""
        raw = self._key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        return base64.b64encode(raw).decode()

    def sign(self, head: Head, now: int) -> SignedHead:
        unsigned = SignedHead(
            number=head.activity_number,
            hash=head.activity_hash.hex(),
            position=head.position,
            at=now,
            signature="",
        )
        signature = base64.b64encode(self._key.sign(unsigned.signed())).decode()
        return SignedHead(
            number=unsigned.number,
            hash=unsigned.hash,
            position=unsigned.position,
            at=now,
            signature=signature,
        )

    def read(self, line: str) -> SignedHead | None:
        """The head in a line of the file, or None where the line is not one that we signed."""
        try:
            head = SignedHead(**json.loads(line))
            self._key.public_key().verify(base64.b64decode(head.signature), head.signed())
        except (ValueError, TypeError, RecursionError, InvalidSignature):
            return None
        # What is signed spells the number 7 and the text "7" alike.
        numbers = (head.number, head.position, head.at)
        return head if all(type(number) is int for number in numbers) else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Attestation:
    """What a check of the log found. It is sound where there are no `faults`."""

    entries: int
    changes: int
    blanked: int
    heads: int
    faults: tuple[str, ...]

    @property
    def is_sound(self) -> bool:
        return not self.faults


Progress = Callable[[int, int], None]


def attest(
    context: Context,
    notary: Notary,
    head_lines: Iterable[str],
    progress: Progress | None = None,
) -> Attestation:
    """Walks the whole log: the chain, the change log, the head row, and the signed heads."""
    faults: list[str] = []
    heads = _signed_heads(notary, head_lines, faults)
    with context.store.read() as transaction:
        try:
            head = transaction.head()
        except IntegrityFailed as error:
            return Attestation(
                entries=0, changes=0, blanked=0, heads=len(heads), faults=(error.detail,)
            )
        log = transaction.activity
        walk = _Walk(context.clock.now(), heads)
        page: int | None = -1
        while page != walk.cursor:
            page = walk.cursor
            for link in log.links(after=page, limit=_STEP):
                walk.step(link)
            if progress is not None:
                progress(walk.number, head.activity_number)
        faults += walk.faults
        if (walk.number, walk.hash) != (head.activity_number, head.activity_hash):
            faults.append(
                f"The log ends at entry {walk.number}, its head says {head.activity_number}."
            )
        if walk.steps != log.count():
            faults.append("There are entries that stand nowhere in the log.")
        changes = _check_changes(log, walk, head.position, faults)
    newest = max(heads, default=0)
    if newest > head.activity_number:
        faults.append(
            f"A signed head of entry {newest} exists outside, but the log ends at "
            f"{head.activity_number}: its end was cut off, or an old copy was restored."
        )
    return Attestation(
        entries=walk.number,
        changes=changes,
        blanked=walk.blanked,
        heads=len(heads),
        faults=tuple(faults),
    )


def _signed_heads(notary: Notary, lines: Iterable[str], faults: list[str]) -> dict[int, SignedHead]:
    heads: dict[int, SignedHead] = {}
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        head = notary.read(line)
        if head is None:
            faults.append(f"Line {number} of the file of heads is not signed by this installation.")
            continue
        if heads.setdefault(head.number, head).hash != head.hash:
            faults.append(
                f"Two different heads of entry {head.number} were signed: an old copy of the "
                "database was restored in between, and written on."
            )
    return heads


class _Walk:
    def __init__(self, now: int, heads: dict[int, SignedHead]) -> None:
        self._now = now
        self._heads = heads
        self.cursor: int | None = None
        self.steps = 0
        self.number = 0
        self.hash = GENESIS
        self.blanked = 0
        self.faults: list[str] = []
        self.changes: dict[int, LoggedChange] = {}
        self.untold: set[int | None] = set()

    def step(self, link: Link) -> None:
        self.steps += 1
        if isinstance(link.number, int):
            self.cursor = link.number
        number = self.number + 1
        if link.number != number:
            self.faults.append(f"Entry {number} is missing.")
        if link.is_broken:
            self.faults.append(f"What stands after entry {self.number} is no entry.")
            return
        self._check_content(link)
        made = chain(self.hash, link.number, link.expires_at, link.content_hash)
        if made != link.hash:
            self.faults.append(f"Entry {link.number} does not follow from the one before it.")
        signed = self._heads.get(link.number)
        if signed is not None and signed.hash != link.hash.hex():
            self.faults.append(f"Entry {link.number} is not the one whose head was signed.")
        self.number, self.hash = link.number, link.hash

    def _check_content(self, link: Link) -> None:
        entry = link.entry
        if link.is_unreadable:
            self.faults.append(f"Entry {link.number} cannot be read: it was edited.")
        elif entry is None:
            self.blanked += 1
            self.untold.add(link.position)
            if link.expires_at > self._now:
                self.faults.append(f"The content of entry {link.number} went before its time.")
        elif entry.content_hash() != link.content_hash:
            self.faults.append(f"Entry {link.number} was edited.")
        elif entry.position is not None and entry.resource_version is not None:
            self.changes[entry.position] = _told(entry, entry.position, entry.resource_version)


def _told(entry: Entry, position: int, version: int) -> LoggedChange:
    """What the change log must say of the change that an entry tells of."""
    workspace_id = None if entry.workspace_id is None else str(entry.workspace_id)
    is_slot = entry.resource_type == "slot"
    return LoggedChange(
        position=position,
        kind="key" if entry.resource_type == "api_key" else entry.resource_type,
        ref=f"{workspace_id}/{entry.resource_id}" if is_slot else entry.resource_id,
        version=version,
        workspace_id=workspace_id,
        at=entry.created_at,
    )


def _check_changes(log: Activity, walk: _Walk, position: int, faults: list[str]) -> int:
    page: int | None = -1
    cursor: int | None = None
    last = steps = 0
    while page != cursor:
        page = cursor
        for change in log.changes(after=page, limit=_STEP):
            steps += 1
            if change.position != last + 1:
                faults.append(f"Change {last + 1} is missing.")
            told = walk.changes.get(change.position)
            if told != change and not (told is None and change.position in walk.untold):
                faults.append(f"Change {change.position} was edited.")
            if isinstance(change.position, int):
                cursor = last = change.position
    if last != position:
        faults.append(f"The change log ends at {last}, its head says {position}.")
    if steps != log.count_changes():
        faults.append("There are changes that stand nowhere in the change log.")
    return last
