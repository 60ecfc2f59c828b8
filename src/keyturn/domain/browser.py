"""By which sign a request comes from a browser: a key that is seen in one is in everybody's hands.

1. `sec-fetch`: browsers set `Sec-Fetch-Site` and `Sec-Fetch-Dest` themselves, and no page can
   (Fetch Metadata, W3C). `Sec-Fetch-Mode` alone is no sign: the `fetch` of Node sends it too.
2. `origin`: a page that calls another site. Some programs send it as well.
3. `user-agent`: it says so. Anybody may say that.

A caller that wants to hide it can: none of these proves that there is no browser.
"""

import re
from collections.abc import Mapping

SEC_FETCH = "sec-fetch"
ORIGIN = "origin"
USER_AGENT = "user-agent"
BROWSER_SIGNS = (SEC_FETCH, ORIGIN, USER_AGENT)

_FETCH_HEADERS = ("sec-fetch-site", "sec-fetch-dest")
_LOOKED_AT = 500
# Crawlers say `Mozilla/5.0 (compatible; …)` too.
_BROWSER = re.compile(r"Mozilla/\d.*(?:Gecko|Trident|AppleWebKit|Presto)/", re.ASCII)
_CRAWLER = "compatible;"


def browser_sign(headers: Mapping[str, str], user_agent: str | None) -> str | None:
    """The strongest sign of a browser in a request's headers (by names in lower case), None where
    there is none."""
    if any(headers.get(name) for name in _FETCH_HEADERS):
        return SEC_FETCH
    if headers.get("origin"):
        return ORIGIN
    agent = (user_agent or "")[:_LOOKED_AT]
    is_one = _BROWSER.match(agent) is not None and _CRAWLER not in agent
    return USER_AGENT if is_one else None
