"""Who lets time pass on the stage and looks on: shows the traffic, and that nothing has died."""

from collections.abc import Callable

from keyturn.ambient import SystemClock
from keyturn.demo.stage import Stage
from keyturn.demo.tally import tally
from keyturn.demo.telling import Telling
from keyturn.domain.error import InstallationFault

LOOK_SECONDS = 0.2
PATIENCE_SECONDS = 60.0


class Onlooker:
    def __init__(self, stage: Stage, telling: Telling) -> None:
        self.stage = stage
        self.telling = telling
        self.clock = SystemClock()

    def say(self, sentence: str) -> None:
        self.telling.say(sentence)

    def say_traffic(self, since: float = 0.0) -> None:
        """What each service has sent since that moment of the monotonic clock."""
        for name, entries in self.stage.journals().items():
            found = tally(one for one in entries if one.sent_at >= since)
            self.say(f"{name:<9}  {found.served:>5,} served  {found.sent - found.served} failed")

    def let_pass(self, seconds: float) -> None:
        """Lets time pass, and shows the traffic meanwhile."""
        deadline = self.clock.elapsed() + seconds
        while (left := deadline - self.clock.elapsed()) > 0:
            self._look()
            self.clock.sleep(min(LOOK_SECONDS, left))

    def until(self, is_so: Callable[[], bool], otherwise: str) -> None:
        """Waits until something is so. Raises `InstallationFault` where it does not come to be."""
        deadline = self.clock.elapsed() + PATIENCE_SECONDS
        while not is_so():
            self._look()
            if self.clock.elapsed() > deadline:
                raise InstallationFault(
                    f"{otherwise} after {PATIENCE_SECONDS:.0f} s; nothing more was changed.",
                    remedy="Try it again when the machine has less to do.",
                )
            self.clock.sleep(LOOK_SECONDS)

    def _look(self) -> None:
        self.stage.require_alive()
        journals = self.stage.journals()
        self.telling.traffic({name: tally(entries) for name, entries in journals.items()})
