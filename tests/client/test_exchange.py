"""What is sent, to whom, and what no call gives away: driven by hand, with no server."""

import pickle
import platform
import socket
import traceback
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from keyturn import __version__
from keyturn.client import (
    NO_RETRY,
    AsyncKeyturn,
    ConfigurationFault,
    IssuedKey,
    Keyturn,
    KeyturnClientError,
    Unreachable,
)
from keyturn.client.activity import list_activity
from keyturn.client.call import Call
from keyturn.client.configuration import open_session
from keyturn.client.exchange import Session
from keyturn.client.health import look_at_server
from keyturn.client.keys import change_key, create_key, list_keys, read_key, revoke_key, suspend_key
from keyturn.client.requests import list_requests, measure_usage
from keyturn.client.slots import read_slot
from keyturn.client.verify import verify
from keyturn.testing import FakeClock, SeededEntropy
from tests.client.driving import (
    KEY,
    LOST,
    OTHER,
    TOKEN,
    UNSENT,
    URL,
    answer,
    drive,
    problem,
    session,
)

NAIVE = datetime(2026, 1, 2)  # noqa: DTZ001


def by_number(values: Iterable[object]) -> list[object]:
    """Parameters that are called by their number: a test's name must hold no token."""
    return [pytest.param(value, id=str(number)) for number, value in enumerate(values)]


SECRETS = [part for one in (TOKEN, OTHER) for part in (one.reveal(), one.reveal()[-49:-6])]


def test_a_call_goes_to_its_path_with_the_token_in_a_header() -> None:
    [sent] = drive(list_keys(service="a b", limit=2, count=True).first, [answer(200, [])]).sent
    assert sent.method == "GET"
    assert sent.url == f"{URL}/v1/api-keys?service=a+b&limit=2&count=true"
    assert sent.headers["Authorization"] == f"Bearer {TOKEN.reveal()}"
    assert sent.content is None


def test_what_is_not_given_is_not_sent() -> None:
    [sent] = drive(create_key("a", scopes=[]), [UNSENT], retry=NO_RETRY).sent
    assert sent.content == b'{"name":"a","scopes":[]}'
    assert sent.headers["Content-Type"] == "application/json"


def test_a_name_is_one_segment_of_the_path() -> None:
    [sent] = drive(read_slot("a/../b?c#d"), [UNSENT], retry=NO_RETRY).sent
    assert sent.url == f"{URL}/v1/slots/a%2F..%2Fb%3Fc%23d"


@pytest.mark.parametrize("name", ["", ".", ".."])
def test_a_name_that_would_lead_elsewhere_is_refused(name: str) -> None:
    for operation in (read_key, revoke_key, suspend_key, read_slot, measure_usage):
        with pytest.raises(ValueError, match="names nothing"):
            operation(name)


def test_nothing_of_this_machine_is_in_the_clients_identity() -> None:
    [sent] = drive(read_key("a"), [UNSENT], retry=NO_RETRY).sent
    assert sent.headers["User-Agent"] == f"keyturn-python/{__version__}"
    assert "Keyturn-Runtime" not in sent.headers
    assert "Keyturn-Workspace" not in sent.headers
    told = " ".join(value for name, value in sent.headers.items() if name != "Authorization")
    for word in (socket.gethostname(), platform.node(), platform.system(), platform.machine()):
        assert word not in told


def test_a_workload_declares_itself_only_where_it_has_a_name() -> None:
    one = session(runtime="nightly-batch", workspace="0190-w")
    [sent] = drive(read_key("a"), [answer(200, KEY)], of=one).sent
    assert sent.headers["Keyturn-Runtime"] == "nightly-batch"
    assert sent.headers["Keyturn-Workspace"] == "0190-w"


def test_what_answers_at_the_root_is_not_shown_the_token() -> None:
    [sent] = drive(look_at_server(), [UNSENT], retry=NO_RETRY).sent
    assert "Authorization" not in sent.headers


def test_who_has_no_token_sends_none() -> None:
    [sent] = drive(read_key("a"), [answer(200, KEY)], of=session(api_key=None)).sent
    assert "Authorization" not in sent.headers


# --- what is refused before anything is sent ------------------------------------------------------


