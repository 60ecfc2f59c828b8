"""The parsers of the way out, each against a second reading of the standard library's."""

from functools import partial
from random import Random
from urllib.parse import urlsplit

from keyturn.destinations.command import parse_commands
from keyturn.outbound.guard import parse_allowed
from keyturn.outbound.url import UrlRefused, parse_call_url
from tests.fuzz.mutation import drawn
from tests.fuzz.reader import Reader
from tests.outbound.hostile import INSIDE, NO_ADDRESSES

CALLS = tuple(one for one in (*INSIDE, *NO_ADDRESSES) if len(one) < 200)
ALLOWED = ("127.0.0.1:8200", "10.0.0.0/8, fd00::/8", "[::1]:8200", "[fd00::/8]:443,10.1.0.0/16:1")
COMMANDS = ("one=/bin/a 'b;c' d; two=/bin/e", 'x=/y "z', "a=/b;a=/c", "n=/p\\ q")


def judge_call(given: str) -> str:
    try:
        parts = parse_call_url(given)
    except UrlRefused:
        return "refused"
    other = urlsplit(given)
    assert other.scheme == parts.scheme
    assert other.hostname == parts.host
    assert (other.port or {"http": 80, "https": 443}[parts.scheme]) == parts.port
    assert other.username is None
    assert other.password is None
    assert not other.fragment
    assert parts.target.isascii()
    assert parts.target.isprintable()
    assert " " not in parts.target
    return parts.scheme


def judge_allowed(given: str) -> str:
    try:
        networks = parse_allowed(given)
    except ValueError:
        return "slip"
    assert parse_allowed(", ".join(str(one) for one in networks)) == networks
    return f"{len(networks)} networks"


def judge_commands(given: str) -> str:
    try:
        commands = parse_commands(given)
    except ValueError:
        return "slip"
    assert all(words[0].startswith("/") for words in commands.values())
    return f"{len(commands)} commands"


def make(samples: tuple[str, ...], likely: str, random: Random) -> str:
    return drawn(random, samples=samples, likely=likely)


READERS: tuple[Reader[str], ...] = (
    Reader(
        name="call",
        make=partial(make, CALLS, "htps:/.[]@?#%0x1\\"),
        judge=judge_call,
    ),
    Reader(
        name="allowed",
        make=partial(make, ALLOWED, "0123456789abcdef:./[], "),
        judge=judge_allowed,
    ),
    Reader(name="commands", make=partial(make, COMMANDS, "ab=/;'\"\\ "), judge=judge_commands),
)
