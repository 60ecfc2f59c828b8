"""A small world around one rotation, with every order in which its acts can happen.

Three workloads: `a` and `b` call at least once a tick, `c` at least once in three, as it declared.
Each is deployed with the old token, with the new one or, over several instances, with both; `a`
may be rolled back once. A thief has the old token, calls without end under a new name and under
that of `a`, and in the name of another even with the new token, always from elsewhere. The server
may be down for as long as it likes. Persons may end it, try a brown-out, roll it back, and say who
is an intruder.

Time is counted in ticks, backwards from now, and what is longer ago than any rule looks is one age.
So a state is a small tuple, and the judgement, the next act and the record are those of production.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache
from typing import NamedTuple

from keyturn.domain.continuity import broken_by_step
from keyturn.domain.evidence import Evidence, Use
from keyturn.domain.key import Key, KeyState, RevocationReason
from keyturn.domain.progress import next_act
from keyturn.domain.rotation import (
    MOST_LIFTS,
    Brownout,
    Ending,
    Rotation,
    RotationAct,
    RotationState,
    RotationTerms,
    Standing,
)
from tests.rotation.scene import (
    AWAY,
    HOME,
    LOOKBACK,
    NEW,
    OLD,
    STARTED,
    Scene,
    moment,
    new_use,
    old_use,
    registered,
    said,
)

TICK = 100
NOW = 1_000 * TICK  # seconds after the start
QUIET = 150  # longer than a tick: whoever is steady calls more often
INTERVAL = 3
CAP = INTERVAL + 1
STEADY_CAP = 2


class Caller(NamedTuple):
    """One workload: what it holds, and what was recorded of it. Ages are in ticks."""

    holds: str = "old"
    since: int = 0  # its last call, let in or not
    shown: str = "old"  # with what of that it has called since it has it
    old: int = 0
    new: int | None = None
    is_met: bool = False  # refused the old key since the brown-out began

    def aged(self, cap: int) -> "Caller":
        new = None if self.new is None else min(self.new + 1, STEADY_CAP)
        since = min(self.since + 1, 1 if cap == STEADY_CAP else INTERVAL)
        return self._replace(since=since, old=min(self.old + 1, cap), new=new)

    def deployed(self, holds: str) -> "Caller":
        shown = _common(self.shown, holds)
        return self._replace(holds=holds, shown=shown)

    def called(self, *, is_browned: bool) -> "Caller":
        uses_old = self.holds != "new"
        return self._replace(
            since=0,
            shown=self.holds,
            old=0 if uses_old and not is_browned else self.old,
            is_met=self.is_met or (uses_old and is_browned),
            new=0 if self.holds != "old" else self.new,
        )


class World(NamedTuple):
    """A state. `brownout` and `lifted` are ages, `watched` that of the process, None while down."""

    a: Caller = Caller()
    b: Caller | None = Caller()
    c: Caller | None = Caller()
    state: RotationState = RotationState.OVERLAPPING
    brownout: int | None = None
    is_trial: bool = False
    lifts: int = 0
    lifted: int | None = None
    watched: int | None = STEADY_CAP
    thief: tuple[str, ...] = ()
    is_decided: bool = False
    returns: int = 1

    @property
    def callers(self) -> Iterator[tuple[str, Caller]]:
        yield "a", self.a
        if self.b is not None:
            yield "b", self.b
        if self.c is not None:
            yield "c", self.c

    @property
    def is_open(self) -> bool:
        return self.state in (RotationState.OVERLAPPING, RotationState.BROWNOUT)

    @property
    def is_browned(self) -> bool:
        return self.state is RotationState.BROWNOUT


class CutOff(AssertionError):
    """A healthy workload lost its key, though nobody forced that."""


Judge = Callable[[Scene], Evidence]


def as_built(scene: Scene) -> Evidence:
    return scene.judged()


class Laws:
    """What may happen in a world next. `judge` decides, as production does or wrongly."""

    def __init__(
        self, judge: Judge = as_built, *, has_brownout: bool = True, has_thief: bool = False
    ) -> None:
        self._judge = judge
        self._brownout_seconds = QUIET if has_brownout else 0
        self._has_thief = has_thief
        self.weigh = cache(self._weigh)
        self.outcomes = cache(self._outcomes)

    def following(self, world: World) -> Iterator[tuple[str, World]]:
        """Every act that is possible now, with what comes of it. Raises `CutOff`."""
        if not world.is_open:
            return
        yield from self._callers(world)
        yield from _passing(world)
        if self._has_thief:
            yield from _thief(world)
        if world.watched is not None:
            yield from self._steps(world)

    # --- the workloads ---------------------------------------------------------------------------

    def _callers(self, world: World) -> Iterator[tuple[str, World]]:
        for name, caller in world.callers:
            if world.watched is not None:
                called = caller.called(is_browned=world.is_browned)
                yield f"{name} calls", _with(world, name, called)
            for holds in _deployments(name, caller.holds):
                yield f"{name} gets {holds}", _with(world, name, caller.deployed(holds))
        if world.returns and world.a.holds != "old":
            returned = world._replace(a=world.a.deployed("old"), returns=world.returns - 1)
            yield "a is rolled back", returned

    # --- the rotation ----------------------------------------------------------------------------

    def _steps(self, world: World) -> Iterator[tuple[str, World]]:
        """What the rotation does by itself, and what persons do to it. Raises `CutOff`."""
        for one in self.outcomes(evidence_of(world)):
            if one.retires is not None:
                require_nobody_needs(one.retires, world)
            yield one.act, one.applied(world)

    def _outcomes(self, world: World) -> tuple["Outcome", ...]:
        """Every step that is open on this evidence, with the record that production makes of it."""
        case = self.weigh(world)
        evidence = case.evidence
        found = []
        act = next_act(case.rotation, case.old, evidence, case.scene.observation)
        if act is not None:
            found.append(self._taken(f"it does {act}", case, act))
        if evidence.allows_person and not world.is_browned:
            begins = RotationAct.BROWN_OUT if self._brownout_seconds else RotationAct.COMPLETE
            found.append(self._taken("a person completes", case, begins))
        if evidence.allows_person and world.is_trial:
            meant = case.rotation.meant(moment(NOW))
            found.append(Outcome("a person means it", meant))
        if not world.is_browned:
            found.append(self._taken("a person tries", case, RotationAct.BROWN_OUT, is_trial=True))
        if not evidence.only_on_new:
            found.append(self._taken("a person rolls back", case, RotationAct.ROLL_BACK))
        if evidence.conflicts:
            found.append(Outcome("a person decides", None))
        return (*found, self._cancelled(case, is_old=True), self._cancelled(case, is_old=False))

    def _taken(
        self, label: str, case: "Case", act: RotationAct, *, is_trial: bool = False
    ) -> "Outcome":
        rotation, old, new, now = case.rotation, case.old, case.new, moment(NOW)
        retires = None
        match act:
            case RotationAct.BROWN_OUT:
                seconds = self._brownout_seconds or QUIET
                brownout = Brownout(began_at=now, seconds=seconds, is_trial=is_trial, is_ours=True)
                after, old = rotation.browned_out(brownout, now), old.suspended(now)
            case RotationAct.LIFT:
                after, old = rotation.lifted(case.evidence.met, now), old.resumed(now)
            case RotationAct.COMPLETE:
                after, retires = rotation.ended(act, _ending(forced=False)), "old"
                old = old.revoked(RevocationReason.SUPERSEDED, now)
            case _:
                after, retires = rotation.ended(act, _ending(forced=False)), "new"
                old, new = old.resumed(now), new.revoked(RevocationReason.UNUSED, now)
        broken = broken_by_step(rotation, after, old, new, now)
        assert broken == [], (broken, label)
        return Outcome(label, after, retires)

    def _cancelled(self, case: "Case", *, is_old: bool) -> "Outcome":
        now = moment(NOW)
        gone = (case.old if is_old else case.new).revoked(RevocationReason.COMPROMISED, now)
        left = case.new if is_old else case.old.resumed(now)
        after = case.rotation.ended(RotationAct.CANCEL, _ending(forced=True))
        broken = broken_by_step(
            case.rotation, after, *((gone, left) if is_old else (left, gone)), now
        )
        assert broken == [], broken
        assert left.state is KeyState.ACTIVE, "the other key works on"
        return Outcome(f"compromise {'old' if is_old else 'new'}", after)

    # --- the records -----------------------------------------------------------------------------

    def _weigh(self, world: World) -> "Case":
        rotation = replace(
            STARTED,
            terms=RotationTerms(
                quiet_seconds=QUIET,
                brownout_seconds=self._brownout_seconds,
                lookback_seconds=LOOKBACK,
                auto_complete=True,
            ),
            state=world.state,
            brownout=None
            if world.brownout is None
            else Brownout(
                began_at=ago(world.brownout), seconds=QUIET, is_trial=world.is_trial, is_ours=True
            ),
            lifts=world.lifts,
            lifted_at=None if world.lifted is None else ago(world.lifted),
        )
        old = replace(OLD, state=KeyState.SUSPENDED) if world.is_browned else OLD
        scene = Scene(
            at=NOW,
            uses=list(_uses(world)),
            expected=() if world.c is None else registered("c", seconds=INTERVAL * TICK),
            decisions=tuple(said(Standing.INTRUDER, name, AWAY) for name in "abc")
            if world.is_decided
            else (),
            watched_since=NOW - (world.watched or 0) * TICK,
            rotation=rotation,
            old=old,
        )
        return Case(rotation, old, NEW, scene, self._judge(scene))


class Case(NamedTuple):
    """What is judged, and how it is judged."""

    rotation: Rotation
    old: Key
    new: Key
    scene: Scene
    evidence: Evidence


class Outcome(NamedTuple):
    """A step: the record after it, None for a word of a person's, and the key that it retires."""

    act: str
    after: Rotation | None
    retires: str | None = None

    def applied(self, world: World) -> World:
        if self.after is None:
            return world._replace(is_decided=True)
        return _read_back(world, self.after)


