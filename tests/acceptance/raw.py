"""HTTP as bytes over a socket: for what no client library would send."""

import json
import socket
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self


@dataclass(frozen=True, kw_only=True)
class RawAnswer:
    status: int
    headers: dict[str, str]
    body: bytes = field(repr=False)

    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def code(self) -> str:
        return str(self.json()["code"])


class RawConnection:
    """One connection to a server of ours."""

    def __init__(self, port: int, timeout_seconds: float = 20) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout_seconds)
        self._file = self._socket.makefile("rb")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._file.close()
        self._socket.close()

    def send(self, data: bytes) -> None:
        self._socket.sendall(data)

    def request(self, target: str, *headers: str, method: str = "GET", body: bytes = b"") -> None:
        lines = [f"{method} {target} HTTP/1.1", "Host: localhost", *headers, "", ""]
        self.send("\r\n".join(lines).encode("latin-1") + body)

    def answer(self) -> RawAnswer:
        """The next answer. Raises `EOFError` where the server closed the connection instead."""
        line = self._file.readline()
        if not line:
            raise EOFError
        headers: dict[str, str] = {}
        while (text := self._file.readline().decode("latin-1").strip()) != "":
            name, _, value = text.partition(":")
            headers[name.lower()] = value.strip()
        return RawAnswer(
            status=int(line.split()[1]),
            headers=headers,
            body=self._file.read(int(headers.get("content-length", "0"))),
        )

    def is_closed(self) -> bool:
        """Whether the server has closed it. Waits for that as long as the socket waits."""
        try:
            return self._file.read(1) == b""
        except ConnectionError:
            return True
