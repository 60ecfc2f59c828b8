"""Restoring a backup into a database without an installation, and weighing what it would lose.

1. A backup is an old copy. What was revoked after it was made would live again; the signed heads of
   the log tell whether anything was done after it, and nobody restores past them unasked.
2. Everything happens in one transaction: tables, rows, the check of the whole log and every seal,
   what is suspended, and the entry that tells of it, which is the log's last.
3. A restored log has an epoch of its own: it is not the log of the database that was backed up.
4. What waited to be sent when the backup was made is not sent: it may have been since. Nor is any
   token delivered before somebody has proven its destination again: there may be a newer one.
5. With `Loss` unknown or not none, the careful way is to suspend: every key that is active, and,
   since an operator can only be revoked, every operator and gateway credential.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum

from keyturn.domain.activity import SYSTEM, Category
from keyturn.domain.error import InstallationFault
from keyturn.domain.instant import format_instant
from keyturn.domain.operator import Operator
from keyturn.services.attest import Attestation, Notary, attest_within
from keyturn.services.connect import doubt_destinations
from keyturn.services.context import Context
from keyturn.services.correspond import bury_restored
from keyturn.services.issue import key_subject
from keyturn.services.journal import Subject, note
from keyturn.services.preserve import MOST_FAULTS, Progress
from keyturn.storage.archive import ArchiveReader, Manifest, Summary
from keyturn.storage.installation import Installation
from keyturn.storage.log import Change, Head
from keyturn.storage.tables import BareDatabase, Carried
from keyturn.storage.transaction import Writing

RESTORED = "installation.restored"
_LOG = "activity"
_PAGE = 500


class LossKind(StrEnum):
    """What the signed heads say of a backup."""

    NONE = "none"  # the log went no further
    LATER = "later"  # it went on
    OTHER = "other"  # it went another way: the backup is of a history that was given up
    UNKNOWN = "unknown"  # there are no signed heads, or they end before the backup


@dataclass(frozen=True, slots=True, kw_only=True)
class Loss:
    """What restoring would lose: so many entries of the log, or at most so many where the log went
    another way. `furthest` is the entry that the furthest signed head is of."""

    kind: LossKind
    entries: int = 0
    furthest: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Weighed:
    """A backup that was read to its end and found whole."""

    manifest: Manifest
    summary: Summary
    sha256: str
    loss: Loss


@dataclass(frozen=True, slots=True, kw_only=True)
class Restored:
    """What a restore did. Where it `was_done_before`, it did nothing now."""

    head: Head
    carried: Carried
    attestation: Attestation | None
    suspended_keys: int
    revoked_operators: int
    destinations_to_prove: int
    was_done_before: bool


def read_heads(notary: Notary, lines: Iterable[str]) -> dict[int, set[str]]:
    """The hashes that were signed, by the entry's number; other lines say nothing here."""
    heads: dict[int, set[str]] = {}
    for line in lines:
        head = notary.read(line)
        if head is not None:
            heads.setdefault(head.number, set()).add(head.hash)
    return heads


def weigh(
    reader: ArchiveReader, heads: Mapping[int, set[str]], progress: Progress | None = None
) -> Weighed:
    """Reads the whole file, and holds its log against the signed heads. Raises
    `InstallationFault` where the file is not whole."""
    agreed = 0
    met: set[int] = set()
    strays = False
    done = 0
    for section, batch in reader.batches():
        done += len(batch)
        if progress is not None:
            progress("reading the file", done, 0)
        if section.table != _LOG or not heads or not {"number", "hash"} <= set(section.columns):
            continue
        number_at, hash_at = section.columns.index("number"), section.columns.index("hash")
        for row in batch:
            number, link = row[number_at], row[hash_at]
            if not isinstance(number, int) or number not in heads or not isinstance(link, bytes):
                continue
            if heads[number] == {link.hex()}:
                agreed = max(agreed, number)
                met.add(number)
            else:
                strays = True
    end = reader.manifest.activity_number
    strays = strays or any(number <= end and number not in met for number in heads)
    return Weighed(
        manifest=reader.manifest,
        summary=reader.summary,
        sha256=reader.ending.sha256,
        loss=_loss(heads, end, agreed if strays else None),
    )


