"""The client against a real server behind a faulty way: what is lost, late, or not the server's."""

import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import httpx2
import pytest

from keyturn import AsyncKeyturn, Keyturn
from keyturn.client import (
    NO_RETRY,
    ClientClosed,
    ConfigurationFault,
    NotUnderstood,
    TokenLost,
    Unavailable,
    Unreachable,
)
from keyturn.domain.redaction import holds_shape
from tests.acceptance.api import Site, Workspace
from tests.acceptance.servers import until
from tests.client.faces import Face, attempts
from tests.client.upstream import (
    Upstream,
    drop,
    halve_answer,
    lose_answer,
    refuse,
    say,
    stall,
)

TIMEOUT_SECONDS = 1.0  # of a client that is stalled


@pytest.fixture
def client(face: Face, upstream: Upstream, home: Workspace) -> Any:
    assert home.admin.token is not None
    return face.client(upstream.url, home.admin.token, retry=attempts())


def live(home: Workspace, name: str) -> list[Any]:
    return [one for one in home.all_keys() if one["name"] == name]


def test_a_lost_answer_makes_no_second_key_and_says_that_the_token_is_lost(
    face: Face, upstream: Upstream, home: Workspace, client: Any
) -> None:
    upstream.then(lose_answer)
    issued = face.do(client.keys.create, "once-prod")
    assert len(upstream.received) == 2
    assert len({one.headers["idempotency-key"] for one in upstream.received}) == 1
    assert len({one.headers["x-request-id"] for one in upstream.received}) == 1
    [only] = live(home, "once-prod")
    assert issued.id == only["id"]
    with pytest.raises(TokenLost) as lost:
        _ = issued.token
    assert lost.value.key_id == only["id"]


def test_a_create_that_never_arrived_gives_its_token(
    face: Face, upstream: Upstream, home: Workspace, client: Any
) -> None:
    upstream.then(drop, refuse("0"))
    issued = face.do(client.keys.create, "twice-prod")
    assert len(upstream.received) == 3
    assert len(live(home, "twice-prod")) == 1
    assert home.verify(issued.token.reveal())["valid"] is True


@pytest.mark.parametrize("fault", [lose_answer, drop, halve_answer, refuse("0")])
def test_a_read_is_repeated_whatever_became_of_its_answer(
    face: Face, upstream: Upstream, client: Any, fault: Any
) -> None:
    upstream.then(fault)
    assert face.do(client.whoami).type == "api_key"
    assert len(upstream.received) == 2


def test_a_retried_revocation_and_a_retried_suspension_are_answered_alike(
    face: Face, upstream: Upstream, home: Workspace, client: Any
) -> None:
    key = home.admin.create()
    upstream.then(lose_answer)
    assert face.do(client.keys.suspend, key.id, version=1).status == "suspended"
    upstream.then(lose_answer)
    resumed = face.do(client.keys.resume, key.id, version=2)
    assert (resumed.status, resumed.version) == ("active", 3)
    upstream.then(lose_answer)
    assert face.do(client.keys.revoke, key.id, version=3).is_complete
    assert len(upstream.received) == 6
    assert home.key(key)["version"] == 4


def test_a_change_of_one_version_whose_answer_is_lost_says_that_it_may_be_done(
    face: Face, upstream: Upstream, home: Workspace, client: Any
) -> None:
    key = home.admin.create()
    upstream.then(lose_answer)
    with pytest.raises(Unreachable) as unknown:
        face.do(client.keys.change, key.id, version=1, name="new")
    assert unknown.value.was_sent
    assert unknown.value.request_id == upstream.received[0].headers["x-request-id"]
    assert len(upstream.received) == 1
    assert home.key(key)["name"] == "new"


def test_a_busy_server_is_given_the_time_that_it_asks_for(
    face: Face, upstream: Upstream, client: Any
) -> None:
    upstream.then(refuse("1"))
    face.do(client.whoami)
    first, second = upstream.received
    assert second.at - first.at >= 1


