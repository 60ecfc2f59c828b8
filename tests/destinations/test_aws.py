import json
import logging
from collections.abc import Callable, Iterator
from uuid import uuid4

import pytest

from keyturn.destinations.aws import AwsKind
from keyturn.destinations.contract import ConfigurationFault, Destination, FaultKind
from keyturn.outbound.contract import OutboundAnswer, OutboundFaultKind
from keyturn.testing import FakeClock
from tests.destinations.aws_console import AwsConsole
from tests.destinations.meddling import (
    Killed,
    MeddlingOutbound,
    answers,
    dies_after,
    dies_before,
    fails,
    first,
    loses_the_answer,
)
from tests.destinations.opened import (
    NEW,
    OLD,
    OTHER,
    SLOT,
    THIRD,
    fault_of,
    open_one,
    value_of,
    version_of,
)

REGION = "eu-central-1"
HOST, STS = f"secretsmanager.{REGION}.amazonaws.com", f"sts.{REGION}.amazonaws.com"
CREATE, PUT, MOVE = ".CreateSecret", ".PutSecretValue", ".UpdateSecretVersionStage"
GET, DESCRIBE = ".GetSecretValue", ".DescribeSecret"
CREDENTIAL = {"access_key_id": "AKIATESTS00000000001", "secret_access_key": "tests-" + "s" * 34}
ROLE = {"role_arn": "arn:aws:iam::123456789012:role/keyturn", "external_id": "tests-external"}


@pytest.fixture
def prefix() -> str:
    """A folder of names that is this test's own: the server keeps what others have written."""
    return f"t{uuid4().hex}"


@pytest.fixture
def way(ministack: int) -> MeddlingOutbound:
    return MeddlingOutbound({HOST: ministack, STS: ministack})


@pytest.fixture
def console(ministack: int, prefix: str) -> AwsConsole:
    return AwsConsole(ministack, REGION, f"{prefix}/scheduler-prod")


@pytest.fixture
def place(way: MeddlingOutbound, prefix: str) -> Iterator[Destination]:
    opened = open_aws(way, prefix)
    yield opened
    opened.close()


def open_aws(
    way: MeddlingOutbound,
    prefix: str,
    *,
    field: str | None = None,
    clock: FakeClock | None = None,
    role: bool = False,
) -> Destination:
    config = {"region": REGION, "name": f"{prefix}/{{slot}}", "field": field}
    return open_one(AwsKind(way, clock or FakeClock()), config, CREDENTIAL | (ROLE if role else {}))


def test_what_is_written_is_current_and_what_was_before_is_previous(
    place: Destination, console: AwsConsole, prefix: str
) -> None:
    assert place.read(SLOT) is None
    old = place.write(SLOT, OLD, None)
    new = place.write(SLOT, NEW, old)
    held = place.read(SLOT)
    assert held is not None
    assert (held.value, held.version) == (NEW, new)
    assert console.stages() == {new: ["AWSCURRENT"], old: ["AWSPREVIOUS"]}
    assert place.read(OTHER) is None
    assert place.locate(SLOT) == f"aws:{REGION}:{prefix}/scheduler-prod"


def test_a_stale_version_is_a_conflict_and_changes_nothing(
    place: Destination, console: AwsConsole
) -> None:
    old = place.write(SLOT, OLD, None)
    new = place.write(SLOT, NEW, old)
    assert fault_of(lambda: place.write(SLOT, THIRD, old)) is FaultKind.CONFLICT
    assert fault_of(lambda: place.write(SLOT, THIRD, None)) is FaultKind.CONFLICT
    assert (value_of(place), version_of(place)) == (NEW, new)
    assert len(console.stages()) == 2


def test_somebody_who_writes_between_the_stages_wins_and_nothing_stays_pending(
    place: Destination, way: MeddlingOutbound, console: AwsConsole
) -> None:
    old = place.write(SLOT, OLD, None)
    way.on(MOVE, first(lambda: console.put("theirs")), times=1)
    assert fault_of(lambda: place.write(SLOT, NEW, old)) is FaultKind.CONFLICT
    assert value_of(place) == "theirs"
    assert all("AWSPENDING" not in labels for labels in console.stages().values())


