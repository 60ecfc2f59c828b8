"""Calls to Azure Key Vault by Microsoft's clients, sent by the guarded way out.

1. The token is asked for with the destination's own client id and secret, of the configured tenant
   and authority; no credential of the machine is looked for, and a vault cannot name another place
   to send the secret to.
2. They repeat nothing; what Azure says beside its status and code is dropped.

Imported when a destination is opened: the clients are the extra `azure`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from azure.core.exceptions import (
    AzureError,
    ClientAuthenticationError,
    HttpResponseError,
)
from azure.core.pipeline.transport import RequestsTransport
from azure.identity import ClientSecretCredential
from azure.keyvault.secrets import KeyVaultSecret, SecretClient

from keyturn.destinations.allotted import AllottedOutbound
from keyturn.destinations.azure_faults import fault_of, not_understood
from keyturn.destinations.contract import DestinationFault
from keyturn.destinations.requests_session import make_session
from keyturn.destinations.vendor_logs import quieten

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """A version of a secret, with what stands beside its value."""

    version: str
    value: str = field(repr=False)
    content_type: str | None
    tags: Mapping[str, str]


class AzureClient:
    def __init__(
        self,
        *,
        vault_url: str,
        authority: str,
        tenant_id: str,
        client_id: str,
        client_secret: str,
        way: AllottedOutbound,
    ) -> None:
        quieten("azure", "msal")
        self._credential = ClientSecretCredential(
            tenant_id,
            client_id,
            client_secret,
            authority=authority,
            # Else another host is asked whether the authority is one of Microsoft's.
            disable_instance_discovery=True,
            transport=_transport(way),
            retry_total=0,
            permit_redirects=False,
        )
        self._client = SecretClient(
            vault_url=vault_url,
            credential=self._credential,
            transport=_transport(way),
            retry_total=0,
            permit_redirects=False,
        )

    def get(self, name: str, version: str | None = None) -> Kept | None:
        """None where there is no such secret, and where it is disabled."""
        try:
            return _kept(_ask(lambda: self._client.get_secret(name, version)))
        except _Disabled:
            return None

    def set(self, name: str, value: str, beside: Kept | None) -> Kept:
        """Adds a version. What stood beside the old value is said again: else it would be lost."""
        content_type = beside.content_type if beside is not None else None
        tags = dict(beside.tags) if beside is not None else {}
        try:
            secret = _ask(
                lambda: self._client.set_secret(name, value, content_type=content_type, tags=tags)
            )
        except _Disabled:
            secret = None
        kept = _kept(secret)
        if kept is None:
            raise not_understood()
        return kept

    def close(self) -> None:
        self._client.close()
        self._credential.close()


class _Disabled(Exception):
    """The secret is there, and is not to be read."""


def _transport(way: AllottedOutbound) -> RequestsTransport:
    return RequestsTransport(session=make_session(way), use_env_settings=False)


def _ask(call: Callable[[], T]) -> T | None:
    try:
        return call()
    except ClientAuthenticationError as refusal:
        raise _login_fault(refusal) from None
    except HttpResponseError as refusal:
        status, code = refusal.status_code or 0, _code(refusal)
        if status == 404 and code == "SecretNotFound":
            return None
        if status == 403 and code == "SecretDisabled":
            raise _Disabled from None
        raise fault_of(status, code) from None
    except (AzureError, ValueError, KeyError, TypeError, AttributeError):
        raise not_understood() from None


def _code(refusal: HttpResponseError) -> str:
    """The innermost code that Key Vault gives."""
    if refusal.error is None:
        return ""
    inner = refusal.error.innererror
    code = inner.get("code") if isinstance(inner, dict) else None
    return str(code or refusal.error.code)


def _login_fault(refusal: ClientAuthenticationError) -> DestinationFault:
    """Microsoft's client says `ClientAuthenticationError` of all that happens at the login."""
    cause = refusal.__cause__
    if isinstance(cause, DestinationFault):  # of our way out
        return DestinationFault(cause.kind, cause.detail)
    status = refusal.status_code or 0
    if status >= 500 or status == 429:
        return fault_of(status, "")
    if cause is not None and not isinstance(cause, AzureError):  # it stumbled over the answer
        return not_understood()
    return fault_of(401, "")


def _kept(secret: KeyVaultSecret | None) -> Kept | None:
    if secret is None:
        return None
    version, value = secret.properties.version, secret.value
    if not isinstance(version, str) or not version or not isinstance(value, str):
        raise not_understood()
    return Kept(
        version=version,
        value=value,
        content_type=secret.properties.content_type,
        tags=secret.properties.tags or {},
    )
