"""The parsers of the domain, each against a second reading: of `tests.domain.spec`, of the standard
library, or of the rule itself."""

import ipaddress
import json
import re
from datetime import UTC, datetime, timedelta
from functools import partial
from random import Random
from typing import Any
from urllib.parse import urlsplit

from keyturn.domain.error import RequestInvalid
from keyturn.domain.identity import parse_id
from keyturn.domain.instant import format_instant, parse_instant
from keyturn.domain.metadata import DEEPEST, LARGEST_BYTES, encode_metadata
from keyturn.domain.network import (
    check_networks,
    holds_address,
    holds_networks,
    parse_address,
    parse_network,
)
from keyturn.domain.permission import Permission, check_permissions, holds_permission
from keyturn.domain.redaction import find_token, redact
from keyturn.domain.scope import check_scopes, holds_scope
from keyturn.domain.slot import (
    DEFAULT_ENVIRONMENT,
    KNOWN_ENVIRONMENTS,
    SlotName,
    infer_slot_name,
)
from keyturn.domain.text import check_url
from keyturn.domain.token import make_token, parse_token
from keyturn.testing import SeededEntropy
from tests.domain.samples import sample_id
from tests.domain.spec import DIGITS, from_base62, read_token, write_token
from tests.fuzz.mutation import PLAIN, drawn, letter, text
from tests.fuzz.reader import Reader

BRANDS = ("kt", "acme", "zzzzzzzz", "ab")
ENVIRONMENTS = ("prod", "0", "operator", "zzzzzzzzzzzzzzzz")
_TOKENS = 200


