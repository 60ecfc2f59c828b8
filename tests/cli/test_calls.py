"""Every command that calls Keyturn, on both engines, and how each ends where it cannot do its
work."""

import json
import shutil
import signal
import socket
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import click
import pytest

from keyturn import __version__
from keyturn.cli import ending
from keyturn.cli.main import COMMANDS, keyturn
from tests.cli.calling import House, answer, answering, house_in, place_at, terminal
from tests.cli.programs import PATIENCE_SECONDS, Place

CALLING = "Commands that call Keyturn (KEYTURN_URL, KEYTURN_API_KEY_FILE)"
SINCE, UNTIL = "2026-01-01T00:00:00Z", "2046-01-01T00:00:00Z"


def calling_commands() -> Iterator[tuple[str, ...]]:
    """The whole name of each, those of the installation left out."""
    context = click.Context(keyturn, info_name="keyturn")
    for name, lazy in COMMANDS.lazies.items():
        if lazy.section != CALLING:
            continue
        command = keyturn.get_command(context, name)
        if isinstance(command, click.Group):
            if command.invoke_without_command:
                yield (name,)
            yield from ((name, inner) for inner in command.list_commands(context))
        else:
            yield (name,)


CONFIRMED = ("--outcome", "confirmed")
# With tests of their own.
ELSEWHERE = {("apply",), ("activity", "verify"), ("drill", "rotation"), ("drill", "revocation")}


@pytest.fixture
def both(either: Place) -> Iterator[House]:
    with house_in(either) as house:
        yield house