def evidence_of(world: World) -> World:
    """The world as far as anybody can know it: not what is deployed where."""
    callers = {
        name: Caller(old=one.old, new=one.new, is_met=one.is_met) for name, one in world.callers
    }
    return world._replace(**callers, returns=0)  # type: ignore[arg-type]


def require_nobody_needs(key: str, world: World) -> None:
    """Raises `CutOff` if a workload that has called as it is deployed now loses that key."""
    for name, caller in world.callers:
        if caller.shown in (key, "both"):
            raise CutOff(f"{name} still needs the {key} key in {world}")


def _common(one: str, other: str) -> str:
    if "both" in (one, other):
        return other if one == "both" else one
    return one if one == other else "none"


def _with(world: World, name: str, caller: Caller) -> World:
    return world._replace(**{name: caller})  # type: ignore[arg-type]


def _deployments(name: str, holds: str) -> tuple[str, ...]:
    if holds == "old":
        return ("new",) if name == "c" else ("both", "new")
    return ("new",) if holds == "both" else ()


def _passing(world: World) -> Iterator[tuple[str, World]]:
    """Time passes; who has not called for so long that it must, calls just before that. A server
    that is down hears nobody."""
    is_down = world.watched is None
    aged = {}
    for name, one in world.callers:
        must_call = not is_down and one.since >= _patience(name)
        called = one.called(is_browned=world.is_browned) if must_call else one
        aged[name] = called.aged(CAP if name == "c" else STEADY_CAP)
    older = world._replace(
        brownout=_older(world.brownout, STEADY_CAP),
        lifted=_older(world.lifted, CAP),
        watched=_older(world.watched, STEADY_CAP),
    )
    yield "a tick", older._replace(**aged)  # type: ignore[arg-type]
    yield (
        ("it comes back", world._replace(watched=0))
        if is_down
        else (
            "it crashes",
            world._replace(watched=None),
        )
    )


