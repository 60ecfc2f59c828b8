"""From a leaked string to keys that nobody can use: one line, on a real server."""

import json
import signal
import socket
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest

from keyturn.cli import ending
from keyturn.cli.naming import short
from keyturn.domain.token import make_token, parse_token
from tests.cli.calling import House, answer, answering, house_in, in_shell, place_at, terminal
from tests.cli.programs import Finished, Place
from tests.cli.test_rotations import until
from tests.client.test_incident_calls import OPENED


class Leak:
    """A key of this test's own, whose token has leaked."""

    def __init__(self, house: House, name: str) -> None:
        self.house, self.name = house, name
        self.id = house.make(name, "--scope", "read")
        self.file = next(house.place.folder.glob(f"{name}-*.token"))
        self.token = self.file.read_text().strip()
        self.hint = self.token[:-49]

    def piped(self, text: str, options: str = "", command: str = "contain -") -> Finished:
        """The command, with this text on its standard input."""
        found = self.house.place.folder / f"{self.name}.found"
        found.write_text(text)
        try:
            done = in_shell(self.house.place, f'"$@" {command} {options} < {found.name}')
        finally:
            found.unlink()
        assert self.token[-49:-6] not in done.stdout + done.stderr, "the token is shown"
        return Finished(done.returncode, done.stdout, done.stderr)

    @property
    def status(self) -> str:
        return str(self.house.ask("GET", f"/v1/api-keys/{self.id}")["status"])

    @property
    def incident(self) -> Any:
        [found] = self.house.ask("GET", f"/v1/incidents?key_id={self.id}&state=all")
        return self.house.ask("GET", f"/v1/incidents/{found['id']}")

    def use(self, runtime: str, token: str | None = None, **members: object) -> str:
        body = {"api_key": token or self.token, "runtime": runtime, "scopes": ["read"], **members}
        return str(self.house.ask("POST", "/v1/verify", body)["code"])


@pytest.fixture
def leak(house: House, request: pytest.FixtureRequest) -> Leak:
    return Leak(house, f"k{abs(hash(request.node.name)) % 10**8}-prod")


def order(text: str, *parts: str) -> None:
    """These parts stand in the text, in this order."""
    places = [text.index(part) for part in parts]
    assert places == sorted(places), text


def test_one_line_contains_a_leaked_token_and_says_what_is_next(house: House, leak: Leak) -> None:
    leak.use("web", ip="10.1.0.4")
    text = f"INFO config: Authorization: 'Bearer {leak.token}', retrying\n"
    done = leak.piped(text, "--found-url https://gist.example/1 --detail 'in a gist'").done()
    assert leak.status == "revoked"
    assert leak.use("web") == "revoked"
    order(
        done.output,
        "1 key revoked within ",
        "no verifier accepts it any more",
        f"{leak.name}  revoked  {short(leak.id)}",
        "Left to do:",
        f"a new key for {leak.name}",
        "web from 10.0.0.0/8 (claimed",
        f"Next: Make a replacement for {leak.name}.",
        f"keyturn incidents replace {short(leak.incident['id'])}",
    )
    found = leak.incident
    assert (found["found_url"], found["detail"]) == ("https://gist.example/1", "in a gist")
    assert (found["reason"], found["containment"]) == ("leaked", "revoke")


@pytest.mark.parametrize("form", ["hint", "short id", "id", "cut off"])
def test_what_is_left_of_a_token_is_enough(form: str, leak: Leak) -> None:
    forms = {
        "hint": f"{leak.hint}…",
        "short id": str(short(leak.id)),
        "id": leak.id,
        "cut off": leak.token[:-10],
    }
    leak.piped(forms[form] + "\n").done()
    assert leak.status == "revoked"


def test_an_id_or_a_hint_may_be_an_argument_a_token_never(house: House, leak: Leak) -> None:
    refused = house.run("contain", leak.token)
    assert refused.code == 2
    assert leak.token[-49:-6] not in refused.all or pytest.fail("it is repeated", pytrace=False)
    assert leak.status == "active"
    house.run("contain", leak.hint).done()
    assert leak.status == "revoked"


def test_a_slot_is_less_than_an_id_and_is_asked_for(house: House, leak: Leak) -> None:
    house.run("contain", leak.name).refused("It ends at once", "Say --yes", code=2)
    assert leak.status == "active"
    house.run("contain", leak.name, "--yes").done()
    assert leak.status == "revoked"


