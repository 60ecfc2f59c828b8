"""Where a token is taken from: each place is read as it is, and what is no whole token is a fault
that says where, and nothing of what stands there."""

import json
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from keyturn.client import ConfigurationFault, SourceFault
from keyturn.client.sources.aws import AwsSource
from keyturn.client.sources.azure import AzureSource
from keyturn.client.sources.contract import Source, take
from keyturn.client.sources.gcp import GcpSource
from keyturn.client.sources.naming import source_of
from keyturn.domain.redaction import holds_shape
from tests.cli.calling import answer, answering
from tests.client.driving import OTHER, TOKEN
from tests.servers.openbao import OpenBao, obtain_openbao

PLACE = "vault:secret/keyturn/scheduler-prod#api_key"
SECRET = "keyturn/scheduler-prod"


def fault(source: Source) -> str:
    """What is told where no token can be taken: nothing of what stands there, nor on the way."""
    with pytest.raises(SourceFault) as raised:
        take(source)
    text = str(raised.value)
    assert not holds_shape(text)
    assert "\n" not in text
    error: BaseException | None = raised.value
    while error is not None:
        assert TOKEN.reveal()[30:60] not in repr(error)
        assert "root-of-a-test" not in repr(error)
        error = error.__cause__ or error.__context__
    return text


def numbered(cases: Sequence[object]) -> list[str]:
    """Names of cases that do not show what is in them."""
    return [str(number) for number in range(len(cases))]


# --- how they are written -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("env", "env:KEYTURN_API_KEY"),
        ("env:", "env:KEYTURN_API_KEY"),
        ("env:SCHEDULER_TOKEN", "env:SCHEDULER_TOKEN"),
        ("file:/run/secrets/a.token", "file:/run/secrets/a.token"),
        ("file:///run/secrets/a.token", "file:/run/secrets/a.token"),
        ("file:a.token", "file:a.token"),
        ("vault:secret/keyturn/scheduler-prod", PLACE),
        ("vault:/secret/keyturn/scheduler-prod#token", "vault:secret/keyturn/scheduler-prod#token"),
        ("aws:prod/scheduler", "aws:prod/scheduler"),
        (
            "aws:arn:aws:secretsmanager:eu-west-1:123456789012:secret:prod/scheduler-a1B2c3#api_key",
            "aws:arn:aws:secretsmanager:eu-west-1:123456789012:secret:prod/scheduler-a1B2c3#api_key",
        ),
        ("gcp:acme-prod/scheduler", "gcp:acme-prod/scheduler"),
        (
            "azure:https://acme.vault.azure.net/scheduler",
            "azure:https://acme.vault.azure.net/scheduler",
        ),
        ("azure:acme.vault.azure.net/scheduler", "azure:acme.vault.azure.net/scheduler"),
    ],
)
def test_a_place_is_called_as_it_is_written(text: str, name: str) -> None:
    assert source_of(text, {"VAULT_TOKEN": "a"}).name == name


WRONGLY_WRITTEN = [
    *("", "file", "file:", "scheduler.token", "/run/secrets/a", "FILE:/a", "ftp:a", "vault"),
    *("env:1A", "env:A B", "env:A=B", "file:a\0b"),
    *("vault:", "vault:secret", "vault:secret/", "vault:secret/../sys", "vault:a//b"),
    *("vault:secret/a#", "vault:secret/a#b c", "vault:secret/a#b#c", "vault:secret/a\nb"),
    *("aws:", "aws:a b", "aws:a#", "gcp:acme", "gcp:acme/", "gcp:/a", "gcp:a/b/c"),
    *("azure:scheduler", "azure:http://acme.vault.azure.net/a", "azure:https:///a"),
    *("azure:https://me@acme.vault.azure.net/a", "azure:https://acme.vault.azure.net/a/b"),
    TOKEN.reveal(),
    f"file:{TOKEN.reveal()}",
    f"env:{TOKEN.reveal()}",
]


@pytest.mark.parametrize(
    "text",
    WRONGLY_WRITTEN,
    ids=numbered(WRONGLY_WRITTEN),
)
def test_what_is_written_wrongly_is_refused_and_no_token_repeated(text: str) -> None:
    with pytest.raises(ConfigurationFault) as raised:
        source_of(text, {"VAULT_TOKEN": "a"})
    assert not holds_shape(str(raised.value))


# --- the environment, and files -------------------------------------------------------------------


