"""A key of a Google service account, as Google hands it out: a JSON text.

Only what its holder needs to sign is taken from it. `token_uri` is checked although tokens are
signed here and never asked for: a file that names another place was not made by Google.
"""

import json
import re
from collections.abc import Mapping
from urllib.parse import urlsplit

_EMAIL = re.compile(r"[A-Za-z0-9._%+-]{1,64}@[a-z0-9.-]{1,190}", re.ASCII)
_KEY_ID = re.compile(r"[A-Za-z0-9_-]{1,128}", re.ASCII)
_TAKEN = ("client_email", "private_key", "private_key_id", "token_uri")


def service_account_fault(text: str, *, has_endpoint: bool) -> str | None:
    """What is wrong with it, None for nothing; nothing of its text is repeated. With an endpoint
    of one's own, tokens may come from anywhere."""
    members = parse_service_account(text)
    if members is None:
        return (
            "Give the JSON text of a service account's key, with `client_email`, `private_key`,"
            " `private_key_id` and `token_uri`."
        )
    if _EMAIL.fullmatch(members["client_email"]) is None:
        return "Its `client_email` is no address of a service account."
    if _KEY_ID.fullmatch(members["private_key_id"]) is None:
        return "Its `private_key_id` is no id of a key."
    if not has_endpoint and not _is_googles(members["token_uri"]):
        return "Its `token_uri` is not an https address of Google."
    if not _is_private_key(members["private_key"]):
        return "Its `private_key` is no RSA key in PEM."
    return None


def parse_service_account(text: str) -> Mapping[str, str] | None:
    """The members that are needed; None where the text is none of a service account."""
    try:
        members = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if not isinstance(members, dict) or members.get("type") != "service_account":
        return None
    if members.get("universe_domain", "googleapis.com") != "googleapis.com":
        return None
    taken = {name: members.get(name) for name in _TAKEN}
    texts = {name: value for name, value in taken.items() if isinstance(value, str)}
    return texts if len(texts) == len(_TAKEN) else None


def _is_googles(uri: str) -> bool:
    try:
        parts = urlsplit(uri)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        return False
    if parts.username is not None or "\\" in uri or port not in {None, 443}:
        return False
    return parts.scheme == "https" and (
        host == "accounts.google.com" or host.endswith(".googleapis.com")
    )


def _is_private_key(pem: str) -> bool:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        return isinstance(load_pem_private_key(pem.encode(), password=None), RSAPrivateKey)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        return False