def test_several_go_into_one_incident_and_what_names_no_key_is_told(
    house: House, leak: Leak
) -> None:
    other = Leak(house, f"other-{leak.name}")
    unknown = "kt_prod_0355aQ9xVzzOPBlEJ1FFcC"
    done = leak.piped(f"{leak.token}\n{other.hint}\n{unknown}\n")
    done.refused(f"{unknown}…: no key here. The rest is contained.", code=ending.ABSENT)
    assert "2 keys revoked within" in done.output
    assert leak.incident["id"] == other.incident["id"]
    assert (leak.status, other.status) == ("revoked", "revoked")


def test_a_made_up_token_with_a_real_id_contains_nothing(house: House, leak: Leak) -> None:
    real = parse_token(leak.token)
    assert real is not None
    forged = make_token(brand="kt", environment="prod", id=real.id, secret=bytes(32)).reveal()
    refused = leak.piped(forged)
    refused.refused("no token of a key here. Nothing was contained", "made up", code=ending.ABSENT)
    assert f"echo {leak.hint} | keyturn contain -" in refused.errors
    assert leak.status == "active"


@pytest.mark.parametrize("text", ["", "\n\n", "nothing to see here, 42\n", "\x00\xff"])
def test_a_text_with_no_token_says_what_may_stand_there(text: str, leak: Leak) -> None:
    refused = leak.piped(text)
    refused.refused("No token, hint or id stands there", "keyturn keys list", code=ending.WRONG)


def test_an_operators_token_is_none_that_an_incident_holds(house: House, leak: Leak) -> None:
    refused = leak.piped(f"{house.place.token}\n{leak.token}\n")
    refused.refused("an operator's", "keyturn operators revoke", code=ending.ABSENT)
    assert leak.status == "revoked"
    assert house.place.token[-49:-6] not in refused.all or pytest.fail("shown", pytrace=False)


def test_the_same_line_again_joins_the_incident(leak: Leak) -> None:
    leak.piped(leak.token).done()
    first = leak.incident["id"]
    again = leak.piped(leak.token).done()
    assert "1 key contained before: incident" in again.output
    assert leak.incident["id"] == first


def test_what_was_dead_before_is_not_told_as_ended_now(house: House, leak: Leak) -> None:
    house.run("keys", "revoke", leak.id, "--reason", "unused", "--yes").done()
    done = leak.piped(leak.token).done()
    assert "1 key was revoked before: " in done.output
    assert " within " not in done.output


def test_for_programs_it_is_the_incident_and_quiet_its_id(leak: Leak) -> None:
    told = json.loads(leak.piped(leak.token, "--json").done().output)
    assert told["id"] == leak.incident["id"]
    assert [one["key_id"] for one in told["keys"]] == [leak.id]
    assert told["replacements"] == []
    quiet = leak.piped(leak.token, "-q").done()
    assert quiet.output.split() == [told["id"]]
    assert quiet.errors == ""


def test_suspended_a_false_alarm_gives_it_back(house: House, leak: Leak) -> None:
    done = leak.piped(leak.token, "--suspend --reason suspected").done()
    assert "1 key suspended within" in done.output
    assert leak.use("web") == "suspended"
    close = ("incidents", "close", leak.hint, "--outcome", "false_alarm")
    assert "1 key that it had suspended work again." in house.run(*close).done().output
    assert leak.use("web") == "valid"


def test_a_file_may_have_it_and_one_that_is_not_there_is_named(house: House, leak: Leak) -> None:
    house.run("contain", "--token-file", "nowhere").refused(
        "nowhere cannot be read", "nothing was contained", code=ending.WRONG
    )
    house.run("contain", "--token-file", leak.file.name).done()
    assert leak.status == "revoked"


def test_on_a_terminal_it_asks_for_the_token_and_does_not_show_it(house: House, leak: Leak) -> None:
    with terminal(house.place, "contain", "-", columns=100) as shown:
        shown.read("(not shown)")
        shown.type(f"{leak.token}\n")
        code, text = shown.end()
    assert code == 0, "it does not end well"
    assert leak.token[-49:-6] not in text or pytest.fail("it is shown", pytrace=False)
    assert leak.status == "revoked"