@pytest.mark.parametrize(
    "url",
    by_number(
        [
            "",
            "keys.example.com",
            "ftp://keys.example.com",
            "http://",
            "http://user@keys.example.com",
            "http://user:word@keys.example.com",
            "http://keys.example.com?x=1",
            "http://keys.example.com#x",
            "http://keys.example.com:99999",
            "http://keys.example.com:0",
            "http://[::1",
            f"http://keys.example.com/{TOKEN.reveal()}",
            f"http://{TOKEN.reveal()}@keys.example.com",
        ]
    ),
)
def test_an_address_with_more_than_an_address_in_it_is_refused(url: str) -> None:
    with pytest.raises(ConfigurationFault) as caught:
        session(url=url)
    assert hidden(caught.value)


@pytest.mark.parametrize(
    "url", ["http://a b", "http://a\tb", "http://a\x7fb", "http://a\\b", "http://͸.example"]
)
def test_an_address_that_cannot_be_called_is_refused_when_the_client_is_made(url: str) -> None:
    for face in (Keyturn, AsyncKeyturn):
        with pytest.raises(ConfigurationFault):
            face(url, api_key=TOKEN)


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        (" http://127.0.0.1:8420/ ", "http://127.0.0.1:8420"),
        ("HTTPS://keys.example.com/a/", "https://keys.example.com/a"),
        ("http://[::1]:8420", "http://[::1]:8420"),
    ],
)
def test_an_address_is_kept_without_its_last_slash(given: str, kept: str) -> None:
    assert session(url=given).url == kept


@pytest.mark.parametrize(
    "api_key",
    by_number(["", "x", TOKEN.reveal()[:-1], TOKEN.reveal()[:-1] + "!", TOKEN.reveal() * 2]),
)
def test_a_token_that_is_not_whole_is_refused_and_not_repeated(api_key: str) -> None:
    with pytest.raises(ConfigurationFault) as caught:
        session(api_key=api_key)
    assert hidden(caught.value)
    if api_key:
        assert api_key not in str(caught.value)


@pytest.mark.parametrize(
    "members",
    by_number(
        [
            {"runtime": ""},
            {"runtime": "a b"},
            {"runtime": "a\r\nX-Other: b"},
            {"runtime": "ä"},
            {"runtime": TOKEN.reveal()},
            {"workspace": ""},
            {"workspace": "a\nb"},
            {"workspace": TOKEN.reveal()},
        ]
    ),
)
def test_a_header_that_could_be_another_is_refused(members: dict[str, str]) -> None:
    with pytest.raises(ConfigurationFault) as caught:
        session(**members)  # type: ignore[arg-type]
    assert hidden(caught.value)


@pytest.mark.parametrize("seconds", [0, -1, float("inf"), float("nan")])
def test_a_timeout_that_is_no_time_is_refused(seconds: float) -> None:
    for face in (Keyturn, AsyncKeyturn):
        with pytest.raises(ConfigurationFault):
            face(URL, timeout_seconds=seconds)


@pytest.mark.parametrize(
    "build",
    by_number(
        [
            lambda: create_key("a", expires_at=NAIVE),
            lambda: create_key("a", not_before=NAIVE),
            lambda: change_key("a", expires_at=NAIVE),
            lambda: list_requests(since=NAIVE),
            lambda: list_activity(until=NAIVE),
            lambda: measure_usage("a", since=NAIVE),
        ]
    ),
)
def test_a_time_without_its_offset_is_refused(build: Callable[[], object]) -> None:
    with pytest.raises(ValueError, match="offset"):
        build()


def test_a_time_is_sent_in_utc() -> None:
    moment = datetime.fromisoformat("2026-01-02T03:04:05+02:00")
    [sent] = drive(list_requests(since=moment).first, [answer(200, [])]).sent
    assert sent.url.endswith("?since=2026-01-02T01%3A04%3A05Z")
    [sent] = drive(create_key("a", expires_at=datetime(2026, 1, 2, tzinfo=UTC)), [LOST]).sent[:1]
    assert sent.content == b'{"name":"a","expires_at":"2026-01-02T00:00:00Z"}'


@pytest.mark.parametrize(
    "build",
    by_number(
        [
            read_key,
            revoke_key,
            measure_usage,
            lambda text: list_keys(owner=text),
            lambda text: list_requests(path=f"/v1/{text}"),
            lambda text: create_key("a", idempotency_key=text),
        ]
    ),
)
def test_a_token_in_the_place_of_an_id_never_leaves(build: Callable[[str], object]) -> None:
    with pytest.raises(ValueError, match="token") as caught:
        build(OTHER.reveal())
    assert hidden(caught.value)


