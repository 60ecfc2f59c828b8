"""`keyturn serve` and `dev`: they begin only where they can serve, and end with nothing lost."""

import signal
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest

from keyturn.storage.migrate import newest_revision
from tests.cli.conftest import ENGINES
from tests.cli.programs import STOP_SECONDS, Place, Server

REMEDY = "    → "


# --- refusing to begin ----------------------------------------------------------------------------


def test_every_faulty_setting_is_named_at_once_with_its_remedy(place: Place) -> None:
    (place.folder / "keyturn.toml").write_text('colour = "red"\nrequest_retention_days = 0\n')
    faulty = {
        "KEYTURN_HOME": "~no-such-user-here/keyturn",
        "KEYTURN_DATABASE_URL": "mysql://db/keyturn",
        "KEYTURN_HOST": "two words",
        "KEYTURN_PORT": "http",
        "KEYTURN_BRAND": "Key-Turn",
        "KEYTURN_ROOT_SECRET_FILE": "",
        "KEYTURN_TRUSTED_PROXIES": "-1",
        "KEYTURN_ENVIRONMENT": "Über",
        "KEYTURN_ENVIRONMENTS": "prod,,qa",
        "KEYTURN_ACTIVITY_RETENTION_DAYS": "1.5",
        "KEYTURN_BODY_TIMEOUT_SECONDS": "0",
    }
    refused = place.run("serve", **faulty).refused("The settings cannot be used")
    for name in (*faulty, "`colour`", "`request_retention_days` in "):
        assert name in refused.errors
    assert refused.errors.count(REMEDY) == len(faulty) + 2
    assert not place.home.exists()


@pytest.mark.parametrize("command", ["serve", "migrate", "activity verify", "operators list"])
def test_what_needs_an_installation_says_how_to_make_one(command: str, place: Place) -> None:
    place.run(*command.split()).refused("There is no", "Run `keyturn init`")
    assert not place.home.exists()


def test_serve_on_an_empty_postgresql_says_how_to_make_an_installation(
    build_place: Callable[[str], Place],
) -> None:
    place = build_place("postgresql")
    place.home.mkdir()
    place.run("serve").refused("There is no root secret", "Run `keyturn init`")


def test_a_port_in_use_is_named(made: Place) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        made.run("serve", KEYTURN_PORT=str(port)).refused(
            f"Cannot listen on 127.0.0.1:{port} (Address already in use)", "another KEYTURN_PORT"
        )


@pytest.mark.parametrize("host", ["203.0.113.9", "a..b", "no-such-host.invalid", "::ffff:0:0:1"])
def test_an_address_that_is_not_this_machines_is_named(host: str, made: Place) -> None:
    made.run("serve", KEYTURN_HOST=host).refused(
        f"Cannot listen on {host}:0 (", "Name an address of this machine in KEYTURN_HOST."
    )


def test_a_second_server_on_sqlite_is_refused_with_the_way_out(made: Place) -> None:
    first = made.serve()
    for command in ("serve", "dev"):
        refused = made.run(command).refused("Another Keyturn", "Stop it first")
        assert f"(process {first.process.pid})" in refused.errors
    assert first.call("GET", "/readyz")[0] == 200
    assert first.stop().code == 0
    made.serve()


def test_on_postgresql_a_second_node_serves_and_what_makes_ready_is_refused(
    build_place: Callable[[str], Place],
) -> None:
    place = build_place("postgresql")
    place.run("init").done()
    other = {
        "KEYTURN_HOME": str(place.folder / "other"),
        "KEYTURN_ROOT_SECRET_FILE": str(place.home / "root.secret"),
    }
    Path(other["KEYTURN_HOME"]).mkdir()
    first = place.serve()
    place.run("serve").refused(f"(process {first.process.pid})", "Stop it first")
    for command in ("dev", "migrate"):
        place.run(command, **other).refused("Another Keyturn serves", "Stop it first, on every")
    second = place.serve(**other)
    for one in (first, second):
        assert one.call("GET", "/readyz")[0] == 200
    assert first.stop().code == 0
    assert second.call("GET", "/readyz")[0] == 200
    assert second.stop().code == 0
    place.run("migrate").done()