# --- and replaced --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def local(house: House) -> str:
    house.run("destinations", "create", "local", "--kind", "file").done()
    return "local"


def delivered(house: House, slot: str) -> Path:
    [workspace] = house.ask("GET", "/v1/workspaces")
    return house.place.home / "delivered" / str(workspace["id"]) / f"{slot}.token"


def test_replaced_and_delivered_by_the_same_line_the_slots_destinations_have_it(
    house: House, leak: Leak, local: str
) -> None:
    house.run("slots", "set", leak.name, "--destination", local, "--runtime", "web").done()
    leak.use("web")
    done = leak.piped(leak.token, "--replace --deliver").done()
    assert f"goes to {local}: " in done.output
    order(done.output, "revoked within", "CONTAINED KEY", "bring the new token to web", "Next: ")
    new = leak.incident["keys"][0]["replacement_key_id"]
    file = delivered(house, leak.name)
    house.run("deliveries", "list", "--key", new).done()
    until(file.exists)
    assert file.read_text().startswith(f"kt_prod_{short(new)}")
    assert leak.use("web", file.read_text().strip()) == "valid"


def test_named_destinations_have_it_instead(house: House, leak: Leak, local: str) -> None:
    done = leak.piped(leak.token, f"--replace --deliver-to {local} --json").done()
    [made] = json.loads(done.output)["replacements"]
    assert made["api_key"] is None
    assert [one["destination"] for one in made["deliveries"]] == [local]


def test_without_any_way_for_the_token_it_is_contained_and_that_is_said(leak: Leak) -> None:
    for option in ("--replace", "--replace --deliver"):
        done = leak.piped(leak.token, option)
        assert done.code == ending.FAULT, done.all
        assert f"No new key for {leak.name}" in done.errors
        [step] = [one for one in done.all.splitlines() if "keyturn incidents replace" in one]
        assert step.endswith(" --output-dir new-tokens")
        assert leak.status == "revoked"
        assert leak.incident["keys"][0]["replacement_key_id"] is None


def test_new_tokens_go_into_files_that_only_their_owner_reads(house: House, leak: Leak) -> None:
    leak.piped(leak.token, "--replace --output-dir new").done()
    new = leak.incident["keys"][0]["replacement_key_id"]
    file = house.place.folder / "new" / f"{leak.name}-{short(new)}.token"
    assert file.stat().st_mode & 0o777 == 0o600
    assert leak.use("web", file.read_text().strip()) == "valid"


def test_who_asks_for_a_new_key_again_learns_of_the_one_that_there_is(
    house: House, leak: Leak
) -> None:
    """The first answer may have been lost, and the token with it."""
    leak.piped(leak.token, "--replace --output-dir lost").done()
    new = short(leak.incident["keys"][0]["replacement_key_id"])
    assert "Replaced before" not in leak.piped(leak.token).done().all
    for again in (
        leak.piped(leak.token, "--replace --output-dir found"),
        house.run("incidents", "replace", leak.hint, "--output-dir", "found"),
    ):
        assert f"Replaced before: {leak.name} has {new}." in again.done().errors
        assert f"`keyturn keys revoke {new} --reason unused`" in again.errors
    house.run("keys", "revoke", str(new), "--reason", "unused", "--yes").done()
    leak.piped(leak.token, "--replace --output-dir found").done()
    [file] = (house.place.folder / "found").glob(f"{leak.name}-*.token")
    assert leak.use("web", file.read_text().strip()) == "valid"


def test_what_fails_after_containment_is_told_after_it(house: House, leak: Leak) -> None:
    (house.place.folder / "a-file").write_text("")
    for option in ("--output-dir a-file/new", "--deliver-to nowhere"):
        done = leak.piped(leak.token, f"--replace {option}")
        assert done.code != 0
        assert "no verifier accepts" in done.output or "contained before" in done.output
        assert "keyturn incidents replace" in done.output
        assert leak.status == "revoked"


@pytest.mark.parametrize(
    "options",
    [
        "--deliver",
        "--output-dir x",
        "--replace --deliver --deliver-to a",
        "--token-file a kt_prod_0355aQ9xVzzOPBlEJ1FFcC",
        "--exposed-since tomorrow",
        "--reason boredom",
    ],
)
def test_what_contradicts_itself_is_refused_before_anything(options: str, leak: Leak) -> None:
    refused = leak.piped(leak.token, options, "contain")
    assert refused.code == 2
    assert refused.output == ""
    assert leak.status == "active"