def test_a_server_that_stays_busy_is_an_error_that_says_when(
    face: Face, upstream: Upstream, home: Workspace, client: Any
) -> None:
    upstream.then(refuse("3600"))
    with pytest.raises(Unavailable) as busy:
        face.do(client.whoami)
    assert busy.value.retry_after_seconds == 3600
    assert len(upstream.received) == 1


def test_a_server_that_stalls_is_left_and_asked_again(
    face: Face, upstream: Upstream, home: Workspace
) -> None:
    assert home.admin.token is not None
    client = face.client(
        upstream.url, home.admin.token, retry=attempts(), timeout_seconds=TIMEOUT_SECONDS
    )
    upstream.then(stall)
    assert face.do(client.whoami).type == "api_key"
    assert len(upstream.received) == 2


def test_no_redirect_takes_the_token_elsewhere(
    face: Face, upstream: Upstream, site: Site, client: Any
) -> None:
    with Upstream(site.server.port) as elsewhere:
        for status in ("301 Moved", "307 Temporary Redirect"):
            upstream.then(say(status, Location=f"{elsewhere.url}/v1/self"))
            with pytest.raises(NotUnderstood, match="leads elsewhere"):
                face.do(client.whoami)
        upstream.then(
            say("200 OK", b"[]", Link=f'<{elsewhere.url}/v1/api-keys?cursor=abc>; rel="next"')
        )
        listed = client.keys.list()
        with pytest.raises(Exception, match="cursor"):  # the server's own word on `abc`
            face.items(listed)
        assert elsewhere.received == []


@pytest.mark.parametrize(
    "fault",
    [
        say("200 OK", b"<html>Sign in</html>", Content_Type="text/html"),
        say("502 Bad Gateway", b"<html>", Content_Type="text/html"),
        say("422 Unprocessable Content", b"{", Content_Type="application/problem+json"),
    ],
    ids=["page", "gateway", "broken"],
)
def test_what_stands_between_is_not_taken_for_the_server(
    face: Face, upstream: Upstream, home: Workspace, fault: Any
) -> None:
    assert home.admin.token is not None
    client = face.client(upstream.url, home.admin.token, retry=NO_RETRY)
    key = home.admin.create()
    upstream.then(fault)
    with pytest.raises(NotUnderstood) as odd:
        face.do(client.keys.revoke, key.id)
    assert odd.value.request_id == upstream.received[0].headers["x-request-id"]
    assert home.key(key)["status"] == "active"


@pytest.mark.parametrize(
    "fault",
    [
        say("200 OK", b"no gzip", Content_Encoding="gzip", Content_Type="application/json"),
        say("200 OK\x00", b""),
        say("000 What", b""),
    ],
    ids=["damaged", "garbled", "no-status"],
)
def test_an_answer_that_is_damaged_is_no_answer(
    face: Face, upstream: Upstream, home: Workspace, fault: Any
) -> None:
    assert home.admin.token is not None
    client = face.client(upstream.url, home.admin.token, retry=NO_RETRY)
    upstream.then(fault)
    with pytest.raises((Unreachable, NotUnderstood)) as lost:
        face.do(client.whoami)
    assert lost.value.request_id
    assert face.do(client.whoami).type == "api_key"


def test_nobody_at_the_address_is_told_in_the_systems_words(face: Face, home: Workspace) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    assert home.admin.token is not None
    client = face.client(f"http://127.0.0.1:{port}", home.admin.token, retry=attempts())
    with pytest.raises(Unreachable) as nobody:
        face.do(client.keys.create, "a-prod")
    assert not nobody.value.was_sent
    assert "refused" in str(nobody.value)


def test_what_arrives_tells_nothing_of_the_callers_machine(
    face: Face, upstream: Upstream, client: Any
) -> None:
    face.do(client.whoami)
    [received] = upstream.received
    assert received.headers["user-agent"].startswith("keyturn-python/")
    assert "keyturn-runtime" not in received.headers
    assert socket.gethostname() not in {
        part for value in received.headers.values() for part in value.split()
    }


