"""The parsers of what a call carries: its headers, its cursor, its body."""

import base64
import json
import re
from functools import partial
from random import Random
from typing import Any

import msgspec

from keyturn.domain.error import (
    CredentialAmbiguous,
    CredentialMissing,
    MediaTypeUnsupported,
    RequestInvalid,
    RequestMalformed,
)
from keyturn.domain.network import parse_address
from keyturn.domain.runtime import check_runtime, identify_runtime
from keyturn.http.body import MOST_MEMBERS, check_media_type, parse_json
from keyturn.http.credential import is_in_url, presented_token
from keyturn.http.origin import caller_address
from keyturn.http.paging import decode_cursor, encode_cursor
from keyturn.http.precondition import expected_versions
from keyturn.http.verify import VerifyBody, parse_body
from tests.domain.samples import sample_id
from tests.domain.spec import DIGITS
from tests.fuzz.mutation import drawn, mutate_bytes
from tests.fuzz.reader import Reader
from tests.fuzz.texts import made_token

# --- headers --------------------------------------------------------------------------------------

_ONE, _OTHER = made_token(1), made_token(2)
CREDENTIALS = (
    f"authorization: Bearer {_ONE}", f"x-api-key: {_ONE}",
    f"authorization: Bearer {_ONE}\nx-api-key: {_ONE}",
    f"authorization: bEaReR   {_ONE} \nx-api-key: {_OTHER}",
    "authorization: Basic YTpi", "authorization: Bearer", "authorization: Bearer  ", "x-api-key: ",
    f"authorization: Bearer {_ONE}\nauthorization: Bearer {_OTHER}",
    f"authorization: Token {_OTHER}\nx-api-key: {_ONE}", f"x-api-key: {_ONE}\nx-api-key: {_ONE}",
)  # fmt: skip


def headers_of(given: str) -> list[tuple[bytes, bytes]]:
    """Lines of names and values, as a server hands them on: names in lower case."""
    pairs = (
        line.partition(":")
        for line in given.encode("latin-1", "replace").decode("latin-1").split("\n")
    )
    return [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, _, value in pairs]


_BLANK = " \t\n\r\v\f"


def judge_credential(given: str) -> str:
    headers = headers_of(given)
    told = set()
    for name, value in headers:
        words = value.decode("latin-1").strip(_BLANK)
        if name == b"authorization":
            scheme, _, words = words.partition(" ")
            words = words.strip(_BLANK) if scheme.lower() == "bearer" else ""
        elif name != b"x-api-key":
            words = ""
        told |= {words} - {""}
    try:
        found = presented_token(headers)
    except CredentialMissing:
        assert not told
        return "missing"
    except CredentialAmbiguous:
        assert len(told) > 1
        return "ambiguous"
    assert told == {found}
    assert presented_token(headers[::-1]) == found
    return "token"


TAGS = ('"1"', '*', '"1", "2"', 'W/"3"', '"a,b" ,"2"', ', ,"2",', '""', '"é"', '"01"', '"1" "2"',
        '"999999999999999999"', '"9999999999999999999"', "'1'", 'w/"1"')  # fmt: skip


def read_tags(given: str) -> frozenset[int] | str | None:
    """RFC 9110, 8.8.3 and 5.6.1, one character at a time."""
    if given.strip() == "*":
        return None
    versions, count, rest, is_after = set(), 0, given.strip(), False
    while rest:
        if rest[0] in " \t,":
            is_after = is_after and rest[0] != ","
            rest = rest[1:]
            continue
        is_weak = rest.startswith("W/")
        rest = rest.removeprefix("W/")
        inner, quote, following = rest[1:].partition('"')
        if rest[:1] != '"' or not quote or is_after:
            return "malformed"
        if any(not ("\x21" <= one <= "\x7e" or "\x80" <= one <= "\xff") for one in inner):
            return "malformed"
        if not is_weak and re.fullmatch("[1-9][0-9]{0,17}", inner):
            versions.add(int(inner))
        count, rest, is_after = count + 1, following, True
    return frozenset(versions) if count else "malformed"


def judge_precondition(given: str) -> str:
    told = read_tags(given)
    try:
        found = expected_versions(given)
    except RequestMalformed:
        assert told == "malformed"
        return "malformed"
    assert found == told
    return "any" if found is None else f"{len(found)} versions"


FORWARDED = ("10.0.0.1", "10.0.0.1, 192.0.2.7", "2001:db8::1,10.0.0.1, 10.0.0.2", "unknown",
             "10.0.0.1:80", "[::1]", "::ffff:10.0.0.1", "", ",", " 10.0.0.1 ",
             "10.0.0.1\nx-forwarded-for: 10.0.0.2")  # fmt: skip


