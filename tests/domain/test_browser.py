"""By which sign a request comes from a browser."""

import pytest

from keyturn.domain.browser import BROWSER_SIGNS, browser_sign

SAFARI = (
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) AppleWebKit/605.1.15"
    " (KHTML, like Gecko) Version/18.5 Mobile/15E148 Safari/604.1"
)


@pytest.mark.parametrize(
    ("headers", "agent", "sign"),
    [
        ({"sec-fetch-site": "none", "origin": "null"}, SAFARI, "sec-fetch"),
        ({"sec-fetch-dest": "empty"}, None, "sec-fetch"),
        ({"sec-fetch-mode": "cors"}, "node", None),
        ({"sec-fetch-site": ""}, None, None),
        ({"origin": "https://pins.example"}, "curl/8", "origin"),
        ({}, SAFARI, "user-agent"),
        ({}, "Mozilla/5.0 (X11; rv:140.0) Gecko/20100101 Firefox/140.0", "user-agent"),
        ({}, "Mozilla/5.0 (Windows NT; Trident/7.0; rv:11.0) like Gecko", "user-agent"),
        ({}, "Mozilla/5.0 (compatible; Googlebot/2.1) AppleWebKit/537", None),
        ({}, "Mozilla/4.0", None),
        ({}, "python-requests/2.32 Gecko/1", None),
        ({}, "x" * 10_000 + SAFARI, None),
        ({}, "", None),
    ],
)
def test_a_browser_is_told_by_its_strongest_sign(
    headers: dict[str, str], agent: str | None, sign: str | None
) -> None:
    assert browser_sign(headers, agent) == sign
    assert sign is None or sign in BROWSER_SIGNS
