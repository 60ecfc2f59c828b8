"""The steps of rotations that a server is killed in: those that somebody asks for. What rotations
do by themselves stands in `automation.py`."""

from collections.abc import Callable, Mapping

from tests.kills.operations import Deed, Operation, Stage, effect, word
from tests.kills.sites import Json, Reply

# Nothing goes on by itself while the deed is judged.
LONG_SECONDS = 3_600
BY_HAND = {"auto_complete": False, "quiet_seconds": 0, "brownout_seconds": 0}


def _keys(stage: Stage, slot: str) -> dict[str, Json]:
    listed = stage.ask("GET", f"/v1/api-keys?status=all&service={slot.removesuffix('-prod')}")
    return {one["id"]: one for one in listed}


def _rotations(stage: Stage, slot: str) -> list[Json]:
    found = stage.ask("GET", f"/v1/rotations?slot={slot}")
    assert isinstance(found, list)
    return found


def _is_begun(stage: Stage, old: Json, reply: Reply | None) -> bool:
    """Whether a rotation stands there, wholly: no second key but the one that it names."""
    slot = f"{old['service']}-{old['environment']}"
    keys, rotations = _keys(stage, slot), _rotations(stage, slot)
    assert len(rotations) == len(keys) - 1 <= 1, "a key that no rotation knows, or none of it"
    assert stage.is_let_in(old["api_key"]), "the old key is cut off"
    for one in rotations:
        assert {one["old_key_id"], one["new_key_id"]} == set(keys)
        assert (one["state"], one["version"]) == ("overlapping", 1)
    if reply is not None and reply.body["api_key"] is not None:
        assert stage.is_let_in(reply.body["api_key"]), "an answered token is not let in"
    return bool(rotations)


def _give_up(stage: Stage, old: Json) -> Callable[[], None]:
    """S9: a new key whose token nobody was given is known by its rotation, and dies with it."""

    def undo() -> None:
        slot = f"{old['service']}-{old['environment']}"
        for one in _rotations(stage, slot):
            body = {"force": True, "reason": "nobody was given its token"}
            stage.ask("POST", f"/v1/rotations/{one['id']}/rollback", body)
        living = [id_ for id_, key in _keys(stage, slot).items() if key["status"] != "revoked"]
        assert living == [old["id"]], "a key that nobody was given outlives its rotation"
        assert stage.is_let_in(old["api_key"])

    return undo


def _start(stage: Stage) -> Deed:
    return _begin(stage, {})


def _start_kept(stage: Stage) -> Deed:
    return _begin(stage, {"Idempotency-Key": word("once")})


def _begin(stage: Stage, headers: Mapping[str, str]) -> Deed:
    old = stage.key()
    return Deed(
        method="POST",
        path=f"/v1/api-keys/{old['id']}/rotations",
        token=stage.admin,
        body=BY_HAND,
        headers=headers,
        is_done=lambda reply: _is_begun(stage, old, reply),
        undo=_give_up(stage, old),
    )


def _replace(stage: Stage) -> Deed:
    old = stage.key()
    return Deed(
        method="POST",
        path="/v1/api-keys",
        token=stage.admin,
        body={"replaces": old["id"]},
        headers={"Idempotency-Key": word("once")},
        is_done=lambda reply: _is_begun(stage, old, reply),
        undo=_give_up(stage, old),
    )


