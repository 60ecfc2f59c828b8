"""`/v1/activity-logs`: what was done to keys, slots and workspaces, by whom."""

from datetime import datetime

import msgspec

from keyturn.client.call import Answer, Call, Listing, Page, Query, query, reading
from keyturn.client.paging import moved
from keyturn.client.resources import Activity

_PATH = "/v1/activity-logs"


class ActivityPage(msgspec.Struct, frozen=True, kw_only=True):
    items: list[Activity]
    next_cursor: str | None


_page = reading(ActivityPage)


def list_activity(
    *,
    category: str | None = None,
    action: str | None = None,
    status: str | None = None,
    resource_type: str | None = None,
    resource_id: str | None = None,
    request_id: str | None = None,
    actor: str | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
    limit: int | None = None,
) -> Listing[Activity]:
    """The activity of the workspace, newest first. `actor` is an id or a label."""
    return Listing(
        first=_call(
            query(
                category=category,
                action=action,
                status=status,
                resource_type=resource_type,
                resource_id=resource_id,
                request_id=request_id,
                actor=actor,
                since=since,
                until=until,
                limit=limit,
            )
        )
    )


def _call(asked: Query) -> Call[Page[Activity]]:
    """This list is an object that has its next cursor as a member, not a plain array."""

    def read(answer: Answer) -> Page[Activity]:
        found = _page(answer)
        cursor = found.next_cursor
        return Page(
            items=found.items,
            following=None if cursor is None else _call(moved(answer, asked, cursor)),
        )

    return Call(method="GET", path=_PATH, query=asked, read=read)
