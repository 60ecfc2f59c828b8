"""What a server is killed in: each operation as one call, with all that it is to leave behind."""

import itertools
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from tests.acceptance.servers import until
from tests.kills.sites import Json, Reply, Site

PATIENCE_SECONDS = 30.0

_numbers = itertools.count(1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Deed:
    """One call. `is_done` looks, over HTTP, whether it was carried out; it raises where that was
    done by half, and is told the answer, if there was one. To do it `again` is to end alike; it
    may be `undo`ne at last."""

    method: str
    path: str
    token: str = field(repr=False)
    is_done: Callable[[Reply | None], bool]
    body: Json = None
    headers: Mapping[str, str] = field(default_factory=dict)
    again: bool = True
    undo: Callable[[], None] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """A server with a workspace in it: where deeds are prepared."""

    site: Site
    operator: str = field(repr=False)
    admin: str = field(repr=False)
    workspace_id: str

    def ask(self, method: str, path: str, body: Json = None, **headers: str) -> Json:
        return self.site.ask(method, path, self.admin, body, **headers)

    def key(self, **members: Json) -> Json:
        """A new key, in a slot of its own."""
        return self.ask("POST", "/v1/api-keys", {"name": word("key"), "scopes": ["a"], **members})

    def is_let_in(self, token: str) -> bool:
        return self.site.verdict(token, self.operator) == "valid"

    def named(self, name: str) -> list[Json]:
        """The keys of this name."""
        listed = self.ask("GET", f"/v1/api-keys?status=all&service={name.removesuffix('-prod')}")
        return [one for one in listed if one["name"] == name]

    def perform(self, deed: Deed, operation: str = "") -> Reply | None:
        """Makes the call; as the beginning of an operation, if one is named."""
        headers = dict(deed.headers)
        if operation:
            headers["X-Request-Id"] = f"at.{operation}.{next(_numbers)}"
        return self.site.call(deed.method, deed.path, deed.token, deed.body, headers)


def word(kind: str) -> str:
    """A name that nothing else has."""
    return f"{kind}{next(_numbers)}-prod"


def open_stage(site: Site) -> Stage:
    operator = site.place.token
    made = site.ask("POST", "/v1/workspaces", operator, {"name": "kills"})
    return Stage(site=site, operator=operator, admin=made["api_key"], workspace_id=made["id"])


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """A kind of deed, and the rows that it moves: `+keys` adds one, `~keys` changes one. What the
    threads of its `afterplay` do once it is answered belongs to it."""

    name: str
    prepare: Callable[[Stage], Deed]
    effect: Counter[str]
    afterplay: tuple[str, ...] = ()


def effect(changes: int, *moved: str, entries: int = 0) -> Counter[str]:
    return Counter(moved) + Counter(
        {"+changes": changes, "+activity": changes + entries, "~change_head": 1}
    )


# --- keys ----------------------------------------------------------------------------------------


def _create(stage: Stage) -> Deed:
    return _creation(stage, {})


def _create_kept(stage: Stage) -> Deed:
    return _creation(stage, {"Idempotency-Key": word("once")})


def _creation(stage: Stage, headers: Mapping[str, str]) -> Deed:
    name = word("made")

    def is_done(reply: Reply | None) -> bool:
        found = stage.named(name)
        assert len(found) <= 1, f"{len(found)} keys were made at once"
        if reply is not None and reply.status == 201:
            assert [one["id"] for one in found] == [reply.body["id"]], "an answered key is missing"
            token = reply.body["api_key"]
            assert token is None or stage.is_let_in(token), "an answered token is not let in"
        for one in found:
            assert (one["status"], one["version"], one["scopes"]) == ("active", 1, ["a"])
            assert stage.ask("GET", f"/v1/slots/{name}")["owner"] == "ada"
        return bool(found)

    return Deed(
        method="POST",
        path="/v1/api-keys",
        token=stage.admin,
        body={"name": name, "scopes": ["a"], "owner": "ada"},
        headers=headers,
        is_done=is_done,
        again=bool(headers),
    )


def _patch(stage: Stage) -> Deed:
    key, name = stage.key(), word("renamed")

    def is_done(_: Reply | None) -> bool:
        now = stage.ask("GET", f"/v1/api-keys/{key['id']}")
        told = (now["name"], now["scopes"], now["owner"], now["version"])
        assert told in ((name, ["b"], "eve", 2), (key["name"], ["a"], None, 1)), told
        return bool(now["version"] == 2)

    return Deed(
        method="PATCH",
        path=f"/v1/api-keys/{key['id']}",
        token=stage.admin,
        body={"name": name, "scopes": ["b"], "owner": "eve"},
        is_done=is_done,
    )


def _move(
    verb: str, path: str, ends: str, *, first: str | None = None, is_kept: bool = False
) -> Callable[[Stage], Deed]:
    """A deed that moves a key to another status, where the door must agree with the record."""

    def prepare(stage: Stage) -> Deed:
        key = stage.key()
        begins = "active"
        if first is not None:
            stage.ask("POST", f"/v1/api-keys/{key['id']}/{first}")
            begins = "suspended"

        def is_done(_: Reply | None) -> bool:
            status = stage.ask("GET", f"/v1/api-keys/{key['id']}")["status"]
            assert status in (begins, ends), status
            verdict = stage.site.verdict(key["api_key"], stage.operator)
            assert verdict == ("valid" if status == "active" else status), (status, verdict)
            return bool(status == ends)

        return Deed(
            method=verb,
            path=f"/v1/api-keys/{key['id']}{path}",
            token=stage.admin,
            headers={"Idempotency-Key": word("once")} if is_kept else {},
            is_done=is_done,
        )

    return prepare


def _refused(stage: Stage) -> Deed:
    """Somebody without rights tries, and the log tells of it."""
    reader = stage.key(permissions=["keys:read"])
    name = word("stolen")

    def is_done(reply: Reply | None) -> bool:
        assert reply is None or reply.status == 403
        assert stage.named(name) == [], "a refused key was made"
        log = stage.ask("GET", f"/v1/activity-logs?status=failed&actor={reader['id']}")
        return bool(log["items"])

    return Deed(
        method="POST",
        path="/v1/api-keys",
        token=reader["api_key"],
        body={"name": name},
        is_done=is_done,
        again=False,
    )


# --- incidents -----------------------------------------------------------------------------------


def _incident_of(stage: Stage, key: Json) -> Json:
    """The incident over a key, None where there is none; never two of them."""
    found = stage.ask("GET", f"/v1/incidents?state=all&key_id={key['id']}")
    assert len(found) <= 1, f"{len(found)} incidents over one key"
    return stage.ask("GET", f"/v1/incidents/{found[0]['id']}") if found else None


def _opened(stage: Stage, body: Json) -> Json:
    """A new incident that has come on by itself as far as it does. Else it would be chance whether
    the background or what is done next has it do so, and at which points that may be killed."""
    incident = stage.ask("POST", "/v1/incidents", body)
    path = f"/v1/incidents/{incident['id']}"
    has_come_on = until(lambda: stage.ask("GET", path)["state"] != "contained", PATIENCE_SECONDS)
    assert has_come_on, "the incident does not come on"
    return incident


def _contain(stage: Stage) -> Deed:
    keys = [stage.key(), stage.key()]

    def is_done(_: Reply | None) -> bool:
        verdicts = {stage.site.verdict(key["api_key"], stage.operator) for key in keys}
        assert verdicts in ({"valid"}, {"revoked"}), verdicts
        incidents = [one for key in keys if (one := _incident_of(stage, key)) is not None]
        assert len({one["id"] for one in incidents}) <= 1, "two incidents over one containment"
        for one in incidents:
            assert {each["key_id"] for each in one["keys"]} == {key["id"] for key in keys}
        assert (verdicts == {"revoked"}) == bool(incidents)
        return bool(incidents)

    return Deed(
        method="POST",
        path="/v1/incidents",
        token=stage.admin,
        body={"key_ids": [one["id"] for one in keys]},
        headers={"Idempotency-Key": word("once")},
        is_done=is_done,
    )


def _replace_contained(stage: Stage) -> Deed:
    key = stage.key()
    incident = _opened(stage, {"key_ids": [key["id"]]})

    def is_done(reply: Reply | None) -> bool:
        (contained,) = stage.ask("GET", f"/v1/incidents/{incident['id']}")["keys"]
        others = [one for one in stage.named(key["name"]) if one["id"] != key["id"]]
        assert [one["id"] for one in others] == [
            id_ for id_ in [contained["replacement_key_id"]] if id_ is not None
        ], "a replacement that no incident knows, or none of it"
        if reply is not None:
            (made,) = reply.body["replacements"]
            assert made["api_key"] is None or stage.is_let_in(made["api_key"])
        return bool(others)

    return Deed(
        method="POST",
        path=f"/v1/incidents/{incident['id']}/replacements",
        token=stage.admin,
        headers={"Idempotency-Key": word("once")},
        is_done=is_done,
    )


def _false_alarm(stage: Stage) -> Deed:
    key = stage.key()
    incident = _opened(stage, {"key_ids": [key["id"]], "containment": "suspend"})

    def is_done(_: Reply | None) -> bool:
        state = stage.ask("GET", f"/v1/incidents/{incident['id']}")["state"]
        assert stage.is_let_in(key["api_key"]) == (state == "closed"), state
        return bool(state == "closed")

    return Deed(
        method="POST",
        path=f"/v1/incidents/{incident['id']}/close",
        token=stage.admin,
        body={"outcome": "false_alarm"},
        headers={"Idempotency-Key": word("once")},
        is_done=is_done,
    )


# --- slots and workspaces ------------------------------------------------------------------------


def _slot(stage: Stage) -> Deed:
    return _slot_put(stage, word("slot"))


def _slot_changed(stage: Stage) -> Deed:
    name = word("slot")
    stage.ask("PUT", f"/v1/slots/{name}", {"owner": "ada"})
    return _slot_put(stage, name)


def _slot_put(stage: Stage, name: str) -> Deed:
    def is_done(_: Reply | None) -> bool:
        reply = stage.site.call("GET", f"/v1/slots/{name}", stage.admin)
        assert reply is not None
        return reply.status == 200 and bool(reply.body["owner"] == "eve")

    return Deed(
        method="PUT",
        path=f"/v1/slots/{name}",
        token=stage.admin,
        body={"owner": "eve"},
        is_done=is_done,
    )


def _workspace(stage: Stage) -> Deed:
    name = word("tenant")

    def is_done(reply: Reply | None) -> bool:
        listed = stage.site.ask("GET", "/v1/workspaces?limit=1000", stage.operator)
        found = [one for one in listed if one["name"] == name]
        assert len(found) <= 1
        for one in found:
            keys = stage.site.ask(
                "GET", "/v1/api-keys", stage.operator, **{"Keyturn-Workspace": one["id"]}
            )
            assert len(keys) == 1, "a workspace without its administrator"
        if reply is not None and reply.body["api_key"] is not None:
            assert stage.is_let_in(reply.body["api_key"])
        return bool(found)

    return Deed(
        method="POST",
        path="/v1/workspaces",
        token=stage.operator,
        body={"name": name},
        headers={"Idempotency-Key": word("once")},
        is_done=is_done,
    )


def _workspace_suspended(stage: Stage) -> Deed:
    tenant = stage.site.ask("POST", "/v1/workspaces", stage.operator, {"name": word("tenant")})

    def is_done(_: Reply | None) -> bool:
        path = f"/v1/workspaces/{tenant['id']}"
        status = stage.site.ask("GET", path, stage.operator)["status"]
        assert stage.is_let_in(tenant["api_key"]) == (status == "active")
        return bool(status == "suspended")

    return Deed(
        method="PATCH",
        path=f"/v1/workspaces/{tenant['id']}",
        token=stage.operator,
        body={"status": "suspended"},
        is_done=is_done,
    )


# --- what moves nothing but records of use -------------------------------------------------------


def _verify(stage: Stage) -> Deed:
    """Its points are those of the recording, which comes a moment after the answer."""
    key = stage.key()

    def is_done(_: Reply | None) -> bool:
        # Whether a use was recorded is the ledger's business: once, or not, but never by half.
        return stage.is_let_in(key["api_key"])

    return Deed(
        method="POST",
        path="/v1/verify",
        token=stage.operator,
        body={"api_key": key["api_key"], "runtime": "worker"},
        is_done=is_done,
    )


OPERATIONS = (
    Operation(
        name="create",
        prepare=_create,
        effect=effect(2, "+keys", "+slots"),
        afterplay=("recording", "watching"),
    ),
    Operation(
        name="create-kept",
        prepare=_create_kept,
        effect=effect(2, "+keys", "+slots", "+idempotency"),
    ),
    Operation(name="patch", prepare=_patch, effect=effect(2, "~keys", "~slots")),
    Operation(
        name="suspend",
        prepare=_move("POST", "/suspend", "suspended", is_kept=True),
        effect=effect(1, "~keys", "+idempotency"),
    ),
    Operation(
        name="resume",
        prepare=_move("POST", "/resume", "active", first="suspend"),
        effect=effect(1, "~keys"),
    ),
    Operation(
        name="revoke",
        prepare=_move("DELETE", "", "revoked"),
        effect=effect(1, "~keys"),
    ),
    Operation(
        name="compromise",
        prepare=_move("DELETE", "?reason=compromised", "revoked"),
        effect=effect(2, "~keys", "+incidents", "+incident_keys"),
    ),
    Operation(
        name="contain",
        prepare=_contain,
        effect=effect(
            3, "~keys", "~keys", "+incidents", "+incident_keys", "+incident_keys", "+idempotency"
        ),
    ),
    Operation(
        name="replace-contained",
        prepare=_replace_contained,
        effect=effect(1, "+keys", "~incident_keys", "+idempotency", entries=1),
    ),
    Operation(
        name="false-alarm",
        prepare=_false_alarm,
        effect=effect(1, "~keys", "+idempotency"),
    ),
    Operation(name="refusal", prepare=_refused, effect=effect(0, entries=1)),
    Operation(name="slot", prepare=_slot, effect=effect(1, "+slots")),
    Operation(name="slot-changed", prepare=_slot_changed, effect=effect(1, "~slots")),
    Operation(
        name="workspace",
        prepare=_workspace,
        effect=effect(3, "+workspaces", "+keys", "+slots", "+idempotency"),
    ),
    Operation(
        name="workspace-suspended",
        prepare=_workspace_suspended,
        effect=effect(1, "~workspaces"),
    ),
    Operation(name="verify", prepare=_verify, effect=Counter(), afterplay=("recording",)),
)
