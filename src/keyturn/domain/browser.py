"""By which sign a request comes from a browser: a key that is seen in one is in everybody's hands.

1. `sec-fetch`: browsers set `Sec-Fetch-Site` and `Sec-Fetch-Dest` themselves, and no page can
   (Fetch Metadata, W3C). `Sec-Fetch-Mode` alone is no sign: the `fetch` of Node sends it too.
2. `origin`: a page that calls another site. Some programs send it as well.
3. `user-agent`: it says so. Anybody may say that.

A caller that wants to hide it can: none of these proves that there is no browser.
"""

import re
from collections.abc import Iterable, Mapping

SEC_FETCH = "sec-fetch"
ORIGIN = "origin"
USER_AGENT = "user-agent"
BROWSER_SIGNS = (SEC_FETCH, ORIGIN, USER_AGENT)

_FETCH_HEADERS = frozenset({"sec-fetch-site", "sec-fetch-dest"})
_LOOKED_AT = 500
# Crawlers say `Mozilla/5.0 (compatible; …)` too.
_BROWSER = re.compile(r"Mozilla/\d.*(?:Gecko|Trident|AppleWebKit|Presto)/", re.ASCII)
_CRAWLER = "compatible;"


def header_in(headers: Mapping[str, str], name: str) -> str | None:
    """A header by its name in lower case, None where it is not there."""
    return next((value for key, value in headers.items() if key.lower() == name), None)


def browser_sign(headers: Iterable[tuple[str, str]], user_agent: str | None) -> str | None:
    """The strongest sign of a browser in a request's headers, None where there is none. Names may
    be in any case; the user agent given goes before the header."""
    given = {name.lower(): value for name, value in headers if value}
    if not _FETCH_HEADERS.isdisjoint(given):
        return SEC_FETCH
    if "origin" in given:
        return ORIGIN
    agent = (user_agent or given.get("user-agent", ""))[:_LOOKED_AT]
    is_one = _BROWSER.match(agent) is not None and _CRAWLER not in agent
    return USER_AGENT if is_one else None
