"""`keyturn pepper`: beside a server under load, and broken off anywhere, every token works."""

import fcntl
import json
import shutil
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any
from uuid import UUID

import pytest

from keyturn.ambient import SystemEntropy
from keyturn.domain.error import InstallationFault
from keyturn.domain.token import parse_token
from keyturn.server.build import House, check_in, opened
from keyturn.server.secret import add_pepper
from keyturn.server.settings import load_settings
from keyturn.services.follow import ask, is_taken_up
from keyturn.services.wrap import BATCH
from tests.cli.programs import PATIENCE_SECONDS, Place, Server

KEYS = 2 * BATCH + 10


def status(place: Place) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(place.run("pepper", "status", "--json").done().output)
    return found


def make_keys(server: Server, operator: str, count: int) -> list[str]:
    def make(number: int) -> str:
        body = {"name": f"service{number}-prod", "permissions": ["keys:write", "verify"]}
        code, made = server.call("POST", "/v1/api-keys", operator, body)
        assert code == 201, made["code"]
        token: str = made["api_key"]
        return token

    with ThreadPoolExecutor(4) as pool:
        return list(pool.map(make, range(count)))


def codes(server: Server, operator: str, tokens: list[str]) -> Counter[str]:
    """The verdicts on all these tokens."""
    with ThreadPoolExecutor(4) as pool:
        asked = [
            pool.submit(server.call, "POST", "/v1/verify", operator, {"api_key": token})
            for token in tokens
        ]
        return Counter(one.result()[1]["code"] for one in asked)


def peppers_of(place: Place) -> Counter[str]:
    with place.database() as ask:
        rows = ask("SELECT peppers FROM keys UNION ALL SELECT peppers FROM operators")
    return Counter(row[0] for row in rows)


def peppers_in_file(place: Place) -> list[str]:
    return sorted(json.loads((place.home / "root.secret").read_text())["peppers"])


def until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.005)


# --- under load -----------------------------------------------------------------------------------


class Load:
    """Callers that never rest, each with something of its own to do; what failed is kept."""

    def __init__(self, server: Server, operator: str, tokens: list[str]) -> None:
        self._server = server
        self._operator = operator
        self._tokens = tokens
        self._ending = threading.Event()
        self.failures: list[str] = []
        self.done: Counter[str] = Counter()
        self.made: list[str] = []

    @contextmanager
    def running(self) -> Iterator[None]:
        work = (self._verify, self._verify_own, self._manage, self._create, self._operate)
        threads = [threading.Thread(target=self._repeat, args=(one,)) for one in work]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            self._ending.set()
            for thread in threads:
                thread.join()

    def _repeat(self, work: Callable[[int], None]) -> None:
        number = 0
        while not self._ending.is_set():
            try:
                work(number)
            except Exception as error:  # noqa: BLE001  (a failure of any kind is one)
                self.failures.append(f"{work.__name__}: {type(error).__name__}")
            self.done[work.__name__] += 1
            number += 1

    def _expect(self, wanted: int, method: str, path: str, token: str, body: object = None) -> Any:
        code, answer = self._server.call(method, path, token, body)
        if code != wanted:
            self.failures.append(f"{method} {path}: {code} {answer}")
        return answer

    def _valid(self, caller: str, token: str) -> None:
        verdict = self._expect(200, "POST", "/v1/verify", caller, {"api_key": token})
        if verdict.get("code") != "valid":
            self.failures.append(f"a verdict: {verdict.get('code')}")

    def _verify(self, number: int) -> None:
        self._valid(self._operator, self._tokens[number % len(self._tokens)])

    def _verify_own(self, number: int) -> None:
        token = self._tokens[-1 - number % len(self._tokens)]
        self._valid(token, token)

    def _manage(self, number: int) -> None:
        token = self._tokens[number * 7 % len(self._tokens)]
        me = self._expect(200, "GET", "/v1/self", token)
        id_ = me["key"]["id"]
        self._expect(200, "PATCH", f"/v1/api-keys/{id_}", token, {"metadata": {"turn": number}})

    def _create(self, number: int) -> None:
        body = {"name": f"new{number}-prod"}
        made = self._expect(201, "POST", "/v1/api-keys", self._operator, body)
        self.made.append(made["api_key"])
        self._valid(self._operator, made["api_key"])

    def _operate(self, number: int) -> None:
        self._expect(200, "GET", "/v1/workspaces", self._operator)


