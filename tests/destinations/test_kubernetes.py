"""Secrets of Kubernetes, on a small API server that keeps its rules of resource versions."""

import base64
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from keyturn.destinations.contract import (
    ConfigurationFault,
    Destination,
    DestinationFault,
    FaultKind,
)
from keyturn.destinations.kubernetes import KubernetesKind
from keyturn.domain.slot import SlotName
from keyturn.testing.destinations import DestinationContract
from keyturn.testing.destinations.behind import FIRST_VALUE, ONE, SECOND_VALUE
from tests.destinations.lying import SAID, Lie, LyingServer
from tests.destinations.opening import CLOCK, closed_port, open_kind, way_out
from tests.destinations.rest import LieContract, Swaps
from tests.servers.authority import found_authority
from tests.servers.kubernetes import ALL_VERBS, Cluster, run_cluster

TOKEN = {"token": "account-token-of-a-test"}
KIND = KubernetesKind(way_out(), CLOCK)
QUICK = KubernetesKind(way_out(), CLOCK, seconds=0.6)


def encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


class BehindKubernetes:
    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster

    def value(self, slot: SlotName) -> str | None:
        return self._data(slot).get("api_key")

    def put(self, slot: SlotName, value: str) -> None:
        self.put_beside(slot, "api_key", value)

    def remove(self, slot: SlotName) -> None:
        del self.cluster.objects["default", str(slot)]

    def beside(self, slot: SlotName) -> Mapping[str, str] | None:
        return {name: text for name, text in self._data(slot).items() if name != "api_key"}

    def put_beside(self, slot: SlotName, name: str, text: str) -> None:
        found = self.cluster.objects.get(("default", str(slot)), {})
        data = found.get("data")
        whole = {**(data if isinstance(data, dict) else {}), name: encoded(text)}
        self.cluster.store("default", str(slot), {**found, "data": whole})

    def _data(self, slot: SlotName) -> Mapping[str, str]:
        data = self.cluster.objects.get(("default", str(slot)), {}).get("data")
        members = data if isinstance(data, dict) else {}
        return {name: base64.b64decode(value).decode() for name, value in members.items()}


@pytest.fixture
def cluster() -> Cluster:
    return Cluster(tokens={TOKEN["token"]: ALL_VERBS})


@pytest.fixture
def port(cluster: Cluster) -> Iterator[int]:
    with run_cluster(cluster) as port:
        yield port


def at(port: int, **more: object) -> dict[str, object]:
    return {"address": f"http://127.0.0.1:{port}", "namespace": "default", **more}


@pytest.fixture
def behind(cluster: Cluster) -> BehindKubernetes:
    return BehindKubernetes(cluster)


@pytest.fixture
def destination(port: int) -> Destination:
    return open_kind(KIND, at(port), TOKEN)


@pytest.fixture
def another(port: int) -> Destination:
    return open_kind(KIND, at(port), TOKEN)


@pytest.fixture
def lying(port: int) -> Iterator[LyingServer]:
    with LyingServer(port) as server:
        yield server


@pytest.fixture
def lied_to(lying: LyingServer) -> Destination:
    return open_kind(QUICK, at(lying.port), TOKEN)


@pytest.fixture
def hidden() -> tuple[str, ...]:
    return (TOKEN["token"], SAID, encoded(FIRST_VALUE))


class TestKubernetes(DestinationContract, LieContract):
    @pytest.fixture
    def broken(self, port: int, lying: LyingServer) -> Mapping[FaultKind, Destination]:
        lying.lie = Lie.SILENT
        nowhere = KubernetesKind(way_out("10.0.0.0/8"), CLOCK)
        return {
            FaultKind.UNREACHABLE: open_kind(KIND, at(closed_port()), TOKEN),
            FaultKind.TIMED_OUT: open_kind(QUICK, at(lying.port), TOKEN),
            FaultKind.ADDRESS_REFUSED: open_kind(nowhere, at(port), TOKEN),
            FaultKind.DENIED: open_kind(KIND, at(port), {"token": "of-nobody"}),
        }

    @pytest.fixture
    def swaps(self) -> Swaps:
        return {
            Lie.STORES_ELSEWHERE: (b"scheduler-prod", b"scheduler-elsw"),
            Lie.STORES_ANOTHER: (
                encoded(FIRST_VALUE).encode(),
                encoded(FIRST_VALUE[::-1]).encode(),
            ),
        }


def fault_of_write(destination: Destination, expected: str | None = None) -> FaultKind:
    with pytest.raises(DestinationFault) as caught:
        destination.write(ONE, SECOND_VALUE, expected)
    return caught.value.kind


def test_labels_annotations_and_the_type_stay(destination: Destination, cluster: Cluster) -> None:
    metadata: dict[str, object] = {
        "labels": {"team": "one"},
        "annotations": {"note": "kept"},
        "ownerReferences": [{"kind": "ExternalThing", "uid": "1"}],
    }
    cluster.store("default", str(ONE), {"metadata": metadata, "type": "example.com/kind"})
    destination.write(ONE, FIRST_VALUE, None)
    found = cluster.objects["default", str(ONE)]
    kept = found["metadata"]
    assert isinstance(kept, dict)
    assert {name: kept[name] for name in metadata} == metadata
    assert found["type"] == "example.com/kind"


