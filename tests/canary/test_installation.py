"""An installation whose tokens are told by their brand, and everything that a caller, an operator
or a broken machine can do wrong with one. Then nothing of a token is found where none may stand."""

import json
import os
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx2
import psycopg
import pytest

from tests.acceptance.api import Api, Site, Workspace, expect, open_site
from tests.acceptance.raw import RawConnection
from tests.acceptance.servers import ENGINES, Estate, Installation, Server
from tests.canary.allowed import OUTPUT
from tests.canary.hook import ANSWERS
from tests.canary.judge import judge
from tests.canary.plugin import CANARIES, Canaries
from tests.canary.registry import read_canaries
from tests.servers.postgres import Postgres, flush_server

BRAND = "kzcanary"
LARGEST_BODY_BYTES = 1 << 20
HEADERS = (
    "X-Request-Id", "User-Agent", "Keyturn-Runtime", "Idempotency-Key", "If-Match", "If-None-Match",
    "Keyturn-Workspace", "Keyturn-Min-Position", "Prefer", "Accept", "Accept-Language", "Cookie",
    "Referer", "Origin", "Host", "X-Forwarded-For", "Forwarded", "X-Real-Ip", "Content-Type",
    "Content-Encoding", "Traceparent", "X-Unknown",
)  # fmt: skip


@pytest.fixture
def canaries(request: pytest.FixtureRequest) -> Canaries:
    return request.config.stash[CANARIES]


@pytest.fixture(params=ENGINES)
def installation(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Installation]:
    def postgres() -> Postgres:
        server = request.getfixturevalue("postgres")
        assert isinstance(server, Postgres)
        return server

    estate = Estate(tmp_path, postgres)
    yield estate.install(str(request.param), brand=BRAND, body_timeout_seconds="1")
    estate.clear()


def misspelled(token: str) -> Iterator[str]:
    """A token as people and programs damage it. All of its secret is in each."""
    brand, environment, body = token.split("_")
    yield token
    yield f"{token}a"
    yield token[:-1]
    yield token[:-6]
    yield token[:-1] + ("0" if token[-1] != "0" else "1")
    yield f"{brand.upper()}_{environment}_{body}"
    yield f"{brand}_{environment.upper()}_{body}"
    yield f"{brand}-{environment}-{body}"
    yield body
    yield f'"{token}"'
    yield f"<{token}>"
    yield f"Bearer {token}"
    yield f"{token},{token}"


def encoded(text: str) -> Iterator[str]:
    """Text as it may stand in a URL."""
    percent = "".join(f"%{byte:02X}" for byte in text.encode())
    yield text.replace(" ", "%20").replace('"', "%22")
    yield percent
    yield percent.replace("%", "%25")
    yield text.replace("_", "%5f").replace(" ", "+").replace('"', "%22")
    for times in (3, 12):
        yield percent.replace("%", "%" + "25" * times)


# --- what is done wrong --------------------------------------------------------------------------


def in_urls(site: Site, token: str) -> None:
    targets = [
        form
        for text in misspelled(token)
        for one in encoded(text)
        for form in (f"/v1/api-keys/{one}", f"/v1/requests?path={one}", f"/{one}?{one}={one}")
    ]
    targets += [f"/v1/api-keys#{token}", f"http://{token}@localhost/v1/self", f"//{token}/v1/self"]
    targets += [token, f"/v1/slots/{token}/.."]
    for target in targets:
        said(site, target, "Host: localhost", f"Authorization: Bearer {token}")


