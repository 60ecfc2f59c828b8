"""`keyturn operators`: a token leaves by one way only, and what is taken back works no more."""

import json
import os
import time
from pathlib import Path

import pytest

from tests.cli.programs import Finished, Place, Server


def listed(place: Place) -> list[dict[str, str | None]]:
    found: list[dict[str, str | None]] = json.loads(
        place.run("operators", "list", "--json").done().output
    )
    return found


def create(place: Place, *options: str) -> str:
    """The token of a new operator."""
    done = place.run("operators", "create", "--name", "Ada", "--output", "-", *options).done()
    return done.output.strip()


def status_of(server: Server, token: str) -> int:
    return server.call("GET", "/v1/self", token)[0]


def test_into_a_pipe_without_output_nothing_is_made(made: Place) -> None:
    before = (made.home / "keyturn.db").read_bytes()
    refused = made.run("operators", "create", "--name", "Ada")
    refused.refused("Standard output is no terminal", "--output FILE", code=2)
    assert (made.home / "keyturn.db").read_bytes() == before
    assert [one["name"] for one in listed(made)] == ["first operator"]


def test_to_a_terminal_the_token_is_shown(made: Place) -> None:
    master, slave = os.openpty()
    running = made.start("operators", "create", "--name", "Ada", terminal=os.ttyname(slave))
    assert running.wait().code == 0
    shown = os.read(master, 1_000).decode().split()
    os.close(slave)
    os.close(master)
    (token,) = (word for word in shown if word.startswith("kt_operator_"))
    assert status_of(made.serve(), token) == 200


def test_output_names_a_file_for_its_owner_alone(made: Place) -> None:
    done = made.run("operators", "create", "--name", "Ada", "--output", "ada.token").done()
    file = made.folder / "ada.token"
    token = file.read_text().strip()
    assert file.stat().st_mode & 0o777 == 0o600
    assert token not in done.all
    assert status_of(made.serve(), token) == 200


@pytest.mark.parametrize("output", ["/dev/null/token", "no/such/folder/token", "."])
def test_no_operator_is_made_whose_token_has_nowhere_to_go(output: str, made: Place) -> None:
    refused = made.run("operators", "create", "--name", "Ada", "--output", output)
    refused.refused(f" {output} ", "--output")
    assert [one["name"] for one in listed(made)] == ["first operator"]


def test_an_operator_whose_token_went_to_a_full_disk_is_revoked_again(made: Place) -> None:
    with Path("/dev/full").open("wb") as full:
        refused = made.execute("operators", "create", "--name", "Ada", "--output", "-", stdout=full)
    assert refused.returncode == 1
    assert b"cannot be written to standard output (No space left on device)" in refused.stderr
    assert b"Traceback" not in refused.stderr
    assert [one["status"] for one in listed(made)] == ["revoked", "active"]


@pytest.mark.parametrize(
    ("expires", "seconds"),
    [("90d", 90 * 86_400), ("12h", 43_200), ("30m", 1_800), ("2100-01-01T00:00:00Z", None)],
)
def test_expires_takes_a_span_or_a_time(expires: str, seconds: int | None, made: Place) -> None:
    create(made, "--expires", expires)
    newest = listed(made)[0]
    assert newest["status"] == "active"
    if seconds is None:
        assert newest["expires_at"] == "2100-01-01T00:00:00.000000Z"
    else:
        times = (newest["created_at"], newest["expires_at"])
        begin, end = (_seconds(text) for text in times if text is not None)
        assert abs(end - begin - seconds) < 60  # between what was asked and what was made


def _seconds(text: str) -> float:
    from keyturn.domain.instant import parse_instant

    return parse_instant(text) / 1_000_000


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--name", "Ada", "--expires", "tomorrow"], "--expires takes 90d, 12h, 30m"),
        (["--name", "Ada", "--expires", "0d"], "--expires takes 90d, 12h, 30m"),
        (["--name", "Ada", "--expires", "-5d"], "--expires takes 90d, 12h, 30m"),
        (["--name", "Ada", "--expires", "9999999d"], "--expires takes 90d, 12h, 30m"),
        (["--name", "Ada", "--expires", "2027-01-31"], "--expires takes 90d, 12h, 30m"),
        (["--name", "Ada", "--expires", "2020-01-31T00:00:00Z"], "--expires: This lies in the"),
        (["--name", "Ada", "--expires", "9999999d"], "--expires"),
        (["--name", " "], "--name: This must not be empty."),
        (["--name", "a" * 256], "--name: This may have at most 255 characters."),
        (["--name", "red\x1b[31m"], "--name: This may not have control characters."),
        ([], "Missing option '--name'"),
    ],
)
def test_what_is_asked_for_wrongly_ends_with_2_and_makes_nothing(
    options: list[str], sentence: str, made: Place
) -> None:
    made.run("operators", "create", "--output", "-", *options).refused(sentence, code=2)
    assert len(listed(made)) == 1


