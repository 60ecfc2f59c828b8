"""What callers are told while a node is silent: of a change, and of a verification in grace."""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime, timedelta

import httpx2
import pytest

from tests.acceptance.servers import until
from tests.nodes.nodes import PATIENCE_SECONDS, Group, Json, Node, propagation_of

WAITED_SECONDS = 10.0
# Longer than a busy machine takes from a call to the next one.
LONG_LEASE_SECONDS = 10
GRACE_SECONDS = 120


def states(group: Group, node: Node, key: Json) -> dict[str, str]:
    answer = node.call("GET", f"/v1/api-keys/{key['id']}/propagation", group.operator)
    assert answer.status_code == 200
    body = answer.json()
    waits = any(one["state"] == "waiting" for one in body["nodes"])
    assert body["state"] == ("pending" if waits else "complete")
    return {one["name"]: one["state"] for one in body["nodes"]}


def revoke(group: Group, node: Node, key: Json, **headers: str) -> httpx2.Response:
    return node.call("DELETE", f"/v1/api-keys/{key['id']}", group.operator, headers=headers)


def give_grace(group: Group, node: Node, key: Json, seconds: int = GRACE_SECONDS) -> None:
    path = f"/v1/workspaces/{key['workspace_id']}"
    answer = node.call("PATCH", path, group.operator, {"grace_seconds": seconds})
    assert answer.status_code == 200


def effective_in(answer: httpx2.Response) -> timedelta:
    told = datetime.fromisoformat(answer.headers["Keyturn-Effective-By"])
    return told - datetime.now(UTC)


def test_who_would_not_wait_is_told_by_when_and_can_look_where(group: Group) -> None:
    here, there = group.start(), group.start(freshness_seconds=str(LONG_LEASE_SECONDS))
    key, other = group.key(here), group.key(here)
    assert there.verify(group.operator, key["api_key"]) == "valid"
    there.pause()
    began = time.monotonic()
    answer = revoke(group, here, key, Prefer="respond-async")
    assert (answer.status_code, answer.content) == (202, b"")
    assert answer.headers["Preference-Applied"] == "respond-async"
    assert time.monotonic() - began < LONG_LEASE_SECONDS
    assert timedelta() < effective_in(answer) < timedelta(seconds=LONG_LEASE_SECONDS + 1)
    assert states(group, here, key)[there.name] == "waiting"
    assert until(lambda: states(group, here, key)[there.name] == "expired", PATIENCE_SECONDS)
    counted_out = propagation_of(revoke(group, here, other))
    assert (counted_out["state"], counted_out["nodes"]) == ("complete", "2")
    assert counted_out["expired"] == "1"
    there.go_on()
    assert until(lambda: states(group, here, key)[there.name] == "confirmed", PATIENCE_SECONDS)
    assert "expired" not in propagation_of(revoke(group, here, other))


def test_after_ten_seconds_a_change_is_accepted_with_the_time_of_the_grace(group: Group) -> None:
    here, there = group.start(), group.start()
    key = group.key(here)
    give_grace(group, here, key)
    there.pause()
    began = time.monotonic()
    answer = here.call("POST", f"/v1/api-keys/{key['id']}/suspend", group.operator)
    assert time.monotonic() - began >= WAITED_SECONDS
    assert (answer.status_code, answer.json()["status"]) == (202, "suspended")
    assert "Preference-Applied" not in answer.headers
    assert effective_in(answer) > timedelta(seconds=GRACE_SECONDS - WAITED_SECONDS - 5)
    assert here.verify(group.operator, key["api_key"]) == "suspended"


def test_what_is_sent_again_to_another_node_is_waited_for_there(group: Group) -> None:
    here, there, silent = (group.start() for _ in range(3))
    key = group.key(here)
    silent.pause()
    path = f"/v1/api-keys/{key['id']}/suspend"
    asked = {"Idempotency-Key": "a", "Prefer": "respond-async"}
    first = here.call("POST", path, group.operator, headers=asked)
    again = there.call("POST", path, group.operator, headers={"Idempotency-Key": "a"})
    assert (first.status_code, again.status_code) == (202, 200)
    assert again.headers["Idempotency-Replayed"] == "true"
    assert again.json() == first.json()
    assert propagation_of(again)["expired"] == "1"


def test_a_caller_that_hangs_up_loses_no_change(group: Group) -> None:
    here, there = group.start(), group.start()
    key = group.key(here)
    give_grace(group, here, key)
    there.pause()
    headers = {"Authorization": f"Bearer {group.operator}"}
    with pytest.raises(httpx2.ReadTimeout):
        here.client.request(
            "DELETE", f"/v1/api-keys/{key['id']}", headers=headers, timeout=httpx2.Timeout(1.0)
        )
    assert here.verify(group.operator, key["api_key"]) == "revoked"
    assert revoke(group, here, key, Prefer="respond-async").status_code == 202


def test_a_node_that_is_stopped_waits_for_no_wait(group: Group) -> None:
    here, there = group.start(), group.start()
    key = group.key(here)
    give_grace(group, here, key)
    there.pause()
    with ThreadPoolExecutor(1) as threads:
        waiting = threads.submit(revoke, group, here, key)
        assert until(
            lambda: here.verify(group.operator, key["api_key"]) == "revoked", PATIENCE_SECONDS
        )
        assert here.server.stop() == 0
        with suppress(httpx2.HTTPError):  # it is not answered, or as one that failed
            assert waiting.result().status_code >= 202
    there.go_on()
    assert until(
        lambda: there.verify(group.operator, key["api_key"]) == "revoked", PATIENCE_SECONDS
    )


def asks(node: Node, caller: str, subject: str) -> Callable[[], Json]:
    def ask() -> Json:
        answer = node.call("POST", "/v1/verify", caller, {"api_key": subject})
        return {**answer.json(), "header": answer.headers.get("Keyturn-Grace")}

    return ask


def test_grace_is_told_in_the_answer_and_is_for_known_keys_of_its_workspace_alone(
    group: Group,
) -> None:
    here = group.start(behind_proxy=True)
    key, unknown = group.key(here), group.key(here)
    give_grace(group, here, key)
    ask = asks(here, group.operator, key["api_key"])
    fresh = ask()
    assert (fresh["code"], fresh["grace"], fresh["header"]) == ("valid", None, None)
    assert here.proxy is not None
    here.proxy.fall_silent()
    assert until(lambda: ask().get("grace") is not None, PATIENCE_SECONDS)
    late = ask()
    assert late["valid"]
    assert late["grace"] == {"late_seconds": int(late["header"])}
    assert late["as_of"] == fresh["as_of"]
    # What is not known here cannot be asked for now, and is not guessed.
    assert here.verify(group.operator, unknown["api_key"]) == "freshness_lost"


def test_without_grace_a_node_that_is_cut_off_refuses_to_guess(group: Group) -> None:
    here = group.start(behind_proxy=True)
    key, revoked = group.key(here), group.key(here)
    revoke(group, here, revoked)
    for one, code in ((key, "valid"), (revoked, "revoked")):
        assert here.verify(group.operator, one["api_key"]) == code
    assert here.proxy is not None
    here.proxy.fall_silent()
    for one in (key, revoked):
        ask = asks(here, group.operator, one["api_key"])
        assert until(lambda ask=ask: ask()["code"] == "freshness_lost", PATIENCE_SECONDS)  # type: ignore[misc]
    ready = here.client.get("/readyz")
    assert ready.status_code == 503
