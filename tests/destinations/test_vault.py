"""Vault's key-value engine, on a real OpenBao."""

import itertools
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from keyturn.destinations.contract import (
    ConfigurationFault,
    Destination,
    DestinationFault,
    FaultKind,
)
from keyturn.destinations.vault import VaultKind
from keyturn.domain.slot import SlotName
from keyturn.testing.destinations import DestinationContract
from keyturn.testing.destinations.behind import FIRST_VALUE, ONE, SECOND_VALUE, THIRD_VALUE
from keyturn.testing.destinations.failing import assert_silent
from tests.destinations.lying import SAID, Lie, LyingServer
from tests.destinations.opening import CLOCK, closed_port, open_kind, way_out
from tests.destinations.rest import LieContract, Swaps
from tests.servers.authority import found_authority
from tests.servers.openbao import OpenBao, obtain_openbao
from tests.servers.raw import RawServer, http, respond

_numbers = itertools.count(1)
KIND = VaultKind(way_out(), CLOCK)
QUICK = VaultKind(way_out(), CLOCK, seconds=0.6)


class BehindVault:
    def __init__(self, server: OpenBao, mount: str, namespace: str = "") -> None:
        self.server = server
        self.mount = mount
        self._namespace = namespace

    def value(self, slot: SlotName) -> str | None:
        value = self.fields(slot).get("api_key")
        return None if value is None else str(value)

    def put(self, slot: SlotName, value: str) -> None:
        self._write(slot, {**self.fields(slot), "api_key": value})

    def remove(self, slot: SlotName) -> None:
        self._ask("DELETE", f"data/keyturn/{slot}")

    def beside(self, slot: SlotName) -> Mapping[str, str] | None:
        return {name: str(v) for name, v in self.fields(slot).items() if name != "api_key"}

    def put_beside(self, slot: SlotName, name: str, text: str) -> None:
        self._write(slot, {**self.fields(slot), name: text})

    def fields(self, slot: SlotName) -> Mapping[str, object]:
        data = self._ask("GET", f"data/keyturn/{slot}").get("data")
        fields = data.get("data") if isinstance(data, dict) else None
        return fields if isinstance(fields, dict) else {}

    def _write(self, slot: SlotName, fields: Mapping[str, object]) -> None:
        self._ask("POST", f"data/keyturn/{slot}", {"data": fields})

    def _ask(
        self, method: str, path: str, body: Mapping[str, object] | None = None
    ) -> dict[str, object]:
        return self.server.ask(method, f"{self.mount}/{path}", body, namespace=self._namespace)


@pytest.fixture(scope="module")
def openbao(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OpenBao]:
    yield from obtain_openbao(tmp_path_factory.mktemp("openbao"))


@pytest.fixture
def behind(openbao: OpenBao) -> BehindVault:
    mount = f"kv{next(_numbers)}"
    openbao.mount(mount)
    return BehindVault(openbao, mount)


@pytest.fixture
def token(openbao: OpenBao, behind: BehindVault) -> str:
    """What the docs say that a destination needs, and nothing else."""
    rules = (
        f'path "{behind.mount}/data/keyturn/*" {{ capabilities = ["read", "create", "update"] }}'
    )
    return openbao.token(behind.mount, rules)


@pytest.fixture
def hidden(token: str) -> tuple[str, ...]:
    return (token, SAID)


def at(port: int, behind: BehindVault, **more: object) -> dict[str, object]:
    return {"address": f"http://127.0.0.1:{port}", "mount": behind.mount, **more}


@pytest.fixture
def destination(openbao: OpenBao, behind: BehindVault, token: str) -> Destination:
    return open_kind(KIND, at(openbao.port, behind), {"token": token})


@pytest.fixture
def another(openbao: OpenBao, behind: BehindVault, token: str) -> Destination:
    return open_kind(KIND, at(openbao.port, behind), {"token": token})


@pytest.fixture
def lying(openbao: OpenBao) -> Iterator[LyingServer]:
    with LyingServer(openbao.port) as server:
        yield server


@pytest.fixture
def lied_to(lying: LyingServer, behind: BehindVault, token: str) -> Destination:
    return open_kind(QUICK, at(lying.port, behind), {"token": token})


