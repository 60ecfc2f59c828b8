"""A proxy in front of PostgreSQL with the faults of networks, each of them until it is healed.

1. What is cut is held back, as TCP does that sends again what was lost: it arrives once the cut is
   healed, where both ends still wait for it.
2. Only to lose notifications are messages told apart; `url` asks for no encryption.
"""

import asyncio
import contextlib
import enum
import socket
import struct
import threading
from collections.abc import AsyncIterator, Callable, Coroutine
from types import TracebackType
from typing import Self

_PIECE = 65_536
_SLICES = 10  # what is slow comes in so many pieces a second
_NOTICE = ord("A")  # a NotificationResponse
_DO_SECONDS = 10


class Cut(enum.Enum):
    """What a network does to its connections."""

    NONE = "none"
    SILENT = "silent"  # a black hole
    SILENT_THERE = "silent there"  # what the client sends does not arrive
    SILENT_BACK = "silent back"  # what the server sends does not arrive
    RESET = "reset"  # every connection, and every new one
    DELAYED = "delayed"  # `amount` seconds each way
    SLOW = "slow"  # `amount` bytes a second each way
    HALF_OPEN = "half open"  # the server's ends are gone, the client is not told; new ones pass
    DEAF = "deaf"  # every connection is reset, new ones are not accepted
    NO_NOTICES = "no notices"  # notifications are lost, all else arrives


class _Pair:
    """The two ends of a connection that goes through here, and what passes between them."""

    def __init__(self, near: socket.socket) -> None:
        self.near = near
        self.far: socket.socket | None = None
        self.task: asyncio.Task[None] | None = None

    def end(self) -> None:
        if self.task is not None:
            self.task.cancel()

    def reset(self) -> None:
        self.end()
        for one in (self.near, self.far):
            _reset(one)

    def lose_server(self) -> None:
        self.end()
        _reset(self.far)