def _step(
    verb: str,
    body: Json,
    before: tuple[str, str, str],
    after: tuple[str, str, str],
    *,
    terms: Json = None,
    first: tuple[str, Json] | None = None,
    looks: Callable[[Json], bool] | None = None,
) -> Callable[[Stage], Deed]:
    """A step of a rotation that has begun and whose caller has moved. `before` and `after` are the
    states of the rotation, of its old key and of its new one, as they stand and as the door judges
    them; where the states are the same, `looks` tells the two apart."""

    def prepare(stage: Stage) -> Deed:
        old = stage.key()
        use = {"runtime": "worker"}
        stage.site.ask("POST", "/v1/verify", stage.operator, {"api_key": old["api_key"], **use})
        path = f"/v1/api-keys/{old['id']}/rotations"
        begun = stage.ask("POST", path, BY_HAND | (terms or {}))
        if verb == "complete":
            used = {"api_key": begun["api_key"], **use}
            stage.site.ask("POST", "/v1/verify", stage.operator, used)
        path = f"/v1/rotations/{begun['id']}"
        if first is not None:
            stage.ask("POST", f"{path}/{first[0]}", first[1])
        # By this all that was noted is kept, so that no point is of that; an operator's own calls
        # are not noted.
        home = {"Keyturn-Workspace": stage.workspace_id}
        stage.site.ask("GET", path, stage.operator, **home)

        def is_done(_: Reply | None) -> bool:
            now = stage.ask("GET", path)
            keys = _keys(stage, f"{old['service']}-{old['environment']}")
            statuses = [keys[begun[f"{one}_key_id"]]["status"] for one in ("old", "new")]
            state = (now["state"], *statuses)
            assert state in (before, after), state
            for token, status in ((old["api_key"], state[1]), (begun["api_key"], state[2])):
                # To be let in with the new key would be a use of it, which forbids a rollback.
                if token != begun["api_key"] or status != "active" or verb == "complete":
                    verdict = stage.site.verdict(token, stage.operator)
                    assert verdict == ("valid" if status == "active" else status), verdict
            return state == after if looks is None else looks(now)

        return Deed(
            method="POST",
            path=f"{path}/{verb}",
            token=stage.operator,
            body=body,
            headers=home | ({"Idempotency-Key": word("once")} if looks is not None else {}),
            is_done=is_done,
        )

    return prepare


_BOTH = ("overlapping", "active", "active")
_BROWNED = ("brownout", "suspended", "active")
_BACK = ("rolled_back", "active", "revoked")
_DAY = {"overlap_seconds": 2 * 86_400}
_LONG = {"brownout_seconds": LONG_SECONDS}

ROTATIONS = (
    Operation(name="rotate", prepare=_start, effect=effect(2, "+keys", "+rotations")),
    Operation(
        name="rotate-kept",
        prepare=_start_kept,
        effect=effect(2, "+keys", "+rotations", "+idempotency"),
    ),
    Operation(
        name="replace",
        prepare=_replace,
        effect=effect(2, "+keys", "+rotations", "+idempotency"),
    ),
    Operation(
        name="complete",
        prepare=_step("complete", {}, _BOTH, ("completed", "revoked", "active")),
        effect=effect(2, "~keys", "~rotations"),
    ),
    Operation(
        name="complete-by-brownout",
        prepare=_step("complete", {}, _BOTH, _BROWNED, terms=_LONG),
        effect=effect(2, "~keys", "~rotations"),
    ),
    Operation(
        name="roll-back",
        prepare=_step("rollback", {}, _BOTH, _BACK),
        effect=effect(2, "~keys", "~rotations"),
    ),
    Operation(
        name="roll-back-brownout",
        prepare=_step(
            "rollback",
            {},
            _BROWNED,
            _BACK,
            first=("brownout", {"brownout_seconds": LONG_SECONDS}),
        ),
        effect=effect(3, "~keys", "~keys", "~rotations"),
    ),
    Operation(
        name="decide",
        prepare=_step(
            "runtimes",
            {"runtime": "worker", "standing": "waived", "reason": "it is gone"},
            _BOTH,
            _BOTH,
            looks=lambda now: bool(now["decisions"]),
        ),
        effect=effect(1, "~rotations", "+idempotency"),
    ),
    Operation(
        name="extend",
        prepare=_step("extend", _DAY, _BOTH, _BOTH, looks=lambda now: bool(now["version"] == 2)),
        effect=effect(1, "~rotations", "+idempotency"),
    ),
)
