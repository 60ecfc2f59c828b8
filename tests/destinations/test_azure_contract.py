"""Azure Key Vault keeps the contract, by the real way out and TLS."""

from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from keyturn.ambient import SystemClock
from keyturn.destinations.azure import AzureKind
from keyturn.destinations.contract import Destination, FaultKind
from keyturn.domain.slot import SlotName
from keyturn.testing.destinations import Behind, DestinationContract
from tests.destinations.guarded import (
    PATIENT_SECONDS,
    SILENT_SECONDS,
    guarded_outbound,
    run_trouble,
)
from tests.destinations.opened import open_one
from tests.servers.answering import answering
from tests.servers.authority import Authority, found_authority
from tests.servers.azure import LOGIN_HOST, VAULT_HOST, FakeKeyVault, Version


class Azure:
    """Opens destinations on the fake, or on whatever listens at another port."""

    def __init__(self, fake: FakeKeyVault, authority: Authority, port: int) -> None:
        self.fake = fake
        self.authority = authority
        self.port = port

    def open(
        self,
        *,
        port: int | None = None,
        allowed: str = "127.0.0.0/8",
        client_secret: str | None = None,
        seconds: float = PATIENT_SECONDS,
    ) -> Destination:
        config = {
            "vault_url": f"https://{VAULT_HOST}:{port or self.port}",
            "authority": f"https://{LOGIN_HOST}:{self.port}",
            "ca_certificate": self.authority.pem,
        }
        credential = {
            "tenant_id": self.fake.tenant,
            "client_id": self.fake.client_id,
            "client_secret": client_secret or self.fake.client_secret,
        }
        kind = AzureKind(guarded_outbound(allowed), SystemClock(), seconds=seconds)
        return open_one(kind, config, credential)


class BehindAzure:
    def __init__(self, fake: FakeKeyVault) -> None:
        self._secrets = fake.secrets

    def value(self, slot: SlotName) -> str | None:
        versions = self._secrets.get(str(slot))
        return versions[-1].value if versions else None

    def put(self, slot: SlotName, value: str) -> None:
        version = Version(value=value, tags={}, content_type=None)
        self._secrets.setdefault(str(slot), []).append(version)

    def remove(self, slot: SlotName) -> None:
        """Deleted and purged: what is only deleted holds the name, and has tests of its own."""
        del self._secrets[str(slot)]

    def beside(self, slot: SlotName) -> Mapping[str, str] | None:
        return None  # tags are of a version, and have tests of their own

    def put_beside(self, slot: SlotName, name: str, text: str) -> None:
        raise NotImplementedError


@pytest.fixture(scope="module")
def authority() -> Authority:
    return found_authority()


class TestAzure(DestinationContract):
    COMPARES = False

    @pytest.fixture
    def azure(self, authority: Authority, tmp_path: Path) -> Iterator[Azure]:
        fake = FakeKeyVault()
        context = authority.context(tmp_path, VAULT_HOST, LOGIN_HOST)
        with answering(fake.answer, context) as port:
            yield Azure(fake, authority, port)

    @pytest.fixture
    def destination(self, azure: Azure) -> Destination:
        return azure.open()

    @pytest.fixture
    def another(self, azure: Azure) -> Destination:
        return azure.open()

    @pytest.fixture
    def behind(self, azure: Azure) -> Behind:
        return BehindAzure(azure.fake)

    @pytest.fixture
    def broken(self, azure: Azure, tmp_path: Path) -> Iterator[Mapping[FaultKind, Destination]]:
        with run_trouble(tmp_path / "trouble", azure.authority, VAULT_HOST) as trouble:
            yield {
                FaultKind.DENIED: azure.open(client_secret="tests-another-secret"),
                FaultKind.ADDRESS_REFUSED: azure.open(allowed="10.0.0.0/8"),
                FaultKind.NOT_UNDERSTOOD: azure.open(port=trouble.garbage),
                FaultKind.BROKEN: azure.open(port=trouble.failing),
                FaultKind.TIMED_OUT: azure.open(port=trouble.silent, seconds=SILENT_SECONDS),
                FaultKind.UNREACHABLE: azure.open(port=trouble.closed),
            }

    @pytest.fixture
    def hidden(self, azure: Azure) -> tuple[str, ...]:
        return ("SECRET", azure.fake.client_secret, azure.fake.token, "tests-another-secret")
