"""What runs beside the requests: recording, rotating, following incidents, delivering, tidying,
telling of damage, signing heads.

Of several nodes one leads, and acts by itself. The others do what each must do for what it saw:
they record, look whether it was unusual, sign heads, and watch on, so that the next one to lead
has watched already.
"""

import logging
import threading
from collections.abc import Callable, Mapping
from functools import partial
from uuid import UUID

from keyturn.domain.error import StorageUnavailable
from keyturn.http.metrics import Metrics
from keyturn.server.heads import HeadsFile
from keyturn.services.advance import Advancer
from keyturn.services.announce import Announcer
from keyturn.services.context import Context
from keyturn.services.deliver import Deliverer, Lane
from keyturn.services.detect import DetectorWatch
from keyturn.services.follow import follow
from keyturn.services.launch import Launcher
from keyturn.services.meter import Meter
from keyturn.services.notify import Notifier
from keyturn.services.oversee import Overseer
from keyturn.services.recover import Responder
from keyturn.services.scrub import Scrub
from keyturn.services.tidy import Tidier
from keyturn.services.watch import DamageWatch
from keyturn.services.witness import Witness

FLUSH_SECONDS = 0.2
WATCH_SECONDS = 0.5
FOLLOW_SECONDS = 0.5
# A rotation ends within 5 s of the moment it may, and its brown-out is lifted at once.
ADVANCE_SECONDS = 0.5
LOOK_SECONDS = 1.0
# A recovery is known soon after the request that tells of it.
RESPOND_SECONDS = 0.5
# A new token is on its way within this, and what failed is tried again when it is due.
DELIVER_SECONDS = 0.2
LAUNCH_SECONDS = 1.0
DELIVERY_LANES = 8
TALLY_SECONDS = 2.0
OVERSEE_SECONDS = 1.0
# What is unusual is told within some seconds; where many keys are waiting it goes on at once.
DETECT_SECONDS = 5.0
DETECT_AGAIN_SECONDS = 0.5
NOTIFY_SECONDS = 0.5
TIDY_SECONDS = 600.0
TIDY_AGAIN_SECONDS = 0.5
HOLD_SECONDS = 5.0
LEAD_SECONDS = 2.0
SCRUB_SECONDS = 60.0
FORGET_SECONDS = 600.0
LAST_ATTEMPTS = 3
FIRST_SECONDS = 0.25
STOP_SECONDS = 2.0  # for all of them together: they were told to end at the same time
LAST_SECONDS = 2.5

_log = logging.getLogger("keyturn.background")


class Ticker:
    """One thread that does one thing again and again, until it is stopped. `work` says after how
    many seconds it wants to be called again."""

    def __init__(self, name: str, work: Callable[[], float]) -> None:
        self._name = name
        self._work = work
        self._stopping = threading.Event()
        self._signal = threading.Event()
        self._after: Ticker | None = None
        self._has_begun = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self, after: "Ticker | None" = None) -> None:
        """Has it done for the first time once another one has, or does not come to an end."""
        self._after = after
        self._thread.start()

    def once(self) -> None:
        """Does its work here. Raises what that raises."""
        self._work()

    def hurry(self) -> None:
        """Has it do its work at once."""
        self._signal.set()

    def tell(self) -> None:
        """Tells it to end."""
        self._stopping.set()
        self._signal.set()

    def stop(self, seconds: float) -> None:
        """Waits so long until it has ended; it may be waiting for a database that is silent."""
        self.tell()
        self._thread.join(max(0.0, seconds))

    def _run(self) -> None:
        if self._after is not None:
            self._after._has_begun.wait(FIRST_SECONDS)
        wait = 0.0
        while True:
            self._signal.wait(wait)
            self._signal.clear()
            if self._stopping.is_set():
                return
            try:
                wait = self._work()
            except StorageUnavailable as error:
                _log.warning("%s: %s", self._name, error.detail, exc_info=error.__cause__)
                wait = 1.0
            except OSError as error:
                _log.error("%s: %s", self._name, error)
                wait = 5.0
            except Exception:  # noqa: BLE001  (a thread that dies would stop recording)
                _log.exception("%s failed", self._name)
                wait = 5.0
            self._has_begun.set()


def _in_thread(work: Callable[[], None]) -> None:
    """Raises `RuntimeError` where the machine gives no further thread."""
    threading.Thread(target=work, name="delivery", daemon=True).start()


