"""Opens connections: the name is resolved once, each of its addresses judged, and one dialled.

1. The address that is judged is the address that is dialled: no second look at the name.
2. One address that is refused refuses them all, so that nobody hides one among others.
3. Slow name servers cost the caller no more than its own time: the lookup has a thread of its own,
   and few of those may hang at once.
"""

import queue
import socket
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from keyturn.domain.ambience import Clock
from keyturn.outbound.contract import OutboundFault, OutboundFaultKind
from keyturn.outbound.guard import AddressGuard

Resolve = Callable[[str, int], Sequence[str]]
"""The addresses of a host, in the order of preference. Raises OSError where there are none."""

MOST_LOOKUPS = 64
MOST_ADDRESSES = 32

REFUSED_ADDRESS = (
    "The address is in a network that Keyturn may not reach; "
    "who runs Keyturn can allow it in its settings."
)


def resolve_by_system(host: str, port: int) -> Sequence[str]:
    """What the machine's own resolver says."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return tuple(dict.fromkeys(str(address[0]) for *_, address in found))


class Deadline:
    """What is left of a call's time."""

    def __init__(self, clock: Clock, seconds: float) -> None:
        self._clock = clock
        self._end = clock.elapsed() + seconds

    def left(self) -> float:
        """Seconds, more than none. Raises `OutboundFault` when none are left."""
        left = self._end - self._clock.elapsed()
        if left <= 0:
            raise timed_out()
        return left


def timed_out(*, was_sent: bool = False) -> OutboundFault:
    return OutboundFault(
        OutboundFaultKind.TIMED_OUT, "It did not answer in time.", was_sent=was_sent
    )


@dataclass(frozen=True, slots=True)
class Dialer:
    """The only place that opens a connection on an address that somebody else named."""

    guard: AddressGuard
    clock: Clock
    resolve: Resolve = resolve_by_system
    _lookups: threading.Semaphore = field(
        default_factory=lambda: threading.Semaphore(MOST_LOOKUPS), repr=False, compare=False
    )

    def dial(
        self, host: str, port: int, deadline: Deadline, *, is_plain: bool = False
    ) -> socket.socket:
        """A connected socket. Raises `OutboundFault`."""
        addresses = self._lookup(host, port, deadline)
        if not all(self.guard.admits(ip, port, is_plain=is_plain) for ip in addresses):
            detail = REFUSED_ADDRESS
            if is_plain and all(self.guard.admits(ip, port) for ip in addresses):
                detail = (
                    "Plain http goes only to networks that Keyturn's settings allow; use https."
                )
            raise OutboundFault(OutboundFaultKind.REFUSED, detail)
        for index, ip in enumerate(addresses):
            try:
                # A dead address must not use up the time of the living ones behind it.
                return _connect(ip, port, deadline.left() / (len(addresses) - index))
            except OSError:
                deadline.left()
        raise OutboundFault(OutboundFaultKind.UNREACHABLE, "Nothing takes a connection there.")

    def _lookup(self, host: str, port: int, deadline: Deadline) -> Sequence[str]:
        if not self._lookups.acquire(timeout=deadline.left()):
            raise timed_out()
        answers: queue.SimpleQueue[Sequence[str] | None] = queue.SimpleQueue()

        def look() -> None:
            found: Sequence[str] | None = None
            try:
                found = self.resolve(host, port)
            except (OSError, ValueError):  # ValueError: a name that IDNA cannot spell
                found = None
            finally:
                self._lookups.release()
                answers.put(found)

        try:
            threading.Thread(target=look, name="keyturn-lookup", daemon=True).start()
        except RuntimeError:  # the machine gives no more threads
            self._lookups.release()
            raise timed_out() from None
        try:
            found = answers.get(timeout=deadline.left())
        except queue.Empty:
            raise timed_out() from None
        if not found:
            raise OutboundFault(OutboundFaultKind.UNREACHABLE, "Its name has no address.")
        if len(found) > MOST_ADDRESSES:
            raise OutboundFault(OutboundFaultKind.UNREACHABLE, "Its name has too many addresses.")
        return found


def _connect(ip: str, port: int, seconds: float) -> socket.socket:
    one = socket.socket(socket.AF_INET6 if ":" in ip else socket.AF_INET, socket.SOCK_STREAM)
    try:
        one.settimeout(seconds)
        one.connect((ip, port))  # an address in figures: nothing is looked up again
        one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    except BaseException:
        one.close()
        raise
    return one