# --- in whatever workspace ------------------------------------------------------------------------


def test_it_finds_the_workspace_by_itself_and_each_of_several(either: Place) -> None:
    with house_in(either) as house:
        acme = house.run("workspaces", "create", "acme", "-q", "-o", "acme.token").done()
        acme_id = acme.output.strip()
        [first] = [one["id"] for one in house.ask("GET", "/v1/workspaces") if one["id"] != acme_id]
        tokens = []
        for workspace in (first, acme_id):
            file = f"{workspace}.token"
            house.run("keys", "create", "x-prod", "--workspace", workspace, "-o", file).done()
            tokens.append((either.folder / file).read_text().strip())
        (either.folder / "found").write_text("\n".join(tokens))
        done = in_shell(either, '"$@" contain - --replace --output-dir new < found')
        (either.folder / "found").unlink()
        assert done.returncode == 0, done.stderr
        assert done.stdout.count("1 key revoked within") == 2
        for token in tokens:
            body = {"api_key": token, "scopes": []}
            assert house.ask("POST", "/v1/verify", body)["code"] == "revoked"
        assert len(list((either.folder / "new").glob("x-prod-*.token"))) == 2
        mine = house.run("incidents", "list", "--api-key-file", "acme.token", "-q").done()
        assert len(mine.output.split()) == 1


def test_it_finds_the_workspace_though_the_environment_names_another(made: Place) -> None:
    with house_in(made) as house:
        acme = house.run("workspaces", "create", "acme", "-q", "-o", "acme.token").done()
        acme_id = acme.output.strip()
        [first] = [one["id"] for one in house.ask("GET", "/v1/workspaces") if one["id"] != acme_id]
        for name, options in (("a-prod", "--replace --output-dir new"), ("b-prod", "")):
            house.run("keys", "create", name, "--workspace", acme_id, "-o", "x.token").done()
            leaked = made.folder / "x.token"
            line = f'KEYTURN_WORKSPACE={first} "$@" contain - {options} < x.token'
            done = in_shell(made, line)
            assert done.returncode == 0, done.stderr
            assert "1 key revoked within" in done.stdout
            assert f"`--workspace {acme_id}`" in done.stderr
            body = {"api_key": leaked.read_text().strip(), "scopes": []}
            assert house.ask("POST", "/v1/verify", body)["code"] == "revoked"
            leaked.unlink()
        assert len(list((made.folder / "new").glob("a-prod-*.token"))) == 1


# --- interrupted, cut off -------------------------------------------------------------------------


def test_interrupted_it_says_what_is_not_known_and_that_it_may_be_said_again(
    house: House, tmp_path: Path
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        place = place_at(tmp_path, f"http://127.0.0.1:{silent.getsockname()[1]}", "")
        place.settings["KEYTURN_API_KEY_FILE"] = str(house.place.home / "operator.token")
        begun = place.start("contain", "kt_prod_0355aQ9xVzzOPBlEJ1FFcC")
        connection, _ = silent.accept()
        connection.recv(10)
        begun.signal(signal.SIGINT)
        ended = begun.wait()
        connection.close()
    ended.refused("it may be, or not", "Say it once more", code=ending.INTERRUPTED)


@pytest.fixture
def strange(house: House, tmp_path: Path) -> Iterator[Place]:
    """A server that answers of an incident whatever it likes."""
    odd: dict[str, Any] = {
        **OPENED,
        "detail": "\x1b[31m",
        "opened_by": "\x07",
        "next_step": "\x1b]0;x\x07Replace",
    }
    key = {**odd["keys"][0], "name": "\x1b[2J"}

    def answers(handler: BaseHTTPRequestHandler) -> None:
        body = {**odd, "keys": [key], "unmatched": []}
        answer(handler, 201, "application/json", json.dumps(body).encode())

    with answering(answers) as url:
        place = place_at(tmp_path, url, "")
        place.settings["KEYTURN_API_KEY_FILE"] = str(house.place.home / "operator.token")
        yield place


def test_what_a_server_tells_drives_no_terminal(strange: Place) -> None:
    done = strange.run("contain", "kt_prod_0355aQ9xVzzOPBlEJ1FFcC").done()
    assert "\x1b" not in done.all
    assert "\x07" not in done.all
