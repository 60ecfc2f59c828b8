"""What is alike in traffic: two pods of a deployment, two ids in a path, two names of one place.

A detector that took each of them for something new would tell of nothing but releases.
"""

import re
from functools import lru_cache

from keyturn.domain.network import parse_address
from keyturn.domain.place import place_of

ANY = "{}"

# A number, a date, a number with a prefix (`INV-20417`), a UUID, a digest, a long random word, an
# address of mail, and what had to be encoded since somebody typed it.
_ID = re.compile(
    r"\d+"
    r"|\d{4}-\d{2}(?:-\d{2}(?:[Tt][\d:.]+(?:[Zz]|[+-][\d:]+)?)?)?"
    r"|[A-Za-z]{1,12}[-_]?\d{3,}"
    r"|[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}"
    r"|(?=[0-9a-fA-F]*\d)[0-9a-fA-F]{8,}"
    r"|(?=[A-Za-z0-9_-]*\d)(?=[A-Za-z0-9_-]*[A-Za-z])[A-Za-z0-9_-]{16,}"
    r"|[^@]+@[^@]+"
    r"|[^%]*%[0-9A-Fa-f]{2}.*",
    re.ASCII,
)
# What stands before the name of what is asked for.
_PREFIX = re.compile(r"api|rest|v\d{1,3}(?:\.\d{1,3})?", re.ASCII | re.IGNORECASE)
_READING = frozenset(("GET", "HEAD", "OPTIONS"))
# The end of a pod's name (`-7f9c5d8b4-x2x9q`), or a number.
_INSTANCE = re.compile(
    r"(?:[-_.:/@](?:\d+|(?=[a-z0-9]*\d)[a-z0-9]{4,10}|[0-9a-f]{8,10}"
    r"|[bcdfghjklmnpqrstvwxz2456789]{5}))+\Z",
    re.ASCII,
)
_PRODUCT = re.compile(r"([^\s/]+)/(\S+)", re.ASCII)
_ENVIRONMENTS = {
    "production": "prod",
    "prd": "prod",
    "live": "prod",
    "development": "dev",
    "develop": "dev",
    "staging": "stage",
    "stg": "stage",
    "testing": "test",
    "qa": "test",
}


@lru_cache(maxsize=65_536)
def path_shape(value: str) -> tuple[str, str | None]:
    """`GET /pins/123` as `GET /pins/{}` and its last id, None where it has none."""
    last = None
    parts = value.split("/")
    for index, part in enumerate(parts[1:], 1):
        if _ID.fullmatch(part):
            parts[index], last = ANY, part
    return "/".join(parts), last


@lru_cache(maxsize=16_384)
def path_family(shape: str) -> str:
    """What a path is about, and whether that is read or written: `POST /v1/pins/{}` is of the
    family `write pins`."""
    method, _, path = shape.partition(" ")
    parts = (part for part in path.split("/")[1:] if part != ANY and not _PREFIX.fullmatch(part))
    return f"{'read' if method.upper() in _READING else 'write'} {next(parts, '')}"


@lru_cache(maxsize=16_384)
def runtime_shape(name: str) -> str:
    """A runtime's name without the number or the pod's name at its end."""
    return _INSTANCE.sub("", name) or name


@lru_cache(maxsize=16_384)
def product_of(agent: str) -> tuple[str, str]:
    """The product of a user agent and its version, empty where it tells none."""
    match = _PRODUCT.match(agent)
    return (agent.split(" ", 1)[0], "") if match is None else (match.group(1), match.group(2))


@lru_cache(maxsize=16_384)
def place_shape(network: str | None) -> str | None:
    """The place of a caller: a network's name as it is, an address as the block it is of."""
    address = None if network is None else parse_address(network)
    return network if address is None else place_of(address)


def environment_shape(name: str) -> str:
    """An environment in its short name: `Production` is `prod`."""
    lower = name.strip().lower()
    return _ENVIRONMENTS.get(lower, lower)
