"""A slot as the scenarios play it: a key, its rotation, and callers by their names."""

import itertools
from dataclasses import dataclass, field
from typing import Any

from tests.acceptance.servers import until
from tests.kills.sites import Json, Reply, Site

PATIENCE_SECONDS = 30.0
QUICK = {"quiet_seconds": 1, "brownout_seconds": 1, "overlap_seconds": 600}
HOME = "10.0.0.5"

_numbers = itertools.count(1)


@dataclass(slots=True, kw_only=True)
class Slot:
    """`old` is the key's body with its token; `rotation` that of its start, `new` its token."""

    site: Site
    admin: str = field(repr=False)
    old: Json = field(repr=False)
    rotation: Json = field(default=None, repr=False)

    @property
    def path(self) -> str:
        return f"/v1/rotations/{self.rotation['id']}"

    def ask(self, method: str, path: str, body: Json = None, **headers: str) -> Any:
        return self.site.ask(method, path, self.admin, body, **headers)

    def reply(self, method: str, path: str, body: Json = None) -> Reply:
        reply = self.site.call(method, path, self.admin, body)
        assert reply is not None
        return reply

    # --- callers ---------------------------------------------------------------------------------

    def call(self, token: str, runtime: str | None = None, **members: str) -> str:
        """The code that a caller gets."""
        named = {} if runtime is None else {"runtime": runtime}
        body = {"api_key": token, "ip": HOME, **named, **members}
        return str(self.site.ask("POST", "/v1/verify", self.site.place.token, body)["code"])

    def uses_old(self, runtime: str | None = "worker", **members: str) -> str:
        return self.call(self.old["api_key"], runtime, **members)

    def uses_new(self, runtime: str | None = "worker", **members: str) -> str:
        return self.call(self.rotation["api_key"], runtime, **members)

    # --- the rotation ----------------------------------------------------------------------------

    def rotate(self, **terms: Json) -> None:
        path = f"/v1/api-keys/{self.old['id']}/rotations"
        self.rotation = self.ask("POST", path, {**QUICK, **terms})

    def now(self) -> Json:
        return self.ask("GET", self.path)

    def state(self) -> str:
        return str(self.now()["state"])

    def blocked_by(self) -> list[tuple[str, str | None]]:
        return [(one["code"], one["runtime"]) for one in self.now()["blocked_by"]]

    def ends(self, state: str = "completed") -> bool:
        """Whether it comes there, by itself."""
        return until(lambda: self.state() == state, PATIENCE_SECONDS)

    def statuses(self) -> tuple[str, str]:
        """Of the old key and of the new one."""
        found = [
            self.ask("GET", f"/v1/api-keys/{self.rotation[name]}")["status"]
            for name in ("old_key_id", "new_key_id")
        ]
        return found[0], found[1]

    def kinds(self, state: str = "open") -> set[str]:
        """Of what is found on it."""
        path = f"/v1/findings?state={state}&subject_id={self.rotation['id']}"
        return {one["kind"] for one in self.ask("GET", path)}


def build_slot(site: Site, *, used_by: tuple[str, ...] = ("worker",), **members: Json) -> Slot:
    """A key in a workspace of its own, used by these before anything is rotated."""
    made = site.ask("POST", "/v1/workspaces", site.place.token, {"name": f"w{next(_numbers)}"})
    admin = made["api_key"]
    body = {"name": "api-prod", "scopes": ["read"], **members}
    slot = Slot(site=site, admin=admin, old=site.ask("POST", "/v1/api-keys", admin, body))
    for runtime in used_by:
        assert slot.uses_old(runtime) == "valid"
    return slot
