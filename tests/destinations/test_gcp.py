import json
import logging
from collections.abc import Iterator

import pytest

from keyturn.destinations.contract import ConfigurationFault, Destination, FaultKind
from keyturn.destinations.gcp import GcpKind
from keyturn.outbound.contract import OutboundFaultKind
from keyturn.testing import FakeClock
from tests.destinations.meddling import (
    Killed,
    MeddlingOutbound,
    answers,
    dies_after,
    dies_before,
    fails,
    first,
    loses_the_answer,
)
from tests.destinations.opened import (
    NEW,
    OLD,
    OTHER,
    SLOT,
    THIRD,
    fault_of,
    open_one,
    value_of,
    version_of,
)
from tests.servers.answering import answering
from tests.servers.gcp import HOST, FakeSecretManager, Version

NAME = "keyturn-scheduler-prod"
ADD, ACCESS, CREATE = ":addVersion", ":access", "/secrets "


@pytest.fixture(scope="module")
def made() -> FakeSecretManager:
    return FakeSecretManager()  # its key takes a while to make


@pytest.fixture
def google(made: FakeSecretManager) -> FakeSecretManager:
    return FakeSecretManager(key=made.key)


@pytest.fixture
def way(google: FakeSecretManager) -> Iterator[MeddlingOutbound]:
    with answering(google.answer) as port:
        yield MeddlingOutbound({HOST: port})


@pytest.fixture
def place(way: MeddlingOutbound, google: FakeSecretManager) -> Iterator[Destination]:
    opened = open_gcp(way, google)
    yield opened
    opened.close()


def open_gcp(
    way: MeddlingOutbound, google: FakeSecretManager, clock: FakeClock | None = None
) -> Destination:
    kind = GcpKind(way, clock or FakeClock())
    credential = {"service_account": google.service_account()}
    return open_one(kind, {"project": "acme-prod"}, credential)


def test_what_is_written_is_read_back_and_each_write_is_a_version_of_its_own(
    place: Destination, google: FakeSecretManager
) -> None:
    assert place.read(SLOT) is None
    old = place.write(SLOT, OLD, None)
    new = place.write(SLOT, NEW, old)
    held = place.read(SLOT)
    assert held is not None
    assert (held.value, held.version) == (NEW, new)
    assert [old.partition("@")[0], new.partition("@")[0]] == ["1", "2"]
    assert NEW not in repr(held)
    assert [version.content for version in google.secrets[NAME]] == [OLD.encode(), NEW.encode()]
    assert place.read(OTHER) is None
    assert place.locate(SLOT) == f"gcp:projects/acme-prod/secrets/{NAME}"


def test_a_stale_version_is_a_conflict_and_changes_nothing(place: Destination) -> None:
    old = place.write(SLOT, OLD, None)
    new = place.write(SLOT, NEW, old)
    assert fault_of(lambda: place.write(SLOT, THIRD, old)) is FaultKind.CONFLICT
    assert fault_of(lambda: place.write(SLOT, THIRD, None)) is FaultKind.CONFLICT
    assert (value_of(place), version_of(place)) == (NEW, new)
    assert fault_of(lambda: place.write(OTHER, THIRD, old)) is FaultKind.CONFLICT
    assert place.read(OTHER) is None


def test_a_version_that_somebody_adds_in_that_moment_is_told_as_a_conflict(
    place: Destination, way: MeddlingOutbound, google: FakeSecretManager
) -> None:
    old = place.write(SLOT, OLD, None)
    theirs = Version(content=b"theirs")
    way.on(ADD, first(lambda: google.secrets[NAME].append(theirs)), times=1)
    assert fault_of(lambda: place.write(SLOT, NEW, old)) is FaultKind.CONFLICT


def test_a_secret_that_was_made_anew_is_another_though_it_counts_from_one_again(
    place: Destination, google: FakeSecretManager
) -> None:
    old = place.write(SLOT, OLD, None)
    google.secrets[NAME] = [Version(content=b"theirs")]
    assert fault_of(lambda: place.write(SLOT, NEW, old)) is FaultKind.CONFLICT
    assert value_of(place) == "theirs"


