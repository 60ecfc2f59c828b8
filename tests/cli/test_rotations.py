"""Rotations from the command line: begun, watched, ended and taken back, on a real server."""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from keyturn.cli import ending
from keyturn.cli.naming import short
from tests.cli.calling import House, house_in, terminal
from tests.cli.programs import PATIENCE_SECONDS, Place

FAST = ("--quiet-for", "1s", "--brownout", "0", "--overlap", "1h")


def until(is_so: Callable[[], Any]) -> Any:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        found = is_so()
        if found:
            return found
        time.sleep(0.05)
    raise AssertionError("it does not come")


def holding(word: str, text: str) -> str:
    """The text, nothing where the word is not in it."""
    return text if word in text else ""


class Slot:
    """A slot with a key that workloads use, and what becomes of it."""

    def __init__(self, house: House, name: str, *users: str) -> None:
        self.house, self.name = house, name
        house.make(name, "--scope", "read", "--scope", "write")
        self.old = next(house.place.folder.glob(f"{name}-*.token"))
        for user in users:
            self.use(self.old, user)

    def use(self, token: Path | str, runtime: str) -> str:
        text = token if isinstance(token, str) else token.read_text().strip()
        body = {"api_key": text, "runtime": runtime, "scopes": ["read"]}
        return str(self.house.ask("POST", "/v1/verify", body)["code"])

    def start(self, *options: str) -> Path:
        """Begins the rotation; gives the file of the new token."""
        file = self.house.place.folder / f"{self.name}-new-{time.monotonic_ns()}.token"
        self.house.run("rotations", "start", self.name, "-o", file.name, *FAST, *options).done()
        return file

    @property
    def rotation(self) -> Any:
        return self.house.ask("GET", f"/v1/rotations?slot={self.name}")[0]


@pytest.fixture
def slot(house: House, request: pytest.FixtureRequest) -> Slot:
    """A slot of this test's own, which `worker` and `nightly` use."""
    name = f"s{abs(hash(request.node.name)) % 10**8}-prod"
    return Slot(house, name, "worker", "nightly")


# --- beginning ------------------------------------------------------------------------------------


def test_a_rotation_hands_out_its_token_once_and_is_joined_after_that(
    house: House, slot: Slot
) -> None:
    new = slot.start("--scope", "read")
    assert new.stat().st_mode & 0o777 == 0o600
    assert slot.use(new, "worker") == "valid"
    joined = house.run("rotations", "start", slot.name, "-o", "none.token").done()
    assert "is being rotated already: joined" in joined.output
    assert "No token is given" in joined.output
    assert not (house.place.folder / "none.token").exists()
    told = json.loads(
        house.run("rotations", "start", slot.name, "-o", "none.token", "--json").done().output
    )
    assert told["api_key"] is None
    assert told["id"] == slot.rotation["id"]
    assert told["new_key"]["scopes"] == ["read"]


def test_into_a_pipe_nothing_begins_without_output(house: House, slot: Slot) -> None:
    refused = house.run("rotations", "start", slot.name)
    refused.refused("say where the token goes with --output", code=2)
    assert house.ask("GET", f"/v1/rotations?slot={slot.name}") == []


def test_piped_the_token_stands_alone(house: House, slot: Slot) -> None:
    piped = house.run("rotations", "start", slot.name, "--output", "-").done()
    [token] = piped.output.splitlines()
    assert slot.use(token, "worker") == "valid"
    assert "keyturn rotations watch" in piped.errors


def test_a_token_that_goes_nowhere_takes_its_rotation_back(house: House, slot: Slot) -> None:
    with Path("/dev/full").open("wb") as full:
        ended = house.place.execute("rotations", "start", slot.name, "-o", "-", stdout=full)
    assert ended.returncode == 1
    assert b"the rotation was rolled back" in ended.stderr
    assert slot.rotation["state"] == "rolled_back"


