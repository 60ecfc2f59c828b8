"""A proxy on this machine that falls silent: what is sent is taken, and nothing comes back."""

import contextlib
import socket
import threading
from types import TracebackType


class SilentProxy:
    """Passes everything on until it is told to be silent."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self._passes = threading.Event()
        self._passes.set()
        self._sockets: list[socket.socket] = []

    def __enter__(self) -> "SilentProxy":
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for one in (self._listener, *self._sockets):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()

    def url(self, url: str) -> str:
        """The address of a database of that server, through here."""
        return url.replace(f":{self._port}/", f":{self.port}/")

    def fall_silent(self) -> None:
        self._passes.clear()

    def speak_again(self) -> None:
        self._passes.set()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            far = socket.create_connection(("127.0.0.1", self._port))
            self._sockets += [near, far]
            for one, other in ((near, far), (far, near)):
                threading.Thread(target=self._pass_on, args=(one, other), daemon=True).start()

    def _pass_on(self, one: socket.socket, other: socket.socket) -> None:
        try:
            while data := one.recv(65_536):
                self._passes.wait()
                other.sendall(data)
            other.shutdown(socket.SHUT_WR)
        except OSError:
            return