def judge_origin(given: str) -> str:
    headers = headers_of("x-forwarded-for:" + given)
    entries: list[str] = []
    for name, value in headers:
        if name == b"x-forwarded-for":
            entries += value.decode("latin-1").split(",")
    peer = ("192.0.2.200", 1)
    assert caller_address(peer, headers, 0) == parse_address("192.0.2.200")
    for hops in (1, 2, 3):
        found = caller_address(peer, headers, hops)
        assert found == parse_address(entries[-hops if hops <= len(entries) else 0].strip())
        # What stands before the trusted hops' own entries changes nothing.
        forged = [(b"x-forwarded-for", b"203.0.113.66, ::2"), *headers]
        if len(entries) >= hops:
            assert caller_address(peer, forged, hops) == found
    return "none" if caller_address(peer, headers, 1) is None else "address"


RUNTIMES = (
    "worker",
    "nightly-batch",
    "ns/app@v1:2",
    "x" * 128,
    "x" * 129,
    "a b",
    "",
    _ONE,
    "ua:curl",
)
_RUNTIME_LETTERS = frozenset(DIGITS + "._:/@-")


def judge_runtime(given: str) -> str:
    inferred = identify_runtime(None, given, None, ())
    assert not inferred.declared
    assert re.fullmatch(r"ua:[A-Za-z0-9._-]{1,64}", inferred.name)
    assert not any(token in given and token[-49:-6] in inferred.name for token in (_ONE, _OTHER))
    is_name = 1 <= len(given) <= 128 and _RUNTIME_LETTERS.issuperset(given)
    try:
        assert check_runtime(given, "/runtime") == given
    except RequestInvalid:
        assert not is_name or _ONE in given or _OTHER in given
        return "refused"
    assert is_name
    return "declared"


MEDIA = ("application/json", "application/json; charset=utf-8", 'application/json;charset="UTF-8"',
         "application/json; charset=latin-1", "text/json", "application/json;a=b; charset=utf8", "",
         "application/problem+json", "application/json, text/html")  # fmt: skip


def judge_media(given: str) -> str:
    headers = [(b"content-type", given.encode("latin-1", "replace"))]
    media_type = given.partition(";")[0].strip().lower()
    try:
        check_media_type(headers)
    except MediaTypeUnsupported:
        assert given != "application/json"
        return "refused"
    assert media_type == "application/json"
    parameters = [part.strip().lower() for part in given.split(";")[1:]]
    assert "charset=latin-1" not in parameters
    return "json"


PATHS = (f"/v1/api-keys/{_ONE}", f"/v1/self?api_key={_ONE}", f"/v1/self?x={_ONE}",
         "/v1/self?a=b",
         "/v1/self?API%5FKEY=1", "/v1/slots/%6b%74_prod", "/v1/self?Access_Token",
         "/v1/%2525252541",
         "/v1/self?x=" + "".join(f"%{ord(one):02x}" for one in _ONE))  # fmt: skip


def judge_url_credential(given: str) -> str:
    raw = given.encode("latin-1", "replace")
    path, _, query = raw.partition(b"?")
    is_found = is_in_url(path, query)
    if any(token.encode() in part for part in (path, query) for token in (_ONE, _OTHER)):
        assert is_found, "a token in the URL is let through"
    # Encoding a part once more never hides anything.
    encoded = "".join(f"%{one:02X}" for one in query).encode()
    if is_found and b"&" not in query and b"=" not in query:
        assert is_in_url(path, encoded)
    assert is_in_url(path, query + b"&api_key=1")
    return "credential" if is_found else "none"


# --- cursors --------------------------------------------------------------------------------------

CURSORS = (
    encode_cursor(str(sample_id())), encode_cursor(1, "a", "b"), encode_cursor(2**63 - 1, "x"),
    encode_cursor(2**63, "x"), encode_cursor(-1, "x"), encode_cursor("a\0"), encode_cursor(), "",
    base64.urlsafe_b64encode(b"[true]").decode(), base64.urlsafe_b64encode(b"[1.0,null]").decode(),
    base64.urlsafe_b64encode(b'[1, "x"]').decode(), base64.urlsafe_b64encode(b"NaN").decode(),
    "A" * 513, base64.urlsafe_b64encode(b"[" * 300).decode(),
)  # fmt: skip
_SHAPES: tuple[tuple[type, ...], ...] = ((str,), (int, str), (int, str, str), ())


