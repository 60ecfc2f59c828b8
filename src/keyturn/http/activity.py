"""`/v1/activity-logs`: what was done to keys, slots and workspaces, by whom."""

from typing import Annotated

from fastapi import APIRouter, Query, Response
from pydantic import Field

from keyturn.domain.activity import ActivityStatus, ActorType, Category, Entry
from keyturn.domain.identity import parse_id
from keyturn.domain.permission import Permission
from keyturn.http.answer import answer
from keyturn.http.call import Admitted
from keyturn.http.guard import GuardedRoute, guard
from keyturn.http.paging import decode_cursor, encode_cursor, split_page
from keyturn.http.schema import Asked, GivenInstant, Shown, ShownInstant
from keyturn.http.spelling import Cursor, Sought
from keyturn.services.inspect import list_activity
from keyturn.storage.activity import ActivityFilter

router = APIRouter(tags=["activity"], route_class=GuardedRoute)


class ActivityItem(Shown):
    id: str
    actor_type: ActorType
    actor_user_id: str | None
    actor_label: str
    action: str
    category: Category
    resource_type: str
    resource_id: str
    status: ActivityStatus
    message: str
    metadata: dict[str, object]
    request_id: str | None
    retention_days: int
    expires_at: ShownInstant
    created_at: ShownInstant

    @classmethod
    def of(cls, entry: Entry) -> "ActivityItem":
        user_id = entry.actor.user_id
        return cls(
            id=str(entry.id),
            actor_type=entry.actor.type,
            actor_user_id=None if user_id is None else str(user_id),
            actor_label=entry.actor.label,
            action=entry.action,
            category=entry.category,
            resource_type=entry.resource_type,
            resource_id=entry.resource_id,
            status=entry.status,
            message=entry.message,
            metadata=entry.metadata,
            request_id=entry.request_id,
            retention_days=entry.retention_days,
            expires_at=entry.expires_at,
            created_at=entry.created_at,
        )


class ActivityBody(Shown):
    items: list[ActivityItem]
    next_cursor: str | None
    current_retention_days: int
    current_retention_label: str


class ActivityAsked(Asked):
    limit: Annotated[int, Field(ge=1, le=1_000)] = 100
    cursor: Cursor | None = None
    category: Category | None = None
    action: Sought | None = None
    status: ActivityStatus | None = None
    resource_type: Sought | None = None
    resource_id: Sought | None = None
    request_id: Sought | None = None
    actor: Sought | None = Field(default=None, description="An id or a label.")
    since: GivenInstant | None = None
    until: GivenInstant | None = None

    def wanted(self) -> ActivityFilter:
        return ActivityFilter(
            category=self.category,
            action=self.action,
            status=self.status,
            resource_type=self.resource_type,
            resource_id=_canonical(self.resource_id),
            request_id=self.request_id,
            actor=_canonical(self.actor),
            since=self.since,
            until=self.until,
        )


def _canonical(text: str | None) -> str | None:
    """An id in its UUID spelling; a slot's name or a label as it is."""
    id_ = None if text is None else parse_id(text)
    return text if id_ is None else str(id_)


@router.get(
    "/v1/activity-logs",
    summary="List activity",
    response_model=ActivityBody,
    **guard(Permission.ACTIVITY_READ),
)
def get_activity(call: Admitted, asked: Annotated[ActivityAsked, Query()]) -> Response:
    before = decode_cursor(asked.cursor, int)
    found = list_activity(
        call.context,
        call.caller,
        call.home(),
        asked.wanted(),
        limit=asked.limit + 1,
        before=None if before is None else int(before[0]),
    )
    page, last = split_page(found, asked.limit)
    days = call.context.activity_retention_days
    return answer(
        ActivityBody(
            items=[ActivityItem.of(entry) for _, entry in page],
            next_cursor=None if last is None else encode_cursor(last[0]),
            current_retention_days=days,
            current_retention_label=f"{days} days",
        )
    )