def test_somebody_who_makes_the_secret_at_the_same_time_wins(
    place: Destination, way: MeddlingOutbound, console: AwsConsole
) -> None:
    way.on(CREATE, first(lambda: console.create("theirs")), times=1)
    assert fault_of(lambda: place.write(SLOT, NEW, None)) is FaultKind.CONFLICT
    assert value_of(place) == "theirs"


@pytest.mark.parametrize("is_after", [False, True])
@pytest.mark.parametrize(
    ("part", "nth"), [(GET, 1), (DESCRIBE, 1), (PUT, 1), (GET, 2), (MOVE, 1), (MOVE, 2)]
)
def test_a_write_that_died_at_any_stage_is_done_again_by_doing_it_again(
    way: MeddlingOutbound,
    prefix: str,
    console: AwsConsole,
    part: str,
    nth: int,
    is_after: bool,
) -> None:
    old = open_aws(way, prefix).write(SLOT, OLD, None)
    if nth == 2:
        way.on(part, lambda pass_on: pass_on(), times=1)
    way.on(part, dies_after if is_after else dies_before, times=1)
    with pytest.raises(Killed):
        open_aws(way, prefix).write(SLOT, NEW, old)
    again = open_aws(way, prefix)
    assert value_of(again) in {OLD, NEW}
    new = again.write(SLOT, NEW, old)
    assert (value_of(again), version_of(again)) == (NEW, new)
    stages = console.stages()
    assert "AWSCURRENT" in stages.pop(new)
    assert stages == {old: ["AWSPREVIOUS"]}


def test_a_pending_version_of_an_earlier_value_is_taken_over(
    place: Destination, way: MeddlingOutbound, console: AwsConsole
) -> None:
    old = place.write(SLOT, OLD, None)
    way.on(MOVE, dies_before, times=1)
    with pytest.raises(Killed):
        place.write(SLOT, THIRD, old)
    new = place.write(SLOT, NEW, old)
    assert console.stages()[new] == ["AWSCURRENT"]
    assert value_of(place) == NEW
    third = place.write(SLOT, THIRD, new)
    assert console.stages()[third] == ["AWSCURRENT"]


def test_a_label_that_is_already_there_is_no_conflict(
    place: Destination, way: MeddlingOutbound
) -> None:
    old = place.write(SLOT, OLD, None)

    def moved_already(pass_on: Callable[[], OutboundAnswer]) -> OutboundAnswer:
        pass_on()
        return OutboundAnswer(status=400, headers={}, content=refusal("InvalidParameterException"))

    way.on(MOVE, moved_already, times=1)
    new = place.write(SLOT, NEW, old)
    assert (value_of(place), version_of(place)) == (NEW, new)


def test_the_rotation_of_somebody_else_is_not_cut_short(
    place: Destination, console: AwsConsole
) -> None:
    old = place.write(SLOT, OLD, None)
    console.put("theirs", stage="AWSPENDING")
    before = console.stages()
    assert fault_of(lambda: place.write(SLOT, NEW, old)) is FaultKind.CONFLICT
    assert console.stages() == before
    assert value_of(place) == OLD


@pytest.mark.parametrize("part", [PUT, MOVE])
def test_an_answer_that_is_lost_is_timed_out_and_the_repeat_succeeds(
    place: Destination, way: MeddlingOutbound, part: str
) -> None:
    old = place.write(SLOT, OLD, None)
    way.on(part, loses_the_answer, times=1)
    assert fault_of(lambda: place.write(SLOT, NEW, old)) is FaultKind.TIMED_OUT
    new = place.write(SLOT, NEW, old)
    assert (value_of(place), version_of(place)) == (NEW, new)