def test_fifty_threads_share_one_client(site: Site, home: Workspace) -> None:
    keys = [home.admin.create() for _ in range(10)]
    assert home.admin.token is not None
    gate = threading.Barrier(50)
    with Keyturn(site.server.url, api_key=home.admin.token) as client:

        def call(number: int) -> bool:
            mine = keys[number % len(keys)]
            gate.wait(60)
            found = [client.verify(mine.token).require().id for _ in range(4)]
            return set(found) == {mine.id}

        with ThreadPoolExecutor(50) as pool:
            assert all(pool.map(call, range(50)))


async def test_fifty_tasks_share_one_client(site: Site, home: Workspace) -> None:
    keys = [home.admin.create() for _ in range(10)]
    found: list[bool] = []
    async with AsyncKeyturn(site.server.url, api_key=home.admin.token) as client:

        async def call(number: int) -> None:
            mine = keys[number % len(keys)]
            verdict = await client.verify(mine.token)
            found.append(verdict.require().id == mine.id)

        async with anyio.create_task_group() as group:
            for number in range(50):
                group.start_soon(call, number)
    assert found == [True] * 50


def heard(upstream: Upstream, before: int) -> bool:
    return len(upstream.received) > before


async def test_a_call_that_is_cancelled_leaves_the_client_usable(
    upstream: Upstream, home: Workspace
) -> None:
    async with AsyncKeyturn(upstream.url, api_key=home.admin.token) as client:
        for fault in (stall, refuse("8")):  # within sending, and within waiting
            upstream.then(fault)
            before = len(upstream.received)
            with anyio.move_on_after(60) as scope:
                async with anyio.create_task_group() as group:
                    group.start_soon(client.whoami)
                    assert await anyio.to_thread.run_sync(until, partial(heard, upstream, before))
                    await anyio.sleep(0.2)
                    group.cancel_scope.cancel()
            assert not scope.cancelled_caught
            assert (await client.whoami()).type == "api_key"


