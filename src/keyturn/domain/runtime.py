"""The runtime: a workload that uses a key. Declared by the caller, or inferred from what it shows.

An inferred runtime is the product of the user agent without its version, with the name of the
network it calls from where the workspace has named its networks: a release of the caller, or one
more pod of it, must not look like another workload.
"""

import re
from dataclasses import dataclass

from keyturn.domain.error import RequestInvalid
from keyturn.domain.network import Address, holds_address
from keyturn.domain.redaction import holds_token, redact
from keyturn.domain.text import refuse_token

MOST_RUNTIMES_OF_A_KEY = 256
OTHER = "other"

_DECLARED = re.compile(r"[A-Za-z0-9._:/@-]{1,128}", re.ASCII)
_LOOKED_AT = 200
_UNKNOWN = "unknown"
# What a caller is called that said nothing of itself.
NAMELESS = f"ua:{_UNKNOWN}"
_PRODUCT = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,64}", re.ASCII)
# A version at the end; with something behind it (`-beta1`) only where it has a dot, since
# `oauth2-proxy` and `oauth2-client` are two workloads and not versions of `oauth`.
_VERSION = re.compile(r"[-_.]?v?\d+(?:(?:\.\d+)*|(?:\.\d+)+(?:[-+.][A-Za-z0-9]+)*)\Z", re.ASCII)
_OUTSIDE = re.compile(r"[^A-Za-z0-9._-]")


@dataclass(frozen=True, slots=True)
class Runtime:
    """A workload's name, and whether the caller said it itself."""

    name: str
    declared: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class NamedNetwork:
    """A network to which the workspace has given a name."""

    name: str
    cidrs: tuple[str, ...]


def is_runtime(name: str) -> bool:
    """Whether `name` can be a declared runtime."""
    return _DECLARED.fullmatch(name) is not None and not holds_token(name)


def check_runtime(name: str, pointer: str) -> str:
    """Raises `RequestInvalid` unless `name` can be a declared runtime."""
    if _DECLARED.fullmatch(name) is None:
        raise RequestInvalid.at(
            pointer, "A runtime has 1 to 128 of A-Z, a-z, 0-9 and any of . _ : / @ -"
        )
    refuse_token(name, pointer)
    return name


def identify_runtime(
    declared: str | None,
    user_agent: str | None,
    address: Address | None,
    networks: tuple[NamedNetwork, ...],
) -> Runtime:
    """The runtime of one request."""
    if declared is not None:
        return Runtime(declared, declared=True)
    name = "ua:" + _product(user_agent)
    if address is not None:
        for network in networks:
            if holds_address(network.cidrs, address):
                return Runtime(f"{name}@{network.name}", declared=False)
    return Runtime(name, declared=False)


def _product(user_agent: str | None) -> str:
    # A token sent as a user agent must not end up, cut short, as a workload's name.
    match = _PRODUCT.match(redact((user_agent or "").strip()[:_LOOKED_AT]))
    if match is None:
        return _UNKNOWN
    product = match.group()
    return _OUTSIDE.sub("-", _VERSION.sub("", product)) or _UNKNOWN
