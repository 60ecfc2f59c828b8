"""Incidents from the command line: opened, looked at, watched, replaced and closed, on a real
server."""

import json
import signal
from pathlib import Path
from typing import Any

import pytest

from keyturn.cli import ending
from keyturn.cli.naming import short
from tests.cli.calling import House, house_in, terminal
from tests.cli.programs import Place
from tests.cli.test_contain import Leak, order
from tests.cli.test_output import COLOUR
from tests.cli.test_rotations import holding, until
from tests.client.upstream import Upstream, passed_on, stall


class Case(Leak):
    """An incident over a key that `web` and `nightly` use, and a stranger."""

    def __init__(self, house: House, name: str, *, is_open: bool = True) -> None:
        super().__init__(house, name)
        house.run("slots", "set", name, "--runtime", "nightly=26h", "--runtime", "web").done()
        self.use("web", ip="10.1.0.4")
        self.use("nightly", ip="10.1.0.5")
        self.use("crawler", ip="203.0.113.7")
        if is_open:
            house.run("contain", self.hint, "-q").done()
            until(lambda: self.incident["state"] == "investigating")

    def run(self, verb: str, *options: str) -> Any:
        return self.house.run("incidents", verb, self.hint, *options)

    def replace(self) -> str:
        """Replaces it; gives the new token."""
        file = self.house.place.folder / f"{self.name}-new.token"
        self.run("replace", "-o", file.name).done()
        return file.read_text().strip()


@pytest.fixture
def case(house: House, request: pytest.FixtureRequest) -> Case:
    return Case(house, f"i{abs(hash(request.node.name)) % 10**8}-prod")


# --- opening --------------------------------------------------------------------------------------


def test_it_is_opened_by_a_tokens_file_by_standard_input_or_by_name(
    house: House, request: pytest.FixtureRequest
) -> None:
    leaks = [Leak(house, f"open-{at}-prod") for at in range(3)]
    house.run("incidents", "open", "--token-file", leaks[0].file.name).done()
    leaks[1].piped(leaks[1].token, command="incidents open --token-file -").done()
    by_name = ("incidents", "open", "--key", leaks[2].name)
    house.run(*by_name).refused("It ends at once", code=2)
    opened = house.run(*by_name, "--yes", "--exposed-since", "1h", "--reason", "other").done()
    assert "1 key revoked within" in opened.output
    assert [one.status for one in leaks] == ["revoked"] * 3
    assert leaks[2].incident["reason"] == "other"
    assert leaks[2].incident["exposed_since"] is not None


@pytest.mark.parametrize(
    "options",
    [
        "",
        "--key a --slot b-prod",
        "--token-file a --key b",
        "--key a --dry-run",
        "--key a --expect 1",
    ],
)
def test_it_is_opened_in_one_way(options: str, house: House) -> None:
    refused = house.run("incidents", "open", *options.split())
    assert refused.code == 2
    assert refused.output == ""


def test_a_selection_is_shown_before_it_is_asked_for(house: House) -> None:
    owner = "select@example.com"
    ids = [house.make(f"select-{at}-prod", "--owner", owner) for at in range(3)]
    select = ("incidents", "open", "--owner", owner)
    dry = house.run(*select, "--dry-run").done()
    assert all(f"select-{at}-prod" in dry.output for at in range(3))
    assert "3 keys selected. Nothing was changed" in dry.errors
    assert house.run(*select, "--dry-run", "-q").done().output.split() == ids
    told = json.loads(house.run(*select, "--dry-run", "--json").done().output)
    assert told["count"] == 3
    asked = house.run(*select)
    asked.refused("select-0-prod", "3 keys selected.", "Revoke 3 keys?", "Say --yes", code=2)
    moved = house.run(*select, "--expect", "2")
    moved.refused("incident.count_moved", "select-2-prod", "--expect", code=ending.MOVED)
    assert all(house.ask("GET", f"/v1/api-keys/{id_}")["status"] == "active" for id_ in ids)
    with terminal(house.place, *select, columns=100) as shown:
        shown.read("[y/N]")
        shown.type("n\n")
        assert shown.end()[0] == ending.FAULT
    assert house.ask("GET", f"/v1/api-keys/{ids[0]}")["status"] == "active"
    done = house.run(*select, "--expect", "3", "--suspend").done()
    assert "3 keys suspended within" in done.output
    assert house.ask("GET", f"/v1/api-keys/{ids[0]}")["status"] == "suspended"
    house.run("incidents", "open", "--owner", "nobody@example.com", "--yes").refused(
        "The selection holds no key", code=ending.ABSENT
    )