def test_beside_a_server_under_load_nothing_fails_and_nothing_stays_under_the_old_pepper(
    either: Place,
) -> None:
    server = either.serve()
    operator = (
        either.run("operators", "create", "--name", "Ada", "--output", "-").done().output.strip()
    )
    tokens = make_keys(server, operator, KEYS)
    load = Load(server, operator, tokens)
    with load.running():
        until(lambda: len(load.made) > 3)
        before = len(load.made)
        done = either.run("pepper", "rotate").done()
        after = peppers_of(either)
        during = len(load.made) - before
        made = len(load.made)
        until(lambda: len(load.made) > made + 3)
    assert not load.failures, Counter(load.failures)
    assert during, "keys were made while it ran"
    assert min(load.done[name] for name in ("_verify", "_verify_own", "_manage", "_operate")) > 3
    assert set(after) == {"1+2", "2"}, "as soon as the command has ended"
    assert set(peppers_of(either)) == {"1+2", "2"}
    assert "Copy" in done.output
    assert "escrow" in done.output
    found = status(either)
    assert (found["newest"], found["unfinished"], found["damaged"]) == (2, False, 0)
    with either.database() as ask:
        actions = Counter(row[0] for row in ask("SELECT action FROM activity"))
    assert actions["integrity.failed"] == 0
    assert (actions["pepper.taken_up"], actions["pepper.added"], actions["pepper.rotated"]) == (
        1,
        1,
        1,
    )
    everyone = tokens + load.made
    assert codes(server, operator, everyone) == {"valid": len(everyone)}
    server.stop()
    either.run("activity", "verify").done()
    assert codes(either.serve(), either.token, everyone) == {"valid": len(everyone)}


# --- broken off -----------------------------------------------------------------------------------


def test_killed_anywhere_every_token_works_and_the_same_command_finishes_it(either: Place) -> None:
    server = either.serve()
    operator = either.token
    tokens = make_keys(server, operator, KEYS)

    def is_recorded() -> bool:
        with either.database() as ask:
            return '"2"' in ask("SELECT pepper_fingerprints FROM installation")[0][0]

    moments: list[Callable[[], bool]] = [
        lambda: peppers_in_file(either) == ["1", "2"],
        is_recorded,
        lambda: peppers_of(either)["1+2"] > 0,
        lambda: peppers_of(either)["1+2"] > BATCH,
    ]
    for number, moment in enumerate(moments):
        running = either.start("pepper", "rotate")
        until(lambda moment=moment, running=running: moment() or not running.process.is_alive())  # type: ignore[misc]
        running.kill()
        assert codes(server, operator, tokens) == {"valid": len(tokens)}, number
        if number % 2:
            server.kill()
            server = either.serve()
            assert codes(server, operator, tokens) == {"valid": len(tokens)}, number
        tokens += make_keys(server, operator, 1)
    either.run("pepper", "rotate").done()
    assert peppers_in_file(either)[:2] == ["1", "2"]
    assert "1" not in peppers_of(either)
    found = status(either)
    assert not found["unfinished"]
    assert codes(server, operator, tokens) == {"valid": len(tokens)}
    server.stop()
    either.run("activity", "verify").done()


def test_an_unfinished_rotation_is_told_of_and_not_begun_anew(either: Place) -> None:
    server = either.serve()
    make_keys(server, either.token, KEYS)
    running = either.start("pepper", "rotate")
    until(lambda: peppers_of(either)["1+2"] > 0)
    running.kill()
    found = status(either)
    assert found["unfinished"]
    assert found["waiting"] > 0
    assert "`keyturn pepper rotate` finishes it" in either.run("pepper", "status").done().output
    warned = either.run("doctor", "--json").done().output
    [check] = [one for one in json.loads(warned) if one["name"] == "peppers"]
    assert check["status"] == "warning"
    assert "keyturn pepper rotate" in check["remedy"]
    done = either.run("pepper", "rotate").done()
    assert "Going on with the unfinished rotation to pepper 2." in done.output
    assert peppers_in_file(either) == ["1", "2"]
    assert set(peppers_of(either)) == {"1+2"}
    assert "Rotating to pepper 3." in either.run("pepper", "rotate").done().output
    assert set(peppers_of(either)) == {"1+2+3"}


