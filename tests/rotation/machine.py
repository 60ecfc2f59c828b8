"""Long random lives of the real services on a real database, beside a small model of them.

The model knows what nobody else does: the true time, and every use that was ever let in, also those
that a crash made Keyturn forget. By that it judges each old key that was retired unforced.
"""

from collections import Counter
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from ipaddress import ip_address
from typing import Any
from uuid import UUID

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from keyturn.domain.continuity import broken_key_move, broken_move, broken_slots, broken_state
from keyturn.domain.error import (
    CheckInMissing,
    EvidenceMissing,
    KeyTerminal,
    KeyturnError,
    RequestInvalid,
    RollbackUnsafe,
    RotationClosed,
    RotationOpen,
    RotationWider,
)
from keyturn.domain.instant import SECOND
from keyturn.domain.key import Key, KeyState, RevocationReason
from keyturn.domain.place import place_of
from keyturn.domain.rotation import Rotation, RotationState, Standing
from keyturn.domain.slot import ExpectedRuntime, SlotNotes
from keyturn.domain.token import Token
from keyturn.domain.verdict import VerdictCode
from keyturn.services.advance import Advancer
from keyturn.services.amend import KeyAmendment, amend_key
from keyturn.services.identify import reference
from keyturn.services.issue import KeyDraft
from keyturn.services.meter import Meter, user_of
from keyturn.services.revoke import resume_key, revoke_key, suspend_key
from keyturn.services.rotate import RotationDraft, replace_key, start_rotation
from keyturn.services.steer import (
    Helm,
    SteeredRotation,
    Waiver,
    complete,
    decide,
    extend,
    roll_back,
    try_brownout,
)
from keyturn.services.verify import Question, verify
from keyturn.services.witness import Witness
from keyturn.storage.rotations import RotationFilter
from tests.houses import House

QUIET = 20
BROWNOUT = 10
INTERVAL = 600
LOOKBACK = 2 * 86_400
HOME, AWAY = ip_address("10.3.4.7"), ip_address("203.0.113.9")
BATCH = "batch"

places = st.integers(0, 1)
runtimes = st.sampled_from(["worker", "reader", BATCH, "thief"])
addresses = st.sampled_from([HOME, HOME, HOME, AWAY])
environments = st.sampled_from([None, "prod", "staging"])
picks = st.integers(0, 5)
rarely = st.sampled_from([False, False, False, True])
reasons = st.sampled_from(list(RevocationReason))


@dataclass(frozen=True, slots=True)
class Used:
    """One use that was let in: when by the true time, and when by the clock on the wall."""

    true: float
    wall: int
    key_id: UUID
    runtime: str
    environment: str | None
    place: str


@dataclass(slots=True)
class Home:
    """What the model knows of one workspace and its one slot."""

    workspace_id: UUID
    tokens: dict[UUID, Token] = field(default_factory=dict)
    keys: dict[UUID, Key] = field(default_factory=dict)
    rotations: dict[UUID, Rotation] = field(default_factory=dict)
    uses: list[Used] = field(default_factory=list)
    check_ins: list[Used] = field(default_factory=list)

    @property
    def open(self) -> Rotation | None:
        return next((one for one in self.rotations.values() if one.is_open), None)

    @property
    def newest(self) -> Rotation | None:
        return list(self.rotations.values())[-1] if self.rotations else None

    def key(self, pick: int) -> Key:
        """One of the newest keys."""
        keys = list(self.keys.values())
        return keys[-1 - pick % min(len(keys), 3)]


COUNTS: Counter[str] = Counter()