def test_every_command_does_its_work_on_both_engines(both: House) -> None:
    done: set[tuple[str, ...]] = set()

    def run(*words: str, code: int = 0) -> str:
        ended = both.run(*words)
        assert ended.code == code, ended.all
        done.add(words[:2] if words[:2] in commands else words[:1])
        return ended.output

    commands = set(calling_commands())
    made = json.loads(
        run(
            *("keys", "create", "scheduler-prod", "--scope", "read", "--owner", "a@example.com"),
            *("--runtime", "nightly=26h", "--metadata", '{"team": "Zürich"}', "--expires", "90d"),
            *("--idempotency-key", "once", "--json", "--output", "own.token"),
        )
    )
    assert (made["api_key"], made["service"], made["environment"]) == (None, "scheduler", "prod")
    verify = ("verify", "--file", "own.token", "--runtime", "nightly", "--environment", "prod")
    assert "valid" in run(*verify, "--header", "Origin: https://a.example", "--scope", "read")
    assert "scope_denied" in run(*verify, "--scope", "write", code=ending.NO)
    assert "scheduler-prod" in run("keys", "list", "--service", "scheduler")
    assert made["id"] in run("keys", "show", "scheduler-prod")
    assert "b@example.com" in run("keys", "update", made["hint"], "--owner", "b@example.com")
    assert json.loads(run("keys", "trace", made["id"], "--json"))["nodes"]
    assert "suspended" in run("keys", "suspend", "scheduler-prod")
    assert "active" in run("keys", "resume", "scheduler-prod")
    assert "nightly" in run("slots", "list")
    assert "nightly (at most every 93,600 s)" in run("slots", "show", "scheduler-prod")
    assert "https://a.example/r" in run(
        "slots", "set", "worker-prod", "--if-new", "--runbook", "https://a.example/r"
    )
    assert "worker-prod:" in run("slots", "export")
    assert "scope_denied" in run("requests", "list", "--key", "scheduler-prod", "--denied")
    assert "nightly" in run("usage", "scheduler-prod")
    assert "api_key.suspended" in run("activity", "list", "--actor", "first operator")
    assert "an operator" in run("self")
    rotate = ("rotations", "start", "scheduler-prod", "--no-auto-complete", "-o")
    assert "new.token" in run(*rotate, "new.token", "--overlap", "2h", "--quiet-for", "0s")
    assert "nightly" in run("rotations", "show", "scheduler-prod")
    assert "now has until" in run("rotations", "extend", "scheduler-prod", "--overlap", "1d")
    decide = ("rotations", "decide", "scheduler-prod", "nightly", "--standing")
    assert "it is kept: ours" in run(*decide, "ours")
    assert "suspended until" in run("rotations", "brownout", "scheduler-prod", "--seconds", "600")
    assert "keep" not in run("rotations", "rollback", "scheduler-prod")
    assert "rolled_back" in run("rotations", "list", "--key", made["id"])
    assert "rolled_back" in run("rotations", "watch", "scheduler-prod", code=ending.NO)
    assert "worker-prod" in run("keys", "create", "worker-prod", "-o", "worker.token")
    assert "second.token" in run("rotations", "start", "worker-prod", "-o", "second.token")
    force = ("--force", "--reason", "nobody has it", "--yes")
    assert "Completed" in run("rotations", "complete", "worker-prod", *force)
    assert "Breaks: " in run("keys", "impact", "scheduler-prod", code=ending.NO)
    assert "It is proven" in run("destinations", "create", "local", "--kind", "file")
    assert "proven" in run("destinations", "list")
    assert "{slot}.token" in run("destinations", "show", "local")
    assert "It is proven" in run("destinations", "update", "local", "--set", "path=a/{slot}")
    assert "It is proven" in run("destinations", "prove", "local")
    assert "goes to local" in run("keys", "create", "sent-prod", "--deliver-to", "local", "--wait")
    delivery = run("deliveries", "list", "--slot", "sent-prod", "-q").strip()
    assert "delivered" in run("deliveries", "show", delivery)
    assert "delivery.closed" in both.run("deliveries", "retry", delivery).errors
    run("destinations", "create", "held", "--kind", "file", "--set", "path=b/{slot}")
    [workspace] = both.ask("GET", "/v1/workspaces")
    both.place.home.joinpath("delivered", workspace["id"], "b", "held-prod").mkdir()
    both.run("keys", "create", "held-prod", "--deliver-to", "local", "--deliver-to", "held").done()
    held = run("deliveries", "list", "--destination", "held", "-q").strip()
    assert "is tried now" in run("deliveries", "retry", held)
    assert "is given up" in run("deliveries", "cancel", held, "--reason", "gone")
    assert "what it holds stays there" in run("destinations", "delete", "held", "--yes")
    run("keys", "create", "unowned-prod", "-o", "unowned.token")
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not both.ask("GET", "/v1/findings?slot=unowned-prod"):  # found within seconds
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert "slot.unowned" in run("findings", "list", "--slot", "unowned-prod")
    id_of = run("findings", "list", "--slot", "unowned-prod", "-q").split()[0]
    assert "open" in run("findings", "show", id_of)
    assert "acknowledged" in run("findings", "acknowledge", id_of)
    assert "scheduler-prod" in run("staff-changes", "b@example.com")
    hooks = ("channels", "create", "hooks", "--to", "https://hooks.invalid/", "--event", "slot.*")
    assert "hook.secret" in run(*hooks, "-o", "hook.secret")
    assert "hooks" in run("channels", "list")
    assert "https://hooks.invalid/" in run("channels", "show", "hooks")
    assert "slot.*" in run("channels", "update", "hooks", "--event", "slot.*")
    assert "next.secret" in run("channels", "rotate-secret", "hooks", "-o", "next.secret")
    assert "A trial" in run("channels", "test", "hooks")
    assert "channel.test" in run("messages", "list", "--channel", "hooks")
    told = run("messages", "list", "--channel", "hooks", "-q").split()[0]
    assert "channel.test" in run("messages", "show", told)
    assert told in run("messages", "replay", told)
    assert "0 messages" in run("channels", "replay", "hooks", "--since", "1h")
    assert "is deleted" in run("channels", "delete", "hooks", "--yes")
    hint = json.loads(
        both.run("keys", "create", "leaked-prod", "-o", "leak.token", "--json").output
    )
    both.run("verify", "--file", "leak.token", "--runtime", "web", "--ip", "198.51.100.7").done()
    assert "1 key revoked within" in run("contain", hint["hint"], "--detail", "in a gist")
    assert "leaked-prod" in run("incidents", "list", "--key", hint["hint"])
    assert "web" in run("incidents", "show", hint["hint"])
    assert "web" in run("incidents", "report", hint["hint"])
    assert "anew.token" in run("incidents", "replace", hint["hint"], "-o", "anew.token")
    assert "STILL OPEN" in both.run(*("incidents", "close", hint["hint"]), *CONFIRMED).errors
    place = ("incidents", "place", hint["hint"], "web", "--standing", "intruder")
    assert "it is kept: intruder" in run(*place)
    assert "1 of 1 key recovered" in run("incidents", "watch", hint["hint"])
    assert "confirmed, recovered after" in run("incidents", "close", hint["hint"], *CONFIRMED)
    opened = run("incidents", "open", "--slot", "leaked-prod", "--suspend", "--expect", "1")
    assert "1 key suspended within" in opened
    assert "keys.networks" in run("posture")
    waive = ("posture", "waive", "keys.networks", "--reason", "for a while", "--until", "30d")
    waiver = run(*waive, "-q").strip()
    assert waiver in run("posture", "waivers", "-q")
    assert "is over" in run("posture", "unwaive", waiver)
    assert "scheduler-prod" in run("posture", "evidence", "--from", "1d")
    acme = run("workspaces", "create", "acme", "-q", "-o", "acme.token").strip()
    assert "acme" in run("workspaces", "list")
    assert "10.0.0.0/8" in run("workspaces", "update", acme, "--network", "office=10.0.0.0/8")
    assert "30 s" in run("workspaces", "update", acme, "--grace-seconds", "30", "--no-wait")
    assert "suspended" in run("workspaces", "suspend", acme, "-y")
    assert "active" in run("workspaces", "resume", acme)
    assert "office" in run("workspaces", "show", acme)
    id_ = str(made["id"])
    told = run("keys", "revoke", id_, "--reason", "unused", "--yes")
    assert "no verifier accepts it any more (effective everywhere in" in told
    assert " on 1 node)" in told
    assert done == commands - ELSEWHERE


