import json
import logging
from collections.abc import Iterator

import pytest

from keyturn.destinations.azure import AzureKind
from keyturn.destinations.contract import ConfigurationFault, Destination, FaultKind
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
from tests.servers.azure import LOGIN_HOST, VAULT_HOST, FakeKeyVault, Version, version_id

NAME = "scheduler-prod"
CONFIG = {"vault_url": f"https://{VAULT_HOST}"}
PUT, GET = f"PUT {VAULT_HOST}", f"GET {VAULT_HOST}"


@pytest.fixture
def vault() -> FakeKeyVault:
    return FakeKeyVault()


@pytest.fixture
def way(vault: FakeKeyVault) -> Iterator[MeddlingOutbound]:
    with answering(vault.answer) as port:
        yield MeddlingOutbound({VAULT_HOST: port, LOGIN_HOST: port})


@pytest.fixture
def place(way: MeddlingOutbound, vault: FakeKeyVault) -> Iterator[Destination]:
    opened = open_azure(way, vault)
    yield opened
    opened.close()


def credential_of(vault: FakeKeyVault) -> dict[str, str]:
    return {
        "tenant_id": vault.tenant,
        "client_id": vault.client_id,
        "client_secret": vault.client_secret,
    }


def open_azure(
    way: MeddlingOutbound, vault: FakeKeyVault, clock: FakeClock | None = None
) -> Destination:
    return open_one(AzureKind(way, clock or FakeClock()), CONFIG, credential_of(vault))


def test_what_is_written_is_read_back_and_each_write_is_a_version_of_its_own(
    place: Destination, vault: FakeKeyVault
) -> None:
    assert place.read(SLOT) is None
    assert place.write(SLOT, OLD, None) == version_id(1)
    assert place.write(SLOT, NEW, version_id(1)) == version_id(2)
    held = place.read(SLOT)
    assert held is not None
    assert (held.value, held.version) == (NEW, version_id(2))
    assert [version.value for version in vault.secrets[NAME]] == [OLD, NEW]
    assert place.read(OTHER) is None
    assert place.locate(SLOT) == f"https://{VAULT_HOST}/secrets/{NAME}"


def test_a_stale_version_is_a_conflict_and_changes_nothing(place: Destination) -> None:
    place.write(SLOT, OLD, None)
    place.write(SLOT, NEW, version_id(1))
    assert fault_of(lambda: place.write(SLOT, THIRD, version_id(1))) is FaultKind.CONFLICT
    assert fault_of(lambda: place.write(SLOT, THIRD, None)) is FaultKind.CONFLICT
    assert (value_of(place), version_of(place)) == (NEW, version_id(2))


def test_tags_and_content_type_stay(place: Destination, vault: FakeKeyVault) -> None:
    vault.secrets[NAME] = [Version(value=OLD, tags={"team": "payments"}, content_type="text/plain")]
    place.write(SLOT, NEW, version_id(1))
    newest = vault.secrets[NAME][-1]
    assert (newest.tags, newest.content_type) == ({"team": "payments"}, "text/plain")


def test_a_disabled_secret_is_nothing_and_the_next_version_is_enabled(
    place: Destination, vault: FakeKeyVault
) -> None:
    place.write(SLOT, OLD, None)
    vault.secrets[NAME][0].is_enabled = False
    assert place.read(SLOT) is None
    assert fault_of(lambda: place.write(SLOT, NEW, version_id(1))) is FaultKind.CONFLICT
    assert place.write(SLOT, NEW, None) == version_id(2)
    assert value_of(place) == NEW


def test_a_name_that_a_deleted_secret_holds_is_told_with_the_way_out(
    place: Destination, vault: FakeKeyVault
) -> None:
    place.write(SLOT, OLD, None)
    vault.deleted.add(NAME)
    assert place.read(SLOT) is None
    assert fault_of(lambda: place.write(SLOT, NEW, None)) is FaultKind.MISSING
    vault.deleted.clear()
    assert (value_of(place), version_of(place)) == (OLD, version_id(1))


