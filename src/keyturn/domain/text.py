"""What free text may be: a name, an owner, a reason. One rule for all, so that all errors agree."""

import re

from keyturn.domain.error import RequestInvalid
from keyturn.domain.network import parse_address
from keyturn.domain.redaction import holds_token

NAME_LENGTH = 255
TEXT_LENGTH = 1_000
URL_LENGTH = 2_000

# Control characters forge log lines; lone surrogates cannot be stored; the bidirectional overrides
# make a name read as another (CVE-2021-42574).
_FORBIDDEN = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
# RFC 3986, 3.2.2: a host beyond ASCII is written in Punycode; brackets stand around IPv6 alone.
_URL = re.compile(
    r"https?://(?:[A-Za-z0-9._~!$&'()*+,;=%-]+|\[([0-9A-Fa-f:.]+)\])(?::[0-9]*)?(?:[/?#]\S*)?"
)


def check_text(value: str, pointer: str, *, longest: int = NAME_LENGTH) -> str:
    """`value` without the white space around it.

    Raises `RequestInvalid` where it is empty, longer than `longest` characters, has control
    characters, or holds a token.
    """
    stripped = value.strip()
    if not stripped:
        raise RequestInvalid.at(pointer, "This must not be empty.")
    if len(value) > longest:
        raise RequestInvalid.at(pointer, f"This may have at most {longest} characters.")
    if _FORBIDDEN.search(stripped):
        raise RequestInvalid.at(pointer, "This may not have control characters.")
    refuse_token(stripped, pointer)
    return stripped


def check_url(value: str, pointer: str) -> str:
    """An http or https address without user information."""
    url = check_text(value, pointer, longest=URL_LENGTH)
    match = _URL.fullmatch(url)
    literal = None if match is None else match[1]
    if match is None or (literal and (":" not in literal or parse_address(literal) is None)):
        raise RequestInvalid.at(
            pointer, "This must be an http or https address without a password."
        )
    return url


def refuse_token(value: str, pointer: str) -> None:
    """Raises `RequestInvalid` where a token stands in `value`, which is about to be kept."""
    if holds_token(value):
        raise RequestInvalid.at(
            pointer, "A token stands here, where it would be kept and shown. Leave it out."
        )


def without_controls(value: str, longest: int) -> str:
    """`value` fit to be recorded: cut to `longest`, characters that cannot be kept replaced."""
    return _FORBIDDEN.sub("\N{REPLACEMENT CHARACTER}", value[:longest])