@pytest.mark.parametrize(
    ("revision", "sentence", "remedy"),
    [
        ("0000", "newer Keyturn (its revision is 0000)", "never migrated backwards"),
        ("9999", "newer Keyturn (its revision is 9999)", "Install that version again"),
        (None, "The database has no installation.", "Run `keyturn init` first"),
    ],
)
def test_a_database_at_another_revision_is_refused(
    revision: str | None, sentence: str, remedy: str, either: Place
) -> None:
    with either.database() as ask:
        if revision is None:
            ask("DELETE FROM alembic_version")
        else:
            ask("UPDATE alembic_version SET version_num = ?", revision)
    either.run("serve").refused(sentence, remedy)
    either.run("migrate").refused(sentence, remedy)


def test_another_root_secret_is_refused(either: Place) -> None:
    elsewhere = {
        "KEYTURN_HOME": str(either.folder / "other"),
        "KEYTURN_DATABASE_URL": f"sqlite:///{either.folder / 'other.db'}",
    }
    either.run("init", **elsewhere).done()
    foreign = str(either.folder / "other" / "root.secret")
    for command in ("serve", "dev"):
        either.run(command, KEYTURN_ROOT_SECRET_FILE=foreign).refused(
            "is not the one of this database", "KEYTURN_ROOT_SECRET_FILE"
        )


@pytest.mark.parametrize(
    ("text", "mode", "sentence"),
    [
        (None, 0o600, "There is no root secret at"),
        ("not JSON", 0o600, "is no root secret, or it is damaged"),
        ('{"format": 1, "root": "AAAA", "peppers": {"1": "AAAA"}}', 0o600, "is damaged"),
        ("", 0o640, "Others can read the root secret"),
    ],
)
def test_a_root_secret_that_cannot_be_used_is_named(
    text: str | None, mode: int, sentence: str, made: Place
) -> None:
    file = made.home / "root.secret"
    if text is None:
        file.unlink()
    else:
        file.write_text(text)
        file.chmod(mode)
    made.run("serve").refused(sentence, str(file))


def test_another_brand_is_refused(made: Place) -> None:
    made.run("serve", KEYTURN_BRAND="acme").refused(
        "this installation's brand is kt", "Take KEYTURN_BRAND out"
    )
    made.serve(KEYTURN_BRAND="kt")


# --- ending ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("command", ["serve", "dev"])
@pytest.mark.parametrize("engine", ENGINES)
def test_a_signal_ends_it_in_time_and_nothing_answered_is_lost(
    engine: str, command: str, number: signal.Signals, build_place: Callable[[str], Place]
) -> None:
    place = build_place(engine)
    place.run("init").done()
    server = place.serve(command)
    key = server.call("POST", "/v1/api-keys", place.token, {"name": "worker-prod"})[1]
    answered = hammer(server, place.token, key["api_key"])
    ended = time.monotonic()
    assert server.stop(number).code == 0
    assert time.monotonic() - ended < STOP_SECONDS
    again = place.serve()
    usage = again.call("GET", f"/v1/api-keys/{key['id']}/usage", place.token)[1]
    assert usage["totals"]["allowed"] >= answered[0] > 20


def hammer(server: Server, token: str, api_key: str) -> list[int]:
    """Verifies without a pause, still when this returns; counts what was answered."""
    answered = [0]

    def verify() -> None:
        try:
            while server.call("POST", "/v1/verify", token, {"api_key": api_key})[0] == 200:
                answered[0] += 1
        except OSError:
            return

    thread = threading.Thread(target=verify, daemon=True)
    thread.start()
    while answered[0] < 20 and thread.is_alive():
        time.sleep(0.01)
    time.sleep(0.1)
    return answered


def test_a_body_that_never_ends_does_not_hold_up_the_end(made: Place) -> None:
    server = made.serve(KEYTURN_BODY_TIMEOUT_SECONDS="600")
    with socket.create_connection((server.host, server.port)) as half:
        head = (
            f"POST /v1/api-keys HTTP/1.1\r\nHost: here\r\nAuthorization: Bearer {made.token}\r\n"
            "Content-Type: application/json\r\nContent-Length: 100\r\n\r\n{"
        )
        half.sendall(head.encode())
        time.sleep(0.2)
        stopped = server.stop()
    assert stopped.code == 0
    assert "a request was cut off by the end" in stopped.errors
    assert "exception" not in stopped.errors


