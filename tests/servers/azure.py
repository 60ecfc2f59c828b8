"""A fake of Azure Key Vault and of Microsoft's login, as they are documented.

1. A vault answers a call without a token by a challenge that names the tenant and the resource. The
   login gives a token for the client's id and secret, and for the resource of vaults.
2. Each PUT adds a version with its own tags and content type; GET without a version is the newest.
3. A disabled secret: 403 SecretDisabled. A deleted one can be recovered, and its name is held:
   404 to read, 409 ObjectIsDeletedButRecoverable to write.
"""

from dataclasses import dataclass, field
from urllib.parse import parse_qs

from tests.servers.answering import Call, Reply

LOGIN_HOST = "login.microsoftonline.com"
VAULT_HOST = "acme.vault.azure.net"
_RESOURCE = "https://vault.azure.net"


@dataclass(slots=True, kw_only=True)
class Version:
    value: str
    tags: dict[str, str]
    content_type: str | None
    is_enabled: bool = True


@dataclass(slots=True, kw_only=True)
class FakeKeyVault:
    tenant: str = "11111111-2222-4333-8444-555555555555"
    client_id: str = "66666666-7777-4888-9999-aaaaaaaaaaaa"
    client_secret: str = "tests-client-secret-1"
    token: str = "tests-access-token-1"
    secrets: dict[str, list[Version]] = field(default_factory=dict)
    deleted: set[str] = field(default_factory=set)
    may_write: bool = True

    def answer(self, call: Call) -> Reply:
        if call.host == LOGIN_HOST:
            return self._log_in(call)
        if call.headers.get("authorization") != f"Bearer {self.token}":
            login = f"https://{LOGIN_HOST}{call.port}/{self.tenant}"
            challenge = f'Bearer authorization="{login}", resource="{_RESOURCE}{call.port}"'
            return _refusal(
                401,
                "Unauthorized",
                headers={"www-authenticate": challenge},
            )
        parts = call.path.strip("/").split("/")
        if call.host != VAULT_HOST or parts[0] != "secrets" or "api-version" not in call.query:
            return _refusal(400, "BadParameter")
        match call.method, parts[1:]:
            case "GET", [name, *version]:
                return self._get(name, version[0] if version else "")
            case "PUT", [name]:
                return self._put(name, call.members())
            case _:
                return _refusal(405, "MethodNotAllowed")

    def _log_in(self, call: Call) -> Reply:
        base = f"https://{LOGIN_HOST}{call.port}/{self.tenant}"
        if call.path == f"/{self.tenant}/v2.0/.well-known/openid-configuration":
            return Reply(
                members={
                    "issuer": f"{base}/v2.0",
                    "authorization_endpoint": f"{base}/oauth2/v2.0/authorize",
                    "token_endpoint": f"{base}/oauth2/v2.0/token",
                }
            )
        form = {name: values[0] for name, values in parse_qs(call.content.decode()).items()}
        wanted = {
            "grant_type": "client_credentials",
            "client_id": self.client_id,
            "client_secret": self.client_secret,
            "scope": f"{_RESOURCE}{call.port}/.default",
        }
        if {name: form.get(name) for name in wanted} != wanted:
            said = "AADSTS7000215: SECRET-OF-MICROSOFT"
            return Reply(status=401, members={"error": "invalid_client", "error_description": said})
        return Reply(
            members={"token_type": "Bearer", "expires_in": 3_599, "access_token": self.token}
        )

    def _get(self, name: str, version: str) -> Reply:
        versions = self.secrets.get(name, [])
        at = len(versions) if version == "" else int(version, 16)
        if name in self.deleted or not 1 <= at <= len(versions):
            return _refusal(404, "SecretNotFound")
        if not versions[at - 1].is_enabled:
            return _refusal(403, "Forbidden", "SecretDisabled")
        return Reply(members=_bundle(name, at, versions[at - 1]))

    def _put(self, name: str, members: dict[str, object]) -> Reply:
        if not self.may_write:
            return _refusal(403, "Forbidden", "ForbiddenByRbac")
        if name in self.deleted:
            return _refusal(409, "Conflict", "ObjectIsDeletedButRecoverable")
        value, tags, kind = (members.get(one) for one in ("value", "tags", "contentType"))
        if not isinstance(value, str):
            return _refusal(400, "BadParameter")
        versions = self.secrets.setdefault(name, [])
        versions.append(
            Version(
                value=value,
                tags=dict(tags) if isinstance(tags, dict) else {},
                content_type=kind if isinstance(kind, str) else None,
            )
        )
        return Reply(members=_bundle(name, len(versions), versions[-1]))


def version_id(number: int) -> str:
    return f"{number:032x}"


def _bundle(name: str, number: int, version: Version) -> dict[str, object]:
    beside = {} if version.content_type is None else {"contentType": version.content_type}
    return {
        "value": version.value,
        "id": f"https://{VAULT_HOST}/secrets/{name}/{version_id(number)}",
        "attributes": {"enabled": version.is_enabled, "recoveryLevel": "Recoverable+Purgeable"},
        "tags": version.tags,
        **beside,
    }


def _refusal(
    status: int, code: str, inner: str | None = None, headers: dict[str, str] | None = None
) -> Reply:
    error: dict[str, object] = {"code": code, "message": "What Azure says, SECRET-OF-AZURE."}
    if inner is not None:
        error["innererror"] = {"code": inner}
    return Reply(status=status, members={"error": error}, headers=headers or {})