@pytest.fixture(scope="module")
def used(house: House) -> str:
    """A key that was used, in a house where each list has something."""
    key = house.make("json-prod", "--metadata", '{"a": [1, 2.5, null, "\\u20ac"]}', "--scope", "x")
    file = next(house.place.folder.glob("json-prod-*.token"))
    house.run("verify", "--file", file.name, "--method", "GET", "--path", "/a").done()
    house.run("slots", "set", "json-prod", "--runtime", "nightly=26h", "--runtime", "web").done()
    start = ("rotations", "start", "json-prod", "--no-auto-complete", "-o", "json-new.token")
    house.run(*start).done()
    house.run("rotations", "rollback", "json-prod").done()
    house.run("destinations", "create", "json-local", "--kind", "file").done()
    house.make("json-leaked-prod")
    house.run("contain", "json-leaked-prod", "--yes").done()
    house.run("keys", "create", "json-sent-prod", "--deliver-to", "json-local", "--wait").done()
    return key


JSON = {
    "keys list": "/v1/api-keys",
    "keys list --status all --limit 1": "/v1/api-keys?status=all&limit=1",
    "keys list --owner nobody@example.com": "/v1/api-keys?owner=nobody@example.com",
    "keys show {key}": "/v1/api-keys/{key}",
    "keys trace {key}": "/v1/api-keys/{key}/propagation",
    "slots list": "/v1/slots",
    "slots show json-prod": "/v1/slots/json-prod",
    "requests list": "/v1/requests",
    "requests list --denied": "/v1/requests?valid=false",
    f"usage {{key}} --since {SINCE} --until {UNTIL} --bucket day": (
        f"/v1/api-keys/{{key}}/usage?since={SINCE}&until={UNTIL}&bucket=day"
    ),
    "activity list": "/v1/activity-logs",
    "self": "/v1/self",
    "rotations list": "/v1/rotations",
    "rotations list --state open --slot json-prod": "/v1/rotations?state=open&slot=json-prod",
    "rotations show json-prod": "/v1/rotations/{rotation}",
    "incidents list": "/v1/incidents",
    "incidents list --state all --reason leaked": "/v1/incidents?state=all&reason=leaked",
    "incidents show {incident}": "/v1/incidents/{incident}",
    "destinations list": "/v1/destinations",
    "destinations show json-local": "/v1/destinations/json-local",
    "deliveries list": "/v1/deliveries",
    "deliveries list --state delivered --slot json-sent-prod": (
        "/v1/deliveries?state=delivered&slot=json-sent-prod"
    ),
    "findings list --state all": "/v1/findings?state=all",
    "workspaces list": "/v1/workspaces",
}