def test_a_label_that_stays_pending_is_no_failure(
    place: Destination, way: MeddlingOutbound, console: AwsConsole
) -> None:
    old = place.write(SLOT, OLD, None)
    way.on(MOVE, lambda pass_on: pass_on(), times=1)
    way.on(MOVE, answers(500, b"{}"), times=1)
    new = place.write(SLOT, NEW, old)
    assert value_of(place) == NEW
    third = place.write(SLOT, THIRD, new)
    assert console.stages()[third] == ["AWSCURRENT"]


def test_what_is_accepted_and_not_stored_is_no_success_and_is_not_made_current(
    place: Destination, way: MeddlingOutbound
) -> None:
    old = place.write(SLOT, OLD, None)
    way.on(PUT, answers(200, json.dumps({"VersionId": "x" * 36}).encode()))
    assert fault_of(lambda: place.write(SLOT, NEW, old)) is FaultKind.BROKEN
    assert (value_of(place), version_of(place)) == (OLD, old)


def test_an_old_value_that_is_given_back_is_no_success_and_is_not_made_current(
    place: Destination, way: MeddlingOutbound
) -> None:
    old = place.write(SLOT, OLD, None)
    stored = json.dumps({"VersionId": "x", "SecretString": OLD}).encode()
    way.on(GET, lambda pass_on: pass_on(), times=1)
    way.on(GET, answers(200, stored), times=1)
    assert fault_of(lambda: place.write(SLOT, NEW, old)) is FaultKind.BROKEN
    assert (value_of(place), version_of(place)) == (OLD, old)


def test_a_secret_that_was_made_and_not_stored_is_no_success(
    place: Destination, way: MeddlingOutbound
) -> None:
    way.on(CREATE, answers(200, json.dumps({"VersionId": "x" * 36}).encode()))
    assert fault_of(lambda: place.write(SLOT, NEW, None)) is FaultKind.BROKEN
    assert place.read(SLOT) is None


def test_a_secret_that_is_scheduled_for_deletion_is_told_with_the_way_out(
    place: Destination, console: AwsConsole
) -> None:
    old = place.write(SLOT, OLD, None)
    console.delete()
    assert fault_of(lambda: place.read(SLOT)) is FaultKind.MISSING
    assert fault_of(lambda: place.write(SLOT, NEW, old)) is FaultKind.MISSING
    console.restore()
    assert (value_of(place), version_of(place)) == (OLD, old)


def test_a_secret_without_text_is_not_understood(place: Destination, console: AwsConsole) -> None:
    console.create_binary(b"\x00")
    assert fault_of(lambda: place.read(SLOT)) is FaultKind.NOT_UNDERSTOOD
    assert fault_of(lambda: place.write(SLOT, NEW, None)) is FaultKind.NOT_UNDERSTOOD


class TestField:
    @pytest.fixture
    def place(self, way: MeddlingOutbound, prefix: str) -> Destination:
        return open_aws(way, prefix, field="api_key")

    def test_the_other_members_stay(
        self, place: Destination, console: AwsConsole, prefix: str
    ) -> None:
        console.create('{"user": "us\\u00e9r", "n": [1, {"b": null}]}')
        assert place.read(SLOT) is None
        version = place.write(SLOT, OLD, None)
        place.write(SLOT, NEW, version)
        held = json.loads(console.text() or "")
        assert held == {"user": "usér", "n": [1, {"b": None}], "api_key": NEW}
        assert value_of(place) == NEW
        assert place.locate(SLOT) == f"aws:{REGION}:{prefix}/scheduler-prod#api_key"

    def test_a_secret_that_is_missing_is_made_with_the_member(
        self, place: Destination, console: AwsConsole
    ) -> None:
        place.write(SLOT, NEW, None)
        assert json.loads(console.text() or "") == {"api_key": NEW}

    def test_a_member_that_somebody_else_sets_meanwhile_is_a_conflict(
        self, place: Destination, way: MeddlingOutbound, console: AwsConsole
    ) -> None:
        console.create('{"user": "a"}')
        way.on(MOVE, first(lambda: console.put('{"user": "b"}')), times=1)
        assert fault_of(lambda: place.write(SLOT, NEW, None)) is FaultKind.CONFLICT
        assert json.loads(console.text() or "") == {"user": "b"}

    @pytest.mark.parametrize(
        "text", ["no json", "[]", "7", '"x"', '{"api_key": 7}', '{"api_key": {}}', "[" * 20_000]
    )
    def test_what_is_no_object_with_a_text_is_not_understood_and_stays(
        self, place: Destination, console: AwsConsole, text: str
    ) -> None:
        console.create(text)
        assert fault_of(lambda: place.read(SLOT)) is FaultKind.NOT_UNDERSTOOD
        assert fault_of(lambda: place.write(SLOT, NEW, None)) is FaultKind.NOT_UNDERSTOOD
        assert console.text() == text


