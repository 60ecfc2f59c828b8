"""The rehearsal of a rotation, step by step: what must be allowed is, and what must not be is not.

Three runtimes have the key: `web` and `worker` call all the time, `batch` was forgotten. The first
rotation ends by itself once that one has followed; the second is rolled back.
"""

from collections.abc import Callable, Iterator

from keyturn.ambient import SystemClock
from keyturn.cli.drill_ground import Act, DrillFailed, Ground, Runtime
from keyturn.client.errors import EvidenceMissing, RollbackUnsafe
from keyturn.client.resources import ExpectedRuntime
from keyturn.client.rotation_records import Rotation, StartedRotation
from keyturn.client.rotations import (
    brown_out_rotation,
    complete_rotation,
    read_rotation,
    roll_back_rotation,
    start_rotation,
)
from keyturn.domain.permission import Permission
from keyturn.domain.token import Token

NEEDED = (
    Permission.KEYS_READ,
    Permission.KEYS_WRITE,
    Permission.ROTATIONS_WRITE,
    Permission.VERIFY,
)

QUIET_SECONDS = 1
BROWNOUT_SECONDS = 1
# The straggler meets it long before.
TRIAL_SECONDS = 60
PATIENCE_SECONDS = 60.0
_LOOK_SECONDS = 0.1
_RARE_SECONDS = 86_400