def test_a_variable_is_read_and_white_space_around_it_left_out() -> None:
    environ = {"MINE": f"  {TOKEN.reveal()}\n"}
    assert take(source_of("env:MINE", environ)).hint == TOKEN.hint
    assert "not set" in fault(source_of("env:THEIRS", environ))


NO_TOKENS = [
    *("", " \n", "garbage", "<html>", "\x00" * 80, "é" * 80, "a" * 100_000),
    *(TOKEN.reveal()[:-1], f"{TOKEN.reveal()}x", f"{TOKEN.reveal()} {OTHER.reveal()}"),
    TOKEN.reveal()[:-7] + OTHER.reveal()[-7:],
]


@pytest.mark.parametrize(
    "text",
    NO_TOKENS,
    ids=numbered(NO_TOKENS),
)
def test_what_is_no_whole_token_is_a_fault(text: str, tmp_path: Path) -> None:
    file = tmp_path / "a.token"
    file.write_text(text)
    assert f"file:{file}" in fault(source_of(f"file:{file}", {}))


def test_a_file_is_followed_over_links_and_from_another_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As Kubernetes mounts secrets: the link to a whole folder is replaced."""
    for name, token in (("one", TOKEN), ("two", OTHER)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "token").write_text(token.reveal())
    (tmp_path / "data").symlink_to("one")
    (tmp_path / "token").symlink_to("data/token")
    monkeypatch.chdir(tmp_path)
    source = source_of("file:token", {})
    monkeypatch.chdir("/")
    before = source.stamp()
    assert take(source).hint == TOKEN.hint
    (tmp_path / "next").symlink_to("two")
    (tmp_path / "next").replace(tmp_path / "data")
    assert source.stamp() != before
    assert take(source).hint == OTHER.hint


def test_what_would_block_or_cannot_be_read_is_a_fault(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for name, why in (("pipe", "no ordinary file"), ("absent", "no such file"), (".", "directory")):
        assert why in fault(source_of(f"file:{tmp_path / name}", {}))


# --- Vault, by a real OpenBao ---------------------------------------------------------------------


@pytest.fixture(scope="module")
def bao(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OpenBao]:
    yield from obtain_openbao(tmp_path_factory.mktemp("openbao"))


def vault(bao: OpenBao, place: str = PLACE, **settings: str) -> Source:
    return source_of(place, {"VAULT_ADDR": bao.address, "VAULT_TOKEN": bao.root_token, **settings})


def test_a_secret_of_vault_is_read_each_time_as_it_is_now(bao: OpenBao) -> None:
    source = vault(bao)
    bao.put(SECRET, {"api_key": TOKEN.reveal(), "note": "kept"})
    assert take(source).hint == TOKEN.hint
    bao.put(SECRET, {"api_key": OTHER.reveal()})
    assert take(source).hint == OTHER.hint


@pytest.mark.parametrize(
    ("members", "why"),
    [
        ({"other": "a"}, "has no field api_key"),
        ({"api_key": 7}, "is no text"),
        ({"api_key": None}, "has no field api_key"),
        ({"api_key": ""}, "it is empty"),
        ({"api_key": TOKEN.reveal()[:-3]}, "no whole token"),
    ],
)
def test_a_secret_of_vault_without_a_whole_token_is_a_fault(
    bao: OpenBao, members: dict[str, object], why: str
) -> None:
    bao.put("keyturn/odd", members)
    assert why in fault(vault(bao, "vault:secret/keyturn/odd"))


def test_what_vault_does_not_have_or_does_not_let_read_is_a_fault(bao: OpenBao) -> None:
    assert "no such secret" in fault(vault(bao, "vault:secret/keyturn/absent"))
    bao.put("keyturn/deleted", {"api_key": TOKEN.reveal()})
    bao.ask("DELETE", "secret/data/keyturn/deleted")
    assert "it was deleted" in fault(vault(bao, "vault:secret/keyturn/deleted"))
    assert "does not let" in fault(vault(bao, VAULT_TOKEN="tests-wrong-token"))
    assert "no such secret" in fault(vault(bao, "vault:nothing/a"))


def test_a_token_of_vault_in_a_file_is_read_anew_each_time(bao: OpenBao, tmp_path: Path) -> None:
    bao.put(SECRET, {"api_key": TOKEN.reveal()})
    file = tmp_path / "vault.token"
    source = source_of(PLACE, {"BAO_ADDR": bao.address, "VAULT_TOKEN_FILE": str(file)})
    assert f"{file} cannot be read" in fault(source)
    file.write_text("tests-\x01damaged")
    assert "damaged" in fault(source)
    file.write_text(f"{bao.root_token}\n")
    assert take(source).hint == TOKEN.hint


def test_the_token_that_vault_login_left_is_used(bao: OpenBao, tmp_path: Path) -> None:
    bao.put(SECRET, {"api_key": TOKEN.reveal()})
    (tmp_path / ".vault-token").write_text(bao.root_token)
    assert (
        take(source_of(PLACE, {"VAULT_ADDR": bao.address, "HOME": str(tmp_path)})).hint
        == TOKEN.hint
    )


def test_an_approle_logs_in_once_and_again_when_its_token_is_gone(
    bao: OpenBao, tmp_path: Path
) -> None:
    bao.put(SECRET, {"api_key": TOKEN.reveal()})
    policy = 'path "secret/data/keyturn/*" { capabilities = ["read"] }'
    bao.ask("PUT", "sys/policies/acl/reads", {"policy": policy})
    bao.ask("POST", "sys/auth/approle", {"type": "approle"})
    bao.ask("POST", "auth/approle/role/caller", {"token_policies": ["reads"]})
    role_id = bao.ask("GET", "auth/approle/role/caller/role-id")["data"]["role_id"]
    secret_id = bao.ask("POST", "auth/approle/role/caller/secret-id", {})["data"]["secret_id"]
    file = tmp_path / "secret-id"
    file.write_text(secret_id)
    environ = {
        "VAULT_ADDR": bao.address,
        "VAULT_ROLE_ID": role_id,
        "VAULT_SECRET_ID_FILE": str(file),
    }
    source = source_of(PLACE, environ)
    assert take(source).hint == TOKEN.hint
    known = set(bao.ask("LIST", "auth/token/accessors")["data"]["keys"])
    assert take(source).hint == TOKEN.hint
    assert set(bao.ask("LIST", "auth/token/accessors")["data"]["keys"]) == known
    for accessor in known:
        told = bao.ask("POST", "auth/token/lookup-accessor", {"accessor": accessor})
        if told["data"]["path"] == "auth/approle/login":
            bao.ask("POST", "auth/token/revoke-accessor", {"accessor": accessor})
    assert take(source).hint == TOKEN.hint
    assert "refused the AppRole" in fault(source_of(PLACE, environ | {"VAULT_ROLE_ID": "other"}))


@pytest.mark.parametrize(
    "environ",
    [
        {},
        {"VAULT_TOKEN": "a", "VAULT_ADDR": "vault.example.com"},
        {"VAULT_TOKEN": "a", "VAULT_ADDR": "https://me:pass@vault.example.com"},
        {"VAULT_ROLE_ID": "a"},
        {"VAULT_ROLE_ID": "a", "VAULT_SECRET_ID": "b", "VAULT_SECRET_ID_FILE": "c"},
        {"VAULT_TOKEN": "a", "VAULT_NAMESPACE": "team\n"},
    ],
)
def test_vault_without_an_address_or_a_credential_is_refused_before_anything_is_sent(
    environ: dict[str, str],
) -> None:
    with pytest.raises(ConfigurationFault, match="VAULT_") as raised:
        source_of(PLACE, environ)
    assert "pass" not in str(raised.value)


def test_a_vault_that_is_not_there_or_has_no_certificate_is_a_fault(tmp_path: Path) -> None:
    nowhere = {"VAULT_ADDR": "http://127.0.0.1:9", "VAULT_TOKEN": "a"}
    assert "no connection" in fault(source_of(PLACE, nowhere))
    file = tmp_path / "ca.pem"
    file.write_text("no certificate")
    assert "VAULT_CACERT" in fault(source_of(PLACE, nowhere | {"VAULT_CACERT": str(file)}))


def says(status: int, content: bytes, **headers: str) -> Callable[[BaseHTTPRequestHandler], None]:
    return lambda handler: answer(handler, status, "application/json", content, **headers)


NO_VAULTS = [
    (says(200, b"<html>"), "no secret of KV version 2"),
    (says(200, b'{"data": {"api_key": "' + TOKEN.reveal().encode() + b'"}}'), "KV version 2"),
    (says(200, b"[" * 100_000), "no secret of KV version 2"),
    (says(200, b" " * 2_000_000), "does not end"),
    (says(307, b"", Location="http://127.0.0.1:9/"), "answered 307"),
    (says(503, TOKEN.reveal().encode()), "sealed"),
    (says(500, TOKEN.reveal().encode()), "answered 500"),
]


@pytest.mark.parametrize(
    ("answers", "why"),
    NO_VAULTS,
    ids=numbered(NO_VAULTS),
)
def test_what_is_no_answer_of_vault_is_a_fault_and_not_repeated(
    answers: Callable[[BaseHTTPRequestHandler], None], why: str
) -> None:
    with answering(answers) as url:
        assert why in fault(source_of(PLACE, {"VAULT_ADDR": url, "VAULT_TOKEN": "a"}))


def test_a_vault_that_drips_does_not_hold_a_read_up_for_ever() -> None:
    ends = threading.Event()

    def drip(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", "1000000")
        handler.end_headers()
        while not ends.wait(0.05):
            try:
                handler.wfile.write(b" ")
            except OSError:
                return

    source: Any = None
    with answering(drip) as url:
        source = source_of(PLACE, {"VAULT_ADDR": url, "VAULT_TOKEN": "a"})
        source._clock = Hurried()
        try:
            assert "does not end" in fault(source)
        finally:
            ends.set()


class Hurried:
    """A clock by which each look takes a second."""

    def __init__(self) -> None:
        self._seconds = 0.0

    def now(self) -> int:
        raise NotImplementedError

    def elapsed(self) -> float:
        self._seconds += 1.0
        return self._seconds

    def boot(self) -> float:
        raise NotImplementedError  # a source goes by `elapsed` alone: to ask for this is a fault


def test_the_namespace_goes_along() -> None:
    seen = []

    def look(handler: BaseHTTPRequestHandler) -> None:
        seen.append((handler.path, handler.headers["X-Vault-Namespace"]))
        body = {"data": {"data": {"api_key": TOKEN.reveal()}}}
        answer(handler, 200, "application/json", json.dumps(body).encode())

    with answering(look) as url:
        environ = {"VAULT_ADDR": url, "VAULT_TOKEN": "a", "VAULT_NAMESPACE": "team/a"}
        assert take(source_of("vault:kv%2Fours/a b/ü", environ)).hint == TOKEN.hint
    assert seen == [("/v1/kv/ours/data/a%20b/%C3%BC", "team/a")]


# --- the vendors' ---------------------------------------------------------------------------------


def test_aws_is_asked_by_its_own_library_with_the_machines_credentials(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(0)
    held: dict[str, object] = {"SecretString": json.dumps({"api_key": TOKEN.reveal()})}
    status = 200
    asked = []

    def secrets(handler: BaseHTTPRequestHandler) -> None:
        body = json.loads(handler.rfile.read(int(handler.headers["Content-Length"])))
        asked.append((body["SecretId"], "AKIATESTSTESTSTEST" in handler.headers["Authorization"]))
        handler.headers.replace_header("Content-Length", "0")
        answer(handler, status, "application/x-amz-json-1.1", json.dumps(held).encode())

    with answering(secrets) as url:
        for name, text in {
            "AWS_ENDPOINT_URL_SECRETS_MANAGER": url,
            "AWS_ACCESS_KEY_ID": "AKIATESTSTESTSTEST",
            "AWS_SECRET_ACCESS_KEY": "tests",
            "AWS_DEFAULT_REGION": "eu-west-1",
            "AWS_CONFIG_FILE": str(tmp_path / "none"),
            "AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "none"),
        }.items():
            monkeypatch.setenv(name, text)
        source = source_of("aws:prod/scheduler#api_key", {})
        assert take(source).hint == TOKEN.hint
        assert asked == [("prod/scheduler", True)]
        assert "botocore" in caplog.text
        assert not holds_shape(caplog.text)
        assert "no whole token" in fault(source_of("aws:prod/scheduler", {}))
        status, held = 400, {"__type": "ResourceNotFoundException", "message": TOKEN.reveal()}
        assert "no such secret" in fault(source)
        held = {"__type": "AccessDeniedException"}
        assert "does not let" in fault(source)
    monkeypatch.setenv("AWS_ENDPOINT_URL_SECRETS_MANAGER", "http://127.0.0.1:9")
    assert "no connection" in fault(source_of("aws:prod/scheduler", {}))


@pytest.mark.parametrize(
    ("answer_", "why"),
    [
        ({"SecretBinary": b"a"}, "no text"),
        ({"SecretString": "a"}, "no JSON object"),
        ({"SecretString": "[1]"}, "no JSON object"),
        ({"SecretString": '{"api_key": 7}'}, "is no text"),
        ({"SecretString": '{"other": "a"}'}, "has no field api_key"),
    ],
)
def test_a_secret_of_aws_without_a_token_is_a_fault(answer_: dict[str, object], why: str) -> None:
    client = SimpleNamespace(get_secret_value=lambda **_: answer_)
    source = AwsSource("aws:a#api_key", secret="a", field="api_key", connect=lambda _: client)
    assert why in fault(source)


def test_what_the_system_refuses_aws_is_a_fault() -> None:
    def refuse(**_: str) -> dict[str, object]:
        raise TimeoutError(TOKEN.reveal())

    client = SimpleNamespace(get_secret_value=refuse)
    source = AwsSource("aws:a", secret="a", field=None, connect=lambda _: client)
    assert "did not answer in time" in fault(source)


def test_google_without_a_network_is_a_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    """By its own library, and what that raises."""
    from google.auth.credentials import AnonymousCredentials
    from google.cloud.secretmanager import SecretManagerServiceClient

    client: Any = SecretManagerServiceClient(
        transport="rest",
        credentials=AnonymousCredentials(),  # type: ignore[no-untyped-call]
        client_options={"api_endpoint": "127.0.0.1:9"},
    )
    source = GcpSource("gcp:p/a", project="p", secret="a", field=None, connect=lambda: client)
    assert "no connection" in fault(source)


def test_a_machine_without_credentials_for_aws_is_told_so(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE", "AWS_REGION"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.delenv("AWS_DEFAULT_REGION", raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "none"))
    assert "no region is set" in fault(source_of("aws:prod/scheduler", {}))
    arn = "aws:arn:aws:secretsmanager:eu-west-1:123456789012:secret:prod/scheduler-a1B2c3"
    assert "no AWS credentials" in fault(source_of(arn, {}))


def test_the_latest_version_is_read_of_google() -> None:
    from google.api_core.exceptions import GoogleAPIError, NotFound, PermissionDenied
    from google.auth.exceptions import DefaultCredentialsError

    asked = []
    raised: Exception | None = None

    def access(*, name: str, timeout: float, retry: None) -> object:
        asked.append(name)
        if raised is not None:
            raise raised
        return SimpleNamespace(payload=SimpleNamespace(data=TOKEN.reveal().encode()))

    client: Any = SimpleNamespace(access_secret_version=access)
    source = GcpSource("gcp:p/a", project="p", secret="a", field=None, connect=lambda: client)
    assert take(source).hint == TOKEN.hint
    assert asked == ["projects/p/secrets/a/versions/latest"]
    import requests.exceptions

    for error, why in (
        (requests.exceptions.ConnectionError(TOKEN.reveal()), "no connection"),
        (requests.exceptions.ReadTimeout(TOKEN.reveal()), "did not answer in time"),
        (NotFound(TOKEN.reveal()), "no such secret"),  # type: ignore[no-untyped-call]
        (PermissionDenied(TOKEN.reveal()), "does not let"),  # type: ignore[no-untyped-call]
        (GoogleAPIError(TOKEN.reveal()), "the call of Google failed"),
        (DefaultCredentialsError("a"), "no Google credentials"),  # type: ignore[no-untyped-call]
    ):
        raised = error
        assert why in fault(source)


def test_a_secret_is_read_of_azure() -> None:
    from azure.core.exceptions import (
        ClientAuthenticationError,
        HttpResponseError,
        ResourceNotFoundError,
        ServiceRequestError,
    )

    raised: Exception | None = None

    def get(name: str) -> object:
        assert name == "a"
        if raised is not None:
            raise raised
        return SimpleNamespace(value=json.dumps({"api_key": TOKEN.reveal()}))

    client: Any = SimpleNamespace(get_secret=get)
    source = AzureSource(
        *("azure:a",),
        vault_url="https://acme.vault.azure.net",
        secret="a",
        field="api_key",
        connect=lambda _: client,
    )
    assert take(source).hint == TOKEN.hint
    denied = HttpResponseError(TOKEN.reveal())
    denied.status_code = 403
    for error, why in (
        (ResourceNotFoundError(TOKEN.reveal()), "no such secret"),
        (denied, "does not let"),
        (ClientAuthenticationError("a"), "no identity"),
        (ServiceRequestError("a"), "no connection"),
        (ConnectionResetError(TOKEN.reveal()), "no connection"),
        (ValueError(TOKEN.reveal()), "reading it failed (ValueError)"),
    ):
        raised = error
        assert why in fault(source)


def test_a_library_that_is_not_installed_is_named_with_its_extra() -> None:
    import subprocess
    import sys

    script = (
        "import sys\nsys.modules['boto3'] = sys.modules['botocore'] = None\n"
        "from keyturn.client.sources.naming import source_of\nsource_of('aws:a', {})"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert "install `keyturn[aws]`" in done.stderr