@pytest.mark.parametrize("key", by_number(["", "a b", "a\r\nX-Other: b", "ä", "x" * 256]))
def test_an_idempotency_key_that_is_no_header_is_refused(key: str) -> None:
    with pytest.raises(ValueError, match="1 to 255"):
        create_key("a", idempotency_key=key)


def test_a_token_is_sent_nowhere_but_where_it_is_asked_about() -> None:
    with pytest.raises(TypeError) as caught:
        create_key("a", metadata={"token": OTHER})
    assert hidden(caught.value)
    [sent] = drive(verify(OTHER), [UNSENT], retry=NO_RETRY).sent
    assert sent.content is not None
    assert OTHER.reveal().encode() in sent.content


def test_half_a_character_of_a_stranger_does_not_stop_the_gate() -> None:
    half = "\ud800"
    [sent] = drive(
        verify(half, user_agent=half, path=half, method=half, headers={half: half}),
        [UNSENT],
        retry=NO_RETRY,
    ).sent
    assert sent.content is not None
    assert sent.content.decode().count("?") == 6


# --- what no call gives away ----------------------------------------------------------------------


def chain(error: BaseException | None) -> Iterator[BaseException]:
    """An error, and all that it came from."""
    while error is not None:
        yield error
        yield from chain(error.__cause__)
        error = error.__context__


def hidden(error: BaseException) -> bool:
    """Whether no secret is to be found in an error by anyone who writes it down or sends it on."""
    places = ["".join(traceback.format_exception(error))]
    for one in chain(error):
        places += [str(one), repr(one), repr(one.args), repr(vars(one))]
        places.append(repr(getattr(one, "object", "")))  # of a UnicodeError
    return not any(secret in place for secret in SECRETS for place in places)


ISSUED = {**KEY, "api_key": OTHER.reveal()}
LEAKY: list[tuple[Call[Any], object]] = [
    (create_key("a"), answer(201, {**ISSUED, "version": OTHER.reveal()})),
    (create_key("a"), answer(201, {**ISSUED, "api_key": OTHER.reveal()[:-1]})),
    (create_key("a"), answer(201, OTHER.reveal().encode() + b"\xff")),
    (create_key("a"), answer(201, b'{"id": "\xff' + OTHER.reveal().encode() + b'"}')),
    (create_key("a"), answer(200, f"<html>{OTHER.reveal()}</html>".encode())),
    (create_key("a"), problem(422, body={"detail": f"Not {OTHER.reveal()}."})),
    (create_key("a"), problem(422, body={"code": OTHER.reveal(), "request_id": OTHER.reveal()})),
    (
        create_key("a"),
        problem(422, body={"errors": [{"pointer": OTHER.reveal(), "detail": OTHER.reveal()}]}),
    ),
    (create_key("a"), problem(422, body={"detail": [OTHER.reveal()]})),
    (create_key("a"), answer(302, location=f"http://elsewhere/{OTHER.reveal()}")),
    (create_key("a"), answer(502, OTHER.reveal().encode(), content_type="text/html")),
    (verify(OTHER), LOST),
    (verify(OTHER), UNSENT),
    (verify(OTHER), answer(200, {"valid": OTHER.reveal()})),
]


@pytest.mark.parametrize("number", range(len(LEAKY)))
def test_no_error_holds_a_token_wherever_one_looks(number: int) -> None:
    call, outcome = LEAKY[number]
    error = drive(call, [outcome], retry=NO_RETRY).raised()  # type: ignore[list-item]
    assert hidden(error)


@pytest.mark.parametrize("number", range(len(LEAKY)))
def test_every_error_names_its_request_and_has_a_code(number: int) -> None:
    call, outcome = LEAKY[number]
    driven = drive(call, [outcome], retry=NO_RETRY)  # type: ignore[list-item]
    error = driven.raised()
    assert error.code
    assert error.request_id
    if error.code.startswith("client."):
        assert error.request_id == driven.sent[0].headers["X-Request-Id"]


def test_no_representation_holds_a_token() -> None:
    one = session()
    call = verify(OTHER)
    driven = drive(create_key("a"), [answer(201, ISSUED)], of=one)
    issued = driven.given()
    assert issued.token.reveal() == OTHER.reveal()
    with Keyturn(URL, api_key=TOKEN) as client:
        shown = [
            repr(thing) + str(thing)
            for thing in (one, call, driven.sent, issued, issued.api_key, client, client.keys)
        ]
    assert not [text for text in shown for secret in SECRETS if secret in text]
    assert TOKEN.hint + "…" not in repr(one)


