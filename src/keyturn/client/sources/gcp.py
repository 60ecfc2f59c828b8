"""`gcp:PROJECT/NAME`: Google Cloud Secret Manager, by Google's own library, with the machine's
application default credentials. The latest version is read."""

from collections.abc import Callable
from typing import Protocol

from keyturn.client.sources.contract import READ_SECONDS, Stamp, unreadable
from keyturn.client.sources.library import load, network_fault, quieten
from keyturn.client.sources.member import member

_WHY = {
    "NotFound": "there is no such secret, or it has no version",
    "PermissionDenied": "Google does not let this caller read it",
    "Forbidden": "Google does not let this caller read it",
    "Unauthenticated": "Google does not know the credentials of this machine",
    "FailedPrecondition": "its latest version is disabled or destroyed",
    "DeadlineExceeded": "it did not answer in time",
    "ServiceUnavailable": "no connection, or not now",
}


class Payload(Protocol):
    @property
    def data(self) -> bytes: ...


class Accessed(Protocol):
    @property
    def payload(self) -> Payload: ...


class GcpClient(Protocol):
    def access_secret_version(self, *, name: str, timeout: float, retry: None) -> Accessed: ...


class GcpSource:
    def __init__(
        self,
        name: str,
        *,
        project: str,
        secret: str,
        field: str | None,
        connect: Callable[[], GcpClient] | None = None,
    ) -> None:
        self.name = name
        self._version = f"projects/{project}/secrets/{secret}/versions/latest"
        self._field = field
        self._connect = connect or _connected
        self._faults = load("google.api_core.exceptions", "gcp")
        self._refusals = load("google.auth.exceptions", "gcp")
        self._client: GcpClient | None = None

    def read(self) -> str:
        try:
            client = self._client = self._client or self._connect()
            accessed = client.access_secret_version(
                name=self._version, timeout=READ_SECONDS, retry=None
            )
        except self._faults.GoogleAPIError as error:
            why = _WHY.get(type(error).__name__, "the call of Google failed")
        except self._refusals.GoogleAuthError:
            why = "this machine has no Google credentials, or they are not accepted"
        except OSError as error:  # `requests`, which no part of Google's library wraps
            why = network_fault(error)
        else:
            text = bytes(accessed.payload.data).decode("utf-8", errors="replace")
            return member(text, self._field, self.name)
        raise unreadable(self.name, why)

    def stamp(self) -> Stamp | None:
        return None


def _connected() -> GcpClient:
    quieten("google.cloud.secretmanager_v1", "google.auth.transport")
    library = load("google.cloud.secretmanager", "gcp")
    # By REST: gRPC keeps threads of its own, which do not outlive a fork.
    client: GcpClient = library.SecretManagerServiceClient(transport="rest")
    return client