class TestVault(DestinationContract, LieContract):
    @pytest.fixture
    def broken(
        self, openbao: OpenBao, lying: LyingServer, behind: BehindVault, token: str
    ) -> Mapping[FaultKind, Destination]:
        lying.lie = Lie.SILENT
        here, given = at(openbao.port, behind), {"token": token}
        nowhere = VaultKind(way_out("10.0.0.0/8"), CLOCK)
        root = {"token": openbao.root_token}
        return {
            FaultKind.UNREACHABLE: open_kind(KIND, at(closed_port(), behind), given),
            FaultKind.TIMED_OUT: open_kind(QUICK, at(lying.port, behind), given),
            FaultKind.ADDRESS_REFUSED: open_kind(nowhere, here, given),
            FaultKind.DENIED: open_kind(KIND, here, {"token": "no-token-of-this-server"}),
            FaultKind.MISSING: open_kind(KIND, {**here, "mount": "nothing-here"}, root),
            FaultKind.NOT_UNDERSTOOD: open_kind(
                KIND, {**here, "address": f"{openbao.address}/ui"}, given
            ),
        }

    @pytest.fixture
    def swaps(self) -> Swaps:
        return {
            Lie.STORES_ELSEWHERE: (b"/scheduler-prod", b"/scheduler-elsw"),
            Lie.STORES_ANOTHER: (FIRST_VALUE.encode(), FIRST_VALUE[::-1].encode()),
        }


def test_a_destroyed_version_reads_as_nothing_and_the_next_write_counts_on(
    destination: Destination, behind: BehindVault
) -> None:
    destination.write(ONE, FIRST_VALUE, None)
    behind.server.ask("PUT", f"{behind.mount}/destroy/keyturn/{ONE}", {"versions": [1]})
    assert destination.read(ONE) is None
    assert destination.write(ONE, SECOND_VALUE, None).startswith("2@")


def test_a_secret_that_was_taken_away_whole_gives_no_old_version_again(
    destination: Destination, behind: BehindVault
) -> None:
    old = destination.write(ONE, FIRST_VALUE, None)
    behind.server.ask("DELETE", f"{behind.mount}/metadata/keyturn/{ONE}")
    assert destination.read(ONE) is None
    new = destination.write(ONE, SECOND_VALUE, None)
    assert new.startswith("1@")
    with pytest.raises(DestinationFault) as caught:
        destination.write(ONE, THIRD_VALUE, old)
    assert caught.value.kind is FaultKind.CONFLICT


def test_fields_that_are_no_texts_stay_as_they_are(
    destination: Destination, behind: BehindVault
) -> None:
    fields = {"ttl": 2**53 - 1, "on": True, "list": [1, {"a": None}], "none": None}
    behind.server.ask("POST", f"{behind.mount}/data/keyturn/{ONE}", {"data": fields})
    destination.write(ONE, FIRST_VALUE, None)
    assert behind.fields(ONE) == {**fields, "api_key": FIRST_VALUE}


def test_a_field_that_is_no_text_is_not_understood(
    destination: Destination, behind: BehindVault
) -> None:
    behind.server.ask("POST", f"{behind.mount}/data/keyturn/{ONE}", {"data": {"api_key": 5}})
    with pytest.raises(DestinationFault) as caught:
        destination.read(ONE)
    assert caught.value.kind is FaultKind.NOT_UNDERSTOOD


def test_an_engine_of_version_1_is_not_taken_for_one_of_version_2(openbao: OpenBao) -> None:
    mount = f"old{next(_numbers)}"
    openbao.mount(mount, version="1")
    config = {"address": openbao.address, "mount": mount}
    old = open_kind(KIND, config, {"token": openbao.root_token})
    with pytest.raises(DestinationFault) as caught:
        old.write(ONE, FIRST_VALUE, None)
    assert caught.value.kind is FaultKind.NOT_UNDERSTOOD


def test_an_engine_that_is_being_made_ready_has_failed_for_now(
    behind: BehindVault, token: str
) -> None:
    """As the real one answers for a moment after it was mounted; what is broken is tried again."""
    words = b'{"errors": ["Upgrading from non-versioned to versioned. words-of-the-other-side"]}'
    with RawServer(respond(http(400, words))) as server:
        early = open_kind(KIND, at(server.port, behind), {"token": token})
        with pytest.raises(DestinationFault) as caught:
            early.read(ONE)
    assert caught.value.kind is FaultKind.BROKEN
    assert_silent(caught.value, (SAID, token))