class FaultyProxy:
    """Passes everything on, except for what `cut` says."""

    def __init__(self, target: int) -> None:
        self._target = target
        self._cut, self._amount = Cut.NONE, 0.0
        self._pairs: set[_Pair] = set()
        self._orphans: list[_Pair] = []
        self._loop = asyncio.new_event_loop()
        self._changed = asyncio.Event()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.setblocking(False)
        self.port = int(self._listener.getsockname()[1])

    def __enter__(self) -> Self:
        self._thread.start()
        self._do(lambda: self._spawn(self._accept()))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        asyncio.run_coroutine_threadsafe(self._close(), self._loop).result(_DO_SECONDS)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
        self._listener.close()

    def url(self, url: str) -> str:
        """The same database through here, without encryption."""
        server, _, database = url.rpartition("/")
        server = server.rpartition(":")[0]
        return f"{server}:{self.port}/{database}?sslmode=disable&gssencmode=disable"

    def cut(self, cut: Cut, amount: float = 0.0) -> None:
        self._do(lambda: self._set(cut, amount))

    def heal(self) -> None:
        self.cut(Cut.NONE)

    def move(self, target: int) -> None:
        """To another server. What was connected to the old one is reset."""

        def move() -> None:
            self._target = target
            self._reset_all()

        self._do(move)

    @property
    def connections(self) -> int:
        return len(self._pairs)

    # --- on the loop -----------------------------------------------------------------------------

    def _do(self, work: Callable[[], object]) -> None:
        done = threading.Event()

        def run() -> None:
            try:
                work()
            finally:
                done.set()

        self._loop.call_soon_threadsafe(run)
        assert done.wait(_DO_SECONDS), "the proxy stands still"

    def _spawn(self, work: Coroutine[object, None, None]) -> "asyncio.Task[None]":
        return self._loop.create_task(work)

    async def _close(self) -> None:
        self._reset_all()
        mine = asyncio.current_task()
        others = [task for task in asyncio.all_tasks() if task is not mine]
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        for pair in self._orphans:
            _reset(pair.near)

    def _set(self, cut: Cut, amount: float) -> None:
        self._cut, self._amount = cut, amount
        if cut in (Cut.RESET, Cut.DEAF):
            self._reset_all()
        elif cut is Cut.HALF_OPEN:
            for pair in self._pairs:
                pair.lose_server()
            self._orphans += self._pairs
            self._pairs.clear()
        self._changed.set()
        self._changed = asyncio.Event()

    def _reset_all(self) -> None:
        for pair in self._pairs:
            pair.reset()
        self._pairs.clear()

    async def _accept(self) -> None:
        while True:
            near, _ = await self._loop.sock_accept(self._listener)
            near.setblocking(False)
            if self._cut is Cut.RESET:
                _reset(near)
                continue
            pair = _Pair(near)
            self._pairs.add(pair)
            pair.task = self._spawn(self._serve(pair))

    async def _serve(self, pair: _Pair) -> None:
        try:
            await self._hold(0, there=True)
            far = pair.far = socket.socket()
            far.setblocking(False)
            await self._loop.sock_connect(far, ("127.0.0.1", self._target))
            async with asyncio.TaskGroup() as group:
                group.create_task(self._pass_on(self._pieces(pair.near), far, there=True))
                group.create_task(self._pass_on(self._messages(far), pair.near, there=False))
        except* OSError:
            _reset(pair.near)
            _reset(pair.far)
        finally:
            self._pairs.discard(pair)
            for one in (pair.near, pair.far):
                if one is not None and pair not in self._orphans:
                    one.close()

    async def _pass_on(
        self, pieces: AsyncIterator[bytes], to: socket.socket, *, there: bool
    ) -> None:
        async for piece in pieces:
            left = piece
            while left:
                part = left[: self._most]
                await self._hold(len(part), there=there)
                if not (self._cut is Cut.NO_NOTICES and not there and part[0] == _NOTICE):
                    await self._loop.sock_sendall(to, part)
                left = left[len(part) :]
        with contextlib.suppress(OSError):
            to.shutdown(socket.SHUT_WR)

    @property
    def _most(self) -> int:
        if self._cut is Cut.SLOW:
            return max(1, int(self._amount / _SLICES))
        return _PIECE * 16

    async def _hold(self, size: int, *, there: bool) -> None:
        """Returns once so many bytes may pass."""
        while (seconds := self._held_seconds(size, there=there)) != 0:
            try:
                async with asyncio.timeout(seconds):
                    await self._changed.wait()
            except TimeoutError:
                return

    def _held_seconds(self, size: int, *, there: bool) -> float | None:
        """None: until it is healed."""
        match self._cut:
            case Cut.SILENT | Cut.DEAF:
                return None
            case Cut.SILENT_THERE:
                return None if there else 0
            case Cut.SILENT_BACK:
                return 0 if there else None
            case Cut.DELAYED:
                return self._amount
            case Cut.SLOW:
                return size / self._amount
            case Cut.NONE | Cut.RESET | Cut.HALF_OPEN | Cut.NO_NOTICES:
                return 0

    async def _pieces(self, end: socket.socket) -> AsyncIterator[bytes]:
        while piece := await self._loop.sock_recv(end, _PIECE):
            yield piece

    async def _messages(self, server: socket.socket) -> AsyncIterator[bytes]:
        """What a server sends, in whole messages: notifications apart, the others by the piece."""
        held = b""
        async for piece in self._pieces(server):
            held += piece
            begin = end = 0
            while (size := _size_of(held, end)) is not None:
                if held[end] == _NOTICE:
                    if end > begin:
                        yield held[begin:end]
                    yield held[end : end + size]
                    begin = end + size
                end += size
            if end > begin:
                yield held[begin:end]
            held = held[end:]


def _size_of(data: bytes, at: int) -> int | None:
    """Of the message that begins there, None where it is not there whole."""
    if len(data) < at + 5:
        return None
    size = 1 + int(struct.unpack_from("!I", data, at + 1)[0])
    return size if len(data) >= at + size else None


def _reset(end: socket.socket | None) -> None:
    if end is not None:
        with contextlib.suppress(OSError):
            end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        end.close()