@pytest.mark.parametrize("state", ["DISABLED", "DESTROYED"])
def test_a_latest_version_that_cannot_be_read_is_nothing_and_the_next_one_is_added(
    place: Destination, google: FakeSecretManager, state: str
) -> None:
    old = place.write(SLOT, OLD, None)
    google.secrets[NAME][0].state = state
    assert place.read(SLOT) is None
    assert fault_of(lambda: place.write(SLOT, NEW, old)) is FaultKind.CONFLICT
    place.write(SLOT, NEW, None)
    assert value_of(place) == NEW


def test_a_write_that_died_between_the_secret_and_its_version_is_done_again(
    place: Destination, way: MeddlingOutbound, google: FakeSecretManager
) -> None:
    way.on(CREATE, dies_after, times=1)
    with pytest.raises(Killed):
        place.write(SLOT, NEW, None)
    assert google.secrets[NAME] == []
    again = open_gcp(way, google)
    assert again.read(SLOT) is None
    again.write(SLOT, NEW, None)
    assert value_of(again) == NEW


@pytest.mark.parametrize("is_after", [False, True])
def test_after_a_death_at_the_version_the_place_tells_what_it_holds(
    place: Destination, way: MeddlingOutbound, google: FakeSecretManager, is_after: bool
) -> None:
    old = place.write(SLOT, OLD, None)
    way.on(ADD, dies_after if is_after else dies_before, times=1)
    with pytest.raises(Killed):
        place.write(SLOT, NEW, old)
    again = open_gcp(way, google)
    held = again.read(SLOT)
    assert held is not None
    assert held.value == (NEW if is_after else OLD)
    again.write(SLOT, NEW, held.version)
    assert value_of(again) == NEW


def test_an_answer_that_is_lost_is_timed_out_and_the_value_is_there(
    place: Destination, way: MeddlingOutbound
) -> None:
    old = place.write(SLOT, OLD, None)
    way.on(ADD, loses_the_answer, times=1)
    assert fault_of(lambda: place.write(SLOT, NEW, old)) is FaultKind.TIMED_OUT
    assert value_of(place) == NEW


def test_a_secret_that_another_makes_at_the_same_time_is_used(
    place: Destination, way: MeddlingOutbound, google: FakeSecretManager
) -> None:
    way.on(CREATE, first(lambda: google.secrets.setdefault(NAME, [])), times=1)
    place.write(SLOT, NEW, None)
    assert value_of(place) == NEW


def test_what_is_accepted_and_not_stored_is_no_success(
    place: Destination, way: MeddlingOutbound, google: FakeSecretManager
) -> None:
    old = place.write(SLOT, OLD, None)
    name = f"projects/acme-prod/secrets/{NAME}/versions/2"
    made = {"name": name, "createTime": "2026-01-01T00:00:00Z"}
    way.on(ADD, answers(200, json.dumps(made).encode()))
    assert fault_of(lambda: place.write(SLOT, NEW, old)) is FaultKind.BROKEN
    assert value_of(place) == OLD


def test_an_old_value_that_is_given_back_is_no_success(
    place: Destination, way: MeddlingOutbound
) -> None:
    old = place.write(SLOT, OLD, None)
    name = f"projects/acme-prod/secrets/{NAME}/versions/1"
    made = {"name": name, "createTime": "2026-01-01T00:00:00Z"}
    way.on(ADD, answers(200, json.dumps(made).encode()))
    assert fault_of(lambda: place.write(SLOT, NEW, old)) is FaultKind.BROKEN


def test_a_policy_that_forbids_to_make_the_secret_is_told(
    place: Destination, google: FakeSecretManager
) -> None:
    google.may_create = False
    assert fault_of(lambda: place.write(SLOT, NEW, None)) is FaultKind.MISSING


def test_a_lost_key_of_encryption_is_no_empty_place(
    place: Destination, google: FakeSecretManager
) -> None:
    place.write(SLOT, OLD, None)
    google.is_key_of_encryption_lost = True
    assert fault_of(lambda: place.read(SLOT)) is FaultKind.BROKEN


def test_a_key_that_google_no_longer_knows_is_denied(
    way: MeddlingOutbound, google: FakeSecretManager
) -> None:
    place = open_gcp(way, google)
    google.key_id = "k2"
    assert fault_of(lambda: place.read(SLOT)) is FaultKind.DENIED
    assert fault_of(lambda: place.write(SLOT, NEW, None)) is FaultKind.DENIED


def test_another_project_is_denied(way: MeddlingOutbound, google: FakeSecretManager) -> None:
    credential = {"service_account": google.service_account()}
    place = open_one(GcpKind(way, FakeClock()), {"project": "other-prod"}, credential)
    assert fault_of(lambda: place.read(SLOT)) is FaultKind.DENIED