def judge_cursor(given: str) -> str:
    outcome = "refused"
    for shape in _SHAPES:
        try:
            parts = decode_cursor(given, *shape)
        except RequestInvalid as refused:
            assert refused.faults[0].pointer == "/cursor"  # noqa: PT017
            continue
        assert parts is not None
        assert outcome == "refused", "one cursor is of two lists"
        assert tuple(map(type, parts)) == shape
        assert all(0 <= part < 2**63 for part in parts if isinstance(part, int))
        assert all(part.isprintable() for part in parts if isinstance(part, str))
        assert decode_cursor(encode_cursor(*parts), *shape) == parts
        outcome = f"{len(parts)} parts"
    return outcome


# --- bodies ---------------------------------------------------------------------------------------

_EDGE = b'{"api_key":"' + b"x" * 2_000 + b'"}'
BODIES = (
    b'{"api_key":"' + _ONE.encode() + b'","scopes":["read"],"ip":"10.0.0.1"}',
    b'{"api_key":"x","headers":{"a":["b",1.5e3,-0,true,null]},"newer":"\xc3\xa9"}',
    b'{"name":"scheduler-prod","scopes":["read","write"],"metadata":{"a":{"b":[1,2,{}]}}}',
    b'{"api_key":"\\ud83d\\ude00","path":"/\\u00e9"}', b'{"api_key":"x","api_key":"y"}',
    b'\xef\xbb\xbf{"api_key":"x"}', b'{"api_key":"x","n":12345678901234567890123}', b"[]", b"null",
    b'{"a":' * 50 + b"1" + b"}" * 50, b"[" * 3_000 + b"]" * 3_000, b' {"api_key" : "x" } ', _EDGE,
    json.dumps({"api_key": "x", **{f"m{n}": n for n in range(MOST_MEMBERS + 2)}}).encode(),
    '{"api_key":"x"}'.encode("utf-16"), b'{"api_key":"x","f":1e308,"g":1e309}',
)  # fmt: skip


def make_body(random: Random) -> bytes:
    sample = random.choice(BODIES)
    return sample if random.random() < 0.1 else mutate_bytes(random, sample)


def strictly(raw: bytes) -> tuple[bool, Any, str]:
    try:
        return True, parse_json(raw), ""
    except RequestMalformed as refused:
        return False, None, refused.detail


# What parsers do not agree on, although the grammar has it: the strict reading refuses it.
_DISAGREED = re.compile("two members|more than 1000|too large|too long|nested too deep")


def judge_body(given: bytes) -> str:
    is_json, value, detail = strictly(given)
    try:
        told = msgspec.json.decode(given)
    except (ValueError, RecursionError):
        # The other reader refuses halves of surrogate pairs, and texts that are no UTF-8.
        assert not is_json or b"\\u" in given or _deep(given)
        return "halves" if is_json else "malformed"
    if not is_json:
        given.decode()
        assert _DISAGREED.search(detail), detail
        return "disagreed on"
    assert told == value
    assert parse_json(json.dumps(value).encode()) == value
    return type(value).__name__


def _deep(given: bytes) -> bool:
    return given.count(b"[") + given.count(b"{") > 100


def judge_question(given: bytes) -> str:
    """The raw endpoint's reader and the strict one agree on what is malformed, but inside members
    that the endpoint does not know and ignores."""
    is_json, value, detail = strictly(given)
    body, fault = parse_body(given, ())
    if body is not None:
        if not is_json:
            given.decode()
            assert _DISAGREED.search(detail), detail
            return "ignored"
        assert isinstance(value, dict)
        for name in VerifyBody.__struct_fields__:
            assert getattr(body, name) == value.get(name)
        return "question"
    if isinstance(fault, RequestMalformed):
        assert not is_json or b"\\u" in given or _deep(given)
        return "malformed"
    assert isinstance(fault, RequestInvalid)
    assert is_json
    assert fault.faults[0].pointer == "" or isinstance(value, dict)
    return "invalid"


def reader(name: str, samples: tuple[str, ...], likely: str, judge: Any) -> Reader[str]:
    return Reader(name=name, make=partial(drawn, samples=samples, likely=likely), judge=judge)


READERS: tuple[Reader[Any], ...] = (
    reader("credential", CREDENTIALS, "Bearer \n:-" + DIGITS, judge_credential),
    reader("precondition", TAGS, '"",,  W/*0123456789', judge_precondition),
    reader("origin", FORWARDED, "0123456789.:, abf", judge_origin),
    reader("runtime", RUNTIMES, DIGITS + "._:/@-", judge_runtime),
    reader("media type", MEDIA, 'aplictonjs/; ="utf-8', judge_media),
    reader("url credential", PATHS, "%0123456789abcdefktprod_=&/?", judge_url_credential),
    reader("cursor", CURSORS, DIGITS + "-_=+/", judge_cursor),
    Reader(name="body", make=make_body, judge=judge_body),
    Reader(name="question", make=make_body, judge=judge_question),
)
