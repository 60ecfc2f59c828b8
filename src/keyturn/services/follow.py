"""Following the peppers: a process takes up one that another process has brought in.

1. The installation's row says which pepper is the newest. Whoever keeps a new digest reads it in
   the same transaction, behind the lock of the change head: from the commit that raises it on, no
   digest is kept that stands under older peppers alone.
2. A server says in the activity log that it has taken up a pepper. Only then is it recorded, so no
   running server is ever asked for one that it cannot read.
"""

from dataclasses import replace
from uuid import UUID

from keyturn.domain.activity import SYSTEM, Category
from keyturn.domain.error import IntegrityFailed, StorageUnavailable
from keyturn.domain.identity import NIL
from keyturn.domain.key import Key
from keyturn.domain.operator import Operator
from keyturn.services.context import Context
from keyturn.services.journal import Subject, note
from keyturn.storage.transaction import Reading

TAKEN_UP = "pepper.taken_up"


def pepper_subject(version: int) -> Subject:
    """How the log names a pepper."""
    return Subject(workspace_id=None, type="pepper", id=str(version))


def key_under_newest(context: Context, transaction: Reading, key: Key) -> Key:
    """The key, its digest under the newest pepper. Raises `StorageUnavailable` where that is not to
    be had."""
    found = _newest(context, transaction, key.workspace_id, key.id, key.digest, key.peppers)
    return key if found is None else replace(key, digest=found[0], peppers=found[1])


def operator_under_newest(context: Context, transaction: Reading, operator: Operator) -> Operator:
    """As `key_under_newest`."""
    found = _newest(context, transaction, NIL, operator.id, operator.digest, operator.peppers)
    return operator if found is None else replace(operator, digest=found[0], peppers=found[1])


def _newest(
    context: Context, transaction: Reading, workspace_id: UUID, id_: UUID, digest: bytes, over: str
) -> tuple[bytes, str] | None:
    installation = transaction.installation.find()
    if installation is not None:
        advance(context, installation.newest_pepper, installation.pepper_fingerprints)
    return context.ring.wrap(digest, over, workspace_id=workspace_id, id=id_)


def advance(context: Context, version: int, fingerprints: dict[int, str]) -> None:
    """Has new digests get this pepper. Raises `StorageUnavailable` where this process cannot read
    the one that was recorded."""
    if version <= context.ring.current:
        return
    if context.ring.fingerprint(version) != fingerprints[version]:
        raise StorageUnavailable(
            f"This process cannot read pepper {version} in the file of its root secret; put the "
            "newest copy there."
        )
    context.ring.advance(version)


class Follower:
    """What a server does again and again to follow the file of the root secret."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._told: frozenset[int] | None = None

    def step(self) -> None:
        """Takes up what was added to the file, and says so in the log."""
        ring = self._context.ring
        ring.learn()
        if self._told is not None and self._told.issuperset(ring.versions):
            return
        if self._told is None:
            with self._context.store.read() as transaction:
                installation = transaction.installation.find()
            recorded = () if installation is None else installation.pepper_fingerprints
            self._told = frozenset(recorded)
        for version in sorted(set(ring.versions) - self._told):
            try:
                self._tell(version)
            except IntegrityFailed:
                return  # nothing can be logged; the readiness check tells why
            self._told |= {version}

    def _tell(self, version: int) -> None:
        context = self._context
        with context.store.change() as transaction:
            note(
                context,
                transaction,
                actor=SYSTEM,
                request_id=None,
                action=TAKEN_UP,
                category=Category.SECURITY,
                subject=pepper_subject(version),
                message=f"The server has taken up pepper {version}.",
                metadata={"fingerprint": context.ring.fingerprint(version)},
                now=context.clock.now(),
            )


def is_taken_up(context: Context, version: int) -> bool:
    """Whether a server has said that it has this very pepper."""
    with context.store.read() as transaction:
        subject = pepper_subject(version)
        entry = transaction.activity.last_of_installation(subject.type, subject.id, TAKEN_UP)
    return entry is not None and (
        entry.metadata.get("fingerprint") == context.ring.fingerprint(version)
    )
