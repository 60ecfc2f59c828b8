"""Kills in what rotations do by themselves: a brown-out begins, is lifted, the old key is retired,
something is found and is found no more.

A server dies in such a step, and the next one must go on from what stands there: each step is taken
once, with one entry, no key is left in between, and nobody has to do anything.
"""

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from tests.acceptance.servers import until
from tests.kills.figures import Figures
from tests.kills.named import is_weighty
from tests.kills.operations import Stage, open_stage
from tests.kills.sites import Json, Site, died

PATIENCE_SECONDS = 30.0
THREAD = "rotating: "
_ELSEWHERE = ("requests", "uses", "key_usage", "COMMIT #")
TERMS = {"quiet_seconds": 0, "brownout_seconds": 1}


@dataclass(slots=True, kw_only=True)
class Scene:
    """A rotation that is about to do something by itself, upon its `cue`. A use that was neither
    kept nor answered when the server died is known to nobody, so `is_over` begins with it.
    `entries` are the steps that its log must tell of at last, each exactly so often."""

    begun: Json = field(repr=False)
    old: Json = field(repr=False)
    cue: Callable[[str], None]
    is_over: Callable[[], bool]
    entries: Counter[str]
    findings: Counter[str]


def _open(stage: Stage, terms: Json) -> tuple[Json, Json]:
    old = stage.key()
    _use(stage, old["api_key"])
    return old, stage.ask("POST", f"/v1/api-keys/{old['id']}/rotations", terms)


def _use(stage: Stage, token: str, runtime: str = "worker") -> str:
    body = {"api_key": token, "runtime": runtime}
    return str(stage.site.ask("POST", "/v1/verify", stage.operator, body)["code"])


def _ends_by_itself(stage: Stage, brownout_seconds: int) -> Scene:
    old, begun = _open(stage, TERMS | {"brownout_seconds": brownout_seconds})
    path = f"/v1/rotations/{begun['id']}"

    def is_over() -> bool:
        assert _use(stage, begun["api_key"]) == "valid"
        return bool(stage.ask("GET", path)["state"] == "completed")

    steps = ["started", *(["browned_out"] if brownout_seconds else []), "completed"]
    return Scene(
        begun=begun,
        old=old,
        cue=lambda id_: _cue(stage, begun["api_key"], "worker", id_),
        is_over=is_over,
        entries=Counter(steps),
        findings=Counter(),
    )


def _cue(stage: Stage, token: str, runtime: str, request_id: str) -> None:
    """A use upon which the rotation does something; the server may die before it answers."""
    body, headers = {"api_key": token, "runtime": runtime}, {"X-Request-Id": request_id}
    stage.site.call("POST", "/v1/verify", stage.operator, body, headers)


def _complete(stage: Stage) -> Scene:
    return _ends_by_itself(stage, 0)


def _browned_out(stage: Stage) -> Scene:
    return _ends_by_itself(stage, 1)


def _lifted(stage: Stage) -> Scene:
    """A brown-out meets one of ours: it is lifted, and counted as such."""
    old, begun = _open(stage, {"quiet_seconds": 3_600, "overlap_seconds": 86_400})
    path = f"/v1/rotations/{begun['id']}"
    stage.ask("POST", f"{path}/brownout", {"brownout_seconds": 600})

    def is_over() -> bool:
        code = _use(stage, old["api_key"])
        return code == "valid" and bool(stage.ask("GET", path)["state"] == "overlapping")

    return Scene(
        begun=begun,
        old=old,
        cue=lambda id_: _cue(stage, old["api_key"], "worker", id_),
        is_over=is_over,
        entries=Counter(["started", "browned_out", "lifted"]),
        findings=Counter(),
    )


def _found(stage: Stage) -> Scene:
    """A stranger is found, and is found no more once the rotation has ended by itself."""
    terms = {"quiet_seconds": 0, "brownout_seconds": 0, "auto_complete": False}
    old, begun = _open(stage, terms)

    def is_over() -> bool:
        _use(stage, old["api_key"], "thief")
        found = stage.ask("GET", f"/v1/findings?state=all&subject_id={begun['id']}")
        return [one["kind"] for one in found] == ["stranger_on_old_key"]

    return Scene(
        begun=begun,
        old=old,
        cue=lambda id_: _cue(stage, old["api_key"], "thief", id_),
        is_over=is_over,
        entries=Counter(["started"]),
        findings=Counter(["opened"]),
    )