def _loss(heads: Mapping[int, set[str]], end: int, parted_after: int | None) -> Loss:
    if not heads:
        return Loss(kind=LossKind.UNKNOWN)
    furthest = max(heads)
    if parted_after is not None:
        return Loss(kind=LossKind.OTHER, entries=furthest - parted_after, furthest=furthest)
    if furthest > end:
        return Loss(kind=LossKind.LATER, entries=furthest - end, furthest=furthest)
    if furthest < end:
        # `keyturn backup` signs the head: such a file is an older copy, and has not seen the rest.
        return Loss(kind=LossKind.UNKNOWN, furthest=furthest)
    return Loss(kind=LossKind.NONE, furthest=furthest)


class Choice(StrEnum):
    """What was chosen for the case that the log went on after the backup."""

    NONE = "none"
    SUSPEND = "suspend-keys"
    ACCEPT = "accept-loss"


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """How a backup is to be restored. `heads_kept_as` is where the old signed heads go, if they
    have to; `require_fitting` and `require_sole` raise where it must not be."""

    weighed: Weighed
    choice: Choice
    heads_kept_as: str | None
    require_fitting: Callable[[Installation | None], object]
    require_sole: Callable[[], None]


def find_done(context: Context, weighed: Weighed, choice: Choice) -> tuple[Restored, str | None]:
    """What an earlier restore of just this file did, where nothing was done since, and where it
    meant to keep the old heads. Raises `InstallationFault` where the installation is another, or
    was restored with another choice."""
    with context.store.read() as transaction:
        head = transaction.head()
        links = transaction.activity.links(after=head.activity_number - 1, limit=1)
    entry = links[0].entry if links else None
    if entry is None or entry.action != RESTORED or entry.metadata.get("sha256") != weighed.sha256:
        raise InstallationFault(
            "The database has an installation already, which is not written over.",
            remedy="Name an empty database in KEYTURN_DATABASE_URL, or another KEYTURN_HOME; "
            "nothing is deleted for you.",
        )
    earlier = entry.metadata.get("choice")
    if earlier != choice.value:
        raise InstallationFault(
            f"This backup was restored already, {_told_choice(earlier)}; now it is to be "
            f"{_told_choice(choice)}. Nothing was changed.",
            remedy="Repeat the command as it was; or restore it as you choose now into an empty "
            "database.",
        )
    restored = Restored(
        head=head,
        carried=Carried(),
        attestation=None,
        suspended_keys=0,
        revoked_operators=0,
        destinations_to_prove=0,
        was_done_before=True,
    )
    kept_as = entry.metadata.get("heads_kept_as")
    return restored, kept_as if isinstance(kept_as, str) else None


def _told_choice(choice: object) -> str:
    return "without a choice" if choice in (Choice.NONE, None) else f"with --{choice}"


def restore(
    context: Context,
    notary: Notary,
    reader: ArchiveReader,
    order: Order,
    progress: Progress | None = None,
) -> Restored:
    """Restores, all of it or nothing. Raises `InstallationFault`, also where the file is not any
    more what was weighed."""
    weighed = order.weighed
    with context.store.create() as reading:
        database = BareDatabase(reading.session)
        database.prepare(weighed.manifest.revision)
        _fill(database, reader, weighed, progress)
        database.finish()
        order.require_fitting(reading.installation.find())
        found = attest_within(
            reading,
            context.clock.now(),
            notary,
            progress=None
            if progress is None
            else lambda done, total: progress("checking the log", done, total),
        )
        _require_as_backed_up(weighed.summary, found, database.carried)
        transaction = Writing(reading.session)
        now = context.clock.now()
        suspended = revoked = 0
        if order.choice is Choice.SUSPEND:
            suspended = _suspend_keys(context, transaction, now, progress)
            revoked = _revoke_operators(context, transaction, now)
        transaction.log.head = replace(transaction.log.head, epoch=str(context.new_id(now)))
        buried = bury_restored(transaction, now)
        doubted = doubt_destinations(context, transaction, now)
        told = {"messages_not_sent": buried, "destinations_to_prove": doubted}
        _note(context, transaction, order, database.carried, suspended, revoked, told, now)
        transaction.log.finish()
        order.require_sole()
        head = transaction.log.head
    return Restored(
        head=head,
        carried=database.carried,
        attestation=found,
        suspended_keys=suspended,
        revoked_operators=revoked,
        destinations_to_prove=doubted,
        was_done_before=False,
    )


