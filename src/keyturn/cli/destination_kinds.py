"""What each kind of destination is told: its configuration, and the members of its credential.

The server judges them; this is for help, and so that no secret is taken for a part of the
configuration, which is shown.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class KindHelp:
    """The members that a kind knows; those in `needed` must be there."""

    needed: tuple[str, ...] = ()
    optional: tuple[str, ...] = ()
    credential: tuple[str, ...] = ()
    told: str = "none"  # the credential, in words


KINDS: Mapping[str, KindHelp] = {
    "file": KindHelp(optional=("path",)),
    "command": KindHelp(needed=("command",)),
    "vault": KindHelp(
        needed=("address",),
        optional=("mount", "path", "field", "namespace", "approle_mount", "ca_certificate"),
        credential=("token", "role_id", "secret_id"),
        told="token, or role_id and secret_id",
    ),
    "aws": KindHelp(
        needed=("region",),
        optional=("name", "field", "endpoint", "sts_endpoint", "ca_certificate"),
        credential=(
            *("access_key_id", "secret_access_key", "session_token"),
            *("role_arn", "external_id"),
        ),
        told="access_key_id, secret_access_key\n"
        "                [session_token] [role_arn] [external_id]",
    ),
    "kubernetes": KindHelp(
        needed=("address", "namespace"),
        optional=("name", "field", "ca_certificate"),
        credential=("token",),
        told="token",
    ),
    "gcp": KindHelp(
        needed=("project",),
        optional=("name", "endpoint", "ca_certificate"),
        credential=("service_account",),
        told="service_account; or the file that Google gives, as it is",
    ),
    "azure": KindHelp(
        needed=("vault_url",),
        optional=("name", "authority", "ca_certificate"),
        credential=("tenant_id", "client_id", "client_secret"),
        told="tenant_id, client_id, client_secret",
    ),
}


def kinds_text() -> str:
    """The kinds for the help of a command, as paragraphs that are not wrapped."""
    return "\n\n".join("\n".join(("\b", *lines)) for lines in _paragraphs())


def _paragraphs() -> Iterator[list[str]]:
    yield ["Kinds, what each must be told, what it may be told, and its credential:"]
    for name, kind in KINDS.items():
        members = [*kind.needed, *(f"[{one}]" for one in kind.optional)]
        yield [name, *_folded(members), f"    credential: {kind.told}"]


def _folded(members: list[str]) -> Iterator[str]:
    line = "   "
    for one in members:
        if len(line) + len(one) >= 76:
            yield line
            line = "   "
        line += f" {one}"
    yield line