@pytest.mark.parametrize("is_after", [False, True])
def test_after_a_death_at_the_write_the_place_tells_what_it_holds(
    place: Destination, way: MeddlingOutbound, vault: FakeKeyVault, is_after: bool
) -> None:
    place.write(SLOT, OLD, None)
    way.on(PUT, dies_after if is_after else dies_before, times=1)
    with pytest.raises(Killed):
        place.write(SLOT, NEW, version_id(1))
    again = open_azure(way, vault)
    held = again.read(SLOT)
    assert held is not None
    assert held.value == (NEW if is_after else OLD)
    again.write(SLOT, NEW, held.version)
    assert value_of(again) == NEW


def test_an_answer_that_is_lost_is_timed_out_and_the_value_is_there(
    place: Destination, way: MeddlingOutbound
) -> None:
    place.write(SLOT, OLD, None)
    way.on(PUT, loses_the_answer, times=1)
    assert fault_of(lambda: place.write(SLOT, NEW, version_id(1))) is FaultKind.TIMED_OUT
    assert value_of(place) == NEW


def stored(number: int, value: str) -> bytes:
    at = f"https://{VAULT_HOST}/secrets/{NAME}/{version_id(number)}"
    return json.dumps({"value": value, "id": at, "attributes": {"enabled": True}}).encode()


def test_what_is_accepted_and_not_stored_is_no_success(
    place: Destination, way: MeddlingOutbound
) -> None:
    place.write(SLOT, OLD, None)
    way.on(PUT, answers(200, stored(2, NEW), content_type="application/json"))
    assert fault_of(lambda: place.write(SLOT, NEW, version_id(1))) is FaultKind.BROKEN
    assert value_of(place) == OLD


def test_an_old_value_that_is_given_back_is_no_success(
    place: Destination, way: MeddlingOutbound
) -> None:
    place.write(SLOT, OLD, None)
    way.on(PUT, answers(200, stored(1, NEW), content_type="application/json"))
    assert fault_of(lambda: place.write(SLOT, NEW, version_id(1))) is FaultKind.BROKEN


def test_a_client_that_may_only_read_is_denied(place: Destination, vault: FakeKeyVault) -> None:
    place.write(SLOT, OLD, None)
    vault.may_write = False
    assert fault_of(lambda: place.write(SLOT, NEW, version_id(1))) is FaultKind.DENIED
    assert value_of(place) == OLD


def test_a_client_secret_that_ended_is_denied(way: MeddlingOutbound, vault: FakeKeyVault) -> None:
    place = open_azure(way, vault)
    vault.client_secret = "tests-another"
    assert fault_of(lambda: place.read(SLOT)) is FaultKind.DENIED
    assert fault_of(lambda: place.write(SLOT, NEW, None)) is FaultKind.DENIED


def test_a_token_that_the_vault_no_longer_takes_is_replaced_or_denied(
    place: Destination, vault: FakeKeyVault, way: MeddlingOutbound
) -> None:
    place.write(SLOT, OLD, None)
    vault.token = "tests-access-token-2"
    assert fault_of(lambda: place.read(SLOT)) is FaultKind.DENIED
    assert value_of(open_azure(way, vault)) == OLD


def test_a_vault_cannot_say_where_the_client_secret_is_sent(
    way: MeddlingOutbound, vault: FakeKeyVault
) -> None:
    challenge = (
        'Bearer authorization="https://evil.example/99999999-2222-4333-8444-555555555555",'
        ' resource="https://vault.azure.net"'
    )
    way.on(GET, answers(401, b"{}", WWW_Authenticate=challenge))
    place = open_azure(way, vault)
    assert fault_of(lambda: place.read(SLOT)) is FaultKind.DENIED
    told = [sent.line for sent in way.sent if vault.client_secret.encode() in sent.content]
    assert set(told) == {f"POST {LOGIN_HOST}/{vault.tenant}/oauth2/v2.0/token "}
    assert all("evil" not in sent.line for sent in way.sent)
    way.behave()
    assert place.write(SLOT, NEW, None) == version_id(1)


def test_a_vault_that_asks_for_a_token_of_another_service_gets_none(
    way: MeddlingOutbound, vault: FakeKeyVault
) -> None:
    challenge = (
        f'Bearer authorization="https://{LOGIN_HOST}/{vault.tenant}",'
        ' resource="https://management.azure.com"'
    )
    way.on(GET, answers(401, b"{}", WWW_Authenticate=challenge))
    assert fault_of(lambda: open_azure(way, vault).read(SLOT)) is FaultKind.NOT_UNDERSTOOD
    assert all(b"management" not in sent.content for sent in way.sent)


