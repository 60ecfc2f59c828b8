"""A caller's connection to one node, on an event loop. A call that brings no answer has none."""

import asyncio
import json
from collections.abc import Mapping

from tests.rotations_live.wire import LOST, Heard


class Line:
    """One call at a time. `port` is where the node listens at present."""

    def __init__(self, port: int = 0) -> None:
        self.port = port
        self._connected_to = 0
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def call(
        self,
        method: str,
        path: str,
        token: str,
        body: object = None,
        headers: Mapping[str, str] | None = None,
        *,
        seconds: float = 15.0,
    ) -> Heard | None:
        """The answer, None where none came so soon."""
        payload = b"" if body is None else json.dumps(body).encode()
        head = [
            f"{method} {path} HTTP/1.1",
            "Host: keyturn",
            f"Authorization: Bearer {token}",
            f"Content-Length: {len(payload)}",
            *(["Content-Type: application/json"] if payload else []),
            *(f"{name}: {text}" for name, text in (headers or {}).items()),
        ]
        spelled = "\r\n".join([*head, "", ""]).encode() + payload
        try:
            # (`wait_for` of Python 3.11 may swallow a cancellation that comes with an answer.)
            async with asyncio.timeout(seconds):
                return await self._ask(spelled)
        except LOST:
            self.close()
            return None
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None

    async def _ask(self, spelled: bytes) -> Heard:
        if self._streams is None or self._connected_to != self.port:
            self.close()
            self._connected_to = self.port
            self._streams = await asyncio.open_connection("127.0.0.1", self.port)
        reader, writer = self._streams
        writer.write(spelled)
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        headers = {}
        for one in head[1:-2]:
            name, _, text = one.partition(":")
            headers[name.strip().lower()] = text.strip()
        raw = await reader.readexactly(int(headers.get("content-length", "0")))
        if headers.get("connection") == "close":
            self.close()
        return Heard(int(head[0].split(" ")[1]), json.loads(raw) if raw else None, headers)
