"""What no HTTP library would send, over sockets: each answer is one of ours and tells no secret."""

import random
import re
from collections.abc import Callable

import pytest

from keyturn.domain.redaction import holds_shape
from keyturn.http.body import LARGEST_BYTES
from tests.acceptance.api import Site
from tests.acceptance.raw import RawAnswer, RawConnection
from tests.fuzz.calls import (
    BODIES,
    CREDENTIALS,
    FORWARDED,
    MEDIA,
    RUNTIMES,
    TAGS,
    judge_question,
    make_body,
)
from tests.fuzz.mutation import PLAIN, drawn

SEED = 20_260_101
CALLS = 400
LABEL = re.compile(r"[A-Za-z0-9._-]{1,128}")
VALUES: dict[str, tuple[str, ...]] = {
    "X-Request-Id": ("a", "a.b_c-1", "x" * 128, "x" * 129, "", "é", "a, b"),
    "Authorization": tuple(one.partition(": ")[2] for one in CREDENTIALS if "\n" not in one),
    "X-API-Key": tuple(one.partition(": ")[2] for one in CREDENTIALS if "\n" not in one),
    "Keyturn-Runtime": RUNTIMES,
    "Keyturn-Workspace": (
        "01a20461-6a70-7f68-adac-a19f6e59bfda",
        "7n42DGM5Tflk9n8mt7Fhc7",
        "x",
        "",
    ),
    "If-Match": TAGS,
    "Idempotency-Key": ("a", "x" * 255, "x" * 256, "a b", "é"),
    "X-Forwarded-For": tuple(one for one in FORWARDED if "\n" not in one),
    "Content-Type": MEDIA,
    "Traceparent": ("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", "00", "x"),
    "Content-Encoding": ("gzip", "identity", ""),
    "Prefer": ("respond-async", "x=1"),
    "Expect": ("100-continue", "x"),
}
OpenSite = Callable[..., Site]


@pytest.fixture
def site(open_shared_site: OpenSite) -> Site:
    return open_shared_site("sqlite")


def sent(
    site: Site, target: str, *headers: str, method: str = "GET", body: bytes = b""
) -> RawAnswer:
    with RawConnection(site.server.port) as connection:
        connection.request(target, *headers, method=method, body=body)
        answer = connection.answer()
        while answer.status == 100:
            answer = connection.answer()
        return answer


def check_answer(answer: RawAnswer, place: str) -> None:
    assert answer.status < 500, place
    assert LABEL.fullmatch(answer.headers["x-request-id"]), place
    is_told = holds_shape(answer.body.decode() + str(answer.headers))
    assert is_told == (answer.status == 201), place  # a key's creation alone tells a token
    if answer.status >= 400:
        assert answer.headers["content-type"] == "application/problem+json", place
        assert answer.json()["status"] == answer.status, place
        assert answer.json()["request_id"] == answer.headers["x-request-id"], place


@pytest.mark.parametrize("name", VALUES)
def test_whatever_stands_in_a_header_the_answer_is_one_of_ours(site: Site, name: str) -> None:
    source = random.Random(f"{name} {SEED}")
    token = site.workspace().admin.token
    statuses = set()
    for _ in range(CALLS // len(VALUES)):
        drawn_value = (
            drawn(source, VALUES[name], PLAIN).encode("latin-1", "replace").decode("latin-1")
        )
        value = re.sub("[\r\n]", "", drawn_value)
        answer = sent(site, "/v1/self", f"Authorization: Bearer {token}", f"{name}: {value}")
        check_answer(answer, f"{name}: {len(value)} characters, seed {SEED}")
        statuses.add(answer.status)
        is_http = not re.search("[\0-\x08\x0b-\x1f\x7f]", value)
        is_label = LABEL.fullmatch(value.strip(" \t")) and not holds_shape(value)
        if name == "X-Request-Id" and is_http and answer.status == 200:
            assert (answer.headers["x-request-id"] == value.strip(" \t")) == bool(is_label)
        if name in ("Traceparent", "X-Forwarded-For", "Prefer", "X-Request-Id") and is_http:
            assert answer.status == 200
    assert statuses


def test_both_readers_of_json_refuse_the_same_bodies_over_the_wire(site: Site) -> None:
    source = random.Random(SEED)
    token = site.workspace().admin.token
    for raw in (*BODIES, *(make_body(source) for _ in range(100))):
        if not raw:
            continue  # no body at all is another fault
        told = judge_question(raw)
        for target in ("/v1/verify", "/v1/api-keys"):
            answer = sent(
                site,
                target,
                f"Authorization: Bearer {token}",
                "Content-Type: application/json",
                f"Content-Length: {len(raw)}",
                method="POST",
                body=raw,
            )
            check_answer(answer, f"{target}, {len(raw)} bytes, {told}")
            if told == "malformed" and b"\\u" not in raw:
                assert (answer.status, answer.code) == (400, "request.malformed"), target
            elif told in ("question", "invalid"):
                assert answer.status in (200, 201, 422), target


@pytest.mark.parametrize("target", ["/v1/verify", "/v1/api-keys"])
@pytest.mark.parametrize("more", [-1, 0, 1])
def test_a_body_of_one_mebibyte_is_read_and_one_byte_more_is_not(
    site: Site, target: str, more: int
) -> None:
    body = b'{"api_key": "' + b"x" * (LARGEST_BYTES + more - 15) + b'"}'
    assert len(body) == LARGEST_BYTES + more
    answer = sent(
        site,
        target,
        f"Authorization: Bearer {site.workspace().admin.token}",
        f"Content-Length: {len(body)}",
        method="POST",
        body=body,
    )
    assert answer.status == (413 if more > 0 else {"/v1/verify": 200}.get(target, 422))