GARBAGE = [
    (200, b"<html>SECRET</html>", FaultKind.NOT_UNDERSTOOD),
    (200, b"", FaultKind.NOT_UNDERSTOOD),
    (200, b"{}", FaultKind.NOT_UNDERSTOOD),
    (200, b"[1]", FaultKind.NOT_UNDERSTOOD),
    (200, b'{"value": 7, "id": "x"}', FaultKind.NOT_UNDERSTOOD),
    (200, b'{"id": "https://acme.vault.azure.net/secrets/x/1"}', FaultKind.NOT_UNDERSTOOD),
    (302, b"", FaultKind.NOT_UNDERSTOOD),
    (400, b"SECRET", FaultKind.NOT_UNDERSTOOD),
    (403, b"SECRET", FaultKind.DENIED),
    (404, b"SECRET", FaultKind.NOT_UNDERSTOOD),
    (409, b"{}", FaultKind.CONFLICT),
    (418, b"\xff", FaultKind.NOT_UNDERSTOOD),
    (429, b"{}", FaultKind.BROKEN),
    (500, b"{}", FaultKind.BROKEN),
    (503, b"SECRET", FaultKind.BROKEN),
]


@pytest.mark.parametrize(("status", "content", "kind"), GARBAGE)
def test_whatever_answers_a_fault_is_told_by_its_kind_after_one_try(
    place: Destination, way: MeddlingOutbound, status: int, content: bytes, kind: FaultKind
) -> None:
    place.write(SLOT, OLD, None)
    way.on(
        VAULT_HOST,
        answers(status, content, location="https://elsewhere.example/", Retry_After="1"),
    )
    way.sent.clear()
    assert fault_of(lambda: place.read(SLOT)) is kind
    assert fault_of(lambda: place.write(SLOT, NEW, version_id(1))) is kind
    assert len(way.sent) == 2
    way.behave()
    assert value_of(place) == OLD


@pytest.mark.parametrize(
    ("status", "content", "kind"),
    [
        (200, b"<html>SECRET</html>", FaultKind.NOT_UNDERSTOOD),
        (200, b"[]", FaultKind.NOT_UNDERSTOOD),
        (302, b"", FaultKind.NOT_UNDERSTOOD),
        (429, b"{}", FaultKind.BROKEN),
        (500, b"SECRET", FaultKind.BROKEN),
        (503, b'{"error": "temporarily_unavailable"}', FaultKind.BROKEN),
    ],
)
@pytest.mark.parametrize("part", [f"GET {LOGIN_HOST}", f"POST {LOGIN_HOST}"])
def test_a_login_that_fails_is_told_by_its_kind(
    way: MeddlingOutbound,
    vault: FakeKeyVault,
    part: str,
    status: int,
    content: bytes,
    kind: FaultKind,
) -> None:
    way.on(part, answers(status, content, content_type="application/json"))
    assert fault_of(lambda: open_azure(way, vault).read(SLOT)) is kind


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, FaultKind.NOT_UNDERSTOOD),
        (403, FaultKind.DENIED),
        (409, FaultKind.CONFLICT),
        (429, FaultKind.BROKEN),
        (500, FaultKind.BROKEN),
    ],
)
def test_a_write_that_is_refused_changes_nothing(
    place: Destination, way: MeddlingOutbound, status: int, kind: FaultKind
) -> None:
    old = place.write(SLOT, OLD, None)
    way.on(PUT, answers(status, b"{}"))
    assert fault_of(lambda: place.write(SLOT, NEW, old)) is kind
    assert (value_of(place), version_of(place)) == (OLD, old)


@pytest.mark.parametrize(
    ("outbound", "kind"),
    [
        (OutboundFaultKind.REFUSED, FaultKind.ADDRESS_REFUSED),
        (OutboundFaultKind.UNREACHABLE, FaultKind.UNREACHABLE),
        (OutboundFaultKind.TIMED_OUT, FaultKind.TIMED_OUT),
        (OutboundFaultKind.NOT_UNDERSTOOD, FaultKind.NOT_UNDERSTOOD),
    ],
)
@pytest.mark.parametrize("host", [VAULT_HOST, LOGIN_HOST])
def test_what_cannot_be_sent_is_told_by_its_kind(
    way: MeddlingOutbound,
    vault: FakeKeyVault,
    host: str,
    outbound: OutboundFaultKind,
    kind: FaultKind,
) -> None:
    way.on(host, fails(outbound))
    assert fault_of(lambda: open_azure(way, vault).read(SLOT)) is kind


