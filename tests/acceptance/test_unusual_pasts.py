"""Unusual use against a key's own past: told where there is enough of it, and by what is there."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import pytest

from keyturn.domain.detectors import BLIND_SPOTS
from keyturn.domain.finding import FindingKind
from keyturn.domain.instant import DAY, format_instant
from keyturn.domain.traffic import hour_of
from tests.acceptance.api import Issued, Workspace, open_site
from tests.acceptance.past import CALLS_OF_AN_HOUR, HOURS, live, now
from tests.acceptance.servers import Installation, serving
from tests.acceptance.test_findings import findings
from tests.acceptance.test_unusual_use import of

OFFICE, NEXT_DOOR, ELSEWHERE = "198.51.100.7", "198.51.3.9", "203.0.113.66"
LONG, SHORT = 40, 10


def use(home: Workspace, key: Issued, ip: str) -> None:
    told = {"runtime": "worker", "user_agent": "acme/1.0", "method": "GET", "path": "/pins/1"}
    assert home.verify(key.token, ip=ip, **told)["valid"]


@dataclass(frozen=True, kw_only=True)
class Lived:
    """A workspace with a key that has a long past, from `begins` on, and one with a short one."""

    home: Workspace
    old: Issued
    young: Issued
    begins: int


@pytest.fixture
def lived(installation: Installation) -> Iterator[Lived]:
    with serving(installation) as server:
        site = open_site(server)
        home = site.workspace()
        old, young = (home.admin.create(owner="ops") for _ in range(2))
        site.operator.client.close()
    begins = live(installation, home, old, days=LONG, ip=OFFICE)
    live(installation, home, young, days=SHORT, ip=OFFICE)
    with serving(installation) as server:
        site = open_site(server)
        home = replace(home, admin=site.operator.with_token(home.admin.token))
        yield Lived(home=home, old=old, young=young, begins=begins)
        site.operator.client.close()


def test_a_new_network_is_told_with_its_baseline_and_what_it_cannot_see(
    lived: Lived,
) -> None:
    home, old, young, begun = lived.home, lived.old, lived.young, now()
    use(home, young, ELSEWHERE)  # too little is known of it
    use(home, old, NEXT_DOOR)  # of the block of addresses that it is used from
    use(home, old, ELSEWHERE)
    one = of(home, old.id, "usage.new_network")
    evidence = one["evidence"]
    assert (one["state"], one["severity"]) == ("open", "warning")
    assert evidence["network"] == "203.0.0.0/16"
    assert evidence["what"] == "The network 203.0.0.0/16 was never seen with this key before."
    # When it was used from there, which is before anybody saw it.
    assert format_instant(begun) <= evidence["since"] <= one["since"] <= format_instant(now())
    assert evidence["baseline"] == {
        "since": format_instant(hour_of(lived.begins)),
        "days": (hour_of(begun) - hour_of(lived.begins)) // DAY,
        "active_days": LONG,
        "calls": LONG * len(HOURS) * CALLS_OF_AN_HOUR,
    }
    assert evidence["certainty"] == "high"
    assert evidence["blind_spot"] == BLIND_SPOTS[FindingKind.NEW_NETWORK]
    assert "keyturn usage" in evidence["next_step"]
    assert findings(home, kind="usage.new_network", subject_id=young.id) == []
    assert home.verify(old.token, ip=ELSEWHERE)["valid"], "it only tells"