class TestRole:
    def test_a_role_is_assumed_once_and_again_when_it_is_old(
        self, way: MeddlingOutbound, prefix: str
    ) -> None:
        clock = FakeClock()
        place = open_aws(way, prefix, role=True, clock=clock)
        place.write(SLOT, NEW, place.write(SLOT, OLD, None))
        assert [STS in sent.line for sent in way.sent].count(True) == 1
        assert b"ExternalId=tests-external" in way.sent[0].content
        assert CREDENTIAL["access_key_id"] in way.sent[0].headers["Authorization"]
        assert CREDENTIAL["access_key_id"] not in way.sent[1].headers["Authorization"]
        clock.advance(3_600_000_000)
        assert value_of(place) == NEW
        assert [STS in sent.line for sent in way.sent].count(True) == 2

    @pytest.mark.parametrize(
        ("status", "content", "kind"),
        [
            (403, b"<E><Error><Code>AccessDenied</Code></Error></E>", FaultKind.DENIED),
            (403, b"<E><Error><Code>InvalidClientTokenId</Code></Error></E>", FaultKind.DENIED),
            (500, b"SECRET", FaultKind.BROKEN),
            (200, b"SECRET", FaultKind.NOT_UNDERSTOOD),
            (200, b"<AssumeRoleResponse/>", FaultKind.NOT_UNDERSTOOD),
        ],
    )
    def test_a_role_that_cannot_be_assumed_is_told_by_its_kind(
        self, way: MeddlingOutbound, prefix: str, status: int, content: bytes, kind: FaultKind
    ) -> None:
        way.on(STS, answers(status, content))
        assert fault_of(lambda: open_aws(way, prefix, role=True).read(SLOT)) is kind


def refusal(code: str) -> bytes:
    return json.dumps({"__type": code, "message": "SECRET of AWS"}).encode()


GARBAGE = [
    (200, b"<html>SECRET</html>", FaultKind.NOT_UNDERSTOOD),
    (200, b"", FaultKind.NOT_UNDERSTOOD),
    (200, b"{}", FaultKind.NOT_UNDERSTOOD),
    (200, b"[1]", FaultKind.NOT_UNDERSTOOD),
    (200, b'{"VersionId": 7, "SecretString": {}}', FaultKind.NOT_UNDERSTOOD),
    (200, b"[" * 20_000, FaultKind.NOT_UNDERSTOOD),
    (200, b"\xff\xfe", FaultKind.NOT_UNDERSTOOD),
    (302, b"", FaultKind.NOT_UNDERSTOOD),
    (400, b"SECRET", FaultKind.NOT_UNDERSTOOD),
    (400, refusal("AccessDeniedException"), FaultKind.DENIED),
    (400, refusal("com.amazonaws#UnrecognizedClientException"), FaultKind.DENIED),
    (400, refusal("ExpiredTokenException"), FaultKind.DENIED),
    (400, refusal("ThrottlingException"), FaultKind.BROKEN),
    (400, refusal("DecryptionFailure"), FaultKind.BROKEN),
    (400, refusal("InvalidRequestException"), FaultKind.MISSING),
    (400, refusal("ValidationException"), FaultKind.NOT_UNDERSTOOD),
    (403, b"SECRET", FaultKind.DENIED),
    (429, b"", FaultKind.BROKEN),
    (500, refusal("InternalServiceError"), FaultKind.BROKEN),
    (503, b"SECRET", FaultKind.BROKEN),
]