# --- what can be wrong ----------------------------------------------------------------------------


def test_a_server_that_reads_another_file_is_waited_for_and_nothing_is_recorded(
    made: Place,
) -> None:
    elsewhere = made.folder / "elsewhere.secret"
    shutil.copy2(made.home / "root.secret", elsewhere)
    server = made.serve(KEYTURN_ROOT_SECRET_FILE=str(elsewhere))
    tokens = make_keys(server, made.token, 3)
    refused = made.run("pepper", "rotate")
    refused.refused("has not taken up pepper 2", "every token works as before", "copy it to")
    assert set(peppers_of(made)) == {"1"}
    assert codes(server, made.token, tokens) == {"valid": 3}
    shutil.copy2(made.home / "root.secret", elsewhere)
    assert "Going on" in made.run("pepper", "rotate").done().output
    assert set(peppers_of(made)) == {"1+2"}
    assert codes(server, made.token, tokens) == {"valid": 3}


def test_with_an_older_copy_of_the_file_a_server_does_not_start_and_says_what_helps(
    either: Place,
) -> None:
    file = either.home / "root.secret"
    older = file.read_bytes()
    either.run("pepper", "rotate").done()
    newer = file.read_bytes()
    file.write_bytes(older)
    for command in (["serve"], ["pepper", "rotate"], ["pepper", "status"]):
        either.run(*command).refused(
            f"{file} lacks pepper 2", "keyturn pepper rotate", "newest copy of the file", "escrow"
        )
    file.write_bytes(newer)
    either.serve()


@contextmanager
def house_of(place: Place) -> Iterator[House]:
    """The installation, as a command opens it."""
    environ = place.environment({"KEYTURN_HOME": str(place.home)})
    with opened(load_settings(environ, place.folder, default_environment="production")[0]) as house:
        yield house


def test_what_a_server_took_up_that_is_gone_does_not_deny_the_tokens_of_the_next_one(
    either: Place,
) -> None:
    file = either.home / "root.secret"
    elsewhere = either.folder / "elsewhere.secret"
    shutil.copy2(file, elsewhere)
    server = either.serve()
    tokens = make_keys(server, either.token, 3)
    add_pepper(file, SystemEntropy())
    with house_of(either) as house:
        asking = ask(house.context, 2)  # and here the rotation is broken off
        until(lambda: is_taken_up(house.context, asking))
    server.stop()
    server = either.serve(KEYTURN_ROOT_SECRET_FILE=str(elsewhere))
    either.run("pepper", "rotate").refused("has not taken up pepper 2")
    assert set(peppers_of(either)) == {"1"}
    assert codes(server, either.token, tokens) == {"valid": 3}
    shutil.copy2(file, elsewhere)
    either.run("pepper", "rotate").done()
    assert codes(server, either.token, tokens) == {"valid": 3}


def test_a_server_looks_at_the_recorded_peppers_again_before_it_listens(either: Place) -> None:
    file = either.home / "root.secret"
    older = file.read_bytes()
    with house_of(either) as house:
        check_in(house)
        either.run("pepper", "rotate").done()
        check_in(house)
        file.write_bytes(older)
        with pytest.raises(InstallationFault, match="lacks pepper 2"):
            check_in(house)


def test_where_the_file_lacks_a_pepper_callers_are_told_that_it_is_our_fault(
    either: Place,
) -> None:
    """The row is set back from outside, so the server starts though its file is too old."""
    file = either.home / "root.secret"
    server = either.serve()
    [token, spoiled] = make_keys(server, either.token, 2)
    operator = either.token
    server.stop()
    with either.database() as ask_:
        [(before,)] = ask_("SELECT pepper_fingerprints FROM installation")
    older = file.read_bytes()
    either.run("pepper", "rotate").done()
    newer = file.read_bytes()
    file.write_bytes(older)
    with either.database() as ask_:
        [(after,)] = ask_("SELECT pepper_fingerprints FROM installation")
        ask_("UPDATE installation SET pepper_fingerprints = ?", before)
        server = either.serve()
        ask_("UPDATE installation SET pepper_fingerprints = ?", after)
        ask_("UPDATE keys SET scopes = '[\"*\"]' WHERE id = ?", str(id_of(spoiled)))
    for method, path, body in (
        ("POST", "/v1/verify", {"api_key": token}),
        ("GET", "/v1/api-keys", None),
        ("GET", "/v1/self", None),
    ):
        for caller in (token, operator):
            code, answer = server.call(method, path, caller, body)
            assert (code, answer["code"]) == (503, "storage.unavailable")
            assert "file of the root secret lacks pepper 2" in answer["detail"]
        code, answer = server.call(method, path, spoiled, body)
        assert (code, answer["code"]) == (401, "credential.invalid")
    until(lambda: server.call("GET", "/readyz")[0] == 503)
    assert server.call("GET", "/readyz")[1]["checks"]["peppers"].endswith("lacks pepper 2.")
    assert server.call("GET", "/healthz")[0] == 200
    file.write_bytes(newer)
    assert codes(server, operator, [token, spoiled]) == {"valid": 1, "unknown": 1}
    until(lambda: server.call("GET", "/readyz")[0] == 200)


