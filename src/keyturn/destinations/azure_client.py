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

from azure.core.credentials import AccessToken, AccessTokenInfo, TokenRequestOptions
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
        self._way = way
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
            credential=_OwnTenant(self._credential),
            transport=_transport(way),
            retry_total=0,
            permit_redirects=False,
        )

    def get(self, name: str, version: str | None = None) -> Kept | None:
        """None where there is no such secret, and where it is disabled."""
        try:
            return _kept(self._ask(lambda: self._client.get_secret(name, version)))
        except _Disabled:
            return None

    def set(self, name: str, value: str, beside: Kept | None) -> Kept:
        """Adds a version. What stood beside the old value is said again: else it would be lost."""
        content_type = beside.content_type if beside is not None else None
        tags = dict(beside.tags) if beside is not None else {}
        try:
            secret = self._ask(
                lambda: self._client.set_secret(name, value, content_type=content_type, tags=tags)
            )
        except _Disabled:
            secret = None
        kept = _kept(secret)
        if kept is None:
            raise not_understood()
        return kept

    def _ask(self, call: Callable[[], T]) -> T | None:
        try:
            return call()
        except ClientAuthenticationError as refusal:
            raise _login_fault(refusal, self._way.last_status) from None
        except HttpResponseError as refusal:
            status, code = refusal.status_code or 0, _code(refusal)
            if status == 404 and code == "SecretNotFound":
                return None
            if status == 403 and code == "SecretDisabled":
                raise _Disabled from None
            raise fault_of(status, code) from None
        except (AzureError, ValueError, KeyError, TypeError, AttributeError):
            raise not_understood() from None

    def close(self) -> None:
        self._client.close()
        self._credential.close()


class _OwnTenant:
    """Tokens of the configured tenant, whichever a vault names.

    Microsoft's client keeps what a vault has named for the whole process: a wrong answer of once
    would else deny every later call to that vault.
    """

    def __init__(self, credential: ClientSecretCredential) -> None:
        self._credential = credential

    def get_token_info(
        self, *scopes: str, options: TokenRequestOptions | None = None
    ) -> AccessTokenInfo:
        given = options or {}
        kept: TokenRequestOptions = {"enable_cae": given.get("enable_cae", False)}
        if "claims" in given:
            kept["claims"] = given["claims"]
        return self._credential.get_token_info(*scopes, options=kept)

    def get_token(
        self,
        *scopes: str,
        claims: str | None = None,
        tenant_id: str | None = None,
        enable_cae: bool = False,
        **_: object,
    ) -> AccessToken:
        return self._credential.get_token(*scopes, claims=claims, enable_cae=enable_cae)

    def close(self) -> None:
        self._credential.close()


class _Disabled(Exception):
    """The secret is there, and is not to be read."""


def _transport(way: AllottedOutbound) -> RequestsTransport:
    return RequestsTransport(session=make_session(way), use_env_settings=False)


def _code(refusal: HttpResponseError) -> str:
    """The innermost code that Key Vault gives."""
    if refusal.error is None:
        return ""
    inner = refusal.error.innererror
    code = inner.get("code") if isinstance(inner, dict) else None
    return str(code or refusal.error.code)


def _login_fault(refusal: ClientAuthenticationError, status: int) -> DestinationFault:
    """Microsoft's client says `ClientAuthenticationError` of all that happens at the login; what
    the last answer was, our way out knows better."""
    cause: BaseException | None = refusal
    while cause is not None:
        if isinstance(cause, DestinationFault):  # nothing could be sent
            return DestinationFault(cause.kind, cause.detail)
        cause = cause.__cause__ or cause.__context__
    return not_understood() if status < 400 else fault_of(status if status >= 429 else 401, "")


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