@pytest.mark.parametrize(("status", "content", "kind"), GARBAGE)
def test_whatever_answers_a_fault_is_told_by_its_kind_after_one_try(
    place: Destination, way: MeddlingOutbound, status: int, content: bytes, kind: FaultKind
) -> None:
    old = place.write(SLOT, OLD, None)
    way.on(HOST, answers(status, content, location="https://elsewhere.example/"))
    way.sent.clear()
    assert fault_of(lambda: place.read(SLOT)) is kind
    assert fault_of(lambda: place.write(SLOT, NEW, old)) is kind
    assert len(way.sent) == 2
    way.behave()
    assert value_of(place) == OLD


@pytest.mark.parametrize("part", [DESCRIBE, PUT, MOVE])
@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("AccessDeniedException", FaultKind.DENIED),
        ("ThrottlingException", FaultKind.BROKEN),
        ("EncryptionFailure", FaultKind.BROKEN),
        ("LimitExceededException", FaultKind.BROKEN),
        ("ResourceNotFoundException", FaultKind.CONFLICT),
    ],
)
def test_a_stage_that_is_refused_leaves_the_old_value_current(
    place: Destination, way: MeddlingOutbound, part: str, code: str, kind: FaultKind
) -> None:
    old = place.write(SLOT, OLD, None)
    way.on(part, answers(400, refusal(code)))
    assert fault_of(lambda: place.write(SLOT, NEW, old)) is kind
    way.behave()
    assert (value_of(place), version_of(place)) == (OLD, old)
    place.write(SLOT, NEW, old)
    assert value_of(place) == NEW


@pytest.mark.parametrize(
    ("outbound", "kind"),
    [
        (OutboundFaultKind.REFUSED, FaultKind.ADDRESS_REFUSED),
        (OutboundFaultKind.UNREACHABLE, FaultKind.UNREACHABLE),
        (OutboundFaultKind.TIMED_OUT, FaultKind.TIMED_OUT),
        (OutboundFaultKind.NOT_UNDERSTOOD, FaultKind.NOT_UNDERSTOOD),
    ],
)
def test_what_cannot_be_sent_is_told_by_its_kind(
    place: Destination, way: MeddlingOutbound, outbound: OutboundFaultKind, kind: FaultKind
) -> None:
    way.on(HOST, fails(outbound))
    assert fault_of(lambda: place.read(SLOT)) is kind
    assert len(way.sent) == 1


def test_all_requests_of_a_call_share_its_ten_seconds(way: MeddlingOutbound, prefix: str) -> None:
    clock = FakeClock()
    place = open_aws(way, prefix, clock=clock)
    old = place.write(SLOT, OLD, None)
    clock.advance(60_000_000)
    way.sent.clear()
    way.on(HOST, first(lambda: clock.advance(4_000_000)))
    assert fault_of(lambda: place.write(SLOT, NEW, old)) is FaultKind.TIMED_OUT
    assert [sent.seconds for sent in way.sent] == [10.0, 6.0, 2.0]


def test_nothing_of_the_machine_is_used(
    way: MeddlingOutbound, prefix: str, monkeypatch: pytest.MonkeyPatch, tmp_path: object
) -> None:
    for name in ("HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    for name, text in {
        "AWS_ACCESS_KEY_ID": "OTHER",
        "AWS_SECRET_ACCESS_KEY": "other",
        "AWS_SESSION_TOKEN": "other",
        "AWS_PROFILE": "other",
        "AWS_REGION": "us-east-1",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": "http://evil.example",
        "AWS_ENDPOINT_URL_SECRETS_MANAGER": "http://evil.example",
        "AWS_USE_FIPS_ENDPOINT": "true",
        "AWS_USE_DUALSTACK_ENDPOINT": "true",
        "AWS_CA_BUNDLE": "/nonexistent",
        "AWS_MAX_ATTEMPTS": "9",
        "AWS_DEFAULTS_MODE": "auto",
        "AWS_DATA_PATH": str(tmp_path),
        "AWS_CONFIG_FILE": str(tmp_path),
        "HOME": str(tmp_path),
    }.items():
        monkeypatch.setenv(name, text)
    place = open_aws(way, prefix)
    place.write(SLOT, NEW, None)
    assert all(f" {HOST}/" in sent.line for sent in way.sent)
    assert all(CREDENTIAL["access_key_id"] in sent.headers["Authorization"] for sent in way.sent)


