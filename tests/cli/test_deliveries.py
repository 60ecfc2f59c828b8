"""New tokens that nobody is shown: made, delivered, waited for and looked at, on a real server."""

import json
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from keyturn.cli import ending
from keyturn.cli.naming import short
from keyturn.domain.token import make_token
from tests.cli.calling import House, answer, answering, in_shell, place_at, terminal
from tests.cli.programs import PATIENCE_SECONDS
from tests.cli.test_destinations import place_of
from tests.client.driving import KEY

FAST = ("--quiet-for", "1s", "--brownout", "0", "--overlap", "1h")


def until(is_so: Callable[[], Any]) -> Any:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        found = is_so()
        if found:
            return found
        time.sleep(0.05)
    raise AssertionError("it does not come")


@pytest.fixture(scope="module", autouse=True)
def local(house: House) -> None:
    house.run("destinations", "create", "local", "--kind", "file").done()


@pytest.fixture
def slot(request: pytest.FixtureRequest) -> str:
    """The name of a slot of this test's own."""
    return f"s{abs(hash(request.node.name)) % 10**8}-prod"


def delivered(house: House, slot: str) -> Path:
    return place_of(house, f"{slot}.token")


def works(house: House, file: Path, runtime: str = "worker") -> bool:
    body = {"api_key": file.read_text().strip(), "runtime": runtime}
    return bool(house.ask("POST", "/v1/verify", body)["valid"])


@pytest.fixture
def blocked(house: House, slot: str) -> Iterator[Path]:
    """The place of this test's slot, where nothing can be delivered until it is taken away."""
    place = delivered(house, slot)
    place.mkdir(parents=True)
    yield place
    if place.is_dir():
        shutil.rmtree(place)


# --- keys -----------------------------------------------------------------------------------------


def test_a_key_goes_to_where_it_is_said_and_nobody_is_shown_its_token(
    house: House, slot: str
) -> None:
    made = house.run("keys", "create", slot, "--deliver-to", "local", "--wait").done()
    assert made.output.splitlines()[0].startswith(f"Made {slot}, id ")
    assert "Its token is shown to nobody; it goes to local: " in made.output
    assert f"Delivered to local, at {delivered(house, slot)}." in made.output
    assert "kt_" not in made.all
    assert works(house, delivered(house, slot))


def test_into_a_pipe_a_key_of_a_slot_with_destinations_needs_no_output(
    house: House, slot: str
) -> None:
    house.run("slots", "set", slot, "--destination", "local").done()
    piped = in_shell(house.place, f'"$@" keys create {slot} --json --wait | cat')
    told = json.loads(piped.stdout)
    assert told["api_key"] is None
    [delivery] = told["deliveries"]
    assert (delivery["state"], delivery["destination"]) == ("delivered", "local")
    assert works(house, delivered(house, slot))
    again = house.run("keys", "create", "--service", slot[:-5], "--environment", "prod", "-q")
    [id_] = again.done().output.splitlines()
    assert house.ask("GET", f"/v1/api-keys/{id_}")["name"] == slot


def test_with_a_destination_for_the_slot_the_first_key_is_delivered_too(
    house: House, slot: str
) -> None:
    words = ("keys", "create", slot, "--destination", "local", "--owner", "a@example.com")
    assert "it goes to local" in house.run(*words, "--wait=30s").done().output
    assert works(house, delivered(house, slot))
    assert "local" in house.run("slots", "show", slot).done().output


def test_where_it_is_delivered_no_file_is_made_and_that_is_said(house: House, slot: str) -> None:
    house.run("slots", "set", slot, "--destination", "local").done()
    made = house.run("keys", "create", slot, "--output", "nothing.token").done()
    assert "Nothing is written to nothing.token: the token is delivered." in made.errors
    assert not list(house.place.folder.glob("*nothing*"))


def test_no_delivery_hands_the_token_over_as_ever(house: House, slot: str) -> None:
    house.run("slots", "set", slot, "--destination", "local").done()
    house.run("keys", "create", slot, "--no-delivery").refused("say where the token goes", code=2)
    made = house.run("keys", "create", slot, "--no-delivery", "-o", f"{slot}.own").done()
    assert f"Its token is in {slot}.own" in made.output
    assert works(house, house.place.folder / f"{slot}.own")
    assert not delivered(house, slot).exists()


def test_what_contradicts_itself_is_refused_before_anything_is_made(
    house: House, slot: str
) -> None:
    create = ("keys", "create", slot, "--deliver-to", "local")
    house.run(*create, "--no-delivery").refused("but not both", code=2)
    house.run(*create, "-o", "a.token").refused("shown to nobody", code=2)
    house.run(*create[:3], "--deliver-to", "nowhere").refused(
        "There is no destination nowhere.", code=ending.WRONG
    )
    assert house.ask("GET", f"/v1/api-keys?service={slot[:-5]}") == []