# --- looking --------------------------------------------------------------------------------------


def test_a_dry_run_shows_what_the_selected_made_too(house: House) -> None:
    make = ("keys", "create", "maker-prod", "--owner", "gone@example.com")
    house.run(*make, "--permission", "keys:write", "-o", "maker.token").done()
    house.run("keys", "create", "made-prod", "--api-key-file", "maker.token", "-o", "m.t").done()
    done = house.run("incidents", "open", "--owner", "gone@example.com", "--dry-run").done()
    assert "maker-prod" in done.output
    assert "made-prod" in done.output
    assert "1 key selected. 1 more they made while they were exposed" in done.errors


def test_what_is_next_stands_first_and_everybody_who_used_it_below(case: Case) -> None:
    shown = case.run("show").done().output
    order(
        shown,
        "investigating, 0 of 1 key recovered",
        f"Next: Make a replacement for {case.name}.",
        "keyturn incidents replace",
        "opened ",
        "KEY ",
        f"{case.name}  contained",
        "CALLER",
        "crawler  claimed",
        "Only their own word says who they are: crawler from 203.0.0.0/16",
    )
    assert "nightly  waits" in shown
    assert "web      waits" in shown


def test_it_goes_by_its_id_the_beginning_of_it_or_its_key(house: House, case: Case) -> None:
    id_ = case.incident["id"]
    for name in (id_, str(short(id_)), id_[:30], case.hint, case.id):
        assert house.run("incidents", "show", name, "-q").done().output.strip() == id_
    house.run("incidents", "show", "nothing").refused(
        "No incident goes by", "incidents list --state all", code=ending.ABSENT
    )
    house.run("incidents", "show", "01a203e7-487b-774f-94db-b6feca2dc3f3").refused(
        "incident.unknown", code=ending.ABSENT
    )
    told = json.loads(house.run("incidents", "show", id_, "--json").done().output)
    assert told == house.ask("GET", f"/v1/incidents/{id_}")


def test_listed_those_that_are_open_with_what_is_next(house: House, case: Case) -> None:
    listed = house.run("incidents", "list", "--key", case.hint).done()
    assert "1/1" in listed.output
    assert f"Make a replacement for {case.name}." in listed.output
    told = json.loads(house.run("incidents", "list", "--key", case.hint, "--json").done().output)
    assert told == house.ask("GET", f"/v1/incidents?key_id={case.id}")
    closed = house.run("incidents", "list", "--key", case.hint, "--state", "closed", "-q").done()
    assert closed.output == ""


# --- to its end -----------------------------------------------------------------------------------


def test_watched_elsewhere_each_change_is_a_line_until_all_is_well(case: Case) -> None:
    watching = case.house.place.start("incidents", "watch", case.hint)
    until(lambda: "nightly from 10.0.0.0/8: waits, for a new key" in watching.output)
    token = case.replace()
    until(lambda: "waits, for its first use of the new key" in watching.output)
    case.run("place", "crawler", "--standing", "intruder").done()
    for runtime in ("web", "nightly"):
        assert case.use(runtime, token, ip="10.1.0.4") == "valid"
    ended = watching.wait().done()
    assert "crawler from 203.0.0.0/16: intruder" in ended.output
    assert "1 of 1 key recovered" in ended.output
    assert "--outcome confirmed" in ended.output.splitlines()[-1]
    records = case.run("watch", "--json").done().output.splitlines()
    assert json.loads(records[-1]) == case.incident