class Lives(RuleBasedStateMachine):
    """One house with two workspaces, lived in at random."""

    def __init__(self, build: Callable[[], House]) -> None:
        super().__init__()
        self.house = build()
        self._opened = [self.house]
        self.jumped = [0.0]
        self.act = self.house.act()
        ids = [self.house.workspace_id, self.house.provision("other").workspace.id]
        self.homes = [Home(one) for one in ids]
        notes = SlotNotes(
            runtimes=(ExpectedRuntime(name=BATCH, max_call_interval_seconds=INTERVAL),)
        )
        for home in self.homes:
            issued = self.house.issue(
                workspace_id=home.workspace_id, slot="scheduler-prod", notes=notes, scopes=("read",)
            )
            self._learn(home, issued.view.key, issued.token)
        self._begin()

    def _begin(self) -> None:
        self.meter = Meter(self.house.context)
        self.witness = Witness(self.house.context, self.meter)
        self.advancer = Advancer(self.house.context, self.witness)

    def _learn(self, home: Home, key: Key, token: Token) -> None:
        home.keys[key.id], home.tokens[key.id] = key, token

    @property
    def true(self) -> float:
        return self.house.clock.elapsed()

    # --- time ------------------------------------------------------------------------------------

    @rule(seconds=st.sampled_from([1, 5, 9, 10, 19, 20, 21, 30, 31, 60, 61, 599, 601, 7200]))
    def time_passes(self, seconds: int) -> None:
        """The process looks on, unless so much passes that nobody could."""
        while 9 < seconds < 3_600:
            self.house.clock.advance(9 * SECOND)
            self.witness.observe()
            seconds -= 9
        self.house.clock.advance(seconds * SECOND)

    @rule(seconds=st.sampled_from([-7200, -30, 30, 7200, 5 * 86_400]))
    def the_clock_is_set(self, seconds: int) -> None:
        COUNTS["jumps"] += 1
        self.house.clock.jump(seconds * SECOND)
        self.jumped.append(self.jumped[-1] + max(seconds, 0))

    @rule()
    def it_crashes(self) -> None:
        """What was noted and not kept is lost."""
        COUNTS["crashes"] += 1
        self.house = self.house.again(seed=100 + len(self._opened))
        self._opened[-1].close()
        self._opened.append(self.house)
        self._begin()

    @rule()
    def it_advances(self) -> None:
        self.advancer.step()
        for home in self.homes:
            self._follow(home, is_forced=False)

    # --- callers ---------------------------------------------------------------------------------

    @rule(at=places, pick=picks, runtime=runtimes, address=addresses, environment=environments)
    def a_key_is_used(
        self, at: int, pick: int, runtime: str, address: Any, environment: str | None
    ) -> None:
        self._use(self.homes[at], pick, runtime, address, environment)

    @rule(at=places, environment=environments)
    def ours_follow(self, at: int, environment: str | None) -> None:
        """All of ours call with the newest key."""
        for runtime in ("worker", "reader", BATCH):
            self._use(self.homes[at], 0, runtime, HOME, environment)

    @rule(at=places, pick=st.sampled_from([0, 0, 0, 1]), rounds=st.integers(1, 6))
    def ours_call_for_a_while(self, at: int, pick: int, rounds: int) -> None:
        """All of ours call with one key, and what is due by itself happens meanwhile."""
        for _ in range(rounds):
            for runtime in ("worker", "reader", BATCH):
                self._use(self.homes[at], pick, runtime, HOME, None)
            self.house.clock.advance(7 * SECOND)
            self.it_advances()

    @rule(at=places)
    def ours_begin_to_be_rotated(self, at: int) -> None:
        """The usual way: all of ours use the newest key, and its rotation is started."""
        for runtime in ("worker", "reader", BATCH):
            self._use(self.homes[at], 0, runtime, HOME, None)
        self.it_is_started(at, 0, has_brownout=True, by_itself=True)

    @rule(at=places, pick=picks, runtime=runtimes)
    def a_key_checks_in(self, at: int, pick: int, runtime: str) -> None:
        self._use(self.homes[at], pick, runtime, HOME, None, is_check_in=True)

    def _use(
        self,
        home: Home,
        pick: int,
        runtime: str,
        address: Any,
        environment: str | None,
        *,
        is_check_in: bool = False,
    ) -> None:
        """As the door does it."""
        key = home.key(pick)
        token = home.tokens[key.id]
        now = self.meter.arrive()
        asked = reference(token)
        credential = self.house.store.credentials.read([asked]).found.get(asked.id)
        question = Question(
            token=token,
            request_id="request",
            address=address,
            runtime=runtime,
            environment=environment,
        )
        ring, caller = self.house.context.ring, self.house.operator
        answer = verify(ring, caller, question, credential, now=now, home=home.workspace_id)
        request = replace(answer.request, is_check_in=is_check_in)
        self.meter.note(request)
        user = user_of(request)
        must_keep = user is not None and request.is_valid and self.meter.must_keep(user, now)
        self.meter.depart(now)
        if must_keep:
            self.meter.flush()
        is_allowed = home.keys[key.id].state is KeyState.ACTIVE
        assert (answer.verdict.code is VerdictCode.VALID) is is_allowed
        COUNTS["uses"] += 1
        if is_allowed:
            place = str(place_of(address))
            used = Used(self.true, now, key.id, runtime, environment, place)
            (home.check_ins if is_check_in else home.uses).append(used)

    # --- starting --------------------------------------------------------------------------------

    @rule(at=places, pick=picks, has_brownout=st.booleans(), by_itself=st.booleans())
    def it_is_started(self, at: int, pick: int, *, has_brownout: bool, by_itself: bool) -> None:
        home = self.homes[at]
        old = home.key(pick)
        draft = RotationDraft(
            overlap_seconds=3600,
            quiet_seconds=QUIET,
            brownout_seconds=BROWNOUT if has_brownout else 0,
            lookback_seconds=LOOKBACK,
            auto_complete=True if has_brownout else by_itself,
        )
        present, is_dead = home.open, old.state is KeyState.REVOKED
        with self._refused((KeyTerminal, present is None and is_dead)) as refused:
            started = start_rotation(self.house.context, self.act, home.workspace_id, old.id, draft)
            if present is not None:
                assert started.issued is None
                assert started.rotation.id == present.id
                return
            assert started.issued is not None
            COUNTS["rotations"] += 1
            self._learn(home, started.issued.view.key, started.issued.token)
            home.rotations[started.rotation.id] = started.rotation
        assert not refused or present is None

    @rule(at=places, pick=picks)
    def a_key_is_replaced(self, at: int, pick: int) -> None:
        home = self.homes[at]
        old = home.key(pick)
        is_dead, is_open = old.state is KeyState.REVOKED, home.open is not None
        with self._refused((RotationOpen, is_open), (KeyTerminal, is_dead and not is_open)):
            made = replace_key(
                self.house.context,
                self.act,
                home.workspace_id,
                old.id,
                KeyDraft(),
                frozenset(),
            )
            COUNTS["rotations"] += 1
            self._learn(home, made.issued.view.key, made.issued.token)
            home.rotations[made.rotation.id] = made.rotation

    # --- steering --------------------------------------------------------------------------------

    @rule(at=places, force=rarely, waived=st.none() | runtimes)
    def a_person_completes(self, at: int, *, force: bool, waived: str | None) -> None:
        waive = () if waived is None else (Waiver(runtime=waived, reason="gone"),)
        self._steer(
            at,
            lambda helm: complete(helm, force=force, reason="now" if force else None, waive=waive),
            ends=RotationState.COMPLETED,
            may_be=(RequestInvalid, *(() if force else (EvidenceMissing,))),
            is_forced=force,
        )

    @rule(at=places, force=rarely, keep_both=rarely)
    def a_person_rolls_back(self, at: int, *, force: bool, keep_both: bool) -> None:
        home = self.homes[at]
        rotation, only_new = home.open, self._only_on_new(home)
        self._steer(
            at,
            lambda helm: roll_back(helm, force=force, reason="back", keep_both=keep_both),
            ends=RotationState.ROLLED_BACK,
            may_be=() if force or keep_both else (RollbackUnsafe,),
            is_forced=force,
            keeps_both=keep_both,
        )
        if rotation is not None and not force and not keep_both and only_new:
            assert home.rotations[rotation.id].is_open, f"S10: {only_new} lost their key"

    @rule(at=places, hours=st.integers(0, 5))
    def a_person_extends(self, at: int, hours: int) -> None:
        self._steer(
            at,
            lambda helm: extend(helm, overlap_seconds=hours * 3600),
            may_be=(RequestInvalid,),
        )

    @rule(at=places)
    def a_person_tries_a_brownout(self, at: int) -> None:
        self._steer(at, lambda helm: try_brownout(helm, seconds=5), may_be=(RotationClosed,))

    @rule(
        at=places,
        runtime=runtimes,
        standing=st.sampled_from(list(Standing)),
        address=st.none() | addresses,
    )
    def a_person_decides(self, at: int, runtime: str, standing: Standing, address: Any) -> None:
        place = None if address is None else place_of(address)
        self._steer(
            at,
            lambda helm: decide(
                helm, runtime=runtime, standing=standing, place=place, reason="seen"
            ),
            may_be=(RequestInvalid, CheckInMissing),
        )

    def _steer(
        self,
        at: int,
        move: Callable[[Helm], SteeredRotation],
        *,
        ends: RotationState | None = None,
        may_be: tuple[type[KeyturnError], ...] = (),
        is_forced: bool = False,
        keeps_both: bool = False,
    ) -> None:
        """A person's call on the newest rotation; on one that has ended it changes nothing."""
        home = self.homes[at]
        before = home.newest
        if before is None:
            return
        helm = Helm(
            context=self.house.context,
            witness=self.witness,
            act=self.act,
            workspace_id=home.workspace_id,
            id=before.id,
        )
        is_closed = not before.is_open and before.state is not ends
        try:
            steered = move(helm)
        except RotationClosed:
            assert is_closed or RotationClosed in may_be
        except may_be:
            pass
        else:
            assert not is_closed
            assert before.is_open or steered.rotation == before
        self._follow(home, is_forced=is_forced, keeps_both=keeps_both)

    # --- keys ------------------------------------------------------------------------------------

    @rule(at=places, pick=picks)
    def a_key_is_suspended(self, at: int, pick: int) -> None:
        self._move(at, pick, suspend_key, KeyState.SUSPENDED)

    @rule(at=places, pick=picks)
    def a_key_is_resumed(self, at: int, pick: int) -> None:
        self._move(at, pick, resume_key, KeyState.ACTIVE)

    def _move(self, at: int, pick: int, verb: Callable[..., object], state: KeyState) -> None:
        home = self.homes[at]
        key = home.key(pick)
        with self._refused((KeyTerminal, key.state is KeyState.REVOKED)):
            verb(self.house.context, self.act, home.workspace_id, key.id)
            home.keys[key.id] = replace(key, state=state)
            if home.open is not None and key.id == home.open.old_key_id:
                self._settle(home, state)

    def _settle(self, home: Home, state: KeyState) -> None:
        """A person's word on the old key in a brown-out ends it, or takes the key out of it."""
        before = home.open
        assert before is not None
        after = self._rotations(home)[before.id]
        if before.brownout is not None:
            is_lifted = after.state is RotationState.OVERLAPPING
            assert is_lifted is (state is KeyState.ACTIVE)
            assert is_lifted or (after.brownout is not None and not after.brownout.is_ours)
        home.rotations[before.id] = after

    @rule(at=places, pick=picks, reason=reasons)
    def a_key_is_revoked(self, at: int, pick: int, reason: RevocationReason) -> None:
        home = self.homes[at]
        key, rotation = home.key(pick), home.open
        revoke_key(self.house.context, self.act, home.workspace_id, key.id, reason)
        is_compromised = reason is RevocationReason.COMPROMISED
        home.keys[key.id] = replace(
            key, state=KeyState.REVOKED, compromised=key.compromised or is_compromised
        )
        if rotation is None or key.id not in (rotation.old_key_id, rotation.new_key_id):
            return
        ends = (
            RotationState.COMPLETED if key.id == rotation.old_key_id else RotationState.ROLLED_BACK
        )
        self._follow(home, is_forced=True, keeps_both=True)
        after = home.rotations[rotation.id].state
        assert after is (RotationState.CANCELLED if is_compromised else ends), "S6"

    @rule(at=places, pick=picks, scopes=st.sampled_from([("read",), ("read", "write"), ()]))
    def a_key_is_changed(self, at: int, pick: int, scopes: tuple[str, ...]) -> None:
        home = self.homes[at]
        key, rotation = home.key(pick), home.open
        is_wider = False
        if rotation is not None and key.id in (rotation.old_key_id, rotation.new_key_id):
            pair = [home.keys[one].scopes for one in (rotation.old_key_id, rotation.new_key_id)]
            pair[key.id == rotation.new_key_id] = scopes
            is_wider = scopes != key.scopes and not set(pair[1]) <= set(pair[0])
        is_dead = key.state is KeyState.REVOKED
        with self._refused((KeyTerminal, is_dead), (RotationWider, is_wider and not is_dead)):
            amendment = KeyAmendment(scopes=scopes)
            amend_key(self.house.context, self.act, home.workspace_id, key.id, amendment)
            home.keys[key.id] = replace(key, scopes=scopes)

    @contextmanager
    def _refused(self, *expected: tuple[type[KeyturnError], bool]) -> Any:
        """What is done within is refused by the one that holds, and by no other."""
        wanted = next((error for error, holds in expected if holds), None)
        seen: list[type[KeyturnError]] = []
        try:
            yield seen
        except KeyturnError as error:
            seen.append(type(error))
        assert seen == ([] if wanted is None else [wanted]), (seen, wanted)

    # --- what follows ----------------------------------------------------------------------------

    def _rotations(self, home: Home) -> dict[UUID, Rotation]:
        with self.house.store.read() as reading:
            found = reading.rotations.list(
                home.workspace_id, RotationFilter(), limit=100, before=None
            )
        return {one.id: one for one in found}

    def _follow(self, home: Home, *, is_forced: bool, keeps_both: bool = False) -> None:
        """Does to the model's keys what the rotations say has happened, and judges that."""
        found = self._rotations(home)
        for id_, before in home.rotations.items():
            after = found[id_]
            if after == before:
                continue
            COUNTS[f"-> {after.state}"] += after.state is not before.state
            if after.version == before.version + 1:
                assert broken_move(before, after) == []
            old, new = home.keys[before.old_key_id], home.keys[before.new_key_id]
            if after.state is RotationState.COMPLETED:
                assert is_forced or after.ending is not None
                if after.ending is not None and not after.ending.is_forced:
                    assert is_forced is False
                    self._require_evidence(home, after)
                home.keys[old.id] = replace(old, state=KeyState.REVOKED)
            elif after.state is RotationState.BROWNOUT:
                home.keys[old.id] = replace(old, state=KeyState.SUSPENDED)
            elif _was_ours(before) and old.state is KeyState.SUSPENDED:
                home.keys[old.id] = replace(old, state=KeyState.ACTIVE)
            if after.state is RotationState.ROLLED_BACK and not keeps_both:
                home.keys[new.id] = replace(new, state=KeyState.REVOKED)
            home.rotations[id_] = after

    def _only_on_new(self, home: Home) -> list[str]:
        """Who, by the truth, was last let in with the new key."""
        rotation = home.open
        if rotation is None:
            return []
        last = {one.runtime: one for one in home.uses if one.key_id in _pair(rotation)}
        return [
            name
            for name, one in last.items()
            if one.key_id == rotation.new_key_id and one.wall >= rotation.started_at
        ]

    def _require_evidence(self, home: Home, rotation: Rotation) -> None:
        """S5, S12, S14 by the truth: nobody of ours could still need the old key."""
        COUNTS["judged"] += 1
        for name in {one.runtime for one in home.uses}:
            words = {one.place: one.standing for one in rotation.decisions if one.runtime == name}
            mine = [one for one in home.uses if one.runtime == name]
            old = [one for one in mine if one.key_id == rotation.old_key_id]
            new = [one for one in mine if one.key_id == rotation.new_key_id]
            before = [one for one in old if one.wall <= rotation.started_at]
            is_ours = bool(before) or name == BATCH or Standing.OURS in words.values()
            if not is_ours or not old or words.keys() & _left_out(words):
                continue
            known = {one.place for one in before} | {
                place for place, word in words.items() if word is Standing.OURS and place
            }
            if words.get(None) is not Standing.OURS and known:
                old = [one for one in old if one.place in known]
                new = [one for one in new if one.place in known]
            if not old:
                continue
            rest = self.true - old[-1].true
            has_moved = {one.environment for one in old if one.environment} <= {
                one.environment for one in new
            } and bool(new)
            interval = INTERVAL if name == BATCH else LOOKBACK
            slack = self._jumped_since(old[-1].true)
            assert (has_moved and rest >= QUIET) or rest + slack > interval, (
                f"S5: {name} used the old key {rest} s ago, and has it moved: {has_moved}"
            )

    def _jumped_since(self, true: float) -> float:
        """By how much the clock was set ahead; silence may be taken for longer by that much."""
        return self.jumped[-1] if self.jumped else 0.0

    @invariant()
    def the_records_are_as_the_model_says(self) -> None:
        for home in self.homes:
            found = self._rotations(home)
            assert found == home.rotations
            assert broken_slots(found.values()) == []
            with self.house.store.read() as reading:
                keys = {id_: reading.keys.find(home.workspace_id, id_) for id_ in home.keys}
            for id_, key in keys.items():
                assert key is not None
                known = home.keys[id_]
                assert (key.state, key.compromised) == (known.state, known.compromised)
                assert key.scopes == known.scopes
                assert broken_key_move(replace(known, revoked_at=None), key) == []
                home.keys[id_] = key
            for one in found.values():
                old, new = home.keys[one.old_key_id], home.keys[one.new_key_id]
                assert broken_state(one, old, new) == []

    def teardown(self) -> None:
        COUNTS["lives"] += 1
        try:
            self._require_one_entry_a_step()
        finally:
            self._opened[-1].close()

    def _require_one_entry_a_step(self) -> None:
        """S16: every version of a rotation has one entry, and no entry is without a version."""
        rows = self.house.run(
            "SELECT resource_id, count(*) AS entries, count(DISTINCT resource_version) AS steps"
            " FROM activity WHERE resource_type = 'rotation' GROUP BY resource_id"
        )
        written = {str(one[0]): (int(one[1]), int(one[2])) for one in rows}
        expected = {
            str(one.id): (one.version, one.version)
            for home in self.homes
            for one in home.rotations.values()
        }
        assert written == expected


def _was_ours(rotation: Rotation) -> bool:
    return rotation.brownout is not None and rotation.brownout.is_ours


def _pair(rotation: Rotation) -> tuple[UUID, UUID]:
    return (rotation.old_key_id, rotation.new_key_id)


def _left_out(words: dict[str | None, Standing]) -> set[str | None]:
    left_out = (Standing.WAIVED, Standing.CHECKED_IN)
    return {place for place, word in words.items() if word in left_out}