def test_a_slot_of_two_keys_says_which_and_how_to_name_one(house: House, slot: Slot) -> None:
    other = house.make(slot.name)
    refused = house.run("rotations", "start", slot.name, "-o", "x.token")
    refused.refused("has 2 active keys", "keyturn rotations start ", code=ending.WRONG)
    started = house.run("rotations", "start", other, "-o", "named.token", "--json").done()
    assert json.loads(started.output)["old_key_id"] == other


def test_a_key_may_be_made_in_the_place_of_another(house: House, slot: Slot) -> None:
    made = house.run("keys", "create", "--replaces", slot.name, "-o", "in-place.token").done()
    assert "keyturn rotations watch" in made.errors
    assert slot.rotation["state"] == "overlapping"
    again = house.run("keys", "create", "--replaces", slot.rotation["old_key_id"], "-o", "y.token")
    again.refused("rotation.open", "complete it or roll it back", code=ending.MOVED)
    wider = ("rotations", "start", house.make("wide-prod"), "--scope", "all", "-o", "y.token")
    house.run(*wider).refused("wider", code=ending.WRONG)


# --- looking on -----------------------------------------------------------------------------------


def test_watched_elsewhere_each_change_is_a_line_until_it_is_completed(
    house: House, slot: Slot
) -> None:
    new = slot.start()
    watching = house.place.start("rotations", "watch", slot.name)
    until(lambda: "nightly: waits, for its first use of the new key" in watching.output)
    for runtime in ("worker", "nightly"):
        assert slot.use(new, runtime) == "valid"
    ended = watching.wait().done()
    assert "nightly: moved" in ended.output
    assert "worker: moved" in ended.output
    assert ended.output.splitlines()[-1].endswith("Nothing is left to do: the old key is revoked.")
    assert house.run("rotations", "watch", slot.rotation["id"]).code == 0


def test_watched_for_programs_each_change_is_a_record(house: House, slot: Slot) -> None:
    new = slot.start()
    watching = house.place.start("rotations", "watch", slot.name, "--json")
    until(lambda: watching.output)
    for runtime in ("worker", "nightly"):
        slot.use(new, runtime)
    records = [json.loads(line) for line in watching.wait().done().output.splitlines()]
    assert records[0]["state"] == "overlapping"
    assert records[-1] == slot.rotation


def test_a_rotation_that_is_given_up_ends_its_watch_with_no(house: House, slot: Slot) -> None:
    slot.start()
    watching = house.place.start("rotations", "watch", slot.name, "--quiet")
    time.sleep(1)
    house.run("rotations", "rollback", slot.name).done()
    ended = watching.wait()
    assert ended.code == ending.NO
    assert ended.output.strip() == slot.rotation["id"]


def test_on_a_terminal_the_table_moves_and_an_interruption_leaves_it_running(
    house: House, slot: Slot
) -> None:
    new = slot.start()
    with terminal(house.place, "rotations", "watch", slot.name, columns=100) as shown:
        shown.read("0 of 2 moved")
        shown.read("keyturn requests list --key")
        slot.use(new, "worker")
        shown.read("1 of 2 moved")
        shown.type("\x03")
        code, text = shown.end()
    assert code == ending.INTERRUPTED
    assert "The rotation goes on" in text
    assert "Traceback" not in text
    assert slot.rotation["state"] == "overlapping"


def test_started_and_watched_on_a_terminal_it_shows_the_token_and_ends_by_itself(
    house: House, slot: Slot
) -> None:
    words = ("rotations", "start", slot.name, "--watch", *FAST, "-o", f"{slot.name}.watched")
    with terminal(house.place, *words, columns=100) as shown:
        shown.read("0 of 2 moved")
        for runtime in ("worker", "nightly"):
            slot.use(house.place.folder / f"{slot.name}.watched", runtime)
        code, text = shown.end()
    assert code == 0, text
    assert "the old key is revoked" in text


def test_a_watch_survives_a_restart_of_the_server(made: Place) -> None:
    with house_in(made) as house:
        slot = Slot(house, "restarted-prod", "worker")
        new = slot.start()
        watching = made.start("rotations", "watch", slot.name)
        until(lambda: "worker: waits" in watching.output)
        house.server.stop()
        until(lambda: "No answer from" in watching.output)
        house.server = made.serve(KEYTURN_PORT=str(house.server.port))
        until(lambda: "It answers again." in watching.output)
        slot.use(new, "worker")
        ended = watching.wait().done()
        assert "completed" in ended.output