def test_a_secret_that_we_make_says_who_manages_it(
    destination: Destination, cluster: Cluster
) -> None:
    destination.write(ONE, FIRST_VALUE, None)
    found = cluster.objects["default", str(ONE)]
    assert found["type"] == "Opaque"
    assert "keyturn" in str(found["metadata"])
    assert destination.locate(ONE) == f"default/{ONE}#api_key"


def test_an_immutable_secret_is_read_and_its_write_says_why_not(
    destination: Destination, behind: BehindKubernetes
) -> None:
    behind.put(ONE, FIRST_VALUE)
    found = behind.cluster.objects["default", str(ONE)]
    behind.cluster.store("default", str(ONE), {**found, "immutable": True})
    held = destination.read(ONE)
    assert held is not None
    with pytest.raises(DestinationFault, match="immutable") as caught:
        destination.write(ONE, SECOND_VALUE, held.version)
    assert caught.value.kind is FaultKind.DENIED
    assert behind.value(ONE) == FIRST_VALUE


def test_a_change_of_anything_in_the_object_is_a_conflict(
    destination: Destination, behind: BehindKubernetes
) -> None:
    version = destination.write(ONE, FIRST_VALUE, None)
    behind.put_beside(ONE, "note", "new")
    assert fault_of_write(destination, version) is FaultKind.CONFLICT


def test_a_secret_that_is_taken_away_under_a_write_is_a_conflict(
    lying: LyingServer, lied_to: Destination, behind: BehindKubernetes
) -> None:
    version = lied_to.write(ONE, FIRST_VALUE, None)
    lying.lie, lying.happens = Lie.SOMEBODY_FIRST, lambda: behind.remove(ONE)
    assert fault_of_write(lied_to, version) is FaultKind.CONFLICT
    assert behind.value(ONE) is None


def test_a_namespace_that_is_not_there_is_missing(port: int) -> None:
    nowhere = open_kind(KIND, at(port, namespace="nowhere"), TOKEN)
    assert nowhere.read(ONE) is None
    assert fault_of_write(nowhere) is FaultKind.MISSING


@pytest.mark.parametrize("lacking", ["get", "create", "patch"])
def test_an_account_that_lacks_a_verb_is_denied(
    lacking: str, destination: Destination, cluster: Cluster, behind: BehindKubernetes
) -> None:
    if lacking == "patch":
        behind.put_beside(ONE, "note", "there")
    cluster.tokens[TOKEN["token"]] = ALL_VERBS - {lacking}
    assert fault_of_write(destination) is FaultKind.DENIED
    assert behind.value(ONE) is None


@pytest.mark.parametrize("stored", ["not base64!", "/w==", 5, ["x"]])
def test_a_field_that_is_no_text_is_not_understood(
    stored: object, destination: Destination, cluster: Cluster
) -> None:
    cluster.store("default", str(ONE), {"data": {"api_key": stored}})
    with pytest.raises(DestinationFault) as caught:
        destination.read(ONE)
    assert caught.value.kind is FaultKind.NOT_UNDERSTOOD


def test_tls_with_the_authority_of_the_cluster(
    port: int, behind: BehindKubernetes, tmp_path: Path
) -> None:
    authority = found_authority()
    with LyingServer(port, authority.context(tmp_path, "127.0.0.1")) as server:
        config = {
            "address": f"https://127.0.0.1:{server.port}",
            "namespace": "default",
            "name": "{service}.{environment}",
            "field": "token",
            "ca_certificate": authority.pem,
        }
        open_kind(KIND, config, TOKEN).write(ONE, FIRST_VALUE, None)
    assert ("default", "scheduler.prod") in behind.cluster.objects


def test_a_configuration_is_completed_and_comes_back_as_it_is() -> None:
    config = {"address": "https://k8s.example:6443", "namespace": "team-a"}
    checked = KIND.check(config, TOKEN)
    assert checked == {
        **config,
        "name": "{slot}",
        "field": "api_key",
        "ca_certificate": None,
    }
    assert KIND.check(checked, TOKEN) == checked


@pytest.mark.parametrize(
    ("config", "pointer"),
    [
        ({"namespace": None}, "/config/namespace"),
        ({"namespace": "../kube-system"}, "/config/namespace"),
        ({"namespace": "kube-system/secrets/x?"}, "/config/namespace"),
        ({"name": "same-for-all"}, "/config/name"),
        ({"name": "{slot}-"}, "/config/name"),
        ({"name": ".{slot}"}, "/config/name"),
        ({"name": "a..{slot}"}, "/config/name"),
        ({"name": "A{slot}"}, "/config/name"),
        ({"name": "a/{slot}"}, "/config/name"),
        ({"field": ".."}, "/config/field"),
        ({"field": "a/b"}, "/config/field"),
        ({"address": "k8s.example"}, "/config/address"),
    ],
)
def test_a_configuration_that_is_wrong_is_told_by_pointer(
    config: dict[str, object], pointer: str
) -> None:
    with pytest.raises(ConfigurationFault) as caught:
        KIND.check({"address": "https://k8s.example", "namespace": "a", **config}, TOKEN)
    assert [fault[0] for fault in caught.value.faults] == [pointer]


@pytest.mark.parametrize("token", [None, "", "hush hush", "hush\n"])
def test_a_token_that_is_none_is_told_and_not_shown(token: str | None) -> None:
    with pytest.raises(ConfigurationFault) as caught:
        KIND.check(
            {"address": "https://k8s.example", "namespace": "a"},
            {} if token is None else {"token": token},
        )
    assert "hush" not in str(caught.value)
    assert [fault[0] for fault in caught.value.faults] == ["/credential/token"]