def _fill(
    database: BareDatabase, reader: ArchiveReader, weighed: Weighed, progress: Progress | None
) -> None:
    total = sum(weighed.summary.counts.values())
    done = 0
    for section, batch in reader.batches():
        database.fill(section, batch)
        done += len(batch)
        if progress is not None:
            progress("restoring", done, total)
    if reader.ending.sha256 != weighed.sha256:
        raise InstallationFault(
            "The file was changed while it was restored; nothing was restored.",
            remedy="Repeat it with a file that nobody writes to.",
        )


def _require_as_backed_up(summary: Summary, found: Attestation, carried: Carried) -> None:
    """Raises `InstallationFault` where there are faults that the backup does not tell of."""
    known = set(summary.first_faults)
    news = [fault for fault in found.faults if fault not in known]
    is_told = summary.faults > MOST_FAULTS or carried.mended or carried.left_out
    if news and not is_told:
        raise InstallationFault(
            f"What was restored is not what was backed up ({len(news)} new faults: {news[0]}) "
            "Nothing was restored.",
            remedy="Take another backup, and report this.",
        )


def _suspend_keys(
    context: Context, transaction: Writing, now: int, progress: Progress | None
) -> int:
    suspended, after = 0, None
    while True:
        page = transaction.keys.active(after=after, limit=_PAGE)
        for key in page:
            after = key.id
            if key.is_expired(now):
                continue
            following = key.suspended(now)
            transaction.keys.replace(following, key.version)
            note(
                context,
                transaction,
                actor=SYSTEM,
                request_id=None,
                action="api_key.suspended",
                category=Category.SECURITY,
                subject=key_subject(following),
                message=f"Key {key.name} was suspended, since a backup was restored.",
                metadata={"slot": str(key.slot), "restored": True},
                now=now,
            )
            suspended += 1
        if progress is not None:
            progress("suspending keys", suspended, 0)
        if len(page) < _PAGE:
            return suspended


def _revoke_operators(context: Context, transaction: Writing, now: int) -> int:
    alive = [one for one in transaction.operators.list() if one.revoked_at is None]
    for operator in alive:
        _revoke_operator(context, transaction, operator, now)
    return len(alive)


def _revoke_operator(context: Context, transaction: Writing, operator: Operator, now: int) -> None:
    following = replace(operator, revoked_at=now, updated_at=now, version=operator.version + 1)
    transaction.operators.replace(following, operator.version)
    id_ = str(operator.id)
    note(
        context,
        transaction,
        actor=SYSTEM,
        request_id=None,
        action="operator.revoked",
        category=Category.SECURITY,
        subject=Subject(
            workspace_id=None,
            type="operator",
            id=id_,
            change=Change(kind="operator", ref=id_, version=following.version),
        ),
        message=f"Operator {operator.name} was revoked, since a backup was restored.",
        metadata={"kind": operator.kind.value, "restored": True},
        now=now,
    )


def _note(
    context: Context,
    transaction: Writing,
    order: Order,
    carried: Carried,
    suspended: int,
    revoked: int,
    told: Mapping[str, int],
    now: int,
) -> None:
    manifest, loss = order.weighed.manifest, order.weighed.loss
    note(
        context,
        transaction,
        actor=SYSTEM,
        request_id=None,
        action=RESTORED,
        category=Category.SECURITY,
        subject=Subject(workspace_id=None, type="installation", id=manifest.installation_id),
        message=f"The installation was restored from a backup of "
        f"{format_instant(manifest.made_at)}.",
        metadata={
            "sha256": order.weighed.sha256,
            "made_at": format_instant(manifest.made_at),
            "made_on": manifest.engine,
            "position": manifest.position,
            "activity_number": manifest.activity_number,
            "left_out": list(manifest.left_out),
            "choice": order.choice.value,
            "loss": loss.kind.value,
            "lost_entries": loss.entries,
            "log_had_reached": loss.furthest,
            "heads_kept_as": order.heads_kept_as,
            "suspended_keys": suspended,
            "revoked_operators": revoked,
            **told,
            "faults": order.weighed.summary.faults,
            "mended_rows": carried.mended,
            "left_out_rows": carried.named,
        },
        now=now,
    )
