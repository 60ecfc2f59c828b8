"""An incident as tests steer it: opened over keys, its calls, and waiting for what it does by
itself."""

from dataclasses import dataclass, field
from typing import Any

import httpx2

from tests.acceptance.api import Api, Issued, Workspace, expect
from tests.acceptance.servers import until

Json = Any
PATIENCE_SECONDS = 20.0


@dataclass(frozen=True, kw_only=True)
class Responding:
    """An incident that was opened."""

    home: Workspace
    body: Json = field(repr=False)

    @property
    def id(self) -> str:
        return str(self.body["id"])

    @property
    def path(self) -> str:
        return f"/v1/incidents/{self.id}"

    def now(self) -> Json:
        return expect(self.home.admin.get(self.path), 200)

    def key(self, key: Issued) -> Json:
        """What the incident says of one of its keys."""
        (found,) = [one for one in self.now()["keys"] if one["key_id"] == key.id]
        return found

    def act(self, verb: str, body: Json = None, **headers: str) -> httpx2.Response:
        return self.home.admin.post(f"{self.path}/{verb}", body, **headers)

    def place(self, runtime: str, standing: str, network: str | None = None) -> Json:
        return expect(
            self.act("runtimes", {"runtime": runtime, "network": network, "standing": standing}),
            200,
        )

    def replace(self, *keys: Issued) -> list[Issued]:
        """New keys in the place of these, or of all."""
        asked = {"key_ids": [one.id for one in keys]} if keys else None
        body = expect(self.act("replacements", asked), 201)
        return [
            Issued(body=one, api=self.home.admin.with_token(one["api_key"]))
            for one in body["replacements"]
        ]

    def is_in(self, *states: str) -> bool:
        """Whether it comes to one of these states in time."""
        return until(lambda: self.now()["state"] in states, PATIENCE_SECONDS)

    def has_recovered(self, key: Issued, *, recovered: bool = True) -> bool:
        return until(
            lambda: (self.key(key)["recovered_at"] is not None) is recovered, PATIENCE_SECONDS
        )

    def steps(self) -> list[str]:
        """What became of it, as the log tells it, oldest first."""
        entries = self.home.activity(resource_id=self.id, status="success")
        return [str(one["action"]) for one in entries]


def respond(home: Workspace, *keys: Issued, by: Api | None = None, **members: Any) -> Responding:
    """Opens an incident over keys."""
    body = {"key_ids": [one.id for one in keys], **members}
    return Responding(home=home, body=expect((by or home.admin).post("/v1/incidents", body), 201))