def test_no_pickle_holds_a_token() -> None:
    issued = drive(create_key("a"), [answer(201, ISSUED)]).given()
    assert isinstance(issued, IssuedKey)
    with Keyturn(URL, api_key=TOKEN) as client:
        for thing in (issued, session(), client, client.keys, AsyncKeyturn(URL, api_key=TOKEN)):
            with pytest.raises(TypeError):
                pickle.dumps(thing)


@pytest.mark.parametrize("number", range(len(LEAKY)))
def test_an_error_comes_whole_out_of_another_process(number: int) -> None:
    call, outcome = LEAKY[number]
    error = drive(call, [outcome], retry=NO_RETRY).raised()  # type: ignore[list-item]
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is type(error)
    assert str(again) == str(error)
    assert vars(again) == vars(error)
    assert (again.code, again.request_id) == (error.code, error.request_id)
    assert hidden(again)


# --- what is taken from the environment -----------------------------------------------------------


def opened(
    environ: dict[str, str], *, workspace: str | None = None, api_key_file: Path | None = None
) -> Session:
    return open_session(
        environ,
        url=None,
        api_key=None,
        api_key_file=api_key_file,
        workspace=workspace,
        runtime=None,
        retry=None,
        clock=FakeClock(),
        entropy=SeededEntropy(),
    )


def headers_of(one: Session) -> dict[str, str]:
    [sent] = drive(read_key("a"), [answer(200, KEY)], of=one).sent
    return dict(sent.headers)


def test_the_environment_says_what_a_program_does_not(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text(f"{TOKEN.reveal()}\n")
    bare = opened({})
    assert bare.url == "http://127.0.0.1:8420"
    assert "Authorization" not in headers_of(bare)
    held = opened({"KEYTURN_URL": URL, "KEYTURN_API_KEY": TOKEN.reveal(), "KEYTURN_WORKSPACE": "w"})
    assert held.url == URL
    assert headers_of(held)["Authorization"] == f"Bearer {TOKEN.reveal()}"
    assert headers_of(held)["Keyturn-Workspace"] == "w"
    named = headers_of(opened({"KEYTURN_API_KEY_FILE": str(file), "KEYTURN_WORKSPACE": ""}))
    assert named["Authorization"] == f"Bearer {TOKEN.reveal()}"
    assert "Keyturn-Workspace" not in named


def test_what_a_program_says_goes_before_the_environment(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text(TOKEN.reveal())
    environ = {"KEYTURN_API_KEY": OTHER.reveal(), "KEYTURN_WORKSPACE": "theirs"}
    told = headers_of(opened(environ, workspace="mine", api_key_file=file))
    assert told["Authorization"] == f"Bearer {TOKEN.reveal()}"
    assert told["Keyturn-Workspace"] == "mine"


def test_two_tokens_at_once_are_refused(tmp_path: Path) -> None:
    environ = {"KEYTURN_API_KEY": OTHER.reveal(), "KEYTURN_API_KEY_FILE": str(tmp_path)}
    with pytest.raises(ConfigurationFault, match="not both"):
        opened(environ)
    with pytest.raises(ConfigurationFault, match="not both"):
        Keyturn(URL, api_key=TOKEN, api_key_file=tmp_path)


@pytest.mark.parametrize("content", by_number([b"", b"\n", b"word", TOKEN.reveal()[:-1].encode()]))
def test_a_file_without_a_whole_token_is_refused(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "token"
    file.write_bytes(content)
    with pytest.raises(ConfigurationFault) as caught:
        opened({"KEYTURN_API_KEY_FILE": str(file)})
    assert hidden(caught.value)


def test_a_file_of_a_token_and_rubbish_is_not_carried_along_by_its_refusal(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_bytes(TOKEN.reveal().encode() + b"\xff")
    with pytest.raises(ConfigurationFault) as caught:
        opened({"KEYTURN_API_KEY_FILE": str(file)})
    assert hidden(caught.value)


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationFault, match="missing"):
        Keyturn(URL, api_key_file=tmp_path / "missing")


def test_an_unreachable_address_is_named_and_says_whether_anything_left() -> None:
    for outcome in (LOST, UNSENT):
        error = drive(read_key("a"), [outcome]).raised()
        assert isinstance(error, Unreachable)
        assert URL in str(error)
        assert error.was_sent is outcome.was_sent
        assert isinstance(error, KeyturnClientError)