@pytest.mark.parametrize("command", JSON)
def test_json_is_what_the_api_answers_member_by_member(
    command: str, house: House, used: str
) -> None:
    incident = house.ask("GET", "/v1/incidents?limit=1")[0]["id"]
    names = {
        "key": used,
        "incident": incident,
        "rotation": house.ask("GET", "/v1/rotations?slot=json-prod")[0]["id"],
    }
    shown = house.run(*command.format(**names).split(), "--json").done()
    answered = house.ask("GET", JSON[command].format(**names))
    if "items" in answered:
        answered = answered["items"]
    assert json.loads(shown.output) == answered


EMPTY = {
    "keys": "--owner nobody@example.com",
    "slots": "--owner nobody@example.com",
    "requests": "--runtime nobody",
    "activity": "--actor nobody",
    "rotations": "--slot nobody-prod",
    "findings": "--slot nobody-prod",
    "incidents": "--since 1s --state closed",
    "destinations": "--kind vault",
    "deliveries": "--slot nobody-prod",
}


@pytest.mark.parametrize("noun", EMPTY)
def test_an_empty_list_is_an_empty_array_and_a_table_of_titles(noun: str, house: House) -> None:
    ask = (noun, "list", *EMPTY[noun].split())
    assert json.loads(house.run(*ask, "--json").done().output) == []
    assert house.run(*ask).done().output.isupper()
    assert house.run(*ask, "--quiet").done().output == ""


def test_quiet_is_ids_alone_and_a_longer_list_says_so(house: House) -> None:
    ids = [house.make("quiet-prod") for _ in range(3)]
    listed = house.run("keys", "list", "--service", "quiet", "-q", "--limit", "2").done()
    assert listed.output.split() == ids[:0:-1]
    assert listed.errors == ""
    told = house.run("keys", "list", "--service", "quiet", "--limit", "2").done()
    assert "2 are shown, and there are more: --limit 20, or --all." in told.errors
    everything = house.run("keys", "list", "--service", "quiet", "-q", "--all").done()
    assert everything.output.split() == ids[::-1]


# --- how they end: one test at least for each exit code ------------------------------------------


