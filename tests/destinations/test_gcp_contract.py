"""Google Secret Manager keeps the contract, by the real way out and TLS."""

from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from keyturn.ambient import SystemClock
from keyturn.destinations.contract import Destination, FaultKind
from keyturn.destinations.gcp import GcpKind
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
from tests.servers.gcp import HOST, FakeSecretManager, Version


class Google:
    """Opens destinations on the fake, or on whatever listens at another port."""

    def __init__(self, fake: FakeSecretManager, authority: Authority, port: int) -> None:
        self.fake = fake
        self.authority = authority
        self.port = port

    def open(
        self,
        *,
        port: int | None = None,
        allowed: str = "127.0.0.0/8",
        account: str | None = None,
        seconds: float = PATIENT_SECONDS,
    ) -> Destination:
        config = {
            "project": self.fake.project,
            "endpoint": f"https://{HOST}:{port or self.port}",
            "ca_certificate": self.authority.pem,
        }
        kind = GcpKind(guarded_outbound(allowed), SystemClock(), seconds=seconds)
        return open_one(kind, config, {"service_account": account or self.fake.service_account()})


class BehindGoogle:
    def __init__(self, fake: FakeSecretManager) -> None:
        self._secrets = fake.secrets

    def value(self, slot: SlotName) -> str | None:
        versions = self._secrets.get(f"keyturn-{slot}")
        return versions[-1].content.decode() if versions else None

    def put(self, slot: SlotName, value: str) -> None:
        self._secrets.setdefault(f"keyturn-{slot}", []).append(Version(content=value.encode()))

    def remove(self, slot: SlotName) -> None:
        del self._secrets[f"keyturn-{slot}"]

    def beside(self, slot: SlotName) -> Mapping[str, str] | None:
        return None

    def put_beside(self, slot: SlotName, name: str, text: str) -> None:
        raise NotImplementedError


@pytest.fixture(scope="module")
def made() -> tuple[FakeSecretManager, Authority]:
    return FakeSecretManager(), found_authority()  # keys take a while to make


class TestGoogle(DestinationContract):
    COMPARES = False

    @pytest.fixture
    def google(self, made: tuple[FakeSecretManager, Authority], tmp_path: Path) -> Iterator[Google]:
        fake, authority = FakeSecretManager(key=made[0].key), made[1]
        with answering(fake.answer, authority.context(tmp_path, HOST)) as port:
            yield Google(fake, authority, port)

    @pytest.fixture
    def destination(self, google: Google) -> Destination:
        return google.open()

    @pytest.fixture
    def another(self, google: Google) -> Destination:
        return google.open()

    @pytest.fixture
    def behind(self, google: Google) -> Behind:
        return BehindGoogle(google.fake)

    @pytest.fixture
    def broken(self, google: Google, tmp_path: Path) -> Iterator[Mapping[FaultKind, Destination]]:
        with run_trouble(tmp_path / "trouble", google.authority, HOST) as trouble:
            yield {
                FaultKind.DENIED: google.open(
                    account=google.fake.service_account(private_key_id="k9")
                ),
                FaultKind.ADDRESS_REFUSED: google.open(allowed="10.0.0.0/8"),
                FaultKind.NOT_UNDERSTOOD: google.open(port=trouble.garbage),
                FaultKind.BROKEN: google.open(port=trouble.failing),
                FaultKind.TIMED_OUT: google.open(port=trouble.silent, seconds=SILENT_SECONDS),
                FaultKind.UNREACHABLE: google.open(port=trouble.closed),
            }

    @pytest.fixture
    def hidden(self, google: Google) -> tuple[str, ...]:
        return ("SECRET", "PRIVATE KEY", google.fake.email)