def _thief(world: World) -> Iterator[tuple[str, World]]:
    for act in ("z old", "a old", "b new" if world.c is None else "c new"):
        if act not in world.thief and world.watched is not None:
            yield f"thief {act}", world._replace(thief=tuple(sorted({*world.thief, act})))


def _patience(name: str) -> int:
    """So many ticks after its last call it calls again at the latest."""
    return INTERVAL if name == "c" else 1


def _older(age: int | None, cap: int) -> int | None:
    return None if age is None else min(age + 1, cap)


def ago(ticks: int) -> int:
    return moment(NOW - ticks * TICK)


def _uses(world: World) -> Iterator[Use]:
    for name, caller in world.callers:
        denied = ago(0) if caller.is_met else None
        last = NOW - caller.old * TICK
        yield old_use(name, -LOOKBACK, last, place=HOME, last_denied_at=denied)
        if caller.new is not None:
            yield new_use(name, 1, NOW - caller.new * TICK, place=HOME)
    for act in world.thief:
        name, key = act.split()
        yield (old_use if key == "old" else new_use)(name, 1, NOW, place=AWAY)


def _read_back(world: World, rotation: Rotation) -> World:
    """The world after its rotation has become this one."""
    if not rotation.is_open:
        return World(state=rotation.state)  # whatever else there was, nothing follows
    now, brownout = moment(NOW), rotation.brownout
    is_same = brownout is not None and world.brownout is not None
    callers = {name: one._replace(is_met=one.is_met and is_same) for name, one in world.callers}
    after = world._replace(
        state=rotation.state,
        brownout=None if brownout is None else world.brownout if is_same else 0,
        is_trial=brownout is not None and brownout.is_trial,
        lifts=min(rotation.lifts, MOST_LIFTS),
        lifted=0 if rotation.lifted_at == now else world.lifted,
    )
    return after._replace(**callers)  # type: ignore[arg-type]


def _ending(*, forced: bool) -> Ending:
    return Ending(
        at=moment(NOW),
        by="",
        reason="",
        is_forced=forced,
        evidence="{}",
        evidence_until=moment(NOW),
    )