ENDINGS: dict[int, list[tuple[str, dict[str, str], tuple[str, ...]]]] = {
    ending.WRONG: [
        ("keys list --status dead", {}, ("'dead' is not one of",)),
        ("keys create", {}, ("Give a NAME like scheduler-prod",)),
        ("keys create a-prod -o x --metadata [1]", {}, ("--metadata takes a JSON object",)),
        ('keys create a-prod -o x --metadata {"a":NaN}', {}, ("--metadata takes a JSON object",)),
        ('keys create a-prod -o x --metadata {"a":"\\ud800"}', {}, ("--metadata takes a JSON",)),
        ("keys create a-prod -o x --expires tomorrow", {}, ("--expires takes 90d, 12h, 30m",)),
        ("keys create a-prod -o x --idempotency-key é", {}, ("--idempotency-key takes 1 to 255",)),
        ("keys create a-prod -o x --runtime a=b=c", {}, ("--runtime takes a name",)),
        ("keys create a-prod -o x --rotation-days 0", {}, ("rotation_period_days: ",)),
        ("keys create a-prod -o x --scope *!", {}, ("scopes 0: ",)),
        ("keys revoke plain-prod", {}, ("here nobody can be asked",)),
        ("keys update a-prod --scope a --no-scopes", {}, ("but not both",)),
        ("slots show .", {}, ("names no slot. SLOT is a service",)),
        ("slots show ..", {}, ("names no slot",)),
        ("slots set a-prod --if-new --if-version 1", {}, ("but not both",)),
        ("workspaces show acme", {}, ("ID is a UUID or its 22 characters",)),
        ("workspaces create x -o x --network office", {}, ("--network takes a name and blocks",)),
        ("rotations start plain-prod", {}, ("say where the token goes with --output",)),
        ("rotations start a-prod -o x --overlap soon", {}, ("--overlap takes a span of time",)),
        ("rotations start a-prod -o x --watch --json", {}, ("--watch or --json",)),
        ("rotations complete a-prod --force", {}, ("--force needs a --reason",)),
        ("rotations complete a-prod --waive nightly", {}, ("--waive takes a runtime",)),
        ("rotations extend a-prod", {}, ("one of the two",)),
        ("rotations decide a-prod a --standing waived", {}, ("needs a --reason",)),
        ("staff-changes ada --rotate", {}, ("--output-dir DIR",)),
        ("contain plain-prod", {}, ("It ends at once", "here nobody can be asked")),
        ("contain --replace --deliver --output-dir x", {}, ("one of them",)),
        ("incidents open", {}, ("one of the three",)),
        ("incidents open --created-by ada", {}, ("created_by",)),
        ("incidents close plain-prod --outcome maybe", {}, ("'maybe' is not one of",)),
        ("verify", {}, ("There is no token to judge",)),
        ("verify --header Origin", {}, ("--header takes a name and a text",)),
        ("verify --file nowhere", {}, ("nowhere cannot be read", "Look at --url")),
        ("keys list", {"KEYTURN_URL": "example.com"}, ("must be like http://127.0.0.1:8420",)),
        ("keys list --workspace ../x", {}, ("The workspace is given by its id.", "Look at --url")),
        ("keys list", {"KEYTURN_API_KEY": "kt_prod_x"}, ("but not both", "Look at --url")),
        ("keys list --api-key-file nowhere", {}, ("nowhere cannot be read", "Look at --url")),
    ],
    ending.REFUSED: [
        ("keys list", {"KEYTURN_API_KEY_FILE": ""}, ("There is no token to present", "operator.")),
        ("keys list --api-key-file other.token", {}, ("credential.invalid", "KEYTURN_URL")),
        ("keys list --api-key-file plain.token", {}, ("permission.missing", "`keyturn self`")),
    ],
    ending.ABSENT: [
        ("keys show 01a203e7-487b-774f-94db-b6feca2dc3f3", {}, ("key.unknown", "--status all")),
        ("keys show nobody-prod", {}, ("goes by nobody-prod", "keys list --status all")),
        ("keys show nothing", {}, ("goes by nothing", "KEY is an id")),
        ("slots show nobody-prod", {}, ("slot.unknown", "`keyturn slots list`")),
        ("rotations start nobody-prod -o x", {}, ("goes by nobody-prod",)),
        ("rotations show nobody-prod", {}, ("No rotation goes by", "`keyturn rotations list`")),
        (
            "rotations show 01a203e7-487b-774f-94db-b6feca2dc3f3",
            {},
            ("rotation.unknown", "`keyturn rotations list`"),
        ),
        ("contain 01a203e7-487b-774f-94db-b6feca2dc3f3", {}, ("no key here", "--status all")),
        ("incidents show nothing", {}, ("No incident goes by", "`keyturn incidents list")),
        (
            "findings show 01a203e7-487b-774f-94db-b6feca2dc3f3",
            {},
            ("finding.unknown", "--state all"),
        ),
        ("workspaces show 01a203e7-487b-774f-94db-b6feca2dc3f3", {}, ("workspace.unknown",)),
    ],
    ending.MOVED: [
        ("keys update plain-prod --owner x@example.com --if-version 77", {}, ("Read it again",)),
        ("keys suspend plain-prod --if-version 77", {}, ("Read it again",)),
        ("slots set plain-prod --if-new", {}, ("Read it again",)),
        ("incidents open --slot plain-prod --expect 7", {}, ("count_moved", "plain-prod")),
    ],
    ending.LATER: [
        ("keys list --url http://127.0.0.1:1", {}, ("There is no answer", "`keyturn dev`")),
        ("keys create a-prod -o x --url http://127.0.0.1:1", {}, ("There is no answer",)),
    ],
}