def test_on_a_terminal_the_tables_move_and_an_interruption_ends_nothing(
    house: House, case: Case
) -> None:
    with terminal(house.place, "incidents", "watch", case.hint, columns=110) as shown:
        shown.read("keyturn incidents replace")
        case.replace()
        shown.read("its first use of the new key")
        shown.type("\x03")
        code, text = shown.end()
    assert code == ending.INTERRUPTED
    assert "The incident goes on" in text
    assert "Traceback" not in text


def test_a_watch_survives_a_restart_of_the_server(made: Place) -> None:
    with house_in(made) as house:
        case = Case(house, "restarted-prod")
        watching = made.start("incidents", "watch", case.hint)
        until(lambda: "waits, for a new key" in watching.output)
        house.server.stop()
        until(lambda: "No answer from" in watching.output)
        house.server = made.serve(KEYTURN_PORT=str(house.server.port))
        until(lambda: "It answers again." in watching.output)
        close = ("incidents", "close", case.hint, "--outcome", "confirmed")
        house.run(*close, "--waive", f"{case.name}=gone", "--waived-until", "1d").done()
        assert "closed" in watching.wait().done().output


def test_a_closing_is_refused_with_the_keys_that_are_open_and_the_way_out(case: Case) -> None:
    refused = case.run("close", "--outcome", "confirmed")
    refused.refused(
        "STILL OPEN",
        case.name,
        "web from 10.0.0.0/8: a new key",
        "incident.keys_open",
        f"Next: Make a replacement for {case.name}.",
        "keyturn incidents replace",
        "--waive KEY=REASON",
        code=ending.MOVED,
    )
    assert refused.output == ""
    assert case.incident["state"] == "investigating"


def test_recovered_it_closes_and_tells_how_long_it_took(case: Case) -> None:
    token = case.replace()
    placed = case.run("place", "crawler", "--standing", "intruder", "--network", "203.0.113.7")
    assert "Of crawler from 203.0.113.7 it is kept: intruder." in placed.done().output
    for runtime in ("web", "nightly"):
        assert case.use(runtime, token, ip="10.1.0.4") == "valid"
    until(lambda: case.incident["recovered_at"])
    closed = case.run("close", "--outcome", "confirmed").done()
    assert "confirmed, recovered after " in closed.output
    assert case.run("show").done().output.startswith(f"Incident {short(case.incident['id'])}: cl")
    again = case.run("replace", "-o", "none.token").done()
    assert "has its replacement already" in again.output


def test_what_cannot_be_waited_for_is_waived_by_name_with_a_reason_and_an_end(case: Case) -> None:
    close = ("close", "--outcome", "confirmed", "--waive")
    case.run(*close, f"{case.name}=switched off").refused("go together", code=2)
    case.run("close", "--outcome", "confirmed", "--waived-until", "1d").refused(code=2)
    case.run(*close, case.name, "--waived-until", "1d").refused("--waive takes a key", code=2)
    case.run(*close, "nobody-prod=x", "--waived-until", "1d").refused(
        "No key of incident", "incidents show", code=ending.ABSENT
    )
    far = case.run(*close, f"{case.name}=x", "--waived-until", "900d")
    far.refused("until", code=ending.WRONG)
    done = case.run(*close, f"{case.name}=switched off", "--waived-until", "30d").done()
    assert f"Without {case.name} (switched off), until " in done.output
    assert "recovered" not in done.output
    assert case.incident["keys"][0]["waived"]["reason"] == "switched off"


# --- new tokens -----------------------------------------------------------------------------------