SCENES: dict[str, Callable[[Stage], Scene]] = {
    "ends": _complete,
    "browns-out": _browned_out,
    "lifts": _lifted,
    "finds": _found,
}


def survey_scene(site: Site, name: str) -> list[str]:
    """The points that the step passes, in the thread that rotates alone. Which thread keeps what
    was noted, and so how many commits there are, is a matter of time."""
    site.start(**site.place.noting())
    stage = open_stage(site)
    scene = SCENES[name](stage)
    scene.cue(f"at.{name}.1")
    assert until(lambda: _is_there(stage, scene), PATIENCE_SECONDS), name
    site.kill()
    passed = dict.fromkeys(site.place.points)
    own = [one for one in passed if one.startswith(f"{name}/{THREAD}") and is_weighty(one)]
    return [one for one in own if not any(word in one for word in _ELSEWHERE)]


def _is_there(stage: Stage, scene: Scene) -> bool:
    """As `is_over`, looked up behind its back: a call would end the operation."""
    now = stage.site.ledger()
    told = {(row["action"], row["resource_id"]) for row in now.rows("activity")}
    last = list(scene.entries)[-1]
    if scene.findings:
        rows = now.rows("findings")
        return any(row["subject_id"] == scene.begun["id"] for row in rows)
    return (f"rotation.{last}", scene.begun["id"]) in told


class AutomationKills:
    """Kills one site's server in one step of a rotation after the other."""

    def __init__(self, site: Site, figures: Figures) -> None:
        self._site = site
        self._figures = figures
        self._stage: Stage | None = None

    def run(self, name: str, points: Iterable[str]) -> None:
        last: tuple[str, Scene] | None = None
        for point in points:
            self._start(**self._site.place.mortal(point))
            self._judge(last)
            self._stage = self._stage or open_stage(self._site)
            scene = SCENES[name](self._stage)
            server = self._site.server
            assert server is not None
            scene.cue(f"at.{name}.{self._figures.points}")
            if not died(server):
                self._figures.faults.append(f"{point} was not passed")
                server.kill()
                last = None
                continue
            self._figures.points += 1
            self._figures.kills += 1
            last = (point, scene)
        self._start()
        self._judge(last)
        self._site.kill()

    def _start(self, **settings: str) -> None:
        self._site.start(**settings)
        self._figures.started(self._site.readiness[-1])

    def _judge(self, last: tuple[str, Scene] | None) -> None:
        """Whether the rotation goes on by itself, and each of its steps was taken once."""
        if last is None:
            return
        point, scene = last
        assert self._stage is not None
        self._figures.unanswered += 1
        faults = self._site.faults()
        if not until(scene.is_over, PATIENCE_SECONDS):
            faults.append("it does not go on by itself")
        ledger = self._site.ledger()
        entries = Counter(
            row["action"].partition(".")[2]
            for row in ledger.rows("activity")
            if row["resource_id"] == scene.begun["id"] and row["status"] == "success"
        )
        if entries != scene.entries:
            faults.append(f"steps taken: {dict(entries)}")
        found = {
            row["id"] for row in ledger.rows("findings") if row["subject_id"] == scene.begun["id"]
        }
        told = Counter(
            row["action"].partition(".")[2]
            for row in ledger.rows("activity")
            if row["resource_id"] in found
        )
        if told != scene.findings:
            faults.append(f"findings told of: {dict(told)}")
        faults += self._of_keys(scene)
        self._figures.half += len(faults)
        self._figures.faults += [f"{point}: {fault}" for fault in faults]

    def _of_keys(self, scene: Scene) -> list[str]:
        """The keys are as the rotation's state says, and the door agrees."""
        assert self._stage is not None
        state = self._stage.ask("GET", f"/v1/rotations/{scene.begun['id']}")["state"]
        old = _use(self._stage, scene.old["api_key"])
        new = _use(self._stage, scene.begun["api_key"])
        wanted = ("revoked" if state == "completed" else "valid", "valid")
        return [] if (old, new) == wanted else [f"{state}, and the keys are {old} and {new}"]
