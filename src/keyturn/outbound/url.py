"""The address of a call, read strictly: what two readers could read differently is no address.

1. https, or http (which the guard keeps to allowed networks). No other scheme.
2. No user, no fragment, no character outside of printable ASCII, no backslash.
3. A host is a name of a-z, 0-9, `-`, `_` and `.`, or an IPv6 address in brackets. Numbers written
   as hosts (`2130706433`, `0x7f.1`) are names here and judged by what they resolve to.
"""

import re
from dataclasses import dataclass, field
from ipaddress import IPv6Address

LONGEST_URL = 4_096

_URL = re.compile(
    r"(?P<scheme>https?)://"
    r"(?:\[(?P<v6>[0-9a-f:.]{2,45})\]|(?P<name>[a-z0-9_](?:[a-z0-9_.-]{0,251}[a-z0-9_])?))"
    r"(?::(?P<port>[0-9]{1,5}))?"
    r"(?P<target>(?:[/?][!$%&'()*+,\-./0-9:;=?@A-Z_a-z~]*)?)",
    re.ASCII,
)
_HEAD = re.compile(r"[A-Za-z]+://[^/?]*", re.ASCII)


class UrlRefused(ValueError):
    """Why an address is none; the text does not repeat it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CallUrl:
    """An address, in its parts. The target may tell what a secret is called and does not show."""

    is_plain: bool
    host: str
    port: int
    target: str = field(repr=False)

    @property
    def scheme(self) -> str:
        return "http" if self.is_plain else "https"


def parse_call_url(text: str) -> CallUrl:
    """The parts of an address that may be called. Raises `UrlRefused`."""
    if len(text) > LONGEST_URL:
        raise UrlRefused(f"An address has at most {LONGEST_URL} characters.")
    # Asked before letters are made small: a Kelvin sign would become a k.
    spelled = _HEAD.sub(lambda head: head.group().lower(), text, count=1) if text.isascii() else ""
    match = _URL.fullmatch(spelled)
    if match is None:
        raise UrlRefused(
            "An address is written `https://host:port/path`, in plain ASCII, with no user, no "
            "fragment and nothing that a URL must escape."
        )
    scheme, host = match["scheme"], match["name"] or match["v6"]
    if match["v6"] is not None:
        _check_v6(host)
    elif ".." in host or any(len(label) > 63 for label in host.split(".")):
        raise UrlRefused("The host is no name.")
    port = int(match["port"]) if match["port"] else (80 if scheme == "http" else 443)
    if not 1 <= port <= 65_535:
        raise UrlRefused("A port is 1 to 65535.")
    target = match["target"]
    return CallUrl(
        is_plain=scheme == "http",
        host=host,
        port=port,
        target=target if target.startswith("/") else f"/{target}",
    )


def _check_v6(host: str) -> None:
    try:
        IPv6Address(host)
    except ValueError:
        raise UrlRefused("The host is no IPv6 address.") from None
