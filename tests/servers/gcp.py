"""A fake of Google Secret Manager over REST, as it is documented.

1. A call carries a JWT that the service account's key has signed, for this service: else 401. The
   account reaches one project: else 403.
2. Versions are numbered from 1 in turn. `latest` is the newest, whatever its state; one that is
   disabled or destroyed cannot be accessed: 400 FAILED_PRECONDITION.
3. Secrets and versions have etags; adding a version has no condition.
"""

import base64
import json
import re
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
)

from tests.servers.answering import Call, Reply

HOST = "secretmanager.googleapis.com"
_SECRET = re.compile(r"/v1/projects/([^/]+)/secrets/([^/:]+)")
_VERSION = re.compile(r"/v1/projects/([^/]+)/secrets/([^/:]+)/versions/([^/:]+)")


@dataclass(slots=True, kw_only=True)
class Version:
    content: bytes
    state: str = "ENABLED"
    made_at: float = field(default_factory=time.time)


@dataclass(slots=True, kw_only=True)
class FakeSecretManager:
    project: str = "acme-prod"
    email: str = "keyturn@acme-prod.iam.gserviceaccount.com"
    key_id: str = "k1"
    secrets: dict[str, list[Version]] = field(default_factory=dict)
    is_key_of_encryption_lost: bool = False
    may_create: bool = True
    key: rsa.RSAPrivateKey = field(
        default_factory=lambda: rsa.generate_private_key(public_exponent=65_537, key_size=2_048)
    )

    def service_account(self, **changed: str) -> str:
        """The JSON text that Google hands out for the account's key."""
        pem = self.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
        members = {
            "type": "service_account",
            "project_id": self.project,
            "private_key_id": self.key_id,
            "private_key": pem,
            "client_email": self.email,
            "client_id": "100000000000000000001",
            "token_uri": "https://oauth2.googleapis.com/token",
            "universe_domain": "googleapis.com",
        }
        return json.dumps(members | changed)

    def answer(self, call: Call) -> Reply:
        if call.host != HOST or not self._is_signed(call.headers.get("authorization", "")):
            return _refusal(401, "UNAUTHENTICATED")
        if not call.path.startswith(f"/v1/projects/{self.project}/secrets"):
            return _refusal(403, "PERMISSION_DENIED")
        path, _, verb = call.path.partition(":")
        match call.method, verb:
            case "POST", "" if path.endswith("/secrets"):
                return self._create(call)
            case "POST", "addVersion":
                return self._add(path, call)
            case "GET", "access" | "":
                return self._get(path, verb)
            case _:
                return _refusal(404, "NOT_FOUND")

    def _create(self, call: Call) -> Reply:
        name = call.query.get("secretId", "")
        if name in self.secrets:
            return _refusal(409, "ALREADY_EXISTS")
        if "replication" not in call.members():
            return _refusal(400, "INVALID_ARGUMENT")
        if not self.may_create:
            return _refusal(400, "FAILED_PRECONDITION")
        self.secrets[name] = []
        return Reply(members={"name": f"{call.path[4:]}/{name}", "etag": '"0"'})

    def _add(self, path: str, call: Call) -> Reply:
        named = _SECRET.fullmatch(path)
        versions = self.secrets.get(named.group(2)) if named is not None else None
        if versions is None:
            return _refusal(404, "NOT_FOUND")
        if self.is_key_of_encryption_lost:
            return _refusal(400, "FAILED_PRECONDITION")
        payload = call.members().get("payload")
        data = payload.get("data") if isinstance(payload, dict) else None
        if not isinstance(data, str):
            return _refusal(400, "INVALID_ARGUMENT")
        versions.append(Version(content=base64.b64decode(data)))
        return Reply(members=_described(path, len(versions), versions[-1]))

    def _get(self, path: str, verb: str) -> Reply:
        named = _VERSION.fullmatch(path)
        versions = self.secrets.get(named.group(2), []) if named is not None else []
        number = named.group(3) if named is not None else ""
        at = len(versions) if number == "latest" else int(number) if number.isdigit() else 0
        if named is None or not 1 <= at <= len(versions):
            return _refusal(404, "NOT_FOUND")
        version = versions[at - 1]
        secret = path.rpartition("/versions/")[0]
        if verb == "":
            return Reply(members=_described(secret, at, version))
        if version.state != "ENABLED" or self.is_key_of_encryption_lost:
            return _refusal(400, "FAILED_PRECONDITION")
        data = base64.b64encode(version.content).decode()
        return Reply(members={"name": f"{secret[4:]}/versions/{at}", "payload": {"data": data}})

    def _is_signed(self, authorization: str) -> bool:
        try:
            head, body, signature = authorization.removeprefix("Bearer ").split(".")
            self.key.public_key().verify(
                _decoded(signature), f"{head}.{body}".encode(), padding.PKCS1v15(), hashes.SHA256()
            )
            claims = json.loads(_decoded(body))
        except (ValueError, InvalidSignature):
            return False
        return bool(
            json.loads(_decoded(head)).get("kid") == self.key_id
            and claims["iss"] == claims["sub"] == self.email
            and claims["aud"] == f"https://{HOST}/"
            and claims["iat"] - 60 <= time.time() < claims["exp"] <= claims["iat"] + 3_600
        )


def _described(secret: str, number: int, version: Version) -> dict[str, object]:
    return {
        "name": f"{secret[4:]}/versions/{number}",
        "state": version.state,
        "createTime": datetime.fromtimestamp(version.made_at, UTC).isoformat(),
        "etag": f'"{number}-{version.state}"',
    }


def _refusal(status: int, code: str) -> Reply:
    error = {"code": status, "message": "What Google says, SECRET-OF-GOOGLE.", "status": code}
    return Reply(status=status, members={"error": error})


def _decoded(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
