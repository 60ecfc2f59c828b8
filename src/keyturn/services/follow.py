"""Following the peppers: a process takes up one that another process has brought in.

1. The installation's row says which pepper is the newest. Whoever keeps a new digest reads it in
   the same transaction, behind the lock of the change head: from the commit that raises it on, no
   digest is kept that stands under older peppers alone.
2. Before a pepper is recorded it is asked for in the activity log (`ask`), and the server that runs
   answers there. A server that starts reads the log once it holds its lock and answers what it
   finds, a no too; then it reads the row. So whoever records, in a change, a pepper that was asked
   for while no server held the lock, or to which the last answer is a yes, has shut out nobody: a
   server that came in between has said no before that change, or finds the row after it.
3. An answer is to one asking alone: the yes of a server that is gone is worth nothing.
4. Where several nodes serve, each answers for itself, and one no is a no. A node tells the others
   of itself, then answers once more, and only then serves: so whoever asks either sees it, and
   waits for its answer, or is told no, or has recorded what the node then finds.
"""

from collections.abc import Collection
from dataclasses import dataclass, replace
from uuid import UUID

from keyturn.domain.activity import SYSTEM, ActivityStatus, Category
from keyturn.domain.error import IntegrityFailed, StorageUnavailable
from keyturn.domain.identity import NIL
from keyturn.domain.key import Key
from keyturn.domain.operator import Operator
from keyturn.services.context import Context
from keyturn.services.journal import Subject, note
from keyturn.storage.transaction import Reading, Writing

ASKED = "pepper.asked"
TAKEN_UP = "pepper.taken_up"

_MOST_ANSWERS = 1_000

# Who looks for what is asked last does not know its number.
_NEXT = Subject(workspace_id=None, type="pepper", id="next")


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Asking:
    """One time that a pepper was asked for."""

    id: str
    version: int
    fingerprint: str


def ask(context: Context, version: int) -> Asking:
    """Asks the server that runs, if one does, whether it has this pepper. To be called before it is
    looked whether one does."""
    own = context.ring.fingerprint(version)
    if own is None:
        raise ValueError("the pepper is not in the ring")
    with context.store.change() as transaction:
        now = context.clock.now()
        asking = Asking(id=str(context.new_id(now)), version=version, fingerprint=own)
        note(
            context,
            transaction,
            actor=SYSTEM,
            request_id=None,
            action=ASKED,
            category=Category.SECURITY,
            subject=_NEXT,
            message=f"The running server is asked whether it has taken up pepper {version}.",
            metadata={"asking": asking.id, "pepper": version, "fingerprint": own},
            now=now,
        )
    return asking


def lacking(context: Context, asking: Asking, nodes: Collection[str] = ()) -> list[str]:
    """Of these nodes, those that have not said that they have this very pepper."""
    with context.store.read() as transaction:
        answers = _answers(transaction, asking)
    return [node for node in nodes if answers.get(node) is not True]


def is_taken_up(context: Context, asking: Asking) -> bool:
    """Whether some server has this very pepper, and none has said that it lacks it."""
    with context.store.read() as transaction:
        answers = _answers(transaction, asking)
    return bool(answers) and all(answers.values())


def is_denied(transaction: Reading, asking: Asking) -> bool:
    """Whether the pepper may not be recorded: a server has said last that it lacks it, or another
    one was asked for since."""
    return _last_asking(transaction) != asking or False in _answers(transaction, asking).values()


def follow(context: Context, node: str = "") -> None:
    """What a server does again and again: takes up what was added to the file of the root secret
    and what was recorded, and answers what is asked."""
    ring = context.ring
    ring.learn()
    if max(ring.versions) <= ring.current:
        return
    with context.store.read() as transaction:
        installation = transaction.installation.find()
    if installation is not None:
        advance(context, installation.newest_pepper, installation.pepper_fingerprints)
    answer(context, node)


def answer(context: Context, node: str = "") -> None:
    """Says whether this server has the pepper that is asked for, where that is not said already.
    `node` is its id where there may be several."""
    with context.store.read() as transaction:
        if _owed(context, transaction, node) is None:
            return
    try:
        with context.store.change() as transaction:
            asking = _owed(context, transaction, node)
            if asking is not None:
                _note_answer(context, transaction, asking, node)
    except IntegrityFailed:
        return  # nothing can be logged, nor recorded; the readiness check tells why


def _owed(context: Context, transaction: Reading, node: str) -> Asking | None:
    """What is still to be answered."""
    installation, asking = transaction.installation.find(), _last_asking(transaction)
    if installation is None or asking is None or asking.version <= installation.newest_pepper:
        return None
    said = _answers(transaction, asking).get(node)
    return None if said is _has(context, asking) else asking


def _has(context: Context, asking: Asking) -> bool:
    return context.ring.fingerprint(asking.version) == asking.fingerprint


def _note_answer(context: Context, transaction: Writing, asking: Asking, node: str) -> None:
    has = _has(context, asking)
    verb = "has taken up" if has else "lacks"
    note(
        context,
        transaction,
        actor=SYSTEM,
        request_id=None,
        action=TAKEN_UP,
        category=Category.SECURITY,
        subject=pepper_subject(asking.version),
        message=f"The server {verb} pepper {asking.version}.",
        metadata={
            "asking": asking.id,
            "fingerprint": asking.fingerprint,
            **({"node": node} if node else {}),
        },
        status=ActivityStatus.SUCCESS if has else ActivityStatus.FAILED,
        now=context.clock.now(),
    )


def _last_asking(transaction: Reading) -> Asking | None:
    entry = transaction.activity.last_of_installation(_NEXT.type, _NEXT.id, ASKED)
    match {} if entry is None else entry.metadata:
        case {"asking": str(id_), "pepper": int(version), "fingerprint": str(fingerprint)}:
            return Asking(id=id_, version=version, fingerprint=fingerprint)
        case _:
            return None  # its content has gone with its time


def _answers(transaction: Reading, asking: Asking) -> dict[str, bool]:
    """What each server has answered last, by its id."""
    subject = pepper_subject(asking.version)
    said: dict[str, bool] = {}
    for entry in transaction.activity.latest_of_installation(
        subject.type, subject.id, TAKEN_UP, limit=_MOST_ANSWERS
    ):
        if entry.metadata.get("asking") == asking.id:
            node = str(entry.metadata.get("node", ""))
            said.setdefault(node, entry.status is ActivityStatus.SUCCESS)
    return said