@pytest.fixture(scope="module")
def settled(house: House, tmp_path_factory: pytest.TempPathFactory) -> House:
    """A house with a token that may do nothing, one of another house, and a key that is revoked."""
    folder = house.place.folder
    house.run("keys", "create", "plain-prod", "-o", "plain.token").done()
    other = Place(tmp_path_factory.mktemp("other"))
    other.run("init").done()
    shutil.copyfile(other.home / "operator.token", folder / "own.txt")
    (folder / "other.token").symlink_to(other.home / "operator.token")
    (folder / "own.txt").unlink()
    return house


@pytest.mark.parametrize(
    ("code", "command", "settings", "sentences"),
    [(code, *one) for code, all_ in ENDINGS.items() for one in all_],
)
def test_what_cannot_be_done_ends_with_its_code_and_the_next_step(
    code: int,
    command: str,
    settings: dict[str, str],
    sentences: tuple[str, ...],
    settled: House,
) -> None:
    before = settled.names()
    ended = settled.run(*command.split(), **settings)
    ended.refused(*sentences, code=code)
    assert ended.output == ""
    assert settled.names() == before
    assert not (settled.place.folder / "x").exists()
    assert not list(settled.place.folder.glob(".*.draft"))


def test_a_revoked_key_can_only_be_followed_by_a_new_one(house: House) -> None:
    key = house.make("terminal-prod")
    house.run("keys", "revoke", key, "--yes").done()
    refused = house.run("keys", "resume", key)
    refused.refused("key.terminal", "keyturn keys create", code=ending.MOVED)
    house.run("keys", "revoke", key, "--yes").done()


def test_each_exit_code_of_the_table_is_produced_here() -> None:
    listed = {
        int(line.split("|")[1])
        for line in str(ending.__doc__).splitlines()
        if line.startswith("| ") and line.split("|")[1].strip().isdigit()
    }
    elsewhere = {ending.DONE, ending.FAULT, ending.NO, ending.INTERRUPTED}  # in the tests around
    assert listed == set(ENDINGS) | elsewhere


def test_a_slot_of_two_keys_names_neither(house: House) -> None:
    ids = [house.make("twin-prod") for _ in range(2)]
    refused = house.run("keys", "revoke", "twin-prod")
    refused.refused("2 keys go by twin-prod: ", "Name one by its id.", code=2)
    house.run("keys", "revoke", ids[0], "-y").done()
    house.run("keys", "revoke", "twin-prod", "-y").done()


@pytest.mark.parametrize(
    "command",
    [
        "keys show {}",
        "keys revoke {}",
        "keys create {} -o x",
        "keys list --owner {}",
        "slots show {}",
        "workspaces show {}",
        "verify {}",
        "usage {}",
        "verify --header Authorization:{}",
        "keys list --workspace {}",
        "{}",
        "keys {}",
        "keys list --limit {}",
    ],
)
def test_a_token_as_an_argument_is_refused_and_never_repeated(command: str, house: House) -> None:
    token = house.place.token
    ended = house.run(*command.format(token).split())
    assert ended.code == 2, ended.code
    assert token[-49:-6] not in ended.all or pytest.fail("it is repeated", pytrace=False)


