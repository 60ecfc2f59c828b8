"""`vault:secret/keyturn/scheduler-prod#api_key`: HashiCorp Vault or OpenBao, KV version 2.

The environment says where it is and who asks, as Vault's own command line reads it: `vault_login`.
An AppRole's token is kept until it is refused, and then asked for once more.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import quote

import httpx2
import msgspec

from keyturn.client.sources.contract import (
    CONNECT_SECONDS,
    MOST_BYTES,
    READ_SECONDS,
    Stamp,
    unreadable,
)
from keyturn.client.sources.member import text_of
from keyturn.client.sources.vault_login import AppRole, login_of
from keyturn.client.transport import failure_of, ways
from keyturn.domain.ambience import Clock

_ALL_SECONDS = 2 * READ_SECONDS  # of one call, however slowly the other side drips


class _Secret(msgspec.Struct):
    data: dict[str, object] | None = None


class _Read(msgspec.Struct):
    data: _Secret


class _Lease(msgspec.Struct):
    client_token: str


class _LoggedIn(msgspec.Struct):
    auth: _Lease


@dataclass(frozen=True, slots=True, kw_only=True)
class VaultPlace:
    mount: str
    path: str
    field: str

    @property
    def route(self) -> str:
        return f"/v1/{quote(self.mount)}/data/{quote(self.path)}"


class VaultSource:
    def __init__(
        self, name: str, place: VaultPlace, environ: Mapping[str, str], clock: Clock
    ) -> None:
        self.name = name
        self._place = place
        self._login = login_of(environ)
        self._clock = clock
        self._leased: str | None = None

    def read(self) -> str:
        with self._client() as client:
            status, content = self._asked(client)
        match status:
            case 200:
                return self._field(content)
            case 403:
                raise unreadable(self.name, "Vault does not let this caller read it")
            case 404:
                raise unreadable(self.name, "there is no such secret, or it was deleted")
            case 503:
                raise unreadable(self.name, "Vault is sealed, or not ready (503)")
            case _:
                raise unreadable(self.name, f"Vault answered {status}")

    def stamp(self) -> Stamp | None:
        return None

    def _asked(self, client: httpx2.Client) -> tuple[int, bytes]:
        credential = self._login.credential
        if not isinstance(credential, AppRole):
            return self._call(client, "GET", self._place.route, token=credential.read(self.name))
        leased = self._leased
        if leased is not None:
            status, content = self._call(client, "GET", self._place.route, token=leased)
            if status != 403:
                return status, content
        self._leased = leased = self._log_in(client, credential)
        return self._call(client, "GET", self._place.route, token=leased)

    def _log_in(self, client: httpx2.Client, role: AppRole) -> str:
        body = {"role_id": role.role_id, "secret_id": role.read_secret(self.name)}
        route = f"/v1/auth/{quote(role.mount)}/login"
        status, content = self._call(client, "POST", route, content=msgspec.json.encode(body))
        if status != 200:
            raise unreadable(self.name, f"Vault refused the AppRole ({status})")
        try:
            return msgspec.json.decode(content, type=_LoggedIn).auth.client_token
        except (ValueError, RecursionError):
            pass  # outside of the handler: the error carries a part of the answer along
        raise unreadable(self.name, "what answered is no Vault")

    def _field(self, content: bytes) -> str:
        try:
            found = msgspec.json.decode(content, type=_Read).data.data
        except (ValueError, RecursionError):
            found = None
        if found is None:
            raise unreadable(self.name, "what answered is no secret of KV version 2")
        return text_of(found, self._place.field, self.name)

    def _call(
        self,
        client: httpx2.Client,
        method: str,
        route: str,
        *,
        token: str | None = None,
        content: bytes | None = None,
    ) -> tuple[int, bytes]:
        headers = {"X-Vault-Request": "true"}
        if token is not None:
            headers["X-Vault-Token"] = token
        if self._login.namespace is not None:
            headers["X-Vault-Namespace"] = self._login.namespace
        ends_at = self._clock.elapsed() + _ALL_SECONDS
        received = bytearray()
        try:
            with client.stream(method, route, headers=headers, content=content) as response:
                for chunk in response.iter_bytes():
                    received += chunk
                    if len(received) > MOST_BYTES or self._clock.elapsed() > ends_at:
                        raise unreadable(self.name, "its answer does not end")
                return response.status_code, bytes(received)
        except httpx2.RequestError as error:
            why = failure_of(error).why
        raise unreadable(self.name, why)

    def _client(self) -> httpx2.Client:
        """One for each read: nothing is left open between them, nor shared over a fork."""
        return httpx2.Client(
            base_url=self._login.address,
            timeout=httpx2.Timeout(READ_SECONDS, connect=CONNECT_SECONDS),
            verify=self._login.trust(self.name),
            mounts=ways(self._login.address, whose="Vault"),
        )