# --- ending ---------------------------------------------------------------------------------------


def test_a_refused_completion_tells_who_would_break_and_the_way_out(
    house: House, slot: Slot
) -> None:
    slot.start("--no-auto-complete")
    refused = house.run("rotations", "complete", slot.name)
    refused.refused(
        "IN THE WAY",
        "runtime.not_moved",
        "nightly",
        " ago",
        "rotation.evidence_missing",
        "--waive RUNTIME=REASON",
        "--force --reason TEXT",
        code=ending.MOVED,
    )
    assert refused.output == ""
    assert slot.rotation["state"] == "overlapping"


def test_with_waivers_it_completes_on_what_is_known(house: House, slot: Slot) -> None:
    new = slot.start("--no-auto-complete")
    slot.use(new, "worker")
    waive = ("--waive", "nightly=switched off")
    until(lambda: house.run("rotations", "complete", slot.name, *waive).code == 0)
    assert slot.rotation["state"] == "completed"
    again = house.run("rotations", "complete", slot.name).done()
    assert "its old key is revoked everywhere" in again.output
    refused = house.run("rotations", "rollback", slot.name)
    refused.refused("rotation.closed", "begins another", code=ending.MOVED)


def test_force_is_asked_for_and_needs_a_reason(house: House, slot: Slot) -> None:
    slot.start("--no-auto-complete")
    force = ("rotations", "complete", slot.name, "--force")
    house.run(*force).refused("--force needs a --reason", code=2)
    asked = house.run(*force, "--reason", "the host is gone")
    asked.refused("Not moved yet: ", "worker", "Say --yes", code=2)
    assert slot.rotation["state"] == "overlapping"
    with terminal(house.place, *force, "--reason", "the host is gone") as shown:
        shown.read("[y/N]")
        shown.type("n\n")
        assert shown.end()[0] == ending.FAULT
    assert slot.rotation["state"] == "overlapping"
    house.run(*force, "--reason", "the host is gone", "--yes").done()
    ended = slot.rotation
    assert (ended["state"], ended["forced"], ended["reason"]) == (
        "completed",
        True,
        "the host is gone",
    )


def test_an_unsafe_rollback_names_whom_it_would_cut_off(house: House, slot: Slot) -> None:
    new = slot.start("--no-auto-complete")
    slot.use(new, "worker")
    until(
        lambda: (
            slot.rotation["evidence"]
            and any(one["new_allowed"] for one in slot.rotation["evidence"])
        )
    )
    back = ("rotations", "rollback", slot.name)
    house.run(*back).refused("worker would be cut off", "--keep-both", code=ending.MOVED)
    asked = house.run(*back, "--force", "--reason", "a bad release")
    asked.refused("The new key is used by worker", "Say --yes", code=2)
    both = house.run(*back, "--keep-both").done()
    assert "both keys live on" in both.output
    assert slot.use(new, "worker") == slot.use(slot.old, "worker") == "valid"


def test_it_is_extended_tested_and_decided_on(house: House, slot: Slot) -> None:
    slot.start("--no-auto-complete")
    house.run("rotations", "extend", slot.name).refused("one of the two", code=2)
    extended = house.run("rotations", "extend", slot.name, "--overlap", "3d").done()
    assert "now has until" in extended.output
    assert slot.rotation["overlap_seconds"] == 3 * 86_400
    decide = ("rotations", "decide", slot.name, "nightly", "--standing")
    house.run(*decide, "waived").refused("needs a --reason", code=2)
    house.run(*decide, "checked_in", "--reason", "x").refused(
        "not_checked_in", "GET /v1/self", code=ending.MOVED
    )
    kept = house.run(*decide, "waived", "--reason", "switched off").done()
    assert "Of nightly it is kept: waived." in kept.output
    tested = house.run("rotations", "brownout", slot.name, "--seconds", "5m").done()
    assert "is suspended until" in tested.output
    assert slot.use(slot.old, "worker") == "suspended"
    until(lambda: slot.rotation["state"] == "overlapping")
    assert slot.use(slot.old, "worker") == "valid"
    shown = house.run("rotations", "show", slot.name).done()
    assert "nightly is" in shown.output
    assert "worker   waits" in shown.output