def id_of(text: str) -> UUID:
    token = parse_token(text, brand="kt")
    assert token is not None
    return token.id


def test_a_running_server_goes_on_when_its_file_is_lost_or_set_back(made: Place) -> None:
    file = made.home / "root.secret"
    older = file.read_bytes()
    server = made.serve()
    tokens = make_keys(server, made.token, 3)
    made.run("pepper", "rotate").done()
    tokens += make_keys(server, made.token, 1)
    for spoil, said in (
        (lambda: file.write_bytes(older), "is an older copy"),
        (file.unlink, "There is no root secret"),
    ):
        spoil()
        until(lambda said=said: said in server.errors)  # type: ignore[misc]
        assert codes(server, made.token, tokens) == {"valid": 4}
    tokens += make_keys(server, made.token, 1)
    assert codes(server, made.token, tokens) == {"valid": 5}
    assert server.errors.count("There is no root secret") == 1


def test_damaged_records_are_told_and_the_rest_is_done(either: Place) -> None:
    server = either.serve()
    tokens = make_keys(server, either.token, 4)
    with either.database() as ask:
        [(id_,)] = ask("SELECT id FROM keys ORDER BY id LIMIT 1")
        ask("UPDATE keys SET scopes = '[\"*\"]' WHERE id = ?", id_)
    rotated = either.run("pepper", "rotate")
    rotated.refused("1 damaged record stayed as before", "keyturn activity verify")
    assert "3 keys and 1 operator were wrapped" in rotated.output
    assert peppers_of(either) == {"1+2": 4, "1": 1}
    assert codes(server, either.token, tokens) == {"valid": 3, "unknown": 1}
    found = status(either)
    assert (found["damaged"], found["waiting"], found["unfinished"]) == (1, 0, False)


def test_of_two_at_once_the_second_is_refused_and_changes_nothing(made: Place) -> None:
    with (made.home / "root.secret.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        made.run("pepper", "rotate").refused("Another Keyturn", "Wait until it has ended")
    assert peppers_in_file(made) == ["1"]
    made.run("pepper", "rotate").done()


@pytest.mark.parametrize("command", ["rotate", "status"])
def test_without_an_installation_it_says_how_to_make_one(command: str, place: Place) -> None:
    place.run("pepper", command).refused("There is no root secret", "keyturn init")


def test_a_file_that_cannot_be_written_changes_nothing(made: Place) -> None:
    (made.home / ".root.secret.draft").mkdir()  # in the way
    made.run("pepper", "rotate").refused("cannot be used")
    assert peppers_in_file(made) == ["1"]
    assert set(peppers_of(made)) == {"1"}
    assert not status(made)["unfinished"]


def test_no_pepper_is_shown_logged_or_kept_in_the_database(made: Place) -> None:
    server = made.serve()
    make_keys(server, made.token, 2)
    done = made.run("pepper", "rotate").done()
    shown = done.all + made.run("pepper", "status", "--json").done().all
    server.stop()
    content = json.loads((made.home / "root.secret").read_text())
    database = b"".join(file.read_bytes() for file in made.home.glob("keyturn.db*"))
    for text in (content["root"], *content["peppers"].values()):
        assert text not in shown + server.output + server.errors
        assert text.encode() not in database


def test_the_table_is_for_people(made: Place) -> None:
    made.run("pepper", "rotate").done()
    table = made.run("pepper", "status").done().output.splitlines()
    assert [row.split() for row in table] == [["PEPPERS", "KEYS", "OPERATORS"], ["1+2", "0", "1"]]
