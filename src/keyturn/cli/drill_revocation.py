"""The rehearsal of revocations: keys are revoked while every node is asked about them all the time,
and from the answer on none is let in anywhere.

A call counts against Keyturn where it was *sent* after the revocation was answered, by this
program's own clock, and was let in. One that was under way at that moment may have been judged
before.
"""

import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import msgspec

from keyturn.ambient import SystemClock
from keyturn.cli.drill_ground import Act, DrillFailed, Ground
from keyturn.client.binding import Sends
from keyturn.client.errors import KeyturnClientError
from keyturn.client.keys import resume_key, revoke_key, suspend_key
from keyturn.client.resources import IssuedKey
from keyturn.client.verify import look_at_self
from keyturn.domain.permission import Permission
from keyturn.domain.token import Token

NEEDED = (Permission.KEYS_READ, Permission.KEYS_WRITE, Permission.VERIFY)
PATIENCE_SECONDS = 20.0
# For so long the callers go on after the answer.
AFTER_SECONDS = 0.25
# Between two calls of one caller, so that a drill is no load.
PAUSE_SECONDS = 0.002
RUNTIME = "caller"


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """A node, by the address at which it is called."""

    url: str
    client: Sends


class Figures(msgspec.Struct, kw_only=True):
    """What was measured, in milliseconds: from when a revocation was sent to its answer, and to
    when the last call that was let in had been sent."""

    nodes: int
    revocations: int = 0
    calls: int = 0
    unanswered_calls: int = 0
    let_in_after_the_answer: int = 0
    answer_ms: list[float] = msgspec.field(default_factory=list)
    last_let_in_ms: list[float] = msgspec.field(default_factory=list)

    def rows(self) -> list[tuple[str, str, str, str]]:
        """A line each of the two, with its median, its 99th percentile and its longest."""
        return [
            ("revocation to its answer", *_spread(self.answer_ms)),
            ("revocation to the last call let in", *_spread(self.last_let_in_ms)),
        ]


class Caller:
    """A service's calls at one node, one after the other, each with its moment and its outcome."""

    def __init__(self, ground: Ground, node: Node, token: Token, patience_seconds: float) -> None:
        self._ground = ground
        self._patience_seconds = patience_seconds
        self._node = node
        self._token = token
        self._clock = SystemClock()
        self._stopping = threading.Event()
        self._was_let_in = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.sent: list[tuple[float, bool]] = []
        self.unanswered = 0
        self._last_sent = 0.0

    def start(self) -> None:
        self._thread.start()

    def await_admission(self) -> None:
        """Raises `DrillFailed` where the key is let in at no time."""
        if not self._was_let_in.wait(self._patience_seconds):
            raise DrillFailed(f"{self._node.url} lets a new key in at no time.")

    def await_call_after(self, moment: float) -> None:
        """Waits until a call that was sent after a moment has come back: without one nothing is
        shown. Raises `DrillFailed`."""
        latest = self._clock.elapsed() + self._patience_seconds
        while self._last_sent <= moment:
            if self._clock.elapsed() > latest:
                raise DrillFailed(f"{self._node.url} gives back no call after the answer.")
            self._clock.sleep(PAUSE_SECONDS)

    def stop(self) -> None:
        self._stopping.set()
        self._thread.join(self._patience_seconds)

    def _run(self) -> None:
        while not self._stopping.wait(PAUSE_SECONDS):
            sent = self._clock.elapsed()
            try:
                verdict = self._ground.ask(self._node.client, RUNTIME, self._token)
            except KeyturnClientError:
                self.unanswered += 1
            else:
                self.sent.append((sent, verdict.valid))
                if verdict.valid:
                    self._was_let_in.set()
            self._last_sent = sent


