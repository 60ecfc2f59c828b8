"""Attesting the activity log: signing its head outside the database, and checking the whole chain.

Inside the database the chain shows every edit, removal and reordering. Only a head kept elsewhere
shows that the *end* was cut off together with a genuine older head row: so heads are signed
(Ed25519, RFC 8032) and written to a file beside the root secret, which may be copied anywhere.

Each change is in the chain with its entry, also after the entry's content has gone, and each sealed
row is held against its last change: so a row that the chain does not end with is a fault.
"""

import base64
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from keyturn.domain.activity import GENESIS, LoggedChange, chain
from keyturn.domain.error import IntegrityFailed
from keyturn.services.context import Context
from keyturn.services.scrub import missing_rows, walk_rows
from keyturn.storage.activity import Activity, Link, place_of
from keyturn.storage.log import Head
from keyturn.storage.transaction import Reading

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

    def seal(self, text: bytes) -> str:
        """The signature of a text that is no head: it begins otherwise."""
        return base64.b64encode(self._key.sign(text)).decode()

    def holds(self, text: bytes, signature: str) -> bool:
        """Whether `signature` is ours of this text."""
        try:
            self._key.public_key().verify(base64.b64decode(signature), text)
        except (ValueError, TypeError, InvalidSignature):
            return False
        return True

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
    hash: str = ""

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
    with context.store.read() as transaction:
        return attest_within(transaction, context.clock.now(), notary, head_lines, progress)


def attest_within(
    transaction: Reading,
    now: int,
    notary: Notary,
    head_lines: Iterable[str] = (),
    progress: Progress | None = None,
) -> Attestation:
    """As `attest`, of what a transaction that has begun sees."""
    faults: list[str] = []
    heads = _signed_heads(notary, head_lines, faults)
    try:
        head = transaction.head()
    except IntegrityFailed as error:
        return Attestation(
            entries=0, changes=0, blanked=0, heads=len(heads), faults=(error.detail,)
        )
    log = transaction.activity
    ledger = _Ledger(log)
    walk = _Walk(now, heads, ledger)
    page: int | None = -1
    while page != walk.cursor:
        page = walk.cursor
        for link in log.links(after=page, limit=_STEP):
            walk.step(link)
        if progress is not None:
            progress(walk.number, head.activity_number)
    faults += walk.faults
    if (walk.number, walk.hash) != (head.activity_number, head.activity_hash):
        faults.append(f"The log ends at entry {walk.number}, its head says {head.activity_number}.")
    if walk.steps != log.count():
        faults.append("There are entries that stand nowhere in the log.")
    faults += ledger.finish(head.position)
    faults += [
        f"The stored record of {damage.kind} {damage.ref} was changed from outside."
        for damage in (*walk_rows(transaction), *missing_rows(transaction))
    ]
    newest = max(heads, default=0)
    if newest > head.activity_number:
        faults.append(
            f"A signed head of entry {newest} exists outside, but the log ends at "
            f"{head.activity_number}: its end was cut off, or an old copy was restored."
        )
    return Attestation(
        entries=walk.number,
        changes=ledger.last,
        blanked=walk.blanked,
        heads=len(heads),
        faults=tuple(faults),
        hash=walk.hash.hex(),
    )


def _signed_heads(notary: Notary, lines: Iterable[str], faults: list[str]) -> dict[int, SignedHead]:
    heads: dict[int, SignedHead] = {}
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        head = notary.read(line)
        if head is None and _is_torn(line.strip()):
            # What a crash left of a line. It says nothing, so it cannot say anything false.
            continue
        if head is None:
            faults.append(f"Line {number} of the file of heads is not signed by this installation.")
            continue
        if heads.setdefault(head.number, head).hash != head.hash:
            faults.append(
                f"Two different heads of entry {head.number} were signed: an old copy of the "
                "database was restored in between, and written on."
            )
    return heads


def _is_torn(line: str) -> bool:
    """Whether this is the beginning of a line of ours, and no more."""
    beginning = '{"number": '
    if not (line.startswith(beginning) or beginning.startswith(line)):
        return False
    try:
        json.loads(line)
    except (ValueError, RecursionError):
        return True
    return False


class _Walk:
    def __init__(self, now: int, heads: dict[int, SignedHead], ledger: "_Ledger") -> None:
        self._now = now
        self._heads = heads
        self._ledger = ledger
        self.cursor: int | None = None
        self.steps = 0
        self.number = 0
        self.hash = GENESIS
        self.blanked = 0
        self.faults: list[str] = []

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
        if self._made(link) != link.hash:
            self.faults.append(
                f"Entry {link.number} does not follow from the one before it, or its change was "
                "edited."
            )
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
            if link.expires_at > self._now:
                self.faults.append(f"The content of entry {link.number} went before its time.")
        elif entry.content_hash() != link.content_hash:
            self.faults.append(f"Entry {link.number} was edited.")

    def _made(self, link: Link) -> bytes | None:
        change = None if link.position is None else self._ledger.take(link.position)
        try:
            return chain(self.hash, link.number, link.expires_at, link.content_hash, change)
        except (TypeError, ValueError, OverflowError):
            return None


class _Ledger:
    """The change log, read beside the chain: the changes in order, each taken by its entry."""

    def __init__(self, log: Activity) -> None:
        self._log = log
        self._cursor: int | None = None
        self._ahead: list[tuple[LoggedChange, bool]] = []
        self._is_over = False
        self._steps = 0
        self._faults: list[str] = []
        self.last = 0

    def take(self, position: int) -> LoggedChange | None:
        """The change at this position, which is to be the next; None where it is not there."""
        if position != self.last + 1:
            self._faults.append(f"Change {self.last + 1} is told of by no entry.")
        while (found := self._peek()) is not None:
            if not _is_before(found, position):
                break
            self._faults.append(f"Change {found.position} is told of by no entry.")
            self._drop()
        if found is None or found.position != position:
            self._faults.append(f"Change {position} is missing.")
            return None
        self._drop()
        self.last = position
        return found

    def finish(self, position: int) -> list[str]:
        """What is wrong with the change log, once the chain has been walked."""
        while (found := self._peek()) is not None:
            self._faults.append(f"Change {found.position} is told of by no entry.")
            self._drop()
        if self.last != position:
            self._faults.append(f"The change log ends at {self.last}, its head says {position}.")
        if self._steps != self._log.count_changes():
            self._faults.append("There are changes that stand nowhere in the change log.")
        return self._faults

    def _peek(self) -> LoggedChange | None:
        if not self._ahead and not self._is_over:
            self._ahead = [*self._log.sealed_changes(after=self._cursor, limit=_STEP)]
            self._ahead.reverse()
            whole = [at for one, _ in self._ahead if (at := place_of(one)) is not None]
            self._is_over = not whole
            self._cursor = max(whole, default=None)
        return self._ahead[-1][0] if self._ahead else None

    def _drop(self) -> None:
        change, is_genuine = self._ahead.pop()
        self._steps += 1
        if not is_genuine:
            self._faults.append(f"Change {change.position} was edited.")


def _is_before(change: LoggedChange, position: int) -> bool:
    at = place_of(change)
    return at is None or at < position