def test_a_workload_from_elsewhere_is_decided_on_by_its_place(house: House, slot: Slot) -> None:
    def come_from(address: str) -> None:
        body = {"api_key": slot.old.read_text().strip(), "runtime": "web", "ip": address}
        assert house.ask("POST", "/v1/verify", body)["valid"]

    come_from("10.1.0.4")
    slot.start("--no-auto-complete")
    come_from("198.51.100.7")
    show = ("rotations", "show", slot.name)
    shown = until(lambda: holding("conflict", house.run(*show).done().output))
    assert "--standing ours" in shown
    assert "--standing intruder" in shown
    assert "seen from 198.51.0.0/16" in shown
    decide = ("rotations", "decide", slot.name, "web", "--standing", "intruder", "--network")
    missed = house.run(*decide, "203.0.113.0/24")
    assert missed.code == ending.WRONG
    assert "This runtime was seen from 10.0.0.0/8, 198.51.0.0/16." in missed.errors
    house.run(*decide, "198.51.0.0/16").done()
    assert "conflict" not in house.run(*show).done().output


# --- naming ---------------------------------------------------------------------------------------


def test_a_rotation_goes_by_its_id_the_beginning_of_it_or_its_slot(
    house: House, slot: Slot
) -> None:
    slot.start()
    id_ = slot.rotation["id"]
    for name in (id_, short(id_), id_[:30], str(short(id_))[:20], slot.name):
        shown = house.run("rotations", "show", str(name), "--quiet").done()
        assert shown.output.strip() == id_
    house.run("rotations", "show", "nobody-prod").refused("No rotation goes by", code=5)
    house.run("rotations", "show", id_[:3]).refused("No rotation goes by", code=5)
    listed = house.run("rotations", "list", "--slot", slot.name, "--state", "open").done()
    assert "worker" in listed.output
    assert "0/2" in listed.output


def test_an_ambiguous_beginning_names_neither(house: House, slot: Slot) -> None:
    other = Slot(house, f"other-{slot.name}", "worker")
    slot.start()
    other.start()
    begun = [one["id"] for one in (slot.rotation, other.rotation)]
    common = next(
        begun[0][:width] for width in range(36, 0, -1) if begun[0][:width] == begun[1][:width]
    )
    if len(common) >= 6:
        refused = house.run("rotations", "show", common)
        refused.refused("rotations go by", code=ending.WRONG)


# --- what stands around ---------------------------------------------------------------------------


def test_the_impact_of_a_revocation_is_told_before_it(house: House, slot: Slot) -> None:
    weighed = until(
        lambda: (found := house.run("keys", "impact", slot.name)).code == ending.NO and found
    )
    assert weighed.output.startswith("Breaks: ")
    assert "nightly" in weighed.output
    assert "only live key" in weighed.output
    asked = house.run("keys", "revoke", slot.name)
    asked.refused("It would break ", "worker", "nightly", "Say --yes", code=2)
    unused = house.make(f"unused-{slot.name}")
    weighed = house.run("keys", "impact", unused)
    assert (weighed.code == 0) == weighed.output.startswith("Safe: ")


def test_verify_and_self_tell_of_the_rotation_once(house: House, slot: Slot) -> None:
    new = slot.start()
    judged = house.run("verify", "--file", slot.old.name, "--runtime", "worker").done()
    assert "its callers must move by" in judged.output
    assert judged.errors == ""
    assert "take the new one by" in house.run("self", "--api-key-file", slot.old.name).done().output
    assert "the new key of" in house.run("self", "--api-key-file", new.name).done().output
    assert "rotation" not in house.run("verify", "--file", new.name, "--runtime", "w").done().output