def test_a_policy_that_does_not_reach_that_far_is_said(
    openbao: OpenBao, behind: BehindVault
) -> None:
    rules = f'path "{behind.mount}/data/keyturn/*" {{ capabilities = ["read"] }}'
    reader = openbao.token(f"read-{behind.mount}", rules)
    destination = open_kind(KIND, at(openbao.port, behind), {"token": reader})
    assert destination.read(ONE) is None
    with pytest.raises(DestinationFault) as caught:
        destination.write(ONE, FIRST_VALUE, None)
    assert caught.value.kind is FaultKind.DENIED
    other = open_kind(KIND, at(openbao.port, behind, path="else/{slot}"), {"token": reader})
    with pytest.raises(DestinationFault) as caught:
        other.read(ONE)
    assert caught.value.kind is FaultKind.DENIED


def test_a_token_that_is_revoked_while_a_destination_is_open_is_denied(
    openbao: OpenBao, destination: Destination, token: str
) -> None:
    assert destination.read(ONE) is None
    openbao.ask("POST", "auth/token/revoke", {"token": token})
    with pytest.raises(DestinationFault) as caught:
        destination.read(ONE)
    assert caught.value.kind is FaultKind.DENIED


def test_another_field_and_path_and_a_namespace(openbao: OpenBao) -> None:
    namespace = f"team{next(_numbers)}"
    openbao.ask("POST", f"sys/namespaces/{namespace}", {})
    openbao.mount("kv", namespace=namespace)
    config = {
        "address": f"{openbao.address}/",
        "mount": "kv",
        "namespace": namespace,
        "path": "{environment}/{service}",
        "field": "token",
    }
    credential = {"token": openbao.root_token}
    destination = open_kind(KIND, config, credential)
    assert destination.locate(ONE) == "kv/prod/scheduler#token"
    version = destination.write(ONE, FIRST_VALUE, None)
    stored = openbao.ask("GET", "kv/data/prod/scheduler", namespace=namespace)["data"]
    assert isinstance(stored, dict)
    assert stored["data"] == {"token": FIRST_VALUE}
    destination.write(ONE, SECOND_VALUE, version)
    outside = open_kind(KIND, {**config, "namespace": "no-such"}, credential)
    with pytest.raises(DestinationFault) as caught:
        outside.read(ONE)
    assert caught.value.kind in (FaultKind.MISSING, FaultKind.DENIED)


def test_tls_with_an_authority_of_ones_own(
    openbao: OpenBao, behind: BehindVault, token: str, tmp_path: Path
) -> None:
    authority = found_authority()
    with LyingServer(openbao.port, authority.context(tmp_path, "127.0.0.1")) as server:
        config = {"address": f"https://127.0.0.1:{server.port}", "mount": behind.mount}
        safe = open_kind(KIND, {**config, "ca_certificate": authority.pem}, {"token": token})
        version = safe.write(ONE, FIRST_VALUE, None)
        assert safe.read(ONE) is not None
        assert safe.write(ONE, SECOND_VALUE, version)
        with pytest.raises(DestinationFault) as caught:
            open_kind(KIND, config, {"token": token}).read(ONE)
    assert caught.value.kind is FaultKind.UNREACHABLE


# --- roles ---------------------------------------------------------------------------------------


@pytest.fixture
def role(openbao: OpenBao, behind: BehindVault, token: str) -> dict[str, str]:
    """A role with the same policy as the token."""
    if "approle/" not in openbao.ask("GET", "sys/auth"):
        openbao.ask("POST", "sys/auth/approle", {"type": "approle"})
    path = f"auth/approle/role/{behind.mount}"
    openbao.ask("POST", path, {"token_policies": [behind.mount], "token_no_default_policy": True})
    role_id = openbao.ask("GET", f"{path}/role-id")["data"]
    secret_id = openbao.ask("POST", f"{path}/secret-id", {})["data"]
    assert isinstance(role_id, dict)
    assert isinstance(secret_id, dict)
    return {"role_id": role_id["role_id"], "secret_id": secret_id["secret_id"]}


def test_a_role_logs_in_and_writes(
    openbao: OpenBao, behind: BehindVault, role: dict[str, str]
) -> None:
    destination = open_kind(KIND, at(openbao.port, behind), role)
    version = destination.write(ONE, FIRST_VALUE, None)
    destination.write(ONE, SECOND_VALUE, version)
    assert behind.value(ONE) == SECOND_VALUE
    destination.close()


