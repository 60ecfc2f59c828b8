"""A token that stood in a URL: refused before anything else is judged, and recorded."""

from collections.abc import MutableMapping
from typing import Any

from keyturn.domain.browser import browser_sign
from keyturn.domain.error import CredentialInUrl
from keyturn.domain.place import name_of
from keyturn.domain.redaction import find_token
from keyturn.domain.request import Request
from keyturn.domain.runtime import identify_runtime
from keyturn.domain.token import Token
from keyturn.http.credential import decoded, header_texts, is_in_url, readable
from keyturn.http.desk import Desk
from keyturn.http.origin import caller_address
from keyturn.services.identify import identify, reference

IN_URL = "credential_in_url"


async def refuse_exposed(desk: Desk, scope: MutableMapping[str, Any]) -> None:
    """Raises `CredentialInUrl` where the URL holds a credential; a token of ours is recorded."""
    raw_path, query = raw_path_of(scope), scope["query_string"]
    if not is_in_url(raw_path, query):
        return
    token = find_token(decoded(raw_path)) or find_token(decoded(query))
    if token is not None and token.brand == desk.context.brand:
        await _record(desk, scope, token)
    raise CredentialInUrl(
        "A credential in a URL ends up in logs and histories; send it in a header, and replace "
        "this one."
    )


async def _record(desk: Desk, scope: MutableMapping[str, Any], token: Token) -> None:
    await desk.wait_for_room()
    now = desk.context.clock.now()
    headers = scope["headers"]
    address = caller_address(scope.get("client"), headers, desk.proxies)
    reading = await desk.look_up([reference(token)])
    identification = identify(
        desk.context.ring, token, reading.found.get(token.id), now=now, address=address
    )
    desk.metrics.refused_credentials.labels(IN_URL).inc()
    workspace_id = identification.workspace_id
    if workspace_id is None:
        # Nothing of ours: there is nobody whom a record would help, and anybody could fill it.
        return
    user_agent = next(
        (value.decode("latin-1") for name, value in headers if name == b"user-agent"), None
    )
    networks = identification.caller.networks if identification.caller else ()
    desk.meter.note(
        Request(
            at=now,
            request_id=scope["keyturn.request_id"],
            workspace_id=workspace_id,
            key_id=identification.key_id,
            code=IN_URL,
            runtime=identify_runtime(None, user_agent, address, networks),
            address=address,
            user_agent=user_agent,
            method=scope["method"],
            path=readable(raw_path_of(scope)),
            scopes=(),
            environment=None,
            named_network=name_of(address, networks),
            country=desk.context.country(address),
            browser=browser_sign(header_texts(headers), user_agent),
        )
    )


def raw_path_of(scope: MutableMapping[str, Any]) -> bytes:
    """The path as it was sent, with its percent-encoding."""
    raw: bytes | None = scope.get("raw_path")
    return scope["path"].encode() if raw is None else raw