def test_findings_are_listed_shown_and_acknowledged(house: House, slot: Slot) -> None:
    listing = ("findings", "list", "--slot", slot.name, "--kind", "slot.unowned")
    [finding] = until(lambda: json.loads(house.run(*listing, "--json").done().output))
    assert "slot.unowned" in house.run(*listing).done().output
    name = finding["id"][:30]
    assert "open" in house.run("findings", "show", name).done().output
    known = house.run("findings", "acknowledge", name, "--reason", "Ada sees to it").done()
    assert "Ada sees to it" in known.output
    assert json.loads(house.run(*listing, "--json").done().output) == []
    every = house.run(*listing, "--state", "all", "-q").done()
    assert every.output.strip() == finding["id"]
    house.run("findings", "show", "nothing").refused("No finding goes by", code=5)


def test_who_has_left_leaves_new_tokens_in_a_folder(house: House, slot: Slot) -> None:
    person = f"{slot.name}@example.com"
    house.run("keys", "update", slot.name, "--owner", person).done()
    second = house.make(f"more-{slot.name}", "--owner", person, "--scope", "read")
    listed = house.run("staff-changes", person).done()
    assert str(short(second)) in listed.output
    assert "owner" in listed.output
    refused = house.run("staff-changes", person, "--rotate")
    refused.refused("say where the tokens go with --output-dir", code=2)
    house.run("staff-changes", person, "--output-dir", "d").refused("goes with --rotate", code=2)
    house.run("staff-changes", person, "--rotate", "--output-dir", "/dev/null/x").refused(
        "nothing was made", "--output-dir DIR"
    )
    assert house.ask("GET", f"/v1/rotations?slot={slot.name}") == []
    folder = house.place.folder / f"left-{slot.name}"
    rotated = house.run("staff-changes", person, "--rotate", "--output-dir", folder.name).done()
    files = sorted(folder.iterdir())
    assert len(files) == 2
    assert folder.stat().st_mode & 0o777 == 0o700
    assert {one.stat().st_mode & 0o777 for one in files} == {0o600}
    assert {slot.use(one, "worker") for one in files} == {"valid"}
    assert "2 rotations" in rotated.errors
    again = house.run(
        "staff-changes", person, "--rotate", "--output-dir", folder.name, "--json"
    ).done()
    assert {one["api_key"] for one in json.loads(again.output)["keys"]} == {None}
    assert sorted(folder.iterdir()) == files


def test_who_has_left_is_told_on_a_terminal_too(house: House, slot: Slot) -> None:
    person = f"{slot.name}@example.com"
    house.run("keys", "update", slot.name, "--owner", person).done()
    with terminal(house.place, "staff-changes", person, "--rotate", columns=120) as shown:
        code, text = shown.end()
    assert code == 0
    assert "shown above, once" in text


def test_a_workspace_says_how_it_rotates_and_that_it_does_not(place: Place) -> None:
    place.run("init").done()
    with house_in(place) as house:
        made = house.run(
            *("workspaces", "create", "acme", "-o", "acme.token", "-q"),
            *("--rotation-period-days", "90", "--maintenance-window", "mon,tue 02:00 120"),
        ).done()
        id_ = made.output.strip()
        shown = house.run("workspaces", "show", id_).done().output
        assert "90 days" in shown
        assert "mon,tue 02:00 120" in shown
        changed = house.run("workspaces", "update", id_, "--most-rotations-at-once", "5").done()
        assert "5 at most" in changed.output
        assert "any time" in changed.output
        none = house.run("workspaces", "update", id_, "--no-rotation-policy", "--json").done()
        assert json.loads(none.output)["rotation_policy"] is None
        update = ("workspaces", "update", id_)
        house.run(*update, "--maintenance-window", "mon 2").refused("takes days, a time", code=2)
        house.run(*update, "--maintenance-window", "xxx 02:00 60").refused("days", code=2)
        house.run(*update, "--rotation-period-days", "9", "--no-rotation-policy").refused(
            "but not both", code=2
        )