FORKED = """
import os, sys
from keyturn import Keyturn

mine, theirs = sys.stdin.read().split()
client = Keyturn()
expected = {one: client.verify(one).require().id for one in (mine, theirs)}
child = os.fork()
held = theirs if child == 0 else mine
wrong = sum(client.verify(held).require().id != expected[held] for _ in range(200))
if child == 0:
    client.close()
    os._exit(1 if wrong else 0)
_, status = os.waitpid(child, 0)
client.verify(mine).require()
client.close()
sys.exit(1 if wrong or status else 0)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_forked_process_never_reads_its_parents_verdict(
    site: Site, home: Workspace, tmp_path: Path
) -> None:
    file = tmp_path / "token"
    assert home.admin.token is not None
    file.write_text(home.admin.token)
    tokens = f"{home.admin.create().token} {home.admin.create().token}"
    environment = {name: text for name, text in os.environ.items() if "KEYTURN_" not in name}
    environment |= {"KEYTURN_URL": site.server.url, "KEYTURN_API_KEY_FILE": str(file)}
    try:
        done = subprocess.run(
            [sys.executable, "-c", FORKED],
            input=tokens,
            env=environment,
            capture_output=True,
            text=True,
            timeout=120,
        )
    finally:
        file.unlink()
    assert done.returncode == 0, done.stderr


HASTE_SECONDS = 0.5


@pytest.fixture
def proxy(monkeypatch: pytest.MonkeyPatch) -> Iterator[Upstream]:
    """What the environment names as the proxy for everything. It passes nothing on."""
    with Upstream(0) as made:
        made.then(*[say("502 Bad Gateway")] * 20)
        for name in ("http", "https", "all"):
            monkeypatch.setenv(f"{name}_proxy", made.url)
            monkeypatch.setenv(f"{name}_proxy".upper(), made.url)
        for name in ("no_proxy", "NO_PROXY"):
            monkeypatch.delenv(name, raising=False)
        yield made


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1", "0x7f.1", "localhost"])
def test_a_proxy_is_not_sent_the_token_for_this_machine(
    face: Face, upstream: Upstream, home: Workspace, proxy: Upstream, host: str
) -> None:
    """Nor could it reach the address that is meant."""
    url = upstream.url.replace("127.0.0.1", host)
    here = face.client(url, home.admin.token or "", retry=NO_RETRY)
    assert face.do(here.whoami).type == "api_key"
    assert proxy.received == []


def test_no_proxy_is_sent_a_token_that_it_could_read(
    face: Face, home: Workspace, proxy: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = home.admin.token or ""
    plain = face.client("http://keyturn.invalid", token, retry=NO_RETRY)
    with pytest.raises(ConfigurationFault, match="plain http") as refused:
        face.do(plain.whoami)
    assert not holds_shape(str(refused.value))
    assert proxy.received == []

    tunnelled = face.client("https://keyturn.invalid", token, retry=NO_RETRY)
    with pytest.raises(Unreachable):
        face.do(tunnelled.whoami)
    [asked] = proxy.received  # a tunnel, in which all is encrypted
    assert (asked.method, asked.target) == ("CONNECT", "keyturn.invalid:443")
    assert not holds_shape(asked.raw.decode("latin-1"))

    for unproxied in ("keyturn.invalid", "*"):
        monkeypatch.setenv("no_proxy", unproxied)
        direct = face.client("http://keyturn.invalid", token, retry=NO_RETRY)
        with pytest.raises(Unreachable, match="no connection"):
            face.do(direct.whoami)
    assert len(proxy.received) == 1


def test_silence_after_a_change_of_one_version_means_that_it_may_be_done(
    face: Face, upstream: Upstream, home: Workspace
) -> None:
    client = face.client(
        upstream.url, home.admin.token or "", retry=attempts(), timeout_seconds=HASTE_SECONDS
    )
    upstream.then(stall)
    with pytest.raises(Unreachable, match="did not answer in time") as silent:
        face.do(client.keys.change, home.admin.create().id, version=1, name="new")
    assert silent.value.was_sent
    assert [one.method for one in upstream.received] == ["PATCH"]
    upstream.then(stall)
    assert face.do(client.whoami).type == "api_key"
    assert [one.method for one in upstream.received] == ["PATCH", "GET", "GET"]


@pytest.mark.parametrize("face", ["blocking"], indirect=True)
def test_a_client_that_is_closed_in_the_middle_of_a_call_says_so(
    face: Face, client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = httpx2.Client.request

    def request(library: httpx2.Client, *args: Any, **kwargs: Any) -> httpx2.Response:
        client.close()
        return real(library, *args, **kwargs)

    monkeypatch.setattr(httpx2.Client, "request", request)
    with pytest.raises(ClientClosed):
        face.do(client.whoami)


@pytest.mark.parametrize("face", ["awaited"], indirect=True)
def test_a_client_that_is_closed_in_the_middle_of_an_awaited_call_says_so(
    face: Face, client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = httpx2.AsyncClient.request

    async def request(library: httpx2.AsyncClient, *args: Any, **kwargs: Any) -> httpx2.Response:
        await client.aclose()
        return await real(library, *args, **kwargs)

    monkeypatch.setattr(httpx2.AsyncClient, "request", request)
    with pytest.raises(ClientClosed):
        face.do(client.whoami)


FIRST_TOGETHER = """
import os, sys, threading
from concurrent.futures import ThreadPoolExecutor
from keyturn import Keyturn

client = Keyturn()
child = os.fork()
if child == 0:
    gate = threading.Barrier(8)

    def connections(_):
        gate.wait(60)
        return client._own_connections()

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(connections, range(8)))
    os._exit(len({id(one) for one in found}) - 1)
_, status = os.waitpid(child, 0)
sys.exit(status != 0)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_threads_that_call_first_in_a_forked_process_share_its_connections() -> None:
    done = subprocess.run(
        [sys.executable, "-c", FIRST_TOGETHER], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