class Lanes:
    """Works on lanes side by side, on so many at once. A workspace takes one only while more are
    free than it has: the first gets half of them, each after it half of the rest, and one that has
    none goes before those that have. Nobody waits for them: whatever is killed in the middle is
    gone on with later."""

    def __init__(self, most: int, start: Callable[[Callable[[], None]], None] = _in_thread) -> None:
        self._most = most
        self._start = start
        self._busy: set[Lane] = set()
        self._changed = threading.Condition()

    def full(self) -> tuple[set[UUID], set[UUID]]:
        with self._changed:
            workspaces = {one for one, _ in self._busy if not self._has_room(one)}
            return workspaces, {destination_id for _, destination_id in self._busy}

    def begin(self, lanes: Mapping[Lane, Callable[[], None]]) -> None:
        for lane, work in lanes.items():
            if self._take(lane):
                try:
                    self._start(partial(self._run, lane, work))
                except RuntimeError as error:
                    self._leave(lane)
                    _log.error("no delivery can be begun now: %s", error)
                    return

    def _has_room(self, workspace_id: UUID) -> bool:
        taken = sum(one == workspace_id for one, _ in self._busy)
        return taken < self._most - len(self._busy)

    def _take(self, lane: Lane) -> bool:
        with self._changed:
            if lane in self._busy or not self._has_room(lane[0]):
                return False
            self._busy.add(lane)
            return True

    def _leave(self, lane: Lane) -> None:
        with self._changed:
            self._busy.discard(lane)
            self._changed.notify_all()

    def _run(self, lane: Lane, work: Callable[[], None]) -> None:
        try:
            work()
        except Exception:  # noqa: BLE001  (what a lane does is recorded by itself)
            _log.exception("delivering failed")
        finally:
            self._leave(lane)

    def wait(self, seconds: float) -> None:
        """Waits so long for those that are at work."""
        with self._changed:
            self._changed.wait_for(lambda: not self._busy, max(0.0, seconds))


class Lead:
    """What lets one node, of all that serve a database, act by itself: the lock that it holds. It
    is asked for again when it was last asked for a while ago."""

    def __init__(self, leads: Callable[[], bool], elapsed: Callable[[], float]) -> None:
        self._leads = leads
        self._elapsed = elapsed
        self._lock = threading.Lock()
        self._asked_at: float | None = None
        self._is_held = False

    def is_held(self) -> bool:
        """Whether this node may act. Raises `StorageUnavailable`."""
        with self._lock:
            now = self._elapsed()
            if self._asked_at is None or now - self._asked_at >= LEAD_SECONDS:
                was_held, self._is_held, self._asked_at = self._is_held, False, None
                try:
                    self._is_held = self._leads()
                    self._asked_at = now
                finally:  # the lock is gone with a connection that broke
                    if self._is_held is not was_held:
                        _log.info("leading" if self._is_held else "leading no more")
            return self._is_held