def test_a_secret_that_is_no_text_is_not_understood(
    place: Destination, google: FakeSecretManager
) -> None:
    google.secrets[NAME] = [Version(content=b"\xff\xfe")]
    assert fault_of(lambda: place.read(SLOT)) is FaultKind.NOT_UNDERSTOOD


GARBAGE = [
    (200, b"<html>SECRET</html>", FaultKind.NOT_UNDERSTOOD),
    (200, b"", FaultKind.NOT_UNDERSTOOD),
    (200, b"{}", FaultKind.NOT_UNDERSTOOD),
    (200, b"[1]", FaultKind.NOT_UNDERSTOOD),
    (200, b'{"name": 7, "payload": 7}', FaultKind.NOT_UNDERSTOOD),
    (200, b'{"payload": {"data": "***"}}', FaultKind.NOT_UNDERSTOOD),
    (302, b"", FaultKind.NOT_UNDERSTOOD),
    (400, b"SECRET", FaultKind.NOT_UNDERSTOOD),
    (403, b"SECRET", FaultKind.DENIED),
    (409, b"{}", FaultKind.CONFLICT),
    (418, b"\xff", FaultKind.NOT_UNDERSTOOD),
    (429, b'{"error": {"status": "RESOURCE_EXHAUSTED"}}', FaultKind.BROKEN),
    (500, b"{}", FaultKind.BROKEN),
    (503, b"SECRET", FaultKind.BROKEN),
]


@pytest.mark.parametrize(("status", "content", "kind"), GARBAGE)
def test_whatever_answers_a_fault_is_told_by_its_kind_after_one_try(
    place: Destination, way: MeddlingOutbound, status: int, content: bytes, kind: FaultKind
) -> None:
    old = place.write(SLOT, OLD, None)
    way.on(HOST, answers(status, content, location="https://elsewhere.example/"))
    way.sent.clear()
    assert fault_of(lambda: place.read(SLOT)) is kind
    assert fault_of(lambda: place.write(SLOT, NEW, old)) is kind
    assert len(way.sent) == 2
    way.behave()
    assert value_of(place) == OLD


@pytest.mark.parametrize(
    ("status", "kind"),
    [(403, FaultKind.DENIED), (429, FaultKind.BROKEN), (500, FaultKind.BROKEN)],
)
@pytest.mark.parametrize("part", [ADD, CREATE])
def test_a_write_that_is_refused_changes_nothing(
    place: Destination,
    way: MeddlingOutbound,
    google: FakeSecretManager,
    part: str,
    status: int,
    kind: FaultKind,
) -> None:
    way.on(part, answers(status, b"{}"))
    assert fault_of(lambda: place.write(SLOT, NEW, None)) is kind
    assert google.secrets == {}


@pytest.mark.parametrize(
    ("outbound", "kind"),
    [
        (OutboundFaultKind.REFUSED, FaultKind.ADDRESS_REFUSED),
        (OutboundFaultKind.UNREACHABLE, FaultKind.UNREACHABLE),
        (OutboundFaultKind.TIMED_OUT, FaultKind.TIMED_OUT),
        (OutboundFaultKind.NOT_UNDERSTOOD, FaultKind.NOT_UNDERSTOOD),
    ],
)
def test_what_cannot_be_sent_is_told_by_its_kind(
    place: Destination, way: MeddlingOutbound, outbound: OutboundFaultKind, kind: FaultKind
) -> None:
    way.on(HOST, fails(outbound))
    assert fault_of(lambda: place.read(SLOT)) is kind
    assert len(way.sent) == 1


def test_all_requests_of_a_call_share_its_ten_seconds(
    way: MeddlingOutbound, google: FakeSecretManager
) -> None:
    clock = FakeClock()
    place = open_gcp(way, google, clock)
    clock.advance(60_000_000)
    way.on(HOST, first(lambda: clock.advance(4_000_000)))
    assert fault_of(lambda: place.write(SLOT, NEW, None)) is FaultKind.TIMED_OUT
    assert [sent.seconds for sent in way.sent] == [10.0, 6.0, 2.0]