def test_waiting_says_what_holds_it_up_and_looking_again_finds_it_delivered(
    house: House, slot: str, blocked: Path
) -> None:
    made = house.run("keys", "create", slot, "--deliver-to", "local", "--wait=2s")
    made.refused(
        "The token is not delivered to local: waiting, A link, a folder or a device",
        "It is tried again by itself",
        "keyturn destinations prove local",
        code=ending.FAULT,
    )
    [one] = house.ask("GET", f"/v1/deliveries?slot={slot}")
    shown = house.run("deliveries", "show", one["id"]).done().output
    assert "kind of fault    denied" in shown
    listed = house.run("deliveries", "list", "--state", "open", "--slot", slot).done().output
    assert "waiting" in listed
    cancel = ("deliveries", "cancel", short(one["id"]) or "", "--reason", "gone")
    house.run(*cancel).refused("delivery.last", "keyturn keys revoke", code=ending.MOVED)
    blocked.rmdir()
    retried = house.run("deliveries", "retry", one["id"])  # or it was there by itself before
    assert "is tried now" in retried.output or "delivery.closed" in retried.errors
    until(lambda: house.ask("GET", f"/v1/deliveries/{one['id']}")["state"] == "delivered")
    assert works(house, delivered(house, slot))
    house.run("deliveries", "retry", one["id"]).refused("delivery.closed", code=ending.MOVED)
    by_key = ("deliveries", "list", "--key", one["key_id"], "--destination", "local", "-q")
    assert house.run(*by_key).done().output.split() == [one["id"]]
    assert house.run("deliveries", "show", one["id"][:30], "-q").done().output.split() == [
        one["id"]
    ]


def test_an_interruption_of_the_wait_leaves_it_to_be_delivered(
    house: House, slot: str, blocked: Path
) -> None:
    running = house.place.start("keys", "create", slot, "--deliver-to", "local", "--wait")
    until(lambda: "it goes to local" in running.output)
    time.sleep(0.5)
    running.signal(signal.SIGINT)
    ended = running.wait()
    ended.refused("the delivery goes on", "keyturn deliveries list", code=ending.INTERRUPTED)
    blocked.rmdir()
    until(lambda: delivered(house, slot).is_file())


def test_on_a_terminal_a_delivered_key_is_told_without_its_token(house: House, slot: str) -> None:
    with terminal(house.place, "keys", "create", slot, "--deliver-to", "local", "--wait") as shown:
        code, text = shown.end()
    assert code == 0, text
    assert "Delivered to local" in text
    assert "kt_" not in text


# --- rotations ------------------------------------------------------------------------------------


def test_a_rotation_is_delivered_watched_and_ends_without_a_hand(house: House, slot: str) -> None:
    house.run("keys", "create", slot, "--destination", "local", "--wait").done()
    assert works(house, delivered(house, slot))
    old = delivered(house, slot).read_text()
    started = house.run("rotations", "start", slot, *FAST, "--wait").done()
    assert f"Made a new key for {slot}, id " in started.output
    assert "Delivered to local" in started.output
    assert "let each workload read the new token there" in started.errors
    assert delivered(house, slot).read_text() != old
    shown = house.run("rotations", "show", slot).done().output
    assert "delivery to local: delivered" in shown
    assert "has taken the new token from local, or restart it" in shown
    joined = house.run("rotations", "start", slot).done()
    assert "is being rotated already: joined" in joined.output
    assert "it goes to local: delivered" in joined.output
    watching = house.place.start("rotations", "watch", slot)
    until(lambda: "delivery to local: delivered" in watching.output)
    assert works(house, delivered(house, slot))
    assert "completed" in watching.wait().done().output


def test_a_rotation_waits_for_its_delivery_and_says_so(house: House, slot: str) -> None:
    house.run("keys", "create", slot, "-o", f"{slot}.first").done()
    assert works(house, house.place.folder / f"{slot}.first")
    delivered(house, slot).mkdir(parents=True)
    started = house.run("rotations", "start", slot, *FAST, "--deliver-to", "local", "--json")
    rotation = json.loads(started.done().output)
    assert (rotation["api_key"], rotation["deliveries"][0]["state"]) == (None, "waiting")
    shown = until(
        lambda: next(
            (
                text
                for text in [house.run("rotations", "show", slot).done().output]
                if "(denied)" in text
            ),
            "",
        )
    )
    assert "delivery to local: waiting, A link, a folder or a device" in shown
    assert f"keyturn deliveries list --rotation {short(rotation['id'])}" in shown
    listed = house.run("deliveries", "list", "--rotation", slot, "--json").done().output
    assert [one["rotation_id"] for one in json.loads(listed)] == [rotation["id"]]
    assert "delivery.waiting" in house.run("rotations", "list", "--slot", slot).done().output
    delivered(house, slot).rmdir()
    until(lambda: delivered(house, slot).is_file())
    house.run("rotations", "rollback", slot).done()