class Revocations:
    """One rehearsal on a ground, at these nodes."""

    def __init__(
        self,
        ground: Ground,
        nodes: Sequence[Node],
        *,
        purpose: str,
        revocations: int,
        patience_seconds: float = PATIENCE_SECONDS,
    ) -> None:
        self.figures = Figures(nodes=len(nodes))
        self._ground = ground
        self._nodes = nodes
        self._purpose = purpose
        self._wanted = revocations
        self._patience_seconds = patience_seconds
        self._clock = SystemClock()

    def acts(self) -> Iterator[Act]:
        """The steps, in their order."""
        yield Act("every node answers, and knows this token", self._meet)
        yield Act("a new key is let in at every node", self._admit)
        yield Act("suspended it is let in nowhere, resumed everywhere", self._suspend)
        yield Act("from the answer to a revocation on it is let in nowhere", self._revoke_all)

    def _meet(self) -> None:
        holders = set()
        for node in self._nodes:
            known = node.client.send(look_at_self())
            holder = known.key or known.operator
            holders.add(None if holder is None else holder.id)
        if len(holders) != 1:
            raise DrillFailed("The nodes are not of one installation: they know this token apart.")

    def _admit(self) -> None:
        made = self._made()
        for node in self._nodes:
            self._require(node, made.token, valid=True)
        self.first = made

    def _suspend(self) -> None:
        key = self.first
        self._ground.send(suspend_key(key.id))
        for node in self._nodes:
            self._require(node, key.token, valid=False)
        self._ground.send(resume_key(key.id))
        for node in self._nodes:
            self._require(node, key.token, valid=True)

    def _revoke_all(self) -> None:
        self._round(self.first)
        for _ in range(self._wanted - 1):
            self._round(self._made())
        if self.figures.let_in_after_the_answer:
            raise DrillFailed(
                f"{self.figures.let_in_after_the_answer} calls were let in with a key whose "
                "revocation had been answered."
            )

    def _round(self, key: IssuedKey) -> None:
        """Revokes one key while it is used at every node."""
        callers = [
            Caller(self._ground, node, key.token, self._patience_seconds) for node in self._nodes
        ]
        for caller in callers:
            caller.start()
        try:
            for caller in callers:
                caller.await_admission()
            began = self._clock.elapsed()
            effect = self._ground.send(revoke_key(key.id, reason="unused"))
            answered = self._clock.elapsed()
            self._clock.sleep(AFTER_SECONDS)
            for caller in callers:
                caller.await_call_after(answered)
        finally:
            for caller in callers:
                caller.stop()
        if not effect.is_complete:
            raise DrillFailed("A revocation was answered before it was effective on every node.")
        self._count(callers, began, answered)

    def _count(self, callers: Sequence[Caller], began: float, answered: float) -> None:
        figures = self.figures
        let_in = [sent for caller in callers for sent, is_valid in caller.sent if is_valid]
        figures.revocations += 1
        figures.calls += sum(len(caller.sent) for caller in callers)
        figures.unanswered_calls += sum(caller.unanswered for caller in callers)
        figures.answer_ms.append(_ms(answered - began))
        figures.last_let_in_ms.append(_ms(max(0.0, max(let_in) - began)))
        figures.let_in_after_the_answer += sum(sent > answered for sent in let_in)

    def _made(self) -> IssuedKey:
        return self._ground.make_key([], self._purpose)

    def _require(self, node: Node, token: Token, *, valid: bool) -> None:
        verdict = self._ground.ask(node.client, RUNTIME, token)
        self._ground.verified += valid
        if verdict.valid is not valid:
            how = f"denies it ({verdict.code})" if valid else "lets it in"
            raise DrillFailed(f"{node.url} {how} (request {verdict.request_id}).")


def _ms(seconds: float) -> float:
    return round(seconds * 1_000, 2)


def _spread(values: Sequence[float]) -> tuple[str, str, str]:
    if not values:
        return ("-", "-", "-")
    ordered = sorted(values)
    ninety_ninth = ordered[min(len(ordered) - 1, int(len(ordered) * 0.99))]
    median = ordered[len(ordered) // 2]
    return (f"{median:.1f} ms", f"{ninety_ninth:.1f} ms", f"{ordered[-1]:.1f} ms")