def test_all_requests_of_a_call_share_its_ten_seconds(
    way: MeddlingOutbound, vault: FakeKeyVault
) -> None:
    clock = FakeClock()
    place = open_azure(way, vault, clock)
    assert place.read(SLOT) is None
    clock.advance(60_000_000)
    way.sent.clear()
    way.on(VAULT_HOST, first(lambda: clock.advance(5_500_000)))
    assert fault_of(lambda: place.write(SLOT, NEW, None)) is FaultKind.TIMED_OUT
    assert [sent.seconds for sent in way.sent] == [10.0, 4.5]


def test_nothing_of_the_environment_is_used(
    way: MeddlingOutbound, vault: FakeKeyVault, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    monkeypatch.setenv("AZURE_CLIENT_ID", "other")
    monkeypatch.setenv("AZURE_TENANT_ID", "other")
    monkeypatch.setenv("AZURE_AUTHORITY_HOST", "evil.example")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/nonexistent")
    monkeypatch.setenv("AZURE_REGIONAL_AUTHORITY_NAME", "tryautodetect")
    place = open_azure(way, vault)
    assert place.write(SLOT, NEW, None) == version_id(1)
    hosts = {sent.line.split()[1].partition("/")[0] for sent in way.sent}
    assert hosts == {VAULT_HOST, LOGIN_HOST}


def test_nothing_secret_is_logged_at_any_level(
    way: MeddlingOutbound, vault: FakeKeyVault, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    place = open_azure(way, vault)
    place.write(SLOT, NEW, None)
    refused = open_azure(way, vault)
    vault.client_secret = "tests-another"
    assert fault_of(lambda: refused.read(SLOT)) is FaultKind.DENIED
    for secret in (NEW, vault.token, "tests-client-secret-1", "SECRET"):
        assert secret not in caplog.text


GOOD = credential_of(FakeKeyVault())
WRONG = [
    ({}, GOOD, "/config/vault_url"),
    ({"vault_url": "http://127.0.0.1:8080"}, GOOD, "/config/vault_url"),
    ({"vault_url": "https://acme.vault.azure.net/secrets"}, GOOD, "/config/vault_url"),
    ({"vault_url": "https://acme.vault.azure.net?x=1"}, GOOD, "/config/vault_url"),
    ({"vault_url": "https://acme.vault.azure.net\\@x.example"}, GOOD, "/config/vault_url"),
    ({"vault_url": 7}, GOOD, "/config/vault_url"),
    (CONFIG | {"authority": "http://localhost"}, GOOD, "/config/authority"),
    (CONFIG | {"name": "keyturn/{slot}"}, GOOD, "/config/name"),
    (CONFIG | {"name": "keyturn"}, GOOD, "/config/name"),
    (CONFIG | {"name": "a" * 60 + "{slot}"}, GOOD, "/config/name"),
    (CONFIG | {"what": "x"}, GOOD, "/config/what"),
    (CONFIG, GOOD | {"tenant_id": "contoso/evil"}, "/credential/tenant_id"),
    (CONFIG, GOOD | {"client_id": "x"}, "/credential/client_id"),
    (CONFIG, GOOD | {"client_secret": "evil secret"}, "/credential/client_secret"),
    (CONFIG, GOOD | {"password": "evil"}, "/credential/password"),
]


@pytest.mark.parametrize(("config", "credential", "pointer"), WRONG)
def test_a_wrong_configuration_is_told_by_pointer_and_repeats_no_credential(
    way: MeddlingOutbound, config: dict[str, object], credential: dict[str, str], pointer: str
) -> None:
    with pytest.raises(ConfigurationFault) as caught:
        AzureKind(way, FakeClock()).check(config, credential)
    assert [at for at, _ in caught.value.faults] == [pointer]
    assert "evil" not in str(caught.value)


def test_every_fault_of_a_configuration_is_told_at_once(way: MeddlingOutbound) -> None:
    with pytest.raises(ConfigurationFault) as caught:
        AzureKind(way, FakeClock()).check({}, {})
    assert [at for at, _ in caught.value.faults] == [
        "/config/vault_url",
        "/credential/tenant_id",
        "/credential/client_id",
        "/credential/client_secret",
    ]