def test_nothing_of_the_environment_is_used(
    way: MeddlingOutbound, google: FakeSecretManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", "/nonexistent")
    monkeypatch.setenv("GOOGLE_CLOUD_UNIVERSE_DOMAIN", "evil.example")
    monkeypatch.setenv("GOOGLE_CLOUD_PROJECT", "other")
    monkeypatch.setenv("GOOGLE_API_USE_MTLS_ENDPOINT", "always")
    place = open_gcp(way, google)
    place.write(SLOT, NEW, None)
    assert value_of(place) == NEW
    assert all(f" {HOST}/" in sent.line for sent in way.sent)


def test_nothing_secret_is_logged_at_any_level(
    way: MeddlingOutbound, google: FakeSecretManager, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    place = open_gcp(way, google)
    place.write(SLOT, NEW, None)
    way.on(HOST, answers(403, b"SECRET"))
    assert fault_of(lambda: place.read(SLOT)) is FaultKind.DENIED
    bearers = {sent.headers["authorization"] for sent in way.sent}
    for secret in (NEW, "PRIVATE KEY", "SECRET", *bearers):
        assert secret not in caplog.text


def wrong(google: FakeSecretManager) -> list[tuple[dict[str, object], dict[str, str], str]]:
    good = {"service_account": google.service_account()}
    fine: dict[str, object] = {"project": "acme-prod"}
    return [
        ({}, good, "/config/project"),
        ({"project": "Acme/../x"}, good, "/config/project"),
        ({"project": 7}, good, "/config/project"),
        ({"project": "acme-prod", "name": "keyturn"}, good, "/config/name"),
        ({"project": "acme-prod", "name": "a/{slot}"}, good, "/config/name"),
        ({"project": "acme-prod", "endpoint": "ftp://example.com"}, good, "/config/endpoint"),
        ({"project": "acme-prod", "endpoint": "https://u@example.com"}, good, "/config/endpoint"),
        ({"project": "acme-prod", "endpoint": "https://a.example/x"}, good, "/config/endpoint"),
        ({"project": "acme-prod", "other": "x"}, good, "/config/other"),
        ({"project": "acme-prod", "ca_certificate": "x"}, good, "/config/ca_certificate"),
        ({"project": "acme-prod"}, {}, "/credential/service_account"),
        ({"project": "acme-prod"}, good | {"x": "y"}, "/credential/x"),
        *(
            (fine, {"service_account": text}, "/credential/service_account")
            for text in (
                "no json",
                "[]",
                "[" * 20_000,
                google.service_account(type="authorized_user"),
                google.service_account(universe_domain="evil.example"),
                google.service_account(private_key="-----BEGIN PRIVATE KEY-----"),
                google.service_account(client_email="nobody"),
                google.service_account(private_key_id="a b"),
                google.service_account(token_uri="http://oauth2.googleapis.com/token"),
                google.service_account(token_uri="https://evil.example/token"),
                google.service_account(token_uri="https://googleapis.com.evil.example/"),
                google.service_account(token_uri="https://x@oauth2.googleapis.com/token"),
                google.service_account(token_uri="https://evil.example\\.googleapis.com/"),
                google.service_account(token_uri="https://[x"),
            )
        ),
    ]


def test_a_wrong_configuration_is_told_by_pointer_and_repeats_no_credential(
    made: FakeSecretManager, way: MeddlingOutbound
) -> None:
    kind = GcpKind(way, FakeClock())
    for config, credential, pointer in wrong(made):
        with pytest.raises(ConfigurationFault) as caught:
            kind.check(config, credential)
        assert [at for at, _ in caught.value.faults] == [pointer], config
        assert "evil" not in str(caught.value)
        assert "PRIVATE" not in str(caught.value)
    with pytest.raises(ConfigurationFault) as caught:
        kind.check({"project": "A", "name": "x"}, {})
    assert len(caught.value.faults) == 3


def test_the_configuration_has_one_spelling(made: FakeSecretManager, way: MeddlingOutbound) -> None:
    kind = GcpKind(way, FakeClock())
    checked = kind.check(
        {"project": "acme-prod", "endpoint": "http://127.0.0.1:8085/"},
        {"service_account": made.service_account(token_uri="http://127.0.0.1:8085/token")},
    )
    assert checked == {
        "project": "acme-prod",
        "name": "keyturn-{slot}",
        "endpoint": "http://127.0.0.1:8085",
        "ca_certificate": None,
    }
    assert (kind.name, kind.about) == ("gcp", "Google Secret Manager")