def made_token(number: int) -> str:
    token = make_token(
        brand=BRANDS[number % 4],
        environment=ENVIRONMENTS[number // 4 % 4],
        id=sample_id(number),
        secret=SeededEntropy(number).take(32),
    )
    return token.reveal()


TOKENS = (
    *(made_token(number) for number in range(_TOKENS)),
    write_token("kt", "prod", 0, 0),
    write_token("kt", "prod", 2**128 - 1, 2**256 - 1),
    write_token("kt", "prod", 62**22 - 1, 62**43 - 1),  # sums right, values too large
    write_token("kt", "prod", 2**128, 1),
    write_token("kt", "prod", 1, 2**256),
)


def judge_token(given: str) -> str:
    token, parts = parse_token(given), read_token(given)
    assert (token is None) == (parts is None)
    if token is None or parts is None:
        return "malformed"
    assert token.reveal() == given
    assert (token.brand, token.environment, token.id.int) == parts[:3]
    assert token.secret() == parts.secret.encode()
    assert parts.secret not in f"{token} {token!r} {token.hint}"
    assert parse_token(given, brand=token.brand) is not None
    assert parse_token(given, brand=token.brand + "x") is None
    random = Random(given)
    at, other = random.randrange(len(given)), letter(random, DIGITS + "_")
    if other != given[at]:
        assert parse_token(given[:at] + other + given[at + 1 :]) is None
    return "token"


def judge_id(given: str) -> str:
    id_ = parse_id(given)
    if re.fullmatch(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}", given):
        assert id_ is not None
        assert str(id_) == given.lower()
        return "canonical"
    is_short = len(given) == 22 and set(DIGITS).issuperset(given) and from_base62(given) < 2**128
    assert (id_ is not None) == is_short
    assert id_ is None or id_.int == from_base62(given)
    return "short" if is_short else "none"


# --- scopes and permissions -----------------------------------------------------------------------

SCOPES = ("*", "read", "pins:publish", "pins:*", "a:b:c:*", "A.b_c/d-e", "x" * 128, "x" * 129)
_SCOPE_LETTERS = frozenset(DIGITS + "._/-")


def is_scope(given: str) -> bool:
    """From the wire contract and the error's own words, with no regular expression."""
    if given == "*":
        return True
    parts = given.split(":")
    if len(parts) > 1 and parts[-1] == "*":
        parts.pop()
    return len(given) <= 128 and all(
        part and part[0] in DIGITS and _SCOPE_LETTERS.issuperset(part) for part in parts
    )


def judge_scope(given: str) -> str:
    try:
        kept = check_scopes([given, "read", given])
    except RequestInvalid as refused:
        assert not is_scope(given) or find_token(given) is not None
        pointers = {fault.pointer for fault in refused.faults}
        assert pointers == {"/scopes/0", "/scopes/2"}
        return "refused"
    assert is_scope(given)
    assert kept == tuple(sorted({given, "read"})) == check_scopes(kept)
    assert holds_scope([given], given)
    assert holds_scope(["*"], given)
    for asked in ("read", "pins:publish", "pinsx", given + "x", given + ":x"):
        is_within = given in (asked, "*") or (given[-1] == "*" and asked.startswith(given[:-1]))
        assert holds_scope([given], asked) == is_within
    return "pattern" if given.endswith("*") else "scope"


PERMISSIONS = (
    *Permission,
    "keys:write@scheduler-*",
    "keys:read@scheduler-prod",
    "verify@*",
    "requests:read@a*",
    "keys:write@" + "a" * 81,
)
SLOTS = ("scheduler-prod", "scheduler-dev", "a-b", "ab-c", "b-a", "schedulerx-prod", "0-0")
_PATTERN_LETTERS = frozenset("abcdefghijklmnopqrstuvwxyz0123456789-")


def is_permission(given: str) -> bool:
    name, at, pattern = given.partition("@")
    if name not in set(Permission):
        return False
    if not at:
        return True
    stem = pattern.removesuffix("*")
    return (
        name not in ("admin", "activity:read")
        and pattern != ""
        and len(stem) <= 81
        and _PATTERN_LETTERS.issuperset(stem)
        and not stem.startswith("-")
    )


def reach(permission: str) -> set[tuple[str, str]]:
    """What a permission allows, spelled out for a few slots."""
    name, at, pattern = permission.partition("@")
    names = [one.value for one in Permission] if name == "admin" else [name]
    return {
        (one, slot)
        for one in names
        for slot in SLOTS
        if not at or slot == pattern or (pattern.endswith("*") and slot.startswith(pattern[:-1]))
    }


def judge_permission(given: str) -> str:
    try:
        kept = check_permissions([given])
    except RequestInvalid:
        assert not is_permission(given)
        return "refused"
    assert is_permission(given)
    assert kept == (given,)
    assert holds_permission([given], given)
    for other in PERMISSIONS:
        # What is held reaches all that is given by it. (The converse would need all slots.)
        if holds_permission([given], other):
            assert reach(other) - {("admin", slot) for slot in SLOTS} <= reach(given)
        if holds_permission([other], given):
            assert reach(given) - {("admin", slot) for slot in SLOTS} <= reach(other)
    return "narrowed" if "@" in given else "whole"


# --- addresses and networks -----------------------------------------------------------------------

ADDRESSES = (
    "10.0.0.1", "0.0.0.0", "255.255.255.255", "192.0.2.1", "::", "::1", "2001:db8::1",
    "::ffff:10.0.0.1", "::ffff:a00:1", "fe80::1%eth0", "2001:db8:0:0:0:0:0:1", "1.2.3", "010.0.0.1",
    "64:ff9b::10.0.0.1",
)  # fmt: skip
NETWORKS = (
    "10.0.0.0/8", "0.0.0.0/0", "10.0.0.1", "10.0.0.1/32", "10.0.0.1/8", "::/0", "2001:db8::/32",
    "::ffff:10.0.0.0/104", "::ffff:0:0/96", "::ffff:0:0/95", "10.0.0.0/255.0.0.0",
    "10.0.0.0/0.255.255.255", "10.0.0.0/33", "2001:db8::1/64", "10.0.0.0/08", "::/128",
)  # fmt: skip
_PROBES = tuple(
    address
    for address in map(parse_address, ("10.0.0.1", "10.255.0.1", "192.0.2.1", "::1", "2001:db8::1"))
    if address is not None
)
_MAPPED = ipaddress.IPv6Network("::ffff:0:0/96")


def judge_address(given: str) -> str:
    found = parse_address(given)
    try:
        told = ipaddress.ip_address(given)
    except ValueError:
        assert found is None
        return "refused"
    if "%" in given:
        assert found is None
        return "zoned"
    assert found is not None
    if told.version == 6 and told in _MAPPED:
        assert found == ipaddress.IPv4Address(int(told) & 0xFFFF_FFFF)
        return "mapped"
    assert found == told
    assert parse_address(str(found)) == found
    return f"IPv{told.version}"


def bounds(network: ipaddress.IPv4Network | ipaddress.IPv6Network) -> tuple[int, int]:
    """First and last address as numbers, IPv4 as mapped into IPv6."""
    base = 0xFFFF_0000_0000 if network.version == 4 else 0
    return base + int(network.network_address), base + int(network.broadcast_address)


def judge_network(given: str) -> str:
    found = parse_network(given)
    try:
        told = ipaddress.ip_network(given, strict=True)
    except ValueError:
        assert found is None
        return "refused"
    if "%" in given:
        assert found is None
        return "zoned"
    assert found is not None
    assert bounds(found) == bounds(told)
    (kept,) = check_networks([given, given])
    assert parse_network(kept) == found
    first, last = bounds(found)
    for address in _PROBES:
        number = int(address) + (0xFFFF_0000_0000 if address.version == 4 else 0)
        # IPv4 is not taken to lie in `::/0`: a block of one kind holds addresses of that kind.
        is_within = address.version == found.version and first <= number <= last
        assert holds_address((kept,), address) == is_within
    for other in ("10.0.0.0/8", "0.0.0.0/0", "2001:db8::/32", "::/0", "10.0.0.1/32"):
        outer = ipaddress.ip_network(other)
        is_inside = outer.version == found.version and (
            bounds(outer)[0] <= first and last <= bounds(outer)[1]
        )
        assert holds_networks((other,), (kept,)) == is_inside
    return f"IPv{found.version}"


# --- instants -------------------------------------------------------------------------------------

INSTANTS = (
    "2027-01-31T12:00:00Z", "2027-01-31t12:00:00.123456789z", "1970-01-01T00:00:00+00:00",
    "0001-01-01T00:00:00Z", "9999-12-31T23:59:59.999999Z", "0001-01-01T00:00:00+14:00",
    "9999-12-31T23:59:59-00:01", "2024-02-29T23:59:60Z", "2023-02-29T00:00:00Z",
    "2027-01-31T24:00:00Z", "2027-01-31T12:00:00", "2027-01-31 12:00:00Z", "2027-W01-1T00:00:00Z",
    "2027-01-31T12:00:00,5Z", "2027-01-31T12:00:00+23:59", "2027-01-31T12:00:00-00:00",
)  # fmt: skip
_INSTANT = re.compile(
    r"([0-9]{4})-([0-9]{2})-([0-9]{2})[Tt]([0-9]{2}):([0-9]{2}):([0-9]{2})(?:\.([0-9]{1,9}))?"
    r"(?:[Zz]|([+-])([0-9]{2}):([0-9]{2}))"
)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_YEAR_ONE = datetime(1, 1, 1, tzinfo=UTC)
_SECONDS_OF_ALL_YEARS = 315_537_897_600


def days_of(year: int, month: int, day: int) -> int | None:
    """Days from 1970-01-01 by the calendar's own rule, None for a day that is none."""
    leap = year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
    lengths = (31, 29 if leap else 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
    if not (year >= 1 and 1 <= month <= 12 and 1 <= day <= lengths[month - 1]):
        return None
    before = year - 1
    whole = before * 365 + before // 4 - before // 100 + before // 400
    return whole + sum(lengths[: month - 1]) + day - 1 - 719_162


def read_instant(given: str) -> int | None:
    match = _INSTANT.fullmatch(given)
    if match is None:
        return None
    year, month, day, hour, minute, second = map(int, match.groups()[:6])
    days = days_of(year, month, day)
    ahead = 0
    if match[8]:
        if int(match[9]) > 23 or int(match[10]) > 59:
            return None
        ahead = (int(match[9]) * 60 + int(match[10])) * (60 if match[8] == "+" else -60)
    if days is None or hour > 23 or minute > 59 or second > 59:
        return None
    seconds = days * 86_400 + hour * 3_600 + minute * 60 + second - ahead
    start = (_YEAR_ONE - _EPOCH) // timedelta(seconds=1)
    if not start <= seconds < start + _SECONDS_OF_ALL_YEARS:
        return None
    return seconds * 1_000_000 + int((match[7] or "").ljust(9, "0")[:6])


def judge_instant(given: str) -> str:
    told = read_instant(given)
    try:
        found = parse_instant(given)
    except ValueError:
        assert told is None
        return "refused"
    assert found == told
    spelled = format_instant(found)
    assert parse_instant(spelled) == found
    assert len(spelled) == 27
    return "UTC" if given[-1] in "Zz" else "offset"


# --- slots, addresses of runbooks, metadata -------------------------------------------------------

NAMES = ("scheduler-prod", "a-0", "Nightly Batch-CI", "x" * 63 + "-prod", "--a--prod", "a-operator",
         "prod", "-prod", "Straße-dev", "a-b-c-staging", "\u017f-prod", "\u0130-prod")  # fmt: skip
KNOWN = frozenset(KNOWN_ENVIRONMENTS)
_LOWER = frozenset("abcdefghijklmnopqrstuvwxyz0123456789")


def is_slot(given: str) -> bool:
    service, dash, environment = given.rpartition("-")
    return (
        dash == "-"
        and 1 <= len(service) <= 63
        and (_LOWER | {"-"}).issuperset(service)
        and "-" not in (service[0], service[-1])
        and 1 <= len(environment) <= 16
        and _LOWER.issuperset(environment)
        and environment != "operator"
    )


def judge_slot(given: str) -> str:
    found = SlotName.parse(given)
    assert (found is not None) == is_slot(given)
    assert found is None or str(found) == given
    try:
        inferred = infer_slot_name(given, KNOWN)
    except RequestInvalid:
        # No service without a letter or a digit of ASCII.
        environment = given.lower().rpartition("-")[2]
        rest = given.lower().rpartition("-")[0] if environment in KNOWN else given.lower()
        assert not _LOWER.intersection(rest)
        return "no service"
    assert SlotName.parse(str(inferred)) == inferred
    last = given.lower().rpartition("-")
    is_known = last[1] == "-" and last[2] in KNOWN
    assert inferred.environment == (last[2] if is_known else DEFAULT_ENVIRONMENT)
    if found is not None and is_known and "--" not in given:
        assert inferred == found
    return "slot" if found is not None else "label"


URLS = ("https://wiki.example.com/runbook", "http://[2001:db8::1]:80/a?b#c", "http://a",
        "https://a@b",
        "http://[::", "http://a:99999/", "HTTP://a", "http://\u2100", "https://a/\u200b",
        "http://a\\b")  # fmt: skip


def judge_url(given: str) -> str:
    try:
        kept = check_url(given, "/runbook_url")
    except RequestInvalid:
        return "refused"
    told = urlsplit(kept)  # raises where it is none
    assert told.scheme in ("http", "https")
    assert told.hostname
    assert told.username is None
    assert told.password is None
    assert not re.search(r"[\x00-\x20\x7f]", kept)
    assert check_url(kept, "") == kept
    return "bracketed" if "[" in told.netloc else "url"


METADATA = ('{"team":"a","n":1}', '{"a":{"b":[1,2.5,null,true,"x"]}}', "{}",
            '{"a":' * 15 + "1" + "}" * 15,
            '{"a":' * 18 + "1" + "}" * 18, '{"a":"' + "x" * 4088 + '"}',
            '{"a":"' + "é" * 2044 + '"}',
            '{"a":"\\ud800"}', '{"a":"\\u0000"}', '{"a":NaN}', '{"a":1e400}',
            '{"a":1' + "0" * 4000 + "}",
            '{"a":"' + made_token(1) + '"}', '{"' + made_token(2) + '":1}')  # fmt: skip


def depth_of(value: Any) -> int:
    match value:
        case dict():
            return 1 + max(map(depth_of, value.values()), default=0)
        case list():
            return 1 + max(map(depth_of, value), default=0)
        case _:
            return 0


def judge_metadata(given: str) -> str:
    try:
        value = json.loads(given)
    except (ValueError, RecursionError):
        return "no JSON"
    if not isinstance(value, dict):
        return "no object"
    try:
        kept = encode_metadata(value)
    except RequestInvalid as refused:
        assert refused.faults[0].pointer == "/metadata"  # noqa: PT017
        spelled = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
        assert (
            len(spelled.encode(errors="surrogatepass")) > LARGEST_BYTES
            or depth_of(value) > DEEPEST
            or re.search("\\\\u0000|[\ud800-\udfff]|NaN|Infinity", spelled)
            or find_token(spelled) is not None
        )
        return "refused"
    assert json.loads(kept) == value
    assert encode_metadata(json.loads(kept)) == kept
    assert len(kept.encode()) <= LARGEST_BYTES
    assert depth_of(value) <= DEEPEST
    assert find_token(kept) is None
    return "metadata"


# --- redaction ------------------------------------------------------------------------------------

_AROUND = DIGITS + "_____ -.:/\"'=&%\n\\"


def make_leak(random: Random) -> str:
    """A text with tokens in it, run together with other text or with each other."""
    pieces = []
    for _ in range(random.randrange(1, 4)):
        pieces.append(text(random, _AROUND, 12))
        pieces.append(random.choice(TOKENS[:_TOKENS]))
        if random.random() < 0.3:  # mistyped within its checksum, or cut off in it
            pieces[-1] = pieces[-1][: -random.randrange(1, 6)] + random.choice(("", "a", "_", "é"))
    pieces.append(text(random, _AROUND, 12))
    return "".join(pieces)


_SECRETS = tuple(token[-49:-6] for token in TOKENS[:_TOKENS])


def judge_redaction(given: str) -> str:
    kept = redact(given)
    there = [secret for secret in _SECRETS if secret in given]
    assert not any(secret in kept for secret in there), "a secret is left"
    assert find_token(kept) is None
    assert redact(kept) == kept
    whole = [token for token in TOKENS[:_TOKENS] if token in given]
    assert not whole or find_token(given) is not None
    return f"{len(there)} secrets"


def reader(name: str, samples: tuple[str, ...], likely: str, judge: Any) -> Reader[str]:
    return Reader(name=name, make=partial(drawn, samples=samples, likely=likely), judge=judge)


IDS = (
    *(str(sample_id(n)) for n in range(4)),
    "0" * 22, "7n42DGM5Tflk9n8mt7Fhc7", "7n42DGM5Tflk9n8mt7Fhc8", "z" * 22,
)  # fmt: skip

READERS: tuple[Reader[str], ...] = (
    reader("token", TOKENS, DIGITS + "_", judge_token),
    reader("id", IDS, "0123456789abcdefABCDEF-", judge_id),
    reader("scope", SCOPES, DIGITS + "::**._/-", judge_scope),
    reader("permission", PERMISSIONS, "adminkeys:read@*-0", judge_permission),
    reader("address", ADDRESSES, "0123456789abcdef:.%", judge_address),
    reader("network", NETWORKS, "0123456789abcdef:./", judge_network),
    reader("instant", INSTANTS, "0123456789-:.TZ+", judge_instant),
    reader("slot", NAMES, PLAIN, judge_slot),
    reader("url", URLS, "htps:/.[]@:?#a0", judge_url),
    reader("metadata", METADATA, '{}[]":,019.eE-ntfa\\u', judge_metadata),
    Reader(name="redaction", make=make_leak, judge=judge_redaction),
)
