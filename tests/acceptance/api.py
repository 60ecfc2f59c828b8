"""A client of the wire, as tests use it: callers with tokens, and workspaces that they make.

It knows nothing of the product but its contract. Tokens stay out of representations, so that no
failing assertion prints one. Every JSON answer is held against the OpenAPI document of the server.
"""

import itertools
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx2

from tests.acceptance.schema import Conformance
from tests.acceptance.servers import Server, until

Json = Any
Headers = Mapping[str, str]
REQUESTS_SECONDS = 1.0  # a request is visible within this time, says the contract
PATIENCE_SECONDS = 10.0  # how long a slow machine may take until a test gives up

_numbers = itertools.count(1)


def label(word: str = "label") -> str:
    """A word that no other test uses."""
    return f"{word}-{os.getpid()}-{next(_numbers)}"


def code_of(response: httpx2.Response) -> str | None:
    """The code of an error's answer, None for another one."""
    if response.headers.get("content-type") != "application/problem+json":
        return None
    return str(response.json()["code"])


def expect(response: httpx2.Response, status: int, code: str | None = None) -> Json:
    """The body of an answer with this status, and this error code. Prints no success's body."""
    told = (response.status_code, code_of(response))
    problem = response.text if told[1] is not None else ""
    assert told == (status, code), problem
    return response.json() if response.content else None


def expect_invalid(response: httpx2.Response, *pointers: str) -> Json:
    """The body of a 422 that names exactly these places."""
    body = expect(response, 422, "request.invalid")
    assert sorted(error["pointer"] for error in body["errors"]) == sorted(pointers)
    assert all(set(error) == {"pointer", "detail"} for error in body["errors"])
    return body


@dataclass(frozen=True, kw_only=True)
class Api:
    """One caller: a token (or none), and headers that it sends each time."""

    client: httpx2.Client = field(repr=False)
    conformance: Conformance = field(repr=False)
    token: str | None = field(default=None, repr=False)
    headers: Headers = field(default_factory=dict)

    def with_token(self, token: str | None) -> "Api":
        return Api(client=self.client, conformance=self.conformance, token=token)

    def with_headers(self, **headers: str) -> "Api":
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return Api(
            client=self.client,
            conformance=self.conformance,
            token=self.token,
            headers={**self.headers, **named},
        )

    def call(
        self,
        method: str,
        path: str,
        json: Json = None,
        *,
        headers: Headers | None = None,
        **options: Any,
    ) -> httpx2.Response:
        carried = {**self.headers, **(headers or {})}
        if self.token is not None:
            carried.setdefault("Authorization", f"Bearer {self.token}")
        if json is not None:
            options["json"] = json
        response = self.client.request(method, path, headers=carried, **options)
        self.conformance.check(response)
        return response

    def get(self, path: str, /, **params: Any) -> httpx2.Response:
        return self.call("GET", path, params=params or None)

    def post(self, path: str, json: Json = None, **headers: str) -> httpx2.Response:
        return self.call("POST", path, json, headers=_dashed(headers))

    def patch(self, path: str, json: Json = None, **headers: str) -> httpx2.Response:
        return self.call("PATCH", path, json, headers=_dashed(headers))

    def put(self, path: str, json: Json = None, **headers: str) -> httpx2.Response:
        return self.call("PUT", path, json, headers=_dashed(headers))

    def delete(self, path: str, **headers: str) -> httpx2.Response:
        return self.call("DELETE", path, headers=_dashed(headers))

    # --- what most tests do ----------------------------------------------------------------------

    def verify(self, token: str, **members: Any) -> Json:
        """The verdict."""
        return expect(self.post("/v1/verify", {"api_key": token, **members}), 200)

    def create(self, **members: Any) -> "Issued":
        """A new key; without a name or a service, one of some name."""
        if "name" not in members and "service" not in members:
            members["name"] = f"{label('service')}-prod"
        body = expect(self.post("/v1/api-keys", members), 201)
        return Issued(body=body, api=self.with_token(body["api_key"]))


def _dashed(headers: Mapping[str, str]) -> dict[str, str]:
    return {name.replace("_", "-"): value for name, value in headers.items()}