class Rehearsal:
    """One rehearsal on a ground."""

    def __init__(self, ground: Ground, purpose: str) -> None:
        self._ground = ground
        self._purpose = purpose
        self._clock = SystemClock()

    def acts(self) -> Iterator[Act]:
        """The steps, in their order."""
        yield Act("three runtimes use a new key", self._begin)
        yield Act("a rotation waits for all three", self._start)
        yield Act("web and worker move; batch alone is waited for", self._move)
        yield Act("an end before batch has moved is refused", self._hurry)
        yield Act("a brown-out is lifted when batch meets it", self._brown_out)
        yield Act("batch moves, and the old key retires by itself", self._retire)
        yield Act("the old key is dead, the new one works", self._compare)
        yield Act("a second rotation: web moves", self._start_again)
        yield Act("a rollback that would cut off web is refused", self._hurry_back)
        yield Act("web goes back, and the rotation is rolled back", self._roll_back)
        yield Act("the old key works, the new one is dead", self._compare_again)

    # --- a rotation that ends by itself ----------------------------------------------------------

    def _begin(self) -> None:
        expected = [
            ExpectedRuntime(name=self._ground.told("web")),
            ExpectedRuntime(name=self._ground.told("worker")),
            ExpectedRuntime(
                name=self._ground.told("batch"), max_call_interval_seconds=_RARE_SECONDS
            ),
        ]
        made = self._ground.make_key(expected, self._purpose)
        self._key_id, self._old = made.id, made.token
        for name, is_steady in (("web", True), ("worker", True), ("batch", False)):
            self._ground.runtimes[name] = Runtime(name, made.token, is_steady)
            self._ground.call_well(name)

    def _start(self) -> None:
        self._rotation = self._started(self._key_id)
        self._new = self._rotation.token
        self._until_waited_for("batch", "web", "worker")

    def _move(self) -> None:
        for name, left in (("web", ("batch", "worker")), ("worker", ("batch",))):
            self._ground.runtimes[name].token = self._new
            self._until_waited_for(*left)

    def _hurry(self) -> None:
        try:
            self._ground.send(complete_rotation(self._rotation.id))
        except EvidenceMissing as error:
            named = {one.runtime for one in error.blocked_by}
            if named != {self._ground.told("batch")}:
                raise DrillFailed(f"The refusal names {_listed(named)}, not batch alone.") from None
        else:
            raise DrillFailed("It was not refused.")
        self._ground.call_well("batch")

    def _brown_out(self) -> None:
        id_ = self._rotation.id
        browned = self._ground.send(brown_out_rotation(id_, brownout_seconds=TRIAL_SECONDS))
        if browned.state != "brownout":
            raise DrillFailed(f"The rotation is {browned.state}.")
        self._ground.work()
        self._require(False, "batch", self._old)
        self._until(lambda: self._read().state == "overlapping", "the brown-out is not lifted")
        self._ground.call_well("batch")

    def _retire(self) -> None:
        self._ground.runtimes["batch"].token = self._new
        self._ground.call_well("batch")
        self._until(lambda: not self._read().is_open, "the old key is not retired")
        ended = self._read()
        if ended.state != "completed" or ended.forced:
            raise DrillFailed(f"The rotation is {ended.state}, by {ended.ended_by}.")

    def _compare(self) -> None:
        for name in self._ground.runtimes:
            self._ground.call_well(name)
            self._require(False, name, self._old)

    # --- a rotation that is rolled back ----------------------------------------------------------

    def _start_again(self) -> None:
        self._kept = self._new
        self._rotation = self._started(self._rotation.new_key_id)
        self._tried = self._rotation.token
        self._ground.runtimes["web"].token = self._tried
        self._until_waited_for("batch", "worker")

    def _hurry_back(self) -> None:
        try:
            self._ground.send(roll_back_rotation(self._rotation.id))
        except RollbackUnsafe as error:
            if set(error.runtimes) != {self._ground.told("web")}:
                named = _listed(set(error.runtimes))
                raise DrillFailed(f"The refusal names {named}, not web alone.") from None
        else:
            raise DrillFailed("It was not refused.")

    def _roll_back(self) -> None:
        self._ground.runtimes["web"].token = self._kept

        def is_done() -> bool:
            try:
                done = self._ground.send(roll_back_rotation(self._rotation.id))
            except RollbackUnsafe:  # until the new key has rested
                return False
            return done.state == "rolled_back"

        self._until(is_done, "it is still refused")

    def _compare_again(self) -> None:
        for name in self._ground.runtimes:
            self._ground.call_well(name)
            self._require(False, name, self._tried)

    # --- what they share -------------------------------------------------------------------------

    def _started(self, key_id: str) -> StartedRotation:
        return self._ground.send(
            start_rotation(key_id, quiet_seconds=QUIET_SECONDS, brownout_seconds=BROWNOUT_SECONDS)
        )

    def _read(self) -> Rotation:
        return self._ground.send(read_rotation(self._rotation.id))

    def _require(self, is_valid: bool, name: str, token: Token) -> None:
        verdict = self._ground.call(name, token)
        if verdict.valid is not is_valid:
            raise DrillFailed(
                f"{name} was {'let in' if verdict.valid else 'denied'} ({verdict.code}, request "
                f"{verdict.request_id})."
            )

    def _until_waited_for(self, *names: str) -> None:
        """Waits until exactly these are waited for."""
        wanted = {self._ground.told(name) for name in names}
        seen: set[str] = set()

        def is_so() -> bool:
            rotation = self._read()
            if rotation.state != "overlapping":
                raise DrillFailed(f"The rotation is {rotation.state} already.")
            seen.clear()
            seen.update(one.runtime for one in rotation.blocked_by if one.runtime)
            return seen == wanted

        self._until(is_so, lambda: f"{_listed(seen)} is waited for")

    def _until(self, is_so: Callable[[], bool], otherwise: str | Callable[[], str]) -> None:
        """Lets the steady runtimes work until it is so. Raises `DrillFailed` where it comes not to
        be, or one of them is denied."""
        deadline = self._clock.elapsed() + PATIENCE_SECONDS
        self._ground.work()
        while not is_so():
            if self._clock.elapsed() > deadline:
                told = otherwise if isinstance(otherwise, str) else otherwise()
                raise DrillFailed(f"After {PATIENCE_SECONDS:.0f} s {told}.")
            self._clock.sleep(_LOOK_SECONDS)
            self._ground.work()
        self._ground.work()


def _listed(names: set[str] | set[str | None]) -> str:
    return ", ".join(sorted(str(name) for name in names)) or "nobody"
