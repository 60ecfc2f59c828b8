"""Probing: a change that changes nothing, made to measure how soon one would be effective.

It takes the way of a revocation: the head's lock, a row in the log of changes, a durable commit,
what tells the nodes, and each of them until it has confirmed. Its entry belongs to the
installation, to no workspace, and its content is kept for a day.
"""

from uuid import UUID

from keyturn.domain.activity import ActivityStatus, Actor, ActorType, Category, Entry
from keyturn.domain.instant import DAY
from keyturn.services.context import Context
from keyturn.storage.log import Change

KIND = "probe"
RETENTION_DAYS = 1
_PROBER = Actor(type=ActorType.WORKER, id=None, label="keyturn nodes")


def probe(context: Context, node_id: UUID, number: int) -> int:
    """The `number`th probe of a node. Returns its position in the log. Raises
    `StorageUnavailable`."""
    with context.store.change() as transaction:
        now = context.clock.now()
        entry = Entry(
            id=context.new_id(now),
            workspace_id=None,
            actor=_PROBER,
            action="installation.probed",
            category=Category.SECURITY,
            resource_type=KIND,
            resource_id=str(node_id),
            resource_version=number,
            status=ActivityStatus.SUCCESS,
            message="A change that changes nothing was made, to measure when it is effective.",
            metadata={},
            request_id=None,
            retention_days=RETENTION_DAYS,
            created_at=now,
            expires_at=now + RETENTION_DAYS * DAY,
            position=None,
        )
        return transaction.log.append(entry, Change(kind=KIND, ref=str(node_id), version=number))
