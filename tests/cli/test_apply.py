"""`keyturn apply` against a real server: plan, apply, drift, and what goes wrong on the way."""

import json
import os
import re
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.cli.programs import PATIENCE_SECONDS, PROGRAM, Finished, Place, Server

SERVICES = 300
# On PostgreSQL, where each costs more, still more than a page.
SERVICES_ON = {"sqlite": SERVICES, "postgresql": 120}


@dataclass
class Site:
    """An installation with its server, and commands that call it."""

    place: Place
    server: Server

    def __post_init__(self) -> None:
        self.point()

    def point(self) -> None:
        self.place.settings |= {
            "KEYTURN_URL": self.server.url,
            "KEYTURN_API_KEY_FILE": str(self.place.home / "operator.token"),
        }

    def run(self, *arguments: str, **settings: str) -> Finished:
        return self.place.run(*arguments, **settings)

    def put(self, slot: str, body: object) -> int:
        return self.server.call("PUT", f"/v1/slots/{slot}", self.place.token, body)[0]

    def slots(self) -> dict[str, Any]:
        status, found = self.server.call("GET", "/v1/slots?limit=1000", self.place.token)
        assert status == 200
        return {one["name"]: one for one in found}

    def write(self, text: str, name: str = "slots.yaml") -> Path:
        path = self.place.folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return path


@pytest.fixture
def site(made: Place) -> Site:
    return Site(made, made.serve())


def services(count: int, **said: object) -> str:
    """A file of so many services."""
    slots = {
        f"service-{number:03}-prod": {
            "owner": f"team{number % 7}@example.com",
            "purpose": f"Does what service {number} does",
            "runbook_url": f"https://example.com/runbooks/{number}",
            "runtimes": [{"name": "nightly", "max_call_interval_seconds": 93_600}, "worker"],
            **said,
        }
        for number in range(count)
    }
    return json.dumps({"defaults": {"rotation_period_days": 90}, "slots": slots}, indent=1)


def plan(site: Site, *options: str) -> Any:
    return json.loads(site.run("apply", "-f", "slots.yaml", "--plan", "--json", *options).output)


def test_hundreds_of_services_from_one_file(either: Place) -> None:
    site = Site(either, either.serve())
    count = SERVICES_ON[either.engine]
    site.write(services(count))
    assert site.put("by-hand-prod", {"owner": "me"}) == 201

    planned = site.run("apply", "-f", "slots.yaml", "--plan").done()
    assert f"{count} to make, 0 to change, 0 unchanged, 1 not in the file." in planned.output
    assert "left as they are: by-hand-prod." in planned.output
    assert list(site.slots()) == ["by-hand-prod"]

    applied = site.run("apply", "-f", "slots.yaml").done()
    assert f"{count} of {count} changes applied." in applied.output
    found = site.slots()
    assert len(found) == count + 1
    assert found["by-hand-prod"]["owner"] == "me"
    assert found["service-007-prod"]["rotation_period_days"] == 90
    assert [one["name"] for one in found["service-007-prod"]["runtimes"]] == ["nightly", "worker"]

    again = plan(site, "--fail-on-drift")
    assert (again["differs"], again["changes"], again["unchanged"]) == (False, [], count)
    assert again["not_in_file"] == ["by-hand-prod"]
    site.run("apply", "-f", "slots.yaml", "--plan", "--fail-on-drift").done()
    before = site.slots()
    site.run("apply", "-f", "slots.yaml").done()
    assert site.slots() == before

    assert site.put("service-009-prod", {"owner": "somebody@example.com"}) == 200
    drifted = site.run("apply", "-f", "slots.yaml", "--plan", "--fail-on-drift")
    drifted.refused("Drift: 1 slot not as the file says.", code=3)
    assert "owner: somebody@example.com → team2@example.com" in drifted.output
    assert "rotation_period_days: (none) → 90" in drifted.output
    quiet = site.run("apply", "-f", "slots.yaml", "--plan", "--quiet").done()
    assert quiet.output == "service-009-prod\n"
    assert site.run("apply", "-f", "slots.yaml", "--quiet").done().output == quiet.output

    exported = site.run("slots", "export").done().output
    assert exported == site.run("slots", "export").done().output
    site.write(exported)
    round_trip = plan(site)
    assert (round_trip["differs"], round_trip["not_in_file"]) == (False, [])
    site.write(site.run("slots", "export", "--json").done().output)
    assert plan(site) == round_trip


def test_an_empty_server_is_exported_as_a_file_that_applies(site: Site) -> None:
    site.write(site.run("slots", "export").done().output)
    assert plan(site, "--fail-on-drift")["differs"] is False


def test_what_the_file_does_not_say_is_taken_away_and_shown_before(site: Site) -> None:
    site.put("a-prod", {"owner": "payments", "purpose": "Publishes"})
    site.write("slots:\n  a-prod:\n    purpose: Publishes\n")
    shown = site.run("apply", "-f", "slots.yaml").done()
    assert "change  a-prod  owner: payments → (none)" in shown.output
    found = site.slots()["a-prod"]
    assert (found["owner"], found["purpose"]) == (None, "Publishes")