def test_idle_connections_do_not_hold_up_the_end(made: Place) -> None:
    server = made.serve()
    idle = [socket.create_connection((server.host, server.port)) for _ in range(20)]
    idle[0].sendall(b"GET /healthz HTTP/1.1\r\nHost: here\r\n\r\n")
    assert idle[0].recv(100).startswith(b"HTTP/1.1 200")
    began = time.monotonic()
    assert server.stop().code == 0
    assert time.monotonic() - began < 6
    for one in idle:
        one.close()


def test_after_sigkill_its_port_is_free_and_it_starts_again(either: Place) -> None:
    server = either.serve()
    key = server.call("POST", "/v1/api-keys", either.token, {"name": "worker-prod"})[1]
    server.kill()
    again = either.serve(KEYTURN_PORT=str(server.port))
    assert again.port == server.port
    verdict = again.call("POST", "/v1/verify", either.token, {"api_key": key["api_key"]})[1]
    assert verdict["code"] == "valid"
    assert again.stop().code == 0
    either.run("activity", "verify").done()
    either.run("doctor").done()


def test_a_database_that_comes_back_is_used_again(
    build_place: Callable[[str], Place],
) -> None:
    """What the server's own restart does: every connection is cut, the lock's too."""
    place = build_place("postgresql")
    place.run("init").done()
    server = place.serve()
    with psycopg.connect(place.settings["KEYTURN_DATABASE_URL"], autocommit=True) as other:
        other.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
    deadline = time.monotonic() + 10
    while server.call("GET", "/v1/self", place.token)[0] != 200:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert server.call("POST", "/v1/api-keys", place.token, {"name": "worker-prod"})[0] == 201
    assert server.stop().code == 0


# --- dev ------------------------------------------------------------------------------------------


def test_dev_makes_what_is_missing_and_keeps_what_is_there(place: Place) -> None:
    first = place.serve("dev")
    token = place.token
    assert str(place.home / "operator.token") in first.output
    assert token not in first.output + first.errors
    assert first.call("GET", "/healthz")[1]["environment"] == "development"
    key = first.call("POST", "/v1/api-keys", token, {"name": "worker-prod"})[1]
    assert first.stop().code == 0
    second = place.serve("dev")
    assert place.token == token
    assert second.call("GET", f"/v1/api-keys/{key['id']}", token)[0] == 200


def test_dev_listens_to_this_machine_alone_unless_told_otherwise(place: Place) -> None:
    assert place.serve("dev").host == "127.0.0.1"


def test_an_address_of_ipv6_can_be_served(made: Place) -> None:
    if not socket.has_ipv6 or not Path("/proc/net/if_inet6").exists():
        pytest.skip("this machine has no IPv6")
    server = made.serve(KEYTURN_HOST="::1")
    assert server.host == "[::1]"
    assert server.call("GET", "/readyz")[0] == 200


def test_serve_says_production_in_its_health(server: Server) -> None:
    assert server.call("GET", "/healthz")[1]["environment"] == "production"


# --- migrate --------------------------------------------------------------------------------------


def test_migrate_says_where_the_database_stands(either: Place) -> None:
    said = either.run("migrate").done().output
    assert said == f"The database is at revision {newest_revision()} already.\n"


# --- its log --------------------------------------------------------------------------------------


def test_no_token_and_no_forged_line_comes_into_the_log(made: Place) -> None:
    server = made.serve()
    token = made.token
    key = server.call("POST", "/v1/api-keys", token, {"name": "worker-prod"})[1]
    forged = "/v1/api-keys/x%0d%0a%7b%22level%22%3a%22forged%22%7d%1b[2J"
    server.call("GET", forged, token)
    for path in (f"/v1/{key['api_key']}", f"/v1/api-keys/%{ord(key['api_key'][0]):x}"):
        server.call("GET", path, token)
    server.call("GET", f"/v1/self?api_key={key['api_key']}", token)
    server.call("GET", "/v1/self", token, headers={"User-Agent": key["api_key"]})
    logged = server.stop().errors
    assert key["api_key"] not in logged
    assert token not in logged
    assert "\x1b" not in logged
    for line in logged.splitlines():
        assert line.startswith('{"at": "'), line