def test_a_key_in_the_place_of_another_is_delivered_with_its_rotation(
    house: House, slot: str
) -> None:
    house.run("keys", "create", slot, "--destination", "local", "--wait").done()
    made = house.run("keys", "create", "--replaces", slot, "--wait").done()
    assert "Delivered to local" in made.output
    assert "keyturn rotations watch" in made.errors


def test_what_somebody_knew_is_rotated_to_where_its_slot_is_delivered(
    house: House, slot: str
) -> None:
    owner = f"{slot}@example.com"
    house.run("keys", "create", slot, "--destination", "local", "--owner", owner, "--wait").done()
    rotated = house.run("staff-changes", owner, "--rotate", "--output-dir", "new").done()
    assert "goes to local" in rotated.output
    assert not list((house.place.folder / "new").iterdir())


# --- slots from files -----------------------------------------------------------------------------


def test_destinations_of_slots_come_from_files_and_go_into_them(house: House, slot: str) -> None:
    file = house.place.folder / "slots.yaml"
    file.write_text(
        f"slots:\n  {slot}:\n    owner: a@example.com\n    destinations:\n      - local\n"
    )
    plan = ("apply", "-f", file.name, "--plan")
    assert "destinations: local" in house.run(*plan).done().output
    house.run("apply", "-f", file.name, "--yes").done()
    assert house.ask("GET", f"/v1/slots/{slot}")["destinations"] == ["local"]
    assert "No difference" in house.run(*plan).done().output
    exported = house.run("slots", "export", "--owner", "a@example.com").done().output
    assert f"  {slot}:\n    owner: a@example.com\n    destinations:\n      - local\n" in exported
    file.write_text(f"slots:\n  {slot}:\n    destinations: [local, local]\n")
    house.run(*plan).refused(f"{slot}, destinations", "named once", code=ending.WRONG)
    file.write_text(f"slots:\n  {slot}:\n    destinations: [nowhere]\n")
    gone = house.run("apply", "-f", file.name, "--yes")
    assert gone.code == ending.WRONG
    assert "There is no destination nowhere" in gone.errors
    file.write_text(f"slots:\n  {slot}:\n    owner: a@example.com\n")
    assert "No difference" in house.run(*plan).done().output  # unsaid ones stay
    file.write_text(f"slots:\n  {slot}:\n    owner: a@example.com\n    destinations: []\n")
    assert "destinations: local → (none)" in house.run(*plan).done().output


# --- a workspace that shows no token --------------------------------------------------------------


# Last: from here on there are several workspaces.
def test_where_nobody_is_shown_a_token_a_key_needs_a_destination(house: House, slot: str) -> None:
    made = house.run("workspaces", "create", slot, "--reveal", "never", "-o", f"{slot}.admin")
    own = {"KEYTURN_API_KEY_FILE": f"{slot}.admin"}
    made.done()
    workspace = json.loads(house.run("self", "--json", **own).done().output)["workspace_id"]
    assert "shows tokens     never" in house.run("workspaces", "show", workspace).done().output
    refused = house.run("keys", "create", slot, "-o", "a.token", **own)
    refused.refused("reveal.refused", "--deliver-to", code=ending.MOVED)
    assert not (house.place.folder / "a.token").exists()
    drill = house.run("drill", "rotation", **own)
    assert drill.code == ending.REFUSED
    assert "shows tokens to nobody" in drill.all
    house.run("destinations", "create", "own", "--kind", "file", **own).done()
    assert "Delivered to own" in (
        house.run("keys", "create", slot, "--deliver-to", "own", "--wait", **own).done().output
    )
    house.run("workspaces", "update", workspace, "--reveal", "always").done()
    house.run("keys", "create", slot, "-o", "a.token", **own).done()


# --- a server that does otherwise -----------------------------------------------------------------


def test_a_token_that_is_answered_after_all_where_it_has_no_way_is_taken_back(
    tmp_path: Path,
) -> None:
    token = make_token(brand="kt", environment="prod", id=UUID(int=9), secret=bytes(range(32)))
    slot = {
        "name": "a-prod",
        "workspace_id": "w",
        "service": "a",
        "environment": "prod",
        "runtimes": [],
        "destinations": ["vault-prod"],
        "version": 1,
        "created_at": KEY["created_at"],
        "updated_at": KEY["updated_at"],
    }
    asked: list[str] = []

    def answers(handler: BaseHTTPRequestHandler) -> None:
        asked.append(handler.command)
        if handler.command == "DELETE":
            answer(handler, 204, "text/plain", b"")
            return
        made = {**KEY, "api_key": token.reveal(), "deliveries": []}
        body = json.dumps(slot if handler.command == "GET" else made).encode()
        answer(handler, 200 if handler.command == "GET" else 201, "application/json", body)

    with answering(answers) as url:
        refused = place_at(tmp_path, url, token.reveal()).run("keys", "create", "a-prod")
    refused.refused("delivered nowhere after all; the key was revoked again", "--output", code=1)
    assert asked == ["GET", "POST", "DELETE"]
    assert token.reveal() not in refused.all