def test_nothing_secret_is_logged_at_any_level(
    way: MeddlingOutbound, prefix: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    place = open_aws(way, prefix, role=True)
    place.write(SLOT, NEW, None)
    way.on(HOST, answers(400, refusal("AccessDeniedException")))
    assert fault_of(lambda: place.read(SLOT)) is FaultKind.DENIED
    for secret in (NEW, CREDENTIAL["secret_access_key"], "SECRET", "Signature="):
        assert secret not in caplog.text


FINE = {"region": REGION}
WRONG = [
    ({}, CREDENTIAL, "/config/region"),
    ({"region": "eu-central-1.evil.example/"}, CREDENTIAL, "/config/region"),
    ({"region": 7}, CREDENTIAL, "/config/region"),
    (FINE | {"name": "keyturn"}, CREDENTIAL, "/config/name"),
    (FINE | {"name": "a b/{slot}"}, CREDENTIAL, "/config/name"),
    (FINE | {"field": ""}, CREDENTIAL, "/config/field"),
    (FINE | {"field": "a\nb"}, CREDENTIAL, "/config/field"),
    (FINE | {"endpoint": "https://evil.example/x"}, CREDENTIAL, "/config/endpoint"),
    (FINE | {"endpoint": "https://a:b@evil.example"}, CREDENTIAL, "/config/endpoint"),
    (FINE | {"sts_endpoint": "ftp://evil.example"}, CREDENTIAL, "/config/sts_endpoint"),
    (FINE | {"profile": "x"}, CREDENTIAL, "/config/profile"),
    (
        FINE,
        {"access_key_id": "evil"} | ROLE | {"secret_access_key": "s" * 40},
        "/credential/access_key_id",
    ),
    (
        FINE,
        CREDENTIAL | {"secret_access_key": "evil " * 5},
        "/credential/secret_access_key",
    ),
    (FINE, CREDENTIAL | {"session_token": "evil evil"}, "/credential/session_token"),
    (FINE, CREDENTIAL | {"role_arn": "evil"}, "/credential/role_arn"),
    (FINE, CREDENTIAL | {"external_id": "evil"}, "/credential/external_id"),
    (FINE, CREDENTIAL | {"password": "evil"}, "/credential/password"),
]


@pytest.mark.parametrize(("config", "credential", "pointer"), WRONG)
def test_a_wrong_configuration_is_told_by_pointer_and_repeats_no_credential(
    way: MeddlingOutbound, config: dict[str, object], credential: dict[str, str], pointer: str
) -> None:
    with pytest.raises(ConfigurationFault) as caught:
        AwsKind(way, FakeClock()).check(config, credential)
    assert [at for at, _ in caught.value.faults] == [pointer]
    assert "evil" not in str(caught.value)


def test_the_configuration_has_one_spelling(way: MeddlingOutbound) -> None:
    checked = AwsKind(way, FakeClock()).check(
        {"region": REGION, "endpoint": "http://[::1]:4566/", "field": None}, CREDENTIAL
    )
    assert checked == {
        "region": REGION,
        "name": "keyturn/{slot}",
        "field": None,
        "endpoint": "http://[::1]:4566",
        "sts_endpoint": None,
        "ca_certificate": None,
    }
    assert AwsKind(way, FakeClock()).check(checked, CREDENTIAL) == checked