def in_broken_http(site: Site, token: str) -> None:
    for method in (token, f"{token} {token}", "CONNECT", "TRACE"):
        said(site, "/v1/self", f"X-Api-Key: {token}", method=method)
    said(site, "/v1/self", f"{token}: {token}", f"{token}")
    said(site, "/v1/self", f"Authorization: {token}", f"X-API-Key: {token}", "X-API-Key: other")
    said(site, "/v1/self", f"Authorization: Basic {token}")
    said(site, "/v1/self", f"Content-Length: {token}")
    said(site, "/v1/self", f"Transfer-Encoding: {token}")
    said(site, "/v1/verify", "Transfer-Encoding: chunked", body=token.encode(), method="POST")
    said(site, "/v1/self", *[f"X-{number}: {token}" for number in range(900)])
    for start in (token, f"GET {token}", f"GET / {token}", f"GET / HTTP/1.1\r\n{token}"):
        with suppress(OSError, EOFError), RawConnection(site.server.port) as connection:
            connection.send(start.encode() + b"\r\n\r\n")
            connection.answer()


def said(site: Site, target: str, *headers: str, method: str = "GET", body: bytes = b"") -> None:
    """Says it, and hears whatever is answered."""
    with suppress(OSError, EOFError), RawConnection(site.server.port) as connection:
        connection.request(target, *headers, "Connection: close", method=method, body=body)
        connection.answer()


def in_every_route(site: Site, caller: Api, token: str) -> set[tuple[str, int]]:
    """Each route of the document, with the token in everything that a caller fills in. What was
    answered, by route."""
    statuses: set[tuple[str, int]] = set()
    for path, operations in site.document["paths"].items():
        for method in operations:
            if method not in ("get", "put", "post", "patch", "delete"):
                continue
            own = path.replace("{", "").replace("}", "")
            for answer in misuses(caller, method.upper(), own, token):
                statuses.add((f"{method} {path}", answer.status_code))
    return statuses