class Background:
    """All of them together."""

    def __init__(
        self,
        *,
        context: Context,
        meter: Meter,
        metrics: Metrics,
        damage: DamageWatch,
        heads: HeadsFile,
        witness: Witness,
        notifier: Notifier,
        leads: Callable[[], bool],
        forget_nodes: Callable[[], None] | None = None,
        node: str = "",
    ) -> None:
        self._context = context
        self._node = node
        self._meter = meter
        self._metrics = metrics
        self._damage = damage
        self._heads = heads
        self._scrub = Scrub(context)
        self._fault: str | None = None
        # By the clock that counts a machine's sleep: another node leads by then.
        self._lead = Lead(leads, context.clock.boot)
        self._forget = forget_nodes or (lambda: None)
        self._tidier = Tidier(context)
        self._witness = witness
        self._advancer = Advancer(context, witness)
        self._responder = Responder(context, witness, meter)
        self._overseer = Overseer(context, witness)
        self._detectors = DetectorWatch(context, meter)
        self._lanes = Lanes(DELIVERY_LANES)
        self._deliverer = Deliverer(context, self._lanes)
        self._tallied_at: float | None = None
        self._forgot_at: float | None = None
        self._launcher = Launcher(context, witness)
        self._announcer = Announcer(context)
        self._notifier = notifier
        recording = Ticker("recording", self._record)
        watching = Ticker("watching", self._watch)
        holding = Ticker("holding", self._hold)
        notifying = Ticker("notifying", self._notify)
        notifier.hurry = notifying.hurry
        meter.hurry = recording.hurry
        self._tickers = (
            recording,
            Ticker("rotating", self._advance),
            Ticker("responding", self._respond),
            Ticker("overseeing", self._oversee),
            Ticker("detecting", self._detect),
            Ticker("delivering", self._deliver),
            Ticker("launching", self._launch),
            notifying,
            Ticker("following", self._follow),
            watching,
            Ticker("tidying", self._tidy),
            holding,
            Ticker("scrubbing", self._scrub_once),
        )

        # What others may look for as soon as this node answers.
        self._first = (recording, watching, holding)

    def leads(self) -> bool:
        """Whether this node is the one that acts by itself. Raises `StorageUnavailable`."""
        return self._lead.is_held()

    def start(self) -> None:
        # One after the other: all at once they would take a connection each.
        before: Ticker | None = None
        for ticker in sorted(self._tickers, key=lambda one: one not in self._first):
            ticker.start(before)
            before = ticker

    def round(self) -> None:
        """Has each do its work once, here, where they were not started."""
        for ticker in self._tickers:
            ticker.once()

    def stop(self) -> None:
        """Ends them all, then keeps what was noted last."""
        self._deliverer.stop()
        for ticker in self._tickers:
            ticker.tell()
        latest = self._context.clock.elapsed() + STOP_SECONDS
        for ticker in self._tickers:
            ticker.stop(latest - self._context.clock.elapsed())
        self._lanes.wait(latest - self._context.clock.elapsed())
        last = threading.Thread(target=self._keep_last, name="last", daemon=True)
        last.start()
        last.join(LAST_SECONDS)
        if self._meter.waiting:
            _log.critical(
                "the database took no more: %d requests are not recorded", self._meter.waiting
            )

    def _keep_last(self) -> None:
        if self._meter.flush_finally(LAST_ATTEMPTS):
            return
        try:
            self._heads.keep_up(self._context)
        except OSError as error:
            _log.error("the last head of the log is not signed: %s", error)

    def _record(self) -> float:
        kept = self._meter.flush()
        self._metrics.recorded_requests.inc(kept)
        return FLUSH_SECONDS

    def _watch(self) -> float:
        try:
            self._damage.write_down(self._context)
        finally:
            self._metrics.damage.set(self._damage.seen)
            self._heads.keep_up(self._context)
        return WATCH_SECONDS

    def _follow(self) -> float:
        follow(self._context, self._node)
        return FOLLOW_SECONDS

    def _advance(self) -> float:
        open_count = self._advancer.step() if self._lead.is_held() else 0
        self._metrics.open_rotations.set(open_count)
        return ADVANCE_SECONDS if open_count else LOOK_SECONDS

    def _respond(self) -> float:
        open_count = 0
        if self._lead.is_held():
            open_count = self._responder.step()
        else:
            self._responder.look_for_late()
        self._metrics.open_incidents.set(open_count)
        return RESPOND_SECONDS

    def _oversee(self) -> float:
        if self._lead.is_held():
            self._overseer.step()
        return OVERSEE_SECONDS

    def _detect(self) -> float:
        self._detectors.step()
        return DETECT_AGAIN_SECONDS if self._detectors.is_behind else DETECT_SECONDS

    def _deliver(self) -> float:
        if self._lead.is_held():
            self._deliverer.step()
        self._tally()
        return DELIVER_SECONDS

    def _tally(self) -> None:
        elapsed = self._context.clock.elapsed()
        if self._tallied_at is None or elapsed - self._tallied_at >= TALLY_SECONDS:
            self._tallied_at = elapsed
            with self._context.store.read() as reading:
                tally = reading.deliveries.tally()
            self._metrics.open_deliveries.set(tally.open)
            self._metrics.failing_deliveries.set(tally.failing)

    def _launch(self) -> float:
        if self._lead.is_held():
            self._launcher.step()
        return LAUNCH_SECONDS

    def _notify(self) -> float:
        if not self._lead.is_held():
            return NOTIFY_SECONDS
        made = self._announcer.step()
        self._notifier.step()
        return 0.0 if made else NOTIFY_SECONDS

    def _tidy(self) -> float:
        return TIDY_SECONDS if self._tidier.tidy().is_done else TIDY_AGAIN_SECONDS

    def _scrub_once(self) -> float:
        self._scrub.step()
        fault = self._context.store.memory.fault
        if fault is not None and fault != self._fault:
            _log.critical("%s", fault)
        self._fault = fault
        return SCRUB_SECONDS

    def _hold(self) -> float:
        if self._lead.is_held():
            self._witness.beat()
            self._forget_nodes()
        else:
            self._witness.observe()  # whoever leads next is to have looked on without a break
        return HOLD_SECONDS

    def _forget_nodes(self) -> None:
        elapsed = self._context.clock.elapsed()
        if self._forgot_at is None or elapsed - self._forgot_at >= FORGET_SECONDS:
            self._forget()
            self._forgot_at = elapsed