@pytest.mark.parametrize(
    ("form", "is_read"),
    [
        (b"  %s\n\n", True),
        (b"%s\r\n", True),
        (b"%s", True),
        (b"\xef\xbb\xbf%s\n", False),
        (b"%s %s\n", False),
        (b"", False),
        (b"\xff\xfe", False),
    ],
)
def test_a_tokens_file_may_have_blanks_around_and_nothing_else(
    form: bytes, is_read: bool, house: House
) -> None:
    file = house.place.folder / "formed.token"
    file.write_bytes(form.replace(b"%s", house.place.token.encode()))
    file.chmod(0o600)
    try:
        ended = house.run("self", "--api-key-file", file.name)
    finally:
        file.unlink()
    if is_read:
        ended.done()
    else:
        assert ended.code in (2, 4)
        assert "\n  " in ended.errors, "there is no next step"


def test_two_workspaces_ask_for_one(made: Place) -> None:
    with house_in(made) as house:
        acme = house.run("workspaces", "create", "acme", "-q", "-o", "acme.token").done()
        refused = house.run("keys", "list")
        refused.refused("workspace", "--workspace; `keyturn workspaces list`", code=2)
        assert house.run("keys", "list", "--workspace", acme.output.strip()).done().output
        house.run("keys", "list", KEYTURN_WORKSPACE=acme.output.strip()).done()
        mine = house.run("keys", "list", "--api-key-file", "acme.token").done()
        assert "admin" in mine.output


def test_the_same_idempotency_key_makes_no_second_key(house: House) -> None:
    create = ("keys", "create", "once-prod", "--idempotency-key", "again")
    house.run(*create, "-o", "once.token").done()
    again = house.run(*create, "-o", "twice.token")
    again.refused("was shown before and cannot be shown again", "keys revoke")
    other = house.run(*create, "--scope", "x", "-o", "twice.token")
    assert "idempotency.mismatch" in other.errors
    assert "Use another --idempotency-key" in other.errors
    assert house.names().count("once-prod") == 1
    assert not (house.place.folder / "twice.token").exists()


# --- what answers is something else --------------------------------------------------------------


def html(handler: BaseHTTPRequestHandler) -> None:
    answer(handler, 502, "text/html", b"<html>\x1b[31mBad Gateway</html>")


def login(handler: BaseHTTPRequestHandler) -> None:
    answer(handler, 200, "text/html", b"<html>Log in</html>")


def elsewhere(handler: BaseHTTPRequestHandler) -> None:
    answer(handler, 302, "text/plain", b"", Location="http://127.0.0.1:1/")


def other_service(handler: BaseHTTPRequestHandler) -> None:
    is_root = handler.path == "/"
    about = {"service": "grafana\x1b[31m", "version": "9", "docs": ""}
    answer(handler, 200 if is_root else 404, "application/json", json.dumps(about).encode())


def other_version(handler: BaseHTTPRequestHandler) -> None:
    if handler.path == "/":
        about = {"service": "keyturn", "version": "9.9.9", "docs": ""}
        answer(handler, 200, "application/json", json.dumps(about).encode())
        return
    problem = {"code": "route.unknown", "detail": "No such route.", "request_id": "r"}
    answer(handler, 404, "application/problem+json", json.dumps(problem).encode())


@pytest.mark.parametrize(
    ("answers", "code", "sentences"),
    [
        (html, 1, ("(502)", "perhaps of a proxy", "Check the address")),
        (login, 1, ("cannot be understood", "Check the address")),
        (elsewhere, 1, ("it leads elsewhere", "Check the address")),
        (other_service, 2, ("is not Keyturn but grafana", "Check the address")),
        (other_version, 1, ("is version 9.9.9 and this", __version__, "keyturn==9.9.9")),
    ],
)
def test_what_is_not_this_keyturn_is_named(
    answers: object, code: int, sentences: tuple[str, ...], house: House, tmp_path: Path
) -> None:
    assert callable(answers)
    with answering(answers) as url:
        place = place_at(tmp_path, url, "")
        place.settings["KEYTURN_API_KEY_FILE"] = str(house.place.home / "operator.token")
        ended = place.run("keys", "list")
    ended.refused(*sentences, code=code)
    assert "\x1b" not in ended.errors