@dataclass(frozen=True, kw_only=True)
class Issued:
    """A key that was made, and a caller that holds its token."""

    body: Json = field(repr=False)
    api: Api

    @property
    def id(self) -> str:
        return str(self.body["id"])

    @property
    def token(self) -> str:
        return str(self.body["api_key"])

    @property
    def path(self) -> str:
        return f"/v1/api-keys/{self.id}"

    @property
    def etag(self) -> str:
        return f'"{self.body["version"]}"'


@dataclass(frozen=True, kw_only=True)
class Workspace:
    """A tenant of one test's own, and its administrator."""

    id: str
    admin: Api
    body: Json = field(repr=False)

    def verify(self, token: str, **members: Any) -> Json:
        return self.admin.verify(token, **members)

    def holder(self, *permissions: str, **members: Any) -> Issued:
        """A key with these permissions."""
        return self.admin.create(permissions=list(permissions), **members)

    def key(self, key: Issued) -> Json:
        """The key as it is now."""
        return expect(self.admin.get(key.path), 200)

    def all_keys(self) -> Json:
        """All its keys as they are now."""
        return expect(self.admin.get("/v1/api-keys", status="all", limit=1000), 200)

    def records(self) -> Json:
        """All its keys, without what their use alone moves."""
        return [{**one, "last_used_at": None} for one in self.all_keys()]

    def activity(self, **filters: Any) -> list[Json]:
        """All its activity, oldest first."""
        items: list[Json] = []
        cursor: dict[str, str] = {}
        while True:
            body = expect(self.admin.get("/v1/activity-logs", limit=1000, **filters, **cursor), 200)
            items += body["items"]
            if body["next_cursor"] is None:
                return items[::-1]
            cursor = {"cursor": body["next_cursor"]}

    def acts(self) -> list[Json]:
        """What anybody did, oldest first. What Keyturn finds by itself may come at any time."""
        return [one for one in self.activity() if one["actor_type"] != "worker"]

    def requests(self, count: int = 1, **filters: Any) -> list[Json]:
        """Its requests that pass the filters, newest first, once there are `count` of them."""
        found: list[Json] = []

        def there() -> bool:
            found[:] = expect(self.admin.get("/v1/requests", limit=1000, **filters), 200)
            return len(found) >= count

        assert until(there, PATIENCE_SECONDS), f"{len(found)} of {count} requests are recorded"
        return found

    def settled_requests(self, **filters: Any) -> list[Json]:
        """Its requests once everything that was done before is recorded."""
        marker = label("marker")
        self.admin.post("/v1/verify", {"api_key": "nothing", "request_id": marker})
        self.requests(request_id=marker)
        found = expect(self.admin.get("/v1/requests", limit=1000, **filters), 200)
        return [one for one in found if one["request_id"] != marker]


@dataclass(frozen=True, kw_only=True)
class Site:
    """A running server, with its operator and callers without a token."""

    server: Server
    operator: Api
    _gateways: list[str] = field(default_factory=list, repr=False)

    @property
    def anyone(self) -> Api:
        return self.operator.with_token(None)

    @property
    def engine(self) -> str:
        return self.server.engine

    @property
    def document(self) -> Json:
        return self.operator.conformance.document

    def workspace(self, **members: Any) -> Workspace:
        body = expect(
            self.operator.post("/v1/workspaces", {"name": label("tenant"), **members}), 201
        )
        return Workspace(id=body["id"], admin=self.operator.with_token(body["api_key"]), body=body)

    def gateway(self) -> Api:
        """A gateway credential, the same for all tests of this server."""
        if not self._gateways:
            self._gateways.append(
                self.server.installation.operator_token_of("gate", "--verify-only")
            )
        return self.operator.with_token(self._gateways[0])

    def operator_in(self, workspace: Workspace) -> Api:
        return self.operator.with_headers(Keyturn_Workspace=workspace.id)

    def logged(self) -> str:
        """What the server wrote to its log."""
        return self.server.installation.log.read_text(errors="replace")


def open_site(server: Server) -> Site:
    """The site of a server. Close `site.operator.client`."""
    client = httpx2.Client(base_url=server.url, timeout=30, trust_env=False)
    document = client.get("/openapi.json").json()
    operator = Api(
        client=client,
        conformance=Conformance(document),
        token=server.installation.operator_token(),
    )
    return Site(server=server, operator=operator)
