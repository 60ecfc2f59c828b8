"""Who a destination is to AWS: its own access key, or a role that this key may assume."""

from collections.abc import Mapping

from keyturn.destinations.allotted import AllottedOutbound
from keyturn.destinations.aws_client import AwsClient, AwsKeys, AwsRefusal, not_understood
from keyturn.destinations.aws_faults import fault_of
from keyturn.domain.ambience import Clock

# AWS gives an hour by default; a role that allows less cannot be assumed for that long at all.
ROLE_SECONDS = 1_800


class AwsLogin:
    """Gives the client for Secrets Manager. A role is assumed when the first call needs it."""

    def __init__(
        self,
        way: AllottedOutbound,
        clock: Clock,
        *,
        region: str,
        endpoints: Mapping[str, str | None],
        keys: AwsKeys,
        role_arn: str | None,
        external_id: str | None,
    ) -> None:
        self.region = region
        self._way = way
        self._clock = clock
        self._endpoints = endpoints
        self._keys = keys
        self._role_arn = role_arn
        self._external_id = external_id
        self._client: AwsClient | None = None
        self._made_at = 0.0

    def client(self) -> AwsClient:
        """Raises `DestinationFault`."""
        is_old = self._role_arn is not None and self._age() > ROLE_SECONDS
        if self._client is None or is_old:
            keys = self._keys if self._role_arn is None else self._assume(self._role_arn)
            self.close()
            self._client = self._open("secretsmanager", keys)
            self._made_at = self._clock.elapsed()
        return self._client

    def close(self) -> None:
        if self._client is not None:
            self._client.close()
            self._client = None

    def _age(self) -> float:
        return self._clock.elapsed() - self._made_at

    def _open(self, service: str, keys: AwsKeys) -> AwsClient:
        return AwsClient(
            service,
            region=self.region,
            endpoint=self._endpoints[service],
            keys=keys,
            way=self._way,
        )

    def _assume(self, role_arn: str) -> AwsKeys:
        asked = {"RoleArn": role_arn, "RoleSessionName": "keyturn"}
        if self._external_id is not None:
            asked["ExternalId"] = self._external_id
        client = self._open("sts", self._keys)
        try:
            given = client.call("assume_role", **asked).get("Credentials")
        except AwsRefusal as refusal:
            raise fault_of(refusal.code, refusal.status) from None
        finally:
            client.close()
        if not isinstance(given, dict):
            raise not_understood()
        names = ("AccessKeyId", "SecretAccessKey", "SessionToken")
        key_id, key, session = (given.get(name) for name in names)
        if not (isinstance(key_id, str) and isinstance(key, str) and isinstance(session, str)):
            raise not_understood()
        return AwsKeys(access_key_id=key_id, secret_access_key=key, session_token=session)
