"""`azure:https://NAME.vault.azure.net/SECRET`: Azure Key Vault, by Azure's own library, with the
machine's own identity (`DefaultAzureCredential`)."""

from collections.abc import Callable
from typing import Protocol

from keyturn.client.sources.contract import CONNECT_SECONDS, READ_SECONDS, Stamp, unreadable
from keyturn.client.sources.library import load, network_fault, quieten
from keyturn.client.sources.member import member

_WHY = {
    "ResourceNotFoundError": "there is no such secret in this vault",
    "ClientAuthenticationError": "this machine has no identity that Azure accepts",
    "CredentialUnavailableError": "this machine has no identity that Azure accepts",
    "ServiceRequestError": "no connection",
    "ServiceResponseError": "it did not answer in time",
}


class KeyVaultSecret(Protocol):
    @property
    def value(self) -> str | None: ...


class AzureClient(Protocol):
    def get_secret(self, name: str) -> KeyVaultSecret: ...


class AzureSource:
    def __init__(
        self,
        name: str,
        *,
        vault_url: str,
        secret: str,
        field: str | None,
        connect: Callable[[str], AzureClient] | None = None,
    ) -> None:
        self.name = name
        self._vault_url = vault_url
        self._secret = secret
        self._field = field
        self._connect = connect or _connected
        self._faults = load("azure.core.exceptions", "azure")
        self._client: AzureClient | None = None

    def read(self) -> str:
        try:
            client = self._client = self._client or self._connect(self._vault_url)
            found = client.get_secret(self._secret).value
        except self._faults.AzureError as error:
            is_denied = getattr(error, "status_code", None) == 403
            named = _WHY.get(type(error).__name__, "the call of Azure failed")
            why = "Azure does not let this caller read it" if is_denied else named
        except OSError as error:
            why = network_fault(error)
        else:
            return member(found or "", self._field, self.name)
        raise unreadable(self.name, why)

    def stamp(self) -> Stamp | None:
        return None


def _connected(vault_url: str) -> AzureClient:
    quieten("azure.core.pipeline", "msal")
    client: AzureClient = load("azure.keyvault.secrets", "azure").SecretClient(
        vault_url=vault_url,
        credential=load("azure.identity", "azure").DefaultAzureCredential(),
        connection_timeout=CONNECT_SECONDS,
        read_timeout=READ_SECONDS,
        retry_total=1,
    )
    return client
