"""Serving: one process, with the HTTP server inside it, from the lock to the last flush."""

import asyncio
import contextlib
import errno
import gc
import signal
import socket
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack, contextmanager

import uvicorn
from uvicorn.config import Config

from keyturn.domain.error import InstallationFault
from keyturn.server.build import build_node, check_in, opened
from keyturn.server.engines import node_place
from keyturn.server.protocol import BoundedProtocol
from keyturn.server.settings import Settings

BACKLOG = 2_048
GRACE_SECONDS = 4
# From the signal on; then nobody waits for the database any more.
PATIENCE_SECONDS = 6.0
KEEP_ALIVE_SECONDS = 75


class _Server(uvicorn.Server):
    """The library's server, but signals are ours: its own way raises them again once it is done,
    which would end the process before the last requests are recorded."""

    def __init__(
        self,
        config: Config,
        *,
        begin: Callable[[], Awaitable[None]],
        ready: Callable[[], None],
        hurry: Callable[[], None],
    ) -> None:
        super().__init__(config)
        self._begin = begin
        self._ready = ready
        self._last_moment = threading.Timer(PATIENCE_SECONDS, hurry)
        self._last_moment.daemon = True

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await self._begin()
        await super().startup(sockets)
        self._ready()  # by now a signal is heard

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop)
        yield

    def _stop(self) -> None:
        if not self.should_exit:
            self._last_moment.start()
        self.force_exit = self.should_exit
        self.should_exit = True


def serve(
    settings: Settings,
    announce: Callable[[str], None],
    prepare: Callable[[], object] | None = None,
) -> None:
    """Serves until SIGTERM or SIGINT, once `prepare` has made all ready where no other process
    may come between; without it, beside other nodes where the engine has them. Raises
    `InstallationFault` where it cannot begin."""
    with ExitStack() as stack:
        # Looking through everything for garbage once more is nearly all that an end costs (0.4 s of
        # the processor, of 0.5), and on a busy machine longer than whoever stops it may wait.
        stack.callback(gc.freeze)
        leads = stack.enter_context(node_place(settings, prepare))
        house = stack.enter_context(opened(settings))
        node_id = house.context.new_id(house.context.clock.now())
        check_in(house, str(node_id))
        listener = stack.enter_context(contextlib.closing(_listen(settings)))
        host, port = listener.getsockname()[:2]
        node = build_node(house, leads, node_id, port)
        config = Config(
            node.edge,
            loop="uvloop",
            http=BoundedProtocol,
            lifespan="off",
            ws="none",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            backlog=BACKLOG,
            timeout_keep_alive=KEEP_ALIVE_SECONDS,
            timeout_graceful_shutdown=GRACE_SECONDS,
        )
        node.background.start()
        stack.callback(node.end)
        address = f"http://{f'[{host}]' if ':' in host else host}:{port}"
        server = _Server(
            config,
            begin=node.begin,
            ready=lambda: announce(address),
            hurry=house.context.store.hurry,
        )
        server.run(sockets=[listener])


def _listen(settings: Settings) -> socket.socket:
    """The listening socket, taken before anything is started."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((settings.host, settings.port))
        listener.listen(BACKLOG)
    except (OSError, UnicodeError) as error:
        listener.close()
        number = error.errno if isinstance(error, OSError) else None
        reason = error.strerror if isinstance(error, OSError) else "no name of a host"
        raise InstallationFault(
            f"Cannot listen on {settings.host}:{settings.port} ({reason}).",
            remedy=_REMEDIES.get(number, "Name an address of this machine in KEYTURN_HOST."),
        ) from error
    return listener


_REMEDIES: dict[int | None, str] = {
    errno.EADDRINUSE: "Stop what listens there, or choose another KEYTURN_PORT.",
    errno.EACCES: "Choose a KEYTURN_PORT from 1024 on; the lower ones are the system's.",
}