class Asking:
    """A command at a terminal, where it asks."""

    def __init__(self, site: Site, *arguments: str) -> None:
        self._master, slave = os.openpty()
        self.process = subprocess.Popen(
            [*PROGRAM, *arguments],
            cwd=site.place.folder,
            env=site.place.environment({}),
            stdin=slave,
            stdout=slave,
            stderr=slave,
        )
        os.close(slave)
        self.shown = ""

    def until(self, text: str) -> None:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while text not in self.shown:
            assert time.monotonic() < deadline, self.shown
            if not self._more():
                raise AssertionError(self.shown)

    def answer(self, text: str) -> int:
        os.write(self._master, f"{text}\n".encode())
        while self._more():
            pass
        os.close(self._master)
        return self.process.wait(PATIENCE_SECONDS)

    def _more(self) -> bool:
        try:
            read = os.read(self._master, 65_536)
        except OSError:  # EIO: the other end is closed
            return False
        self.shown += read.decode()
        return bool(read)


def test_at_a_terminal_it_asks_and_a_no_changes_nothing(site: Site) -> None:
    site.write("slots: {a-prod: {owner: a}}")
    asking = Asking(site, "apply", "-f", "slots.yaml")
    asking.until("Change 1 slot? [y/N]")
    assert asking.answer("n") != 0
    assert site.slots() == {}
    asking = Asking(site, "apply", "-f", "slots.yaml", "--yes")
    asking.until("1 of 1 change applied.")
    assert asking.answer("") == 0
    assert list(site.slots()) == ["a-prod"]


def test_what_somebody_else_changed_meanwhile_is_not_overwritten(site: Site) -> None:
    site.put("old-prod", {"owner": "before"})
    site.write("slots: {old-prod: {owner: a}, new-prod: {owner: a}, other-prod: {owner: a}}")
    asking = Asking(site, "apply", "-f", "slots.yaml")
    asking.until("Change 3 slots? [y/N]")
    assert site.put("old-prod", {"owner": "somebody"}) == 200
    assert site.put("new-prod", {"owner": "somebody"}) == 201
    assert asking.answer("y") == 6, asking.shown
    assert "1 of 3 changes applied." in asking.shown
    assert "somebody else changed it meanwhile: new-prod, old-prod." in asking.shown
    owners = {name: one["owner"] for name, one in site.slots().items()}
    assert owners == {"old-prod": "somebody", "new-prod": "somebody", "other-prod": "a"}


def test_a_slot_that_may_not_be_changed_holds_no_other_up(site: Site) -> None:
    rights = ["keys:read", "keys:write@scheduler-*"]
    body = {"name": "deployer-prod", "permissions": rights}
    status, key = site.server.call("POST", "/v1/api-keys", site.place.token, body)
    assert status == 201
    site.write("slots: {scheduler-prod: {owner: a}, worker-prod: {owner: a}}")
    own = {"KEYTURN_API_KEY": key["api_key"], "KEYTURN_API_KEY_FILE": ""}
    done = site.run("apply", "-f", "slots.yaml", "--json", **own)
    done.refused("1 change refused; 1 of 2 changes applied.", "worker-prod", code=4)
    outcomes = {one["slot"]: one["outcome"] for one in json.loads(done.output)["changes"]}
    assert outcomes == {"scheduler-prod": "applied", "worker-prod": "refused"}
    assert site.slots().keys() == {"deployer-prod", "scheduler-prod"}


def test_destinations_that_a_file_does_not_say_stay_so_that_who_may_not_change_them_can_apply(
    site: Site,
) -> None:
    site.run("destinations", "create", "local", "--kind", "file").done()
    site.run("slots", "set", "scheduler-prod", "--destination", "local").done()
    rights = ["keys:read", "keys:write"]
    body = {"name": "deployer-prod", "permissions": rights}
    status, key = site.server.call("POST", "/v1/api-keys", site.place.token, body)
    assert status == 201
    own = {"KEYTURN_API_KEY": key["api_key"], "KEYTURN_API_KEY_FILE": ""}
    site.write("slots: {scheduler-prod: {owner: a}}")
    site.run("apply", "-f", "slots.yaml", **own).done()
    found = site.slots()["scheduler-prod"]
    assert (found["owner"], found["destinations"]) == ("a", ["local"])
    assert plan(site, "--fail-on-drift")["changes"] == []
    site.write("slots: {scheduler-prod: {owner: a, destinations: []}}")
    site.run("apply", "-f", "slots.yaml", **own).refused("administrator", code=4)
    site.run("apply", "-f", "slots.yaml").done()
    assert site.slots()["scheduler-prod"]["destinations"] == []


