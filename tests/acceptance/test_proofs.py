"""A proof waits for a place that may be silent. It holds up no evidence, and few hold up nobody."""

import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress

import pytest

from tests.acceptance.api import PATIENCE_SECONDS, Json, Site, Workspace, expect, label
from tests.acceptance.servers import until


class Silence:
    """A place that takes connections, and answers nobody until it ends."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self.taken: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                self.taken.append(self._listener.accept()[0])

    def end(self) -> None:
        for one in (self._listener, *self.taken):
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()


@contextmanager
def proving(silence: Silence, *homes: Workspace) -> Iterator[list[Future[Json]]]:
    """A proof in each of these workspaces, all of which hang while the block goes on."""
    with ThreadPoolExecutor(len(homes)) as pool:
        try:
            before = len(silence.taken)
            found = [pool.submit(prove, home, silence) for home in homes]
            assert until(lambda: len(silence.taken) == before + len(homes), PATIENCE_SECONDS)
            yield found
        finally:
            silence.end()


def destination(silence: Silence) -> Json:
    return {
        "name": label("silent"),
        "kind": "vault",
        "config": {"address": f"http://127.0.0.1:{silence.port}"},
        "credential": {"token": "some-token-of-a-vault"},
    }


def prove(home: Workspace, silence: Silence) -> Json:
    return expect(home.admin.post("/v1/destinations", destination(silence)), 201)


@pytest.fixture
def silence() -> Iterator[Silence]:
    made = Silence()
    yield made
    made.end()


@pytest.fixture
def quiet_site(engine: str, silence: Silence, open_shared_site: Callable[..., Site]) -> Site:
    return open_shared_site(engine, outbound_networks=f"127.0.0.1:{silence.port}")


def test_a_proof_that_hangs_leaves_no_evidence_behind(quiet_site: Site, silence: Silence) -> None:
    home, other = quiet_site.workspace(), quiet_site.workspace()
    key = home.admin.create()
    rotation = expect(home.admin.post(f"{key.path}/rotations", {}), 201)

    def known() -> str:
        told = expect(home.admin.get(f"/v1/rotations/{rotation['id']}"), 200)
        return str(told["evidence_until"])

    with proving(silence, other) as [proof]:
        seen = {known()}

        def goes_on() -> bool:
            seen.add(known())
            return len(seen) > 3

        assert until(goes_on, PATIENCE_SECONDS)
        assert not proof.done()
    assert proof.result()["state"] == "unproven"
    [recorded] = [one for one in other.settled_requests() if one["path"] == "/v1/destinations"]
    assert recorded["at"] > max(seen), "nothing that was told as complete goes past it"


def test_beyond_a_few_proofs_of_a_workspace_the_next_is_told_to_come_back(
    quiet_site: Site, silence: Silence
) -> None:
    home, other = quiet_site.workspace(), quiet_site.workspace()
    with proving(silence, home, home, other) as proofs:
        asked = destination(silence)
        refused = home.admin.post("/v1/destinations", asked)
        expect(refused, 429, "destination.busy")
        assert int(refused.headers["Retry-After"]) > 0
        expect(home.admin.get(f"/v1/destinations/{asked['name']}"), 404, "destination.unknown")
    for one in proofs:
        assert one.result()["fault"]
    assert expect(home.admin.post("/v1/destinations", asked), 201)["state"] == "unproven"
