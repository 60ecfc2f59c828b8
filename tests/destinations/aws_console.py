"""One secret in AWS, as somebody else sees and changes it with AWS's own client."""

import botocore.session
from botocore.client import BaseClient
from botocore.exceptions import ClientError

_SESSION = botocore.session.Session()


class AwsConsole:
    def __init__(self, port: int, region: str, name: str) -> None:
        self._client: BaseClient = _SESSION.create_client(
            "secretsmanager",
            region_name=region,
            endpoint_url=f"http://127.0.0.1:{port}",
            aws_access_key_id="AKIATESTS00000000002",
            aws_secret_access_key="tests-console",
        )
        self._name = name

    def text(self) -> str | None:
        try:
            return str(self._client.get_secret_value(SecretId=self._name)["SecretString"])
        except ClientError:
            return None

    def stages(self) -> dict[str, list[str]]:
        told = self._client.describe_secret(SecretId=self._name)["VersionIdsToStages"]
        return {str(version): list(labels) for version, labels in told.items() if labels}

    def create(self, text: str) -> None:
        self._client.create_secret(Name=self._name, SecretString=text)

    def create_binary(self, content: bytes) -> None:
        self._client.create_secret(Name=self._name, SecretBinary=content)

    def put(self, text: str, *, stage: str = "AWSCURRENT") -> None:
        self._client.put_secret_value(SecretId=self._name, SecretString=text, VersionStages=[stage])

    def delete(self, *, forever: bool = False) -> None:
        how = {"ForceDeleteWithoutRecovery": True} if forever else {"RecoveryWindowInDays": 7}
        self._client.delete_secret(SecretId=self._name, **how)

    def restore(self) -> None:
        self._client.restore_secret(SecretId=self._name)