def test_a_server_that_dies_in_the_middle_leaves_what_was_told_and_the_rest_to_the_next(
    site: Site,
) -> None:
    count = 600
    site.write(services(count))
    running = site.place.start("apply", "-f", "slots.yaml", "--json")
    deadline = time.monotonic() + PATIENCE_SECONDS
    while len(site.slots()) < 20:
        assert time.monotonic() < deadline
    site.server.kill()
    stopped = running.wait().refused("changes applied.", "The same command goes on", code=7)
    told: dict[str, set[str]] = {}
    for one in json.loads(stopped.output)["changes"]:
        told.setdefault(one["outcome"], set()).add(one["slot"])
    assert sum(map(len, told.values())) == count
    assert told["applied"]
    assert told["not_tried"]

    site.server = site.place.serve()
    site.point()
    there = site.slots().keys()
    assert told["applied"] <= there
    assert not told["not_tried"] & there
    assert there - told["applied"] <= told.get("unknown", set())
    site.run("apply", "-f", "slots.yaml").done()
    assert len(site.slots()) == count
    assert plan(site)["differs"] is False


def test_an_interruption_lets_what_is_on_its_way_arrive_and_tells_the_rest(site: Site) -> None:
    count = 600
    site.write(services(count))
    asking = Asking(site, "apply", "-f", "slots.yaml", "--quiet", "--yes")
    deadline = time.monotonic() + PATIENCE_SECONDS
    while len(site.slots()) < 20:
        assert time.monotonic() < deadline
    asking.process.send_signal(signal.SIGINT)
    assert asking.answer("") == 130, asking.shown
    applied = set(re.findall(r"^(service-\d+-prod)\r$", asking.shown, re.MULTILINE))
    assert applied == site.slots().keys()
    assert f"Interrupted: {len(applied)} of {count} changes applied." in asking.shown
    assert "The same command goes on from there." in asking.shown


def test_a_fault_in_the_last_of_many_slots_is_told_before_anything_is_sent(site: Site) -> None:
    site.write(services(SERVICES).replace("service-299-prod", "service_299"))
    refused = site.run("apply", "-f", "slots.yaml")
    refused.refused("slots.yaml:", "service_299 is no slot", "nothing was sent", code=2)
    assert refused.output == ""
    assert site.slots() == {}


def test_several_files_and_a_folder_are_one_declaration(site: Site) -> None:
    site.write("slots: {a-prod: {owner: a}}", "teams/a.yaml")
    site.write('{"slots": {"b-prod": {"owner": "b"}}}', "teams/b.json")
    site.write("no slots", "teams/README.md")
    site.write("slots: {c-prod: {owner: c}}", "c.yml")
    done = site.run("apply", "-f", "teams", "-f", "c.yml", "--quiet").done()
    assert done.output.split() == ["a-prod", "b-prod", "c-prod"]
    twice = site.run("apply", "-f", "c.yml", "-f", "c.yml")
    twice.refused("c.yml:1: c-prod stands already in c.yml:1.", code=2)
    (site.place.folder / "nothing").mkdir()
    site.run("apply", "-f", "nothing").refused("No file in nothing ends in .yaml", code=2)
    site.run("apply", "-f", "gone.yaml").refused("gone.yaml", code=2)
    site.run("apply").refused("-f", code=2)
    usage = site.run("apply", "-f", "c.yml", "--fail-on-drift")
    usage.refused("--fail-on-drift goes with --plan.", code=2)


def test_standard_input_is_a_file_too(site: Site) -> None:
    def piped(content: bytes, *options: str) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(
            [*PROGRAM, "apply", "-f", "-", *options],
            cwd=site.place.folder,
            env=site.place.environment({}),
            input=content,
            capture_output=True,
            timeout=PATIENCE_SECONDS,
        )

    assert piped(b"slots: {a-prod: {owner: a}}").returncode == 0
    assert list(site.slots()) == ["a-prod"]
    refused = piped(b"slots: {a-prod: {owner: 1}}")
    assert refused.returncode == 2
    assert b"standard input:1: a-prod, owner:" in refused.stderr


def test_on_a_narrow_terminal_nothing_is_cut(site: Site) -> None:
    site.put("service-000-prod", {"owner": "a-team-with-a-long-name@example.com"})
    site.write(services(1))
    master, slave = os.openpty()
    running = site.place.start(
        "apply", "-f", "slots.yaml", "--plan", terminal=os.ttyname(slave), COLUMNS="44"
    )
    running.wait().done()
    shown = os.read(master, 10_000).decode().splitlines()
    os.close(slave)
    os.close(master)
    assert shown[0] == "change  service-000-prod"
    assert "a-team-with-a-long-name@example.com" in "".join(shown)
    assert all(len(line) <= 44 for line in shown), shown


def test_a_pipe_that_closes_ends_it_without_a_stack_trace(site: Site) -> None:
    site.write(services(3))
    reading, writing = os.pipe()
    os.close(reading)
    ended = site.place.execute("apply", "-f", "slots.yaml", "--plan", stdout=writing)
    os.close(writing)
    assert ended.returncode == 1
    assert b"Traceback" not in ended.stderr
