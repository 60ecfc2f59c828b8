"""How calls to Vault are signed: by a token that was given, or by one that a role logs in for."""

from collections.abc import Mapping

from keyturn.destinations.json_server import (
    JsonAnswer,
    JsonServer,
    denied,
    not_understood,
    part,
    status_fault,
)


class VaultLogin:
    """Keeps a role's token for as long as its destination is open, in memory alone."""

    def __init__(
        self,
        server: JsonServer,
        credential: Mapping[str, str],
        *,
        namespace: str | None,
        approle_mount: str,
    ) -> None:
        self._server = server
        self._credential = credential
        # The first keeps browsers out, and an agent in front of Vault may ask for it.
        self._headers = {"X-Vault-Request": "true"}
        if namespace is not None:
            self._headers["X-Vault-Namespace"] = namespace
        self._approle_mount = approle_mount
        self._token: str | None = None

    def call(
        self, method: str, path: str, *, body: Mapping[str, object] | None = None
    ) -> JsonAnswer:
        """One signed call. Raises `DestinationFault`."""
        given = self._credential.get("token")
        if given is not None:
            return self._signed(given, method, path, body)
        is_fresh = self._token is None
        token = self._log_in() if self._token is None else self._token
        answer = self._signed(token, method, path, body)
        if answer.status == 403 and not is_fresh:  # it may have run out: nothing was done by it
            answer = self._signed(self._log_in(), method, path, body)
        return answer

    def forget(self) -> None:
        self._token = None

    def _signed(
        self, token: str, method: str, path: str, body: Mapping[str, object] | None
    ) -> JsonAnswer:
        headers = {**self._headers, "X-Vault-Token": token}
        return self._server.call(method, path, headers=headers, body=body)

    def _log_in(self) -> str:
        self._token = None
        answer = self._server.call(
            "POST",
            f"/v1/auth/{self._approle_mount}/login",
            headers=self._headers,
            body={name: self._credential[name] for name in ("role_id", "secret_id")},
        )
        if answer.status in (400, 404):  # a role that is not known, or a mount
            raise denied()
        if not answer.is_success:
            raise status_fault(answer.status)
        token = part(answer.members, "auth").get("client_token")
        if not isinstance(token, str) or not token.isascii() or not token.isprintable():
            raise not_understood()
        self._token = token
        return token
