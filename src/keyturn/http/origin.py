"""Where a call comes from: never from a header that an untrusted hop could write."""

from collections.abc import Iterable, Sequence

from keyturn.domain.network import Address, parse_address


def caller_address(
    peer: Sequence[object] | None, headers: Iterable[tuple[bytes, bytes]], proxies: int
) -> Address | None:
    """The caller's address behind `proxies` trusted hops, None where it cannot be known.

    Each trusted hop appends to `X-Forwarded-For` the address that it was called from, so of the
    last `proxies` entries the first was written by the outermost trusted hop; everything before
    it came from outside and is not looked at. With no trusted hop the header is not looked at.
    """
    direct = None if not peer else parse_address(str(peer[0]))
    if proxies == 0:
        return direct
    entries = [
        entry.strip()
        for name, value in headers
        if name == b"x-forwarded-for"
        for entry in value.decode("latin-1").split(",")
    ]
    if not entries:
        return direct
    return parse_address(entries[max(0, len(entries) - proxies)])