def test_into_a_pipe_nothing_is_replaced_without_a_way_for_the_token(case: Case) -> None:
    case.run("replace").refused("--output FILE", "--deliver-to", code=2)
    case.run("replace", "--output-dir", "x", "-o", "y").refused("one of them", code=2)
    assert case.incident["keys"][0]["replacement_key_id"] is None
    piped = case.run("replace", "-o", "-").done()
    [token] = piped.output.splitlines()
    assert case.use("web", token) == "valid"
    assert "Next: " in piped.errors
    again = case.run("replace", "-o", "-").done()
    assert "has its replacement already" in again.output


def test_several_new_tokens_go_into_a_folder_and_one_key_may_be_named(house: House) -> None:
    first, second = Leak(house, "many-a-prod"), Leak(house, "many-b-prod")
    first.piped(f"{first.hint}\n{second.hint}").done()
    incident = str(short(first.incident["id"]))
    one = ("incidents", "replace", incident, "-o", "many.token")
    house.run(*one).refused("2 keys wait for one", "--output-dir", code=2)
    house.run(*one, "--key", "many-a-prod").done()
    folder = house.place.folder / "many"
    made = house.run("incidents", "replace", incident, "--output-dir", "many", "--json").done()
    [replacement] = json.loads(made.output)["replacements"]
    assert (replacement["replaces"], replacement["api_key"]) == (second.id, None)
    [file] = folder.glob("*.token")
    assert replacement["file"] == f"many/{file.name}"
    assert second.use("web", file.read_text().strip()) == "valid"


def test_a_token_that_goes_nowhere_is_revoked_and_the_key_may_be_replaced_anew(
    house: House, case: Case
) -> None:
    with Path("/dev/full").open("wb") as full:
        ended = house.place.execute("incidents", "replace", case.hint, "-o", "-", stdout=full)
    assert ended.returncode == 1
    assert b"its key was revoked again" in ended.stderr
    [told] = house.ask("GET", f"/v1/activity-logs?action=incident.replaced&resource_id={case.id}")[
        "items"
    ]
    lost = told["metadata"]["replacement_key_id"]
    assert house.ask("GET", f"/v1/api-keys/{lost}")["status"] == "revoked"
    assert case.incident["keys"][0]["replacement_key_id"] is None
    done = case.run("replace", "-o", f"{case.name}.anew").done()
    assert "Made a new key" in done.output
    assert case.incident["keys"][0]["replacement_key_id"] not in (None, lost)


def test_a_new_token_is_waited_for_where_it_is_delivered(house: House, case: Case) -> None:
    house.run("destinations", "create", "here", "--kind", "file").done()
    done = case.run("replace", "--deliver-to", "here", "--wait").done()
    assert "goes to here: " in done.output
    assert "Delivered to here, at " in done.output
    assert "api_key" not in done.all


def test_interrupted_while_keys_are_made_it_says_what_to_look_for(house: House, case: Case) -> None:
    """The answer is held back by a way that stands between."""
    with Upstream(house.server.port) as upstream:
        upstream.then(passed_on, stall)
        begun = house.place.start(
            *("incidents", "replace", case.incident["id"], "-o", "held.token"),
            KEYTURN_URL=upstream.url,
        )
        until(lambda: any(one.method == "POST" for one in upstream.received))
        begun.signal(signal.SIGINT)
        ended = begun.wait()
    ended.refused("nobody has its token", "keyturn incidents show", code=ending.INTERRUPTED)
    assert not (house.place.folder / "held.token").exists()


# --- no token anywhere ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "command",
    [
        "incidents show {}",
        "incidents open --key {}",
        "incidents open --token-file {}",
        "incidents open --key a --detail {}",
        "incidents replace {}",
        "incidents close {} --outcome confirmed",
        "contain {}",
        "contain --detail {} -",
        "contain --token-file {}",
    ],
)
def test_a_token_as_an_argument_is_refused_and_never_repeated(command: str, house: House) -> None:
    ended = house.run(*command.format(house.place.token).split())
    assert ended.code == 2, ended.code
    assert house.place.token[-49:-6] not in ended.all or pytest.fail("repeated", pytrace=False)


