"""Calls to AWS by botocore, with nothing of the machine that it runs on.

1. Credentials, addresses and settings come from the destination alone: no file below `~/.aws`, no
   variable of the environment, no metadata of the instance.
2. Everything is sent by the guarded way out; botocore signs and parses. It repeats nothing.
3. What AWS says beside its error code is dropped.

Imported when a destination is opened: botocore is the extra `aws`.
"""

import io
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from botocore.awsrequest import AWSPreparedRequest, AWSResponse
from botocore.config import Config
from botocore.configprovider import (
    BOTOCORE_DEFAUT_SESSION_VARIABLES,
    ConfigValueStore,
    ConstantProvider,
)
from botocore.exceptions import BotoCoreError, ClientError
from botocore.loaders import Loader
from botocore.parsers import ResponseParserError
from botocore.session import Session

from keyturn.destinations.allotted import AllottedOutbound
from keyturn.destinations.contract import DestinationFault, FaultKind
from keyturn.destinations.vendor_logs import quieten

# What parsing runs into where something else than AWS answers.
_GARBAGE = (
    AttributeError,
    BotoCoreError,
    KeyError,
    RecursionError,
    ResponseParserError,
    TypeError,
    ValueError,
)
# Reading them takes most of the time that a client takes to make; they are kept. Those in
# ~/.aws/models would else be taken for AWS's own.
_MODELS = Loader(extra_search_paths=[Loader.BUILTIN_DATA_PATH], include_default_search_paths=False)
_NOWHERE = {
    "config_file": os.devnull,
    "credentials_file": os.devnull,
    "ignore_configured_endpoint_urls": True,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class AwsKeys:
    access_key_id: str
    secret_access_key: str = field(repr=False)
    session_token: str | None = field(repr=False)


class AwsRefusal(Exception):
    """AWS has answered with an error; its code, and nothing else that it has said."""

    def __init__(self, code: str, status: int) -> None:
        super().__init__(code)
        self.code = code
        self.status = status


class AwsClient:
    """One service of AWS, in one region, with one set of keys."""

    def __init__(
        self,
        service: str,
        *,
        region: str,
        endpoint: str | None,
        keys: AwsKeys,
        way: AllottedOutbound,
    ) -> None:
        quieten("botocore")
        self._way = way
        self._client = _make_session().create_client(
            service,
            region_name=region,
            endpoint_url=endpoint,
            aws_access_key_id=keys.access_key_id,
            aws_secret_access_key=keys.secret_access_key,
            aws_session_token=keys.session_token,
            config=Config(retries={"total_max_attempts": 1, "mode": "standard"}, proxies={}),
        )
        self._client.meta.events.register("before-send", self._send)

    def call(self, operation: str, **members: object) -> Mapping[str, object]:
        """Raises `AwsRefusal` and `DestinationFault`."""
        try:
            answer: dict[str, object] = getattr(self._client, operation)(**members)
        except ClientError as error:
            raise _refusal(error) from None
        except _GARBAGE:
            if self._way.last_status >= 400:  # a failure told in no language of AWS's
                raise AwsRefusal("", self._way.last_status) from None
            raise not_understood() from None
        return answer

    def close(self) -> None:
        self._client.close()

    def _send(self, request: AWSPreparedRequest, **_: object) -> AWSResponse:
        """What is answered here, botocore does not send itself."""
        body = request.body or b""
        answer = self._way.send(
            request.method,
            request.url,
            headers={name: _text(value) for name, value in request.headers.items()},
            content=body.encode() if isinstance(body, str) else bytes(body),
        )
        return AWSResponse(request.url, answer.status, dict(answer.headers), _Raw(answer.content))


def not_understood() -> DestinationFault:
    return DestinationFault(FaultKind.NOT_UNDERSTOOD, "What answers does not speak as AWS does.")


class _Raw(io.BytesIO):
    def stream(self, amount: int = 65_536, decode_content: bool | None = None) -> Iterator[bytes]:
        while chunk := self.read(amount):
            yield chunk


def _make_session() -> Session:
    session = Session()
    constants = {name: spec[2] for name, spec in BOTOCORE_DEFAUT_SESSION_VARIABLES.items()}
    mapping = {name: ConstantProvider(value) for name, value in (constants | _NOWHERE).items()}
    session.register_component("config_store", ConfigValueStore(mapping=mapping))
    session.register_component("data_loader", _MODELS)
    return session


def _refusal(error: ClientError) -> AwsRefusal:
    told = error.response.get("Error", {}).get("Code")
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode")
    return AwsRefusal(str(told), status if isinstance(status, int) else 0)


def _text(value: str | bytes) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else value
