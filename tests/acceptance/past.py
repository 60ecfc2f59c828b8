"""A past for a key: requests of weeks ago, as a server would have kept them.

Time is real in these tests, and no setting makes a server believe in another. So the past is kept
by the product's own storage, on an installation that nobody serves meanwhile: the request log, and
in the same transaction the counts by hour that the detectors read.
"""

import time
from uuid import UUID

from keyturn.domain.instant import DAY
from keyturn.domain.traffic import HOUR
from keyturn.server.build import opened
from keyturn.server.settings import load_settings
from keyturn.testing.storage import making
from tests.acceptance.api import Issued, Workspace
from tests.acceptance.servers import Installation

HOURS = range(8, 18)
CALLS_OF_AN_HOUR = 3


def now() -> int:
    return time.time_ns() // 1_000


def live(installation: Installation, home: Workspace, key: Issued, *, days: int, ip: str) -> int:
    """Has `worker` call from `ip` in working hours, on each of these days up to yesterday. Says
    when it did for the first time."""
    today = now() // DAY * DAY
    made = [
        making.request(
            today - day * DAY + hour * HOUR + call,
            key_id=UUID(key.id),
            workspace_id=UUID(home.id),
            ip=ip,
            method="GET",
            path=f"/pins/{call}",
            request_id=f"past-{day}-{hour}-{call}",
            user_agent="acme/1.0",
        )
        for day in range(days, 0, -1)
        for hour in HOURS
        for call in range(CALLS_OF_AN_HOUR)
    ]
    folder = installation.home.parent
    settings, _ = load_settings(installation.environment, folder, default_environment="production")
    with opened(settings) as house:
        making.record(house.context.store, *made)
    return made[0].at