def test_no_token_that_was_contained_stands_in_the_servers_log_or_in_activity(made: Place) -> None:
    with house_in(made) as house:
        leak = Leak(house, "logged-prod")
        leak.piped(f"found {leak.token}").done()
        new = house.run("incidents", "replace", leak.hint, "-o", "logged.token").done()
        token = (made.folder / "logged.token").read_text().strip()
        assert leak.use("web", token) == "valid"
        told = house.run("activity", "list", "--json").done().output
        log = house.server.errors + house.server.output
        for secret in (leak.token, token):
            assert secret[-49:-6] not in told + log + new.all, "it is shown"
    assert holding("incident.opened", told)


# --- the report -----------------------------------------------------------------------------------


def test_the_report_tells_who_was_not_ours_before_all_others(case: Case) -> None:
    case.use("web", ip="10.1.0.4")  # denied now
    shown = until(lambda: holding("1 of all after containment", case.run("report").done().output))
    order(shown, "exposed from ", "crawler  claimed", "nightly  ours", "Next: ")
    assert "203.0.113.7" in shown
    assert "like the usual callers. A thief behind the same address" in shown
    told = json.loads(case.run("report", "--json").done().output)
    path = f"/v1/incidents/{case.incident['id']}/report"
    answered = case.house.ask("GET", path)
    for one in (told, answered):
        del one["made_at"]
    assert told == answered


@pytest.mark.parametrize("columns", ["40", "60"])
def test_on_a_narrow_terminal_all_of_it_is_there_and_can_be_copied(
    columns: str, house: House, case: Case
) -> None:
    id_ = case.incident["id"]
    for verb, words in (
        ("show", ("crawler", "nightly", "web", "10.0.0.0/8", str(short(case.id)))),
        ("report", ("crawler", "claimed", "203.0.113.7", "allowed", "denied", "last seen")),
    ):
        with terminal(house.place, "incidents", verb, id_, COLUMNS=columns) as one:
            code, text = one.end()
        assert code == 0, text
        lines = COLOUR.sub("", text).splitlines()
        for word in (*words, str(short(id_)), "Next: "):
            assert any(word in line for line in lines), f"{word}\n{text}"
        for line in lines:
            assert len(line) <= int(columns) or len(line.split()) == 1, line
            assert "…" not in line.replace("… and", "")


@pytest.mark.parametrize(
    ("form", "begins"),
    [("markdown", "# Incident"), ("html", "<!"), ("csv", '"at",'), ("json", "{")],
)
def test_the_report_goes_into_a_file_of_its_own(
    form: str, begins: str, house: House, case: Case
) -> None:
    file = house.place.folder / f"{case.name}.{form}"
    for _ in range(2):  # in the place of an earlier one
        done = case.run("report", "--format", form, "-o", file.name).done()
        assert f"is in {file.name}" in done.errors
    assert file.read_text().startswith(begins)
    assert file.stat().st_mode & 0o777 == 0o600
    assert case.run("report", "--format", form).done().output.startswith(begins)
    assert not list(house.place.folder.glob(".*.draft"))


def test_a_report_that_cannot_be_written_says_so(house: House, case: Case) -> None:
    case.run("report", "-o", "nowhere/report.md").refused(
        "cannot be written to nowhere/report.md", "--output"
    )
    case.run("report", "--json", "--format", "csv").refused("but not both", code=2)


def test_what_a_stranger_sent_stands_in_the_report_as_text(case: Case) -> None:
    leak = Leak(case.house, f"odd-{case.name}")
    leak.use("web", user_agent="x", path="/\x1b[2J", method="GET", ip="203.0.113.9")
    case.house.run("contain", leak.hint, "-q").done()
    shown = case.house.run("incidents", "report", leak.hint).done()
    assert "\x1b" not in shown.all