def test_a_time_that_no_calendar_has_is_refused(made: Place) -> None:
    refused = made.run(
        "operators", "create", "--name", "Ada", "--output", "-", "--expires", "999999d"
    )
    assert refused.code in (0, 2)
    listed(made)


def test_a_token_is_no_name(made: Place) -> None:
    refused = made.run("operators", "create", "--name", made.token, "--output", "-")
    refused.refused("--name: A token stands here", code=2)
    assert made.token not in refused.all


def test_beside_a_running_server_each_act_works_at_once(either: Place) -> None:
    server = either.serve()
    token = create(either)
    assert status_of(server, token) == 200
    id_ = listed(either)[0]["id"]
    assert id_ is not None
    told = either.run("operators", "revoke", id_).done().output
    nodes = "" if either.engine == "sqlite" else ", on 1 node"
    assert f"Operator Ada is revoked{nodes}." in told
    assert status_of(server, token) == 401
    either.run("operators", "revoke", id_).done()
    assert status_of(server, either.token) == 200


def test_an_operator_is_revoked_by_either_spelling_of_its_id(made: Place) -> None:
    token = create(made)
    made.run("operators", "revoke", token.removeprefix("kt_operator_")[:22]).done()
    assert status_of(made.serve(), token) == 401


def test_an_expired_operator_is_401_from_that_moment_on(either: Place) -> None:
    server = either.serve()
    soon = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 4))
    token = create(either, "--expires", soon)
    assert status_of(server, token) == 200
    deadline = time.monotonic() + 10
    while status_of(server, token) == 200 and time.monotonic() < deadline:
        time.sleep(0.05)
    assert status_of(server, token) == 401
    assert listed(either)[0]["status"] == "expired"


def test_a_gateway_may_verify_for_every_workspace_and_nothing_more(made: Place) -> None:
    server = made.serve()
    gateway = create(made, "--verify-only")
    assert listed(made)[0]["kind"] == "gateway"
    other = server.call("POST", "/v1/workspaces", made.token, {"name": "acme"})[1]["api_key"]
    key = server.call("POST", "/v1/api-keys", other, {"name": "worker-prod"})[1]["api_key"]
    verdict = server.call("POST", "/v1/verify", gateway, {"api_key": key})
    assert verdict[1]["code"] == "valid"
    for method, path, body in (
        ("GET", "/v1/api-keys", None),
        ("POST", "/v1/api-keys", {"name": "worker-prod"}),
        ("GET", "/v1/workspaces", None),
        ("GET", "/v1/activity-logs", None),
    ):
        assert server.call(method, path, gateway, body)[0] == 403, path


def test_revoke_says_what_an_id_is_and_when_there_is_none(made: Place) -> None:
    made.run("operators", "revoke", "ada").refused("ID is a UUID or its 22 characters", code=2)
    nobody = made.run("operators", "revoke", "01a203e7-487b-774f-94db-b6feca2dc3f3")
    nobody.refused("There is no operator with this id.")


def test_the_list_is_for_people_and_for_programs(made: Place) -> None:
    create(made, "--expires", "1d")
    table = made.run("operators", "list").done().output.splitlines()
    assert table[0].split() == ["ID", "NAME", "KIND", "STATUS", "EXPIRES"]
    assert [row.split()[1] for row in table[1:]] == ["Ada", "first"]
    assert set(listed(made)[0]) == {"id", "name", "kind", "status", "created_at", "expires_at"}


def test_no_list_tells_a_token(made: Place) -> None:
    secret = made.token.removeprefix("kt_operator_")[22:]
    shown: Finished = made.run("operators", "list", "--json").done()
    assert secret not in shown.all
