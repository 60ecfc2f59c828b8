"""Azure Key Vault: each write adds a version, and the newest is the one that is read.

1. Key Vault adds a version whatever stands, and has no condition for it. So the secret is read once
   more right before; what somebody writes in that moment is not seen, and is an older version then.
2. A disabled secret cannot be read: the place holds nothing, and a write adds a version that is
   enabled.
3. A name whose secret was deleted is held until it is recovered or purged: a fault that says so.
4. A version has its own tags and content type; those of the version before are said again.

The client needs the secret permissions Get and Set.
"""

import hmac
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

from keyturn.destinations.allotted import AllottedOutbound
from keyturn.destinations.contract import SECONDS, DestinationFault, FaultKind, Held, Opening
from keyturn.destinations.members import Members
from keyturn.destinations.place import place_of
from keyturn.domain.ambience import Clock
from keyturn.domain.slot import SlotName
from keyturn.outbound.contract import Outbound

if TYPE_CHECKING:
    from keyturn.destinations.azure_client import AzureClient

DEFAULT_NAME = "{slot}"
DEFAULT_AUTHORITY = "https://login.microsoftonline.com"

_NAME = re.compile(r"[A-Za-z0-9-]{0,40}", re.ASCII)
_ID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}", re.ASCII)
_TENANT = re.compile(r"[A-Za-z0-9][A-Za-z0-9.-]{0,252}", re.ASCII)
_SECRET = re.compile(r"[!-~]{8,512}", re.ASCII)


class AzureKind:
    name = "azure"
    about = "Azure Key Vault"

    def __init__(self, outbound: Outbound, clock: Clock, *, seconds: float = SECONDS) -> None:
        self._outbound = outbound
        self._clock = clock
        self._seconds = seconds

    def check(
        self, config: Mapping[str, object], credential: Mapping[str, str]
    ) -> Mapping[str, object]:
        members = Members(config, credential)
        checked = {
            "vault_url": members.address("vault_url"),
            "name": members.pattern("name", _NAME, DEFAULT_NAME),
            "authority": members.address("authority", DEFAULT_AUTHORITY),
            "ca_certificate": members.ca_certificate(),
        }
        if config.get("vault_url") is None:
            members.fault("/config/vault_url", "Give the address of the vault.")
        for name in ("vault_url", "authority"):  # Microsoft's clients send no token in the clear
            if str(checked[name]).startswith("http:"):
                members.fault(f"/config/{name}", "Give an address of https://.")
        members.secret("tenant_id", _TENANT, "Give the id of the directory (tenant).")
        members.secret("client_id", _ID, "Give the id of the application (client), a UUID.")
        members.secret("client_secret", _SECRET, "Give the value of a client secret.")
        members.end()
        return checked

    def open(self, opening: Opening) -> "AzureDestination":
        try:
            from keyturn.destinations.azure_client import AzureClient
        except ImportError:
            raise DestinationFault(
                FaultKind.MISSING, "The library for Azure is not here; install `keyturn[azure]`."
            ) from None
        config, certificate = opening.config, opening.config.get("ca_certificate")
        vault_url, authority = str(config["vault_url"]), str(config["authority"])
        way = AllottedOutbound(
            self._outbound,
            self._clock,
            ca_certificate=certificate if isinstance(certificate, str) else None,
            servers=(vault_url, authority),
            seconds=self._seconds,
        )
        client = AzureClient(
            vault_url=vault_url,
            authority=authority,
            tenant_id=opening.credential["tenant_id"],
            client_id=opening.credential["client_id"],
            client_secret=opening.credential["client_secret"],
            way=way,
        )
        return AzureDestination(client, way, vault_url=vault_url, pattern=str(config["name"]))


class AzureDestination:
    def __init__(
        self, client: "AzureClient", way: AllottedOutbound, *, vault_url: str, pattern: str
    ) -> None:
        self._client = client
        self._way = way
        self._vault_url = vault_url
        self._pattern = pattern

    def read(self, slot: SlotName) -> Held | None:
        self._way.begin()
        kept = self._client.get(place_of(self._pattern, slot))
        return None if kept is None else Held(value=kept.value, version=kept.version)

    def write(self, slot: SlotName, value: str, expected: str | None) -> str:
        self._way.begin()
        name = place_of(self._pattern, slot)
        before = self._client.get(name)
        if (before.version if before is not None else None) != expected:
            raise DestinationFault(
                FaultKind.CONFLICT, "Another version of the secret is the newest than was read."
            )
        added = self._client.set(name, value, before)
        stored = self._client.get(name, added.version)
        if stored is None or not hmac.compare_digest(stored.value.encode(), value.encode()):
            raise DestinationFault(
                FaultKind.BROKEN, "Azure has accepted the value and does not give it back."
            )
        return added.version

    def locate(self, slot: SlotName) -> str:
        return f"{self._vault_url}/secrets/{place_of(self._pattern, slot)}"

    def close(self) -> None:
        self._client.close()
