"""Where a key should not be: in several environments, in several hands, in a browser.

These need no past. What is there is there; it is told until it has not been seen for two weeks.
"""

from collections.abc import Iterator

from keyturn.domain.detectors.profile import Aspect, Seen
from keyturn.domain.detectors.reason import USUAL_AFTER, Case, Certainty, Reason
from keyturn.domain.detectors.shape import environment_shape
from keyturn.domain.finding import FindingKind
from keyturn.domain.instant import DAY, format_instant

MOST_AT_ONCE = 3
_MOST_NAMED = 20
# A release that changes how a client calls itself is done within this, and nobody else steps in.
TOGETHER_FOR = 2 * DAY
HANDS_AT_ONCE = 3
_SURE = {"sec-fetch": Certainty.HIGH, "origin": Certainty.MEDIUM, "user-agent": Certainty.LOW}
_SAYS = {
    "sec-fetch": "the headers that browsers alone set",
    "origin": "an Origin",
    "user-agent": "a user agent of a browser",
}


def several_environments(case: Case) -> Iterator[Reason]:
    here = _recent(case, Aspect.ENVIRONMENT)
    if len(here) < 2:
        return
    home = environment_shape(case.key.slot.environment)
    if home not in here:
        home = max(here, key=lambda name: (here[name].calls, name))
    others = sorted((one.first_at, name) for name, one in here.items() if name != home)
    for first, name in others[:MOST_AT_ONCE]:
        one = here[name]
        yield Reason(
            kind=FindingKind.SEVERAL_ENVIRONMENTS,
            mark=name,
            what=f"A key of {home} is used in {name} as well.",
            since=max(first, here[home].first_at),
            until=one.last_at + USUAL_AFTER,
            certainty=_by_calls(one.calls),
            past=None,
            facts={"environment": name, "home": home, "environments": sorted(here)[:_MOST_NAMED]},
        )


def shared_key(case: Case) -> Iterator[Reason]:
    hands = {
        name: one
        for name, one in _recent(case, Aspect.PRODUCT).items()
        if name not in case.registered
    }
    together = _together(hands)
    if len(together) < 2:
        return
    since = sorted(hands[name].first_at for name in together)[1]
    yield Reason(
        kind=FindingKind.SHARED_KEY,
        mark="",
        what=f"{len(together)} workloads that nobody has declared use this key side by side.",
        since=since,
        until=sorted(hands[name].last_at for name in together)[-2] + USUAL_AFTER,
        certainty=Certainty.HIGH if len(together) >= HANDS_AT_ONCE else Certainty.MEDIUM,
        past=None,
        facts={
            "runtimes": [
                {"runtime": name, "calls": hands[name].calls, "last_at": _spelled(hands[name])}
                for name in sorted(together)[:_MOST_NAMED]
            ],
            "count": len(together),
        },
    )


def browser(case: Case) -> Iterator[Reason]:
    here = _recent(case, Aspect.BROWSER)
    if not here:
        return
    sign = next((one for one in _SURE if one in here), "user-agent")
    found = list(here.values())
    yield Reason(
        kind=FindingKind.BROWSER,
        mark="",
        what=f"Calls with this key had {_SAYS[sign]}: it is in a page or an extension.",
        since=min(one.first_at for one in found),
        until=max(one.last_at for one in found) + USUAL_AFTER,
        certainty=_SURE[sign],
        past=None,
        facts={"sign": sign, "calls": sum(one.calls for one in found)},
    )


def _recent(case: Case, aspect: Aspect) -> dict[str, Seen]:
    seen = case.profile.values[aspect]
    return {name: one for name, one in seen.items() if one.last_at > case.now - USUAL_AFTER}


def _together(hands: dict[str, Seen]) -> set[str]:
    """Those who use it side by side: three whose times overlap, or two that do so for days."""
    found: set[str] = set()
    for name, one in hands.items():
        beside = {
            other
            for other, two in hands.items()
            if other != name and min(one.last_at, two.last_at) >= max(one.first_at, two.first_at)
        }
        long = {
            other
            for other in beside
            if min(one.last_at, hands[other].last_at) - max(one.first_at, hands[other].first_at)
            >= TOGETHER_FOR
        }
        if long:
            found |= {name, *long}
        if len(beside) + 1 >= HANDS_AT_ONCE:
            found |= {name, *beside}
    return found


def _by_calls(calls: int) -> Certainty:
    return Certainty.HIGH if calls >= 100 else Certainty.MEDIUM if calls >= 5 else Certainty.LOW


def _spelled(one: Seen) -> str:
    return format_instant(one.last_at)