def misuses(caller: Api, method: str, path: str, token: str) -> Iterator[httpx2.Response]:
    client = caller.client
    own = {"Authorization": f"Bearer {caller.token}"}
    bodies: list[Any] = [
        token, [token], {token: token}, {"name": token}, {"name": "a", token: {token: [token]}},
        {"api_key": [token]}, {"api_key": token, "runtime": token, "path": token, "ip": token},
        {"name": "a", "metadata": {token: token}, "purpose": token, "runbook_url": token},
        {"name": "a", "scopes": [token], "permissions": [token], "allowed_cidrs": [token]},
        {"name": "a", "expires_at": token, "runtimes": [{"name": token}], "owner": token},
    ]  # fmt: skip
    raw = [
        token.encode(),
        b'{"api_key": "' + token.encode(),
        b'{"api_key": "' + token.encode() + b'"}}',
        b'{"api_key": "\xff' + token.encode() + b'"}',
        json.dumps({"api_key": token}).encode("utf-16"),
        b'{"name": "' + token.encode() * (LARGEST_BODY_BYTES // len(token) + 1) + b'"}',
        b"[" * 2_000 + token.encode(),
    ]
    content = [json.dumps(body).encode() for body in bodies] + raw
    if method == "GET":
        content = [b""]
    for data in content:
        sent = {"Content-Type": "application/json", **own}
        yield client.request(method, path, headers=sent, content=data)
    yield client.request(method, path, content=content[0])
    for query in (f"limit={token}", f"cursor={token}", f"{token}", f"reason={token}"):
        yield client.request(method, f"{path}?{query}", headers=own)


def in_headers(caller: Api, token: str) -> None:
    own = {"Authorization": f"Bearer {caller.token}"}
    for method, path in (("GET", "/v1/api-keys"), ("POST", "/v1/api-keys"), ("POST", "/v1/verify")):
        for name in HEADERS:
            with suppress(httpx2.HTTPError):
                caller.client.request(method, path, headers={**own, name: token}, content=b"{}")
        for text in misspelled(token):
            caller.client.request(method, path, headers={"Authorization": f"Bearer {text}"})
            caller.client.request(method, path, headers={"X-API-Key": text})


def a_life(workspace: Workspace) -> str:
    """What goes well: a key made, used, changed, looked at, suspended, revoked. Its token."""
    admin = workspace.admin
    key = admin.create(name="scheduler-prod", scopes=["read"], permissions=["verify"])
    draft = {"name": "again-prod"}
    again = [admin.post("/v1/api-keys", draft, Idempotency_Key="one") for _ in range(2)]
    assert [response.status_code for response in again] == [201, 201]
    assert admin.verify(key.token, scopes=["read"], runtime="nightly", ip="192.0.2.1")["valid"]
    expect(admin.get(key.path), 200)
    expect(key.api.get("/v1/self"), 200)
    expect(admin.patch(key.path, {"purpose": "nightly"}), 200)
    expect(admin.put("/v1/slots/other-prod", {"owner": "ops"}), 201)
    for path in ("usage", "propagation"):
        expect(admin.get(f"{key.path}/{path}"), 200)
    for path in ("api-keys", "requests", "activity-logs", "slots"):
        expect(admin.get(f"/v1/{path}"), 200)
    for act in ("suspend", "resume"):
        expect(admin.post(f"{key.path}/{act}"), 200)
    used = [key.token, again[0].json()["api_key"]]
    for text in (text for token in used for text in misspelled(token)):
        admin.verify(text, user_agent=text, path=f"/{text}", method="GET", request_id="label")
        admin.post("/v1/verify", {"api_key": text, "user_agent": text, "path": text, "ip": text})
        admin.post("/v1/verify", {"api_key": text, "method": text, "environment": text})
    assert admin.delete(f"{key.path}?reason=superseded").status_code == 204
    assert not admin.verify(key.token)["valid"]
    key.api.get("/v1/self")
    return str(used[1])


def in_commands(installation: Installation, token: str) -> None:
    """Commands that are given a token where none belongs, and settings that hold one."""
    for arguments in (
        ("operators", "create", "--name", "Ada", "--output", "ada.token"),
        ("operators", "create", "--name", "Gate", "--verify-only", "--output", "-"),
        ("operators", "create", "--name", token, "--output", "-"),
        ("operators", "create", "--name", "Bo", "--expires", token, "--output", "-"),
        ("operators", "create", "--name", "Bo"),
        ("operators", "list", "--json"),
        ("operators", "revoke", token),
        ("activity", "verify"),
        ("doctor",),
        ("migrate",),
        ("init",),
        ("dev", token),
        (token,),
        (f"--{token}",),
    ):
        installation.command(*arguments)
    for names in (
        ("PORT", "HOST", "BRAND", "FRESHNESS_SECONDS", "ENVIRONMENTS"),
        ("DATABASE_URL",),
    ):
        wrong = Installation(
            engine=installation.engine,
            home=installation.home,
            database_url=installation.database_url,
            settings={**installation.settings, **{f"KEYTURN_{name}": token for name in names}},
        )
        wrong.command("doctor")


# --- what breaks ---------------------------------------------------------------------------------


@contextmanager
def broken(installation: Installation) -> Iterator[None]:
    """The database without one of its tables: each statement on it fails, and says so."""
    tables = ("keys", "requests", "operators")
    run(installation, *(f"ALTER TABLE {name} RENAME TO lost_{name}" for name in tables))
    try:
        yield
    finally:
        run(installation, *(f"ALTER TABLE lost_{name} RENAME TO {name}" for name in tables))


def run(installation: Installation, *statements: str) -> None:
    if installation.engine == "postgresql":
        with psycopg.connect(installation.database_url, autocommit=True) as own:
            for statement in statements:
                own.execute(statement.encode())
        return
    other = sqlite3.connect(installation.home / "keyturn.db", timeout=20, isolation_level=None)
    for statement in statements:
        other.execute(statement)
    other.close()


def in_failures(site: Site, workspace: Workspace, token: str) -> None:
    with broken(site.server.installation):
        for _ in range(3):
            workspace.admin.client.post(
                "/v1/verify",
                json={"api_key": token, "user_agent": token, "path": f"/{token}"},
                headers={"Authorization": f"Bearer {workspace.admin.token}"},
            )
            for path in ("/v1/api-keys", "/v1/self", "/readyz", f"/v1/requests/{token}"):
                said(site, path, f"X-API-Key: {token}")
    if site.engine == "postgresql":
        run(
            site.server.installation,
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()",
        )
        said(site, "/v1/self", f"X-API-Key: {token}")


def in_crashes(installation: Installation, token: str, end: Callable[[Server], object]) -> None:
    """The server ends amid calls that carry a token."""
    server = Server(installation)
    is_over = threading.Event()

    def call() -> None:
        while not is_over.is_set():
            with suppress(OSError, EOFError), RawConnection(server.port) as connection:
                body = json.dumps({"api_key": token, "path": f"/{token}"}).encode()
                headers = (f"Authorization: Bearer {token}", f"Content-Length: {len(body)}")
                connection.request("/v1/verify", *headers, method="POST", body=body)
                connection.answer()
                done.set()

    done = threading.Event()
    threads = [threading.Thread(target=call) for _ in range(4)]
    for thread in threads:
        thread.start()
    assert done.wait(20)
    end(server)
    is_over.set()
    for thread in threads:
        thread.join()


# --- what others see -----------------------------------------------------------------------------


@contextmanager
def sampled(installation: Installation, path: Path) -> Iterator[None]:
    """What PostgreSQL shows meanwhile of the statements of others."""
    if installation.engine != "postgresql":
        yield
        return
    is_over = threading.Event()
    elsewhere = f"{installation.database_url.rpartition('/')[0]}/postgres"
    sample = "SELECT row_to_json(pg_stat_activity)::text FROM pg_stat_activity"

    def look() -> None:
        with (
            psycopg.connect(elsewhere, autocommit=True) as own,
            path.open("a") as file,
        ):
            while not is_over.wait(0.005):
                file.writelines(f"{text}\n" for (text,) in own.execute(sample))

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join()
    assert path.stat().st_size > 0


def test_nothing_that_is_done_with_a_token_leaves_it_anywhere(
    installation: Installation, canaries: Canaries, tmp_path: Path
) -> None:
    seen = tmp_path / "seen"
    seen.mkdir()
    server = Server(installation)
    try:
        site = open_site(server)
        workspace = site.workspace()
        with sampled(installation, seen / "pg_stat_activity"):
            token = a_life(workspace)
            in_urls(site, token)
            in_broken_http(site, token)
            statuses = in_every_route(site, workspace.admin, token)
            in_headers(workspace.admin, token)
            in_failures(site, workspace, token)
            (seen / "metrics").write_text(site.anyone.get("/metrics").text)
            in_commands(installation, token)
        site.operator.client.close()
    finally:
        server.kill()
    in_crashes(installation, token, Server.stop)
    in_crashes(installation, token, Server.kill)
    installation.command("activity", "verify")
    assert {status for _, status in statuses} >= {200, 400, 401, 404, 413, 422}
    found = leaks(installation, canaries, tmp_path)
    assert not found, "\n".join(found)


def leaks(installation: Installation, canaries: Canaries, folder: Path) -> tuple[str, ...]:
    mine = [one for one in read_canaries(canaries.folder) if (one.hint or "").startswith(BRAND)]
    assert len(mine) >= 6
    flush_server(canaries.postgres)
    kept = [folder, *(canaries.folder / name for name in (ANSWERS, OUTPUT))]
    if installation.engine == "postgresql":
        kept += [canaries.postgres / name for name in ("data", "log")]
    files = [
        Path(place, name) for top in kept for place, _, names in os.walk(top) for name in names
    ]
    files += [path for path in kept if path.is_file()]
    outcome = judge(mine, files, 1)
    assert outcome.allowed["the one answer that hands it out"] >= 3
    return outcome.leaks
