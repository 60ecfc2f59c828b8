"""Kills at named points: first each operation is done in peace and its points noted, then it is
done once for each of them, and the server dies there.

The server that is started again after one kill is the one that the next kill ends, so that a kill
costs one start. In between all that the last one left is looked at, over HTTP and in the tables.
"""

import time
from collections.abc import Iterable
from dataclasses import dataclass

from tests.cli.programs import Server
from tests.kills.figures import Figures
from tests.kills.ledger import Ledger, moved
from tests.kills.operations import OPERATIONS, Deed, Operation, Stage, open_stage
from tests.kills.sites import Reply, Site, died

AFTERPLAY_SECONDS = 1.5
AFTERPLAY_TRIES = 4


def survey(site: Site, operations: Iterable[Operation] = OPERATIONS) -> dict[str, list[str]]:
    """The points of each operation, in the order in which they are passed."""
    site.start(**site.place.noting())
    stage = open_stage(site)
    for operation in operations:
        deed = operation.prepare(stage)
        before = site.ledger()
        reply = stage.perform(deed, operation.name)
        if operation.afterplay:
            time.sleep(AFTERPLAY_SECONDS)
        after = site.ledger()
        assert reply is not None
        assert deed.is_done(reply), operation.name
        assert moved(before, after) == operation.effect, operation.name
    site.kill()
    passed = list(dict.fromkeys(site.place.points))
    return {
        operation.name: [point for point in passed if _belongs(point, operation)]
        for operation in operations
    }


def _belongs(point: str, operation: Operation) -> bool:
    name, _, rest = point.partition("/")
    thread, parted, _ = rest.partition(": ")
    if name != operation.name:
        return False
    # How often the background looks again is a matter of time.
    return not parted or (thread in operation.afterplay and "#" not in rest)


def is_weighty(point: str) -> bool:
    """Whether what stands on the disk, or what the caller knows, is another before and after it:
    to read changes nothing."""
    return not any(word in point for word in ("SELECT", "of nothing", "BEGIN", "PRAGMA", "keeping"))


class NamedKills:
    """Kills one site's server at one point after the other."""

    def __init__(self, site: Site, figures: Figures) -> None:
        self._site = site
        self._figures = figures
        self._stage: Stage | None = None

    def run(self, operation: Operation, points: Iterable[str]) -> None:
        last: _Done | None = None
        for point in points:
            # Which thread keeps what was noted is a matter of time: the one that looks first.
            tries = AFTERPLAY_TRIES if ": " in point else 1
            for left in reversed(range(tries)):
                server = self._start(**self._site.place.mortal(point))
                self._judge(last)
                last = self._die(server, operation, point, is_last=left == 0)
                if last is not None:
                    break
        self._start()
        self._judge(last)
        self._site.kill()

    def _start(self, **settings: str) -> Server:
        server = self._site.start(**settings)
        self._figures.started(self._site.readiness[-1])
        return server

    def _die(
        self, server: Server, operation: Operation, point: str, *, is_last: bool = True
    ) -> "_Done | None":
        stage = self._stage = self._stage or open_stage(self._site)
        deed = operation.prepare(stage)
        before = self._site.ledger()
        reply = stage.perform(deed, operation.name)
        if not died(server):
            if is_last:
                self._figures.faults.append(f"{point} was not passed")
            server.kill()
            return None
        self._figures.points += 1
        self._figures.kills += 1
        return _Done(point, operation, deed, before, reply)

    def _judge(self, done: "_Done | None") -> None:
        """Whether what the last kill left is whole."""
        if done is None:
            return
        figures = self._figures
        try:
            self._judge_deed(done)
        except AssertionError as fault:
            figures.half += 1
            figures.faults.append(f"{done.point}: {fault}")
        figures.faults += [f"{done.point}: {fault}" for fault in self._site.faults()]

    def _judge_deed(self, done: "_Done") -> None:
        """Raises `AssertionError` where the deed is neither wholly there nor wholly absent, or
        where it cannot be done again."""
        figures, stage, wanted = self._figures, self._stage, done.operation.effect
        assert stage is not None
        effect = moved(done.before, self._site.ledger())
        assert effect in (wanted, {}), f"by half: {dict(effect)}"
        is_done = done.deed.is_done(done.reply)
        if wanted:
            assert is_done == bool(effect), f"HTTP says {is_done}, the tables {dict(effect)}"
        if done.reply is None:
            figures.unanswered += 1
        else:
            figures.answered += 1
            if not is_done:
                figures.lost += 1
                figures.faults.append(f"{done.point}: answered {done.reply.status}, and lost")
        if done.deed.again:
            again = stage.perform(done.deed)
            assert again is not None
            assert again.status < 300, f"done again it is refused: {again.status}"
            assert done.deed.is_done(again), "done again it is not done"
            total = moved(done.before, self._site.ledger())
            assert total == wanted, f"done again it is done twice: {dict(total)}"
        if done.deed.undo is not None:
            done.deed.undo()


@dataclass(frozen=True, slots=True)
class _Done:
    """A deed in which the server died, and the tables from before it."""

    point: str
    operation: Operation
    deed: Deed
    before: Ledger
    reply: Reply | None