def test_a_server_that_goes_silent_may_have_done_it_and_a_question_is_asked_again(
    house: House, tmp_path: Path
) -> None:
    """What was cut off after it was sent: of a change nobody knows, a question changes nothing."""

    def cut(handler: BaseHTTPRequestHandler) -> None:
        handler.connection.shutdown(socket.SHUT_RDWR)
        handler.close_connection = True

    with answering(cut) as url:
        place = place_at(tmp_path, url, "")
        place.settings["KEYTURN_API_KEY_FILE"] = str(house.place.home / "operator.token")
        asked = place.run("keys", "show", "01a203e7-487b-774f-94db-b6feca2dc3f3")
        asked.refused("There is no answer", "Repeat it; if it stays so", code=ending.LATER)
        assert "carried out" not in asked.errors
        told = place.run("keys", "create", "a-prod", "-o", "x")
        told.refused("may have been carried out", "--request-id req-", code=ending.LATER)


# --- interrupted ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("typed", "told", "ends"),
    [
        ("n\n", "Nothing was changed.", ending.FAULT),
        ("\x03", "Interrupted.", ending.INTERRUPTED),
        ("\x04", "Interrupted.", ending.INTERRUPTED),
    ],
)
def test_a_question_that_is_not_answered_with_yes_changes_nothing(
    typed: str, told: str, ends: int, house: House
) -> None:
    key = house.make("asked-prod")
    with terminal(house.place, "keys", "revoke", key) as shown:
        shown.read("[y/N]")
        while shown.process.poll() is None:  # before it reads, what is typed may be lost
            shown.type(typed)
            time.sleep(0.5)
        code, text = shown.end()
    assert code == ends, text
    assert told in text
    assert house.ask("GET", f"/v1/api-keys/{key}")["status"] == "active"
    with terminal(house.place, "keys", "revoke", key) as shown:
        shown.read("[y/N]")
        shown.type("y\n")
        assert shown.end()[0] == 0
    assert house.ask("GET", f"/v1/api-keys/{key}")["status"] == "revoked"


def test_interrupted_in_the_middle_a_create_says_what_it_does_not_know(
    house: House, tmp_path: Path
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        place = place_at(tmp_path, f"http://127.0.0.1:{silent.getsockname()[1]}", "")
        place.settings["KEYTURN_API_KEY_FILE"] = str(house.place.home / "operator.token")
        begun = place.start("keys", "create", "a-prod", "-o", "x")
        connection, _ = silent.accept()
        connection.recv(10)
        begun.signal(signal.SIGINT)
        ended = begun.wait()
        connection.close()
    ended.refused("it may be there, and nobody has its token", "keys revoke", code=130)
    assert sorted(path.name for path in tmp_path.glob(".*.draft")) == []


def test_a_key_is_found_by_the_name_that_its_list_shows(house: House) -> None:
    made = house.run("keys", "create", "Billing eu1", "-o", "eu1.token").done()
    assert "in slot billing-eu1-default" in made.output
    shown = house.run("keys", "show", "Billing eu1").done()
    assert "billing-eu1-default" in shown.output


def test_a_token_in_the_place_of_its_file_is_not_repeated(house: House) -> None:
    token = (house.place.home / "operator.token").read_text().strip()
    refused = house.run("keys", "list", KEYTURN_API_KEY_FILE=token, KEYTURN_API_KEY="")
    refused.refused("A token was given where the name of its file belongs", code=2)


def test_a_token_that_others_can_read_is_told_of(house: House) -> None:
    readable = house.place.folder / "readable.token"
    readable.write_bytes((house.place.home / "operator.token").read_bytes())
    readable.chmod(0o644)
    try:
        told = house.run("self", "--api-key-file", str(readable)).done()
        assert "Others can read the token" in told.errors
    finally:
        readable.unlink()
