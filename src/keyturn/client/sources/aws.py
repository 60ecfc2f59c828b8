"""`aws:prod/keyturn/scheduler#api_key`: AWS Secrets Manager, by AWS's own library, which finds the
machine's credentials and region as every AWS program does. The name may be an ARN."""

from collections.abc import Callable, Mapping
from typing import Protocol

from keyturn.client.sources.contract import CONNECT_SECONDS, READ_SECONDS, Stamp, unreadable
from keyturn.client.sources.library import load, network_fault, quieten
from keyturn.client.sources.member import member

_WHY = {
    "ResourceNotFoundException": "there is no such secret in this account and region",
    "AccessDeniedException": "AWS does not let this caller read it",
    "UnrecognizedClientException": "AWS does not know the credentials of this machine",
    "InvalidRequestException": "the secret is about to be deleted",
    "DecryptionFailure": "the secret's KMS key cannot be used",
    "ExpiredTokenException": "the credentials of this machine have expired",
}
_KINDS = {
    "NoCredentialsError": "this machine has no AWS credentials",
    "NoRegionError": "no region is set (AWS_REGION)",
    "EndpointConnectionError": "no connection",
    "ConnectTimeoutError": "no connection was made in time",
    "ReadTimeoutError": "it did not answer in time",
}


class AwsClient(Protocol):
    def get_secret_value(self, *, SecretId: str) -> Mapping[str, object]: ...  # noqa: N803


class AwsSource:
    def __init__(
        self,
        name: str,
        *,
        secret: str,
        field: str | None,
        connect: Callable[[str], AwsClient] | None = None,
    ) -> None:
        self.name = name
        self._secret = secret
        self._field = field
        self._connect = connect or _connected
        self._faults = load("botocore.exceptions", "aws")
        self._client: AwsClient | None = None

    def read(self) -> str:
        try:
            client = self._client = self._client or self._connect(self._secret)
            answer = client.get_secret_value(SecretId=self._secret)
        except self._faults.ClientError as error:
            code = error.response.get("Error", {}).get("Code", "")
            why = _WHY.get(code, "AWS refused")
        except self._faults.BotoCoreError as error:
            why = _KINDS.get(type(error).__name__, "the call of AWS failed")
        except OSError as error:
            why = network_fault(error)
        else:
            return self._text(answer)
        raise unreadable(self.name, why)

    def stamp(self) -> Stamp | None:
        return None

    def _text(self, answer: Mapping[str, object]) -> str:
        text = answer.get("SecretString")
        if not isinstance(text, str):
            raise unreadable(self.name, "the secret is no text")
        return member(text, self._field, self.name)


def _connected(secret: str) -> AwsClient:
    quieten("botocore.parsers", "botocore.endpoint")
    session = load("boto3", "aws").session.Session()
    config = load("botocore.config", "aws").Config(
        connect_timeout=CONNECT_SECONDS,
        read_timeout=READ_SECONDS,
        retries={"total_max_attempts": 2},
    )
    client: AwsClient = session.client("secretsmanager", region_name=_region(secret), config=config)
    return client


def _region(secret: str) -> str | None:
    """Where an ARN says that the secret is: arn:aws:secretsmanager:REGION:…"""
    parts = secret.split(":")
    return parts[3] or None if parts[0] == "arn" and len(parts) > 4 else None