def test_a_role_whose_token_has_run_out_logs_in_once_more(
    openbao: OpenBao, behind: BehindVault, role: dict[str, str]
) -> None:
    destination = open_kind(KIND, at(openbao.port, behind), role)
    version = destination.write(ONE, FIRST_VALUE, None)
    accessors = openbao.ask("LIST", "auth/token/accessors")["data"]
    assert isinstance(accessors, dict)
    for accessor in accessors["keys"]:
        found = openbao.ask("POST", "auth/token/lookup-accessor", {"accessor": accessor})["data"]
        if isinstance(found, dict) and (found["meta"] or {}).get("role_name") == behind.mount:
            openbao.ask("POST", "auth/token/revoke-accessor", {"accessor": accessor})
    destination.write(ONE, SECOND_VALUE, version)
    assert behind.value(ONE) == SECOND_VALUE


def test_a_role_that_is_not_known_is_denied_and_its_secret_not_shown(
    openbao: OpenBao, behind: BehindVault, role: dict[str, str]
) -> None:
    for credential in (
        {**role, "secret_id": "no-secret-of-this-role"},
        {**role, "role_id": "no-role-of-this-server"},
    ):
        destination = open_kind(KIND, at(openbao.port, behind), credential)
        with pytest.raises(DestinationFault) as caught:
            destination.read(ONE)
        assert caught.value.kind is FaultKind.DENIED
        for text in (*credential.values(),):
            assert text not in caught.value.detail
    nowhere = open_kind(KIND, at(openbao.port, behind, approle_mount="no-such"), role)
    with pytest.raises(DestinationFault) as caught:
        nowhere.read(ONE)
    assert caught.value.kind is FaultKind.DENIED


# --- what is configured --------------------------------------------------------------------------


def test_a_configuration_is_completed_and_comes_back_as_it_is() -> None:
    credential = {"token": "t"}
    checked = KIND.check({"address": "https://vault.example:8200/"}, credential)
    assert checked == {
        "address": "https://vault.example:8200",
        "mount": "secret",
        "path": "keyturn/{slot}",
        "field": "api_key",
        "namespace": None,
        "approle_mount": "approle",
        "ca_certificate": None,
    }
    assert KIND.check(checked, credential) == checked


@pytest.mark.parametrize(
    ("config", "pointer"),
    [
        ({}, "/config/address"),
        ({"address": "ftp://x"}, "/config/address"),
        ({"address": "https://u:p@x"}, "/config/address"),
        ({"address": "https://x/../y"}, "/config/address"),
        ({"address": "https://x?y"}, "/config/address"),
        ({"address": 5}, "/config/address"),
        ({"mount": "../sys"}, "/config/mount"),
        ({"mount": ""}, "/config/mount"),
        ({"path": "keyturn"}, "/config/path"),
        ({"path": "/{slot}"}, "/config/path"),
        ({"path": "{slot}/"}, "/config/path"),
        ({"path": "a//{slot}"}, "/config/path"),
        ({"path": "../{slot}"}, "/config/path"),
        ({"path": "a/./{slot}"}, "/config/path"),
        ({"path": "{slot}?x"}, "/config/path"),
        ({"path": "{slot}#x"}, "/config/path"),
        ({"path": "%2e%2e/{slot}"}, "/config/path"),
        ({"path": "{slot}/{other}"}, "/config/path"),
        ({"field": "a b"}, "/config/field"),
        ({"namespace": "a b"}, "/config/namespace"),
        ({"ca_certificate": "none"}, "/config/ca_certificate"),
        ({"other": "x"}, "/config/other"),
    ],
)
def test_a_configuration_that_is_wrong_is_told_by_pointer(
    config: dict[str, object], pointer: str
) -> None:
    base = {} if pointer == "/config/address" else {"address": "https://vault.example"}
    with pytest.raises(ConfigurationFault) as caught:
        KIND.check({**base, **config}, {"token": "t"})
    assert [fault[0] for fault in caught.value.faults] == [pointer]


@pytest.mark.parametrize(
    "credential",
    [
        {},
        {"role_id": "hush"},
        {"secret_id": "hush"},
        {"token": "hush", "role_id": "hush", "secret_id": "hush"},
        {"token": "hush", "secret_id": "hush"},
        {"token": "hush hush"},
        {"token": "hush\r\nX: y"},
        {"token": "t", "password": "hush"},
    ],
)
def test_a_credential_that_is_wrong_is_told_and_not_shown(credential: dict[str, str]) -> None:
    with pytest.raises(ConfigurationFault) as caught:
        KIND.check({"address": "https://vault.example"}, credential)
    assert "hush" not in str(caught.value)
    assert all(pointer.startswith("/credential") for pointer, _ in caught.value.faults)
