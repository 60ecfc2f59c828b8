"""A rotation as tests steer it: its two keys, its calls, and waiting for what it does by itself."""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx2

from tests.acceptance.api import Api, Issued, Workspace, expect
from tests.acceptance.servers import until

Json = Any
HOUR = 3_600
DAY = 86_400
YEAR = 366 * DAY
BY_ITSELF_SECONDS = 5.0  # so soon it ends by itself once it may, says the contract
PATIENCE_SECONDS = 15.0  # what a slow machine may add to that

# Nothing is waited for but the evidence, and nothing happens without a call.
BY_HAND: dict[str, Any] = {
    "overlap_seconds": HOUR,
    "quiet_seconds": 0,
    "brownout_seconds": 0,
    "auto_complete": False,
}
BY_ITSELF = BY_HAND | {"auto_complete": True}


@dataclass(frozen=True, kw_only=True)
class Rotating:
    """A rotation that was started, with its two keys."""

    home: Workspace
    old: Issued
    new: Issued
    body: Json = field(repr=False)

    @property
    def id(self) -> str:
        return str(self.body["id"])

    @property
    def path(self) -> str:
        return f"/v1/rotations/{self.id}"

    def now(self) -> Json:
        """The rotation as it is now."""
        return expect(self.home.admin.get(self.path), 200)

    def steer(self, verb: str, body: Json = None, **headers: str) -> httpx2.Response:
        return self.home.admin.post(f"{self.path}/{verb}", body, **headers)

    def use(self, key: Issued, runtime: str | None = "worker", **members: Any) -> Json:
        """The verdict on one use of a key by a runtime."""
        return self.home.verify(key.token, runtime=runtime, **members)

    def move(self, runtime: str = "worker", **members: Any) -> None:
        """A runtime is allowed on the new key."""
        assert self.use(self.new, runtime, **members)["valid"]

    def evidence(self, runtime: str = "worker") -> Json:
        """What is known of one runtime; None for one that nobody knows."""
        return evidence_of(self.now(), runtime)

    def is_in(self, *states: str, seconds: float = BY_ITSELF_SECONDS + PATIENCE_SECONDS) -> bool:
        """Whether it comes to one of these states in time."""
        return until(lambda: self.now()["state"] in states, seconds)

    def steps(self) -> list[str]:
        """The steps that it took, as the log tells them, oldest first."""
        entries = self.home.activity(resource_id=self.id, status="success")
        return [one["action"] for one in entries]

    def statuses(self) -> tuple[str, str]:
        """What its old key and its new one are now."""
        return self.home.key(self.old)["status"], self.home.key(self.new)["status"]


def rotate(home: Workspace, old: Issued, *, by: Api | None = None, **terms: Any) -> Rotating:
    """Starts the rotation of a key; without terms it is one by hand."""
    body = expect((by or home.admin).post(f"{old.path}/rotations", BY_HAND | terms), 201)
    new = Issued(
        body={**body["new_key"], "api_key": body["api_key"]},
        api=home.admin.with_token(body["api_key"]),
    )
    return Rotating(home=home, old=old, new=new, body=body)


def used_key(home: Workspace, *runtimes: str, **members: Any) -> Issued:
    """A key that these runtimes have used; the worker, where none is named."""
    key = home.admin.create(**{"name": "scheduler-prod", **members})
    for runtime in runtimes or ("worker",):
        assert home.verify(key.token, runtime=runtime)["valid"]
    return key


def evidence_of(rotation: Json, runtime: str) -> Json:
    found = [one for one in rotation["evidence"] if one["runtime"] == runtime]
    return found[0] if found else None


def blockers(body: Json) -> list[tuple[str, str | None]]:
    """What is in the way, without the sentences."""
    for one in body["blocked_by"]:
        assert set(one) == {"code", "runtime", "detail"}
        assert one["detail"]
    return [(one["code"], one["runtime"]) for one in body["blocked_by"]]


def seconds_between(earlier: str, later: str) -> float:
    return (datetime.fromisoformat(later) - datetime.fromisoformat(earlier)).total_seconds()


def in_future(seconds: float) -> str:
    return (datetime.now(UTC) + timedelta(seconds=seconds)).isoformat()


def count_of(home: Workspace) -> tuple[int, int]:
    """How many keys and rotations there are."""
    return len(home.all_keys()), len(expect(home.admin.get("/v1/rotations"), 200))
