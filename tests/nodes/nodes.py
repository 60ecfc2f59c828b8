"""Several real nodes of one installation, each with a data folder and a way to the database of its
own."""

import os
import signal
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import httpx2

from tests.acceptance.servers import Installation, Server
from tests.servers.silence import SilentProxy

Json = Any

# What nodes that are well have between them and an answer, on a busy machine.
PATIENCE_SECONDS = 20.0


@dataclass(kw_only=True)
class Node:
    """One `keyturn serve`."""

    name: str
    installation: Installation
    proxy: SilentProxy | None = None
    server: Server = field(init=False)
    client: httpx2.Client = field(init=False, repr=False)

    def start(self) -> "Node":
        self.server = Server(self.installation)
        self.client = httpx2.Client(base_url=self.server.url, timeout=PATIENCE_SECONDS)
        return self

    def kill(self) -> None:
        """Ends it with no chance to do anything; `start` begins it anew."""
        self.client.close()
        self.server.kill()

    def call(
        self,
        method: str,
        path: str,
        token: str,
        body: Json = None,
        headers: Mapping[str, str] | None = None,
    ) -> httpx2.Response:
        sent = {"Authorization": f"Bearer {token}", **(headers or {})}
        return self.client.request(method, path, headers=sent, json=body)

    def verify(self, caller: str, subject: str, **members: Json) -> str:
        """The code of the verdict, or of the refusal to give one."""
        answer = self.call("POST", "/v1/verify", caller, {"api_key": subject, **members})
        assert answer.status_code in (200, 503), answer.status_code
        return str(answer.json()["code"])

    def log(self) -> str:
        return self.installation.log.read_text()

    def pause(self) -> None:
        os.kill(self.server.id, signal.SIGSTOP)

    def go_on(self) -> None:
        os.kill(self.server.id, signal.SIGCONT)

    def close(self) -> None:
        self.client.close()
        with suppress(ProcessLookupError):  # a test has ended it
            self.go_on()
        self.server.kill()


class Group:
    """Nodes of one installation; `close` ends them all."""

    def __init__(self, installation: Installation, port: int) -> None:
        self._installation = installation
        self._port = port
        self._proxies: list[SilentProxy] = []
        self.nodes: list[Node] = []
        self.operator = installation.operator_token()

    def prepare(self, *, behind_proxy: bool = False, **settings: str) -> Node:
        """One that is not started yet."""
        name = f"node-{len(self.nodes) + 1}"
        folder = self._installation.home.parent / name
        home = folder / "home"
        home.mkdir(mode=0o700, parents=True)
        proxy, url = None, self._installation.database_url
        if behind_proxy:
            proxy = SilentProxy(self._port)
            self._proxies.append(proxy.__enter__())
            url = proxy.url(url)
        own = {
            "KEYTURN_ROOT_SECRET_FILE": str(self._installation.home / "root.secret"),
            "KEYTURN_NODE_NAME": name,
            **{f"KEYTURN_{key.upper()}": value for key, value in settings.items()},
        }
        installation = Installation(
            engine="postgresql",
            home=home,
            database_url=url,
            settings={**self._installation.settings, **own},
        )
        node = Node(name=name, installation=installation, proxy=proxy)
        self.nodes.append(node)
        return node

    def start(self, *, behind_proxy: bool = False, **settings: str) -> Node:
        return self.prepare(behind_proxy=behind_proxy, **settings).start()

    def key(self, node: Node, **members: Json) -> Json:
        """A new key, with its token."""
        body = {"name": f"service-{os.urandom(4).hex()}-prod", **members}
        answer = node.call("POST", "/v1/api-keys", self.operator, body)
        assert answer.status_code == 201, answer.text
        return answer.json()

    def close(self) -> None:
        for node in self.nodes:
            if hasattr(node, "server"):
                node.close()
        for proxy in self._proxies:
            proxy.__exit__(None, None, None)


def propagation_of(answer: httpx2.Response) -> dict[str, str]:
    """The members of `Keyturn-Propagation`; its first word is the `state`."""
    state, *members = answer.headers["Keyturn-Propagation"].split("; ")
    return {"state": state, **dict(member.split("=", 1) for member in members)}
