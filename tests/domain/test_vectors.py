"""The vectors: a second reading of the specification agrees with them, and so does the product."""

import itertools
import json
from typing import Any
from uuid import UUID

import pytest

from keyturn.domain.activity import (
    GENESIS,
    ActivityStatus,
    Actor,
    ActorType,
    Category,
    Entry,
    LoggedChange,
    chain,
)
from keyturn.domain.base62 import encode_uuid
from keyturn.domain.digest import PepperRing
from keyturn.domain.seal import Cell, Sealer
from keyturn.domain.token import make_token, parse_token
from tests.domain import spec


def cases(name: str, member: str, label: str) -> list[Any]:
    """The vectors as parameters, each called by its `label`."""
    found: Any = spec.vectors(name)[member]
    return [pytest.param(case, id=f"{number}-{case[label]}") for number, case in enumerate(found)]


Vector = dict[str, Any]


@pytest.mark.parametrize("name", ["token", "digest", "seal", "activity"])
def test_each_file_of_vectors_says_what_it_is(name: str) -> None:
    assert spec.vectors(name)["about"]


# --- tokens ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", cases("token", "valid", "hint"))
def test_a_token_has_the_parts_that_its_vector_says(case: Vector) -> None:
    read = spec.read_token(case["token"])
    assert read is not None
    assert read.brand == case["brand"]
    assert read.environment == case["environment"]
    assert read.id == UUID(case["id"]).int
    assert read.secret_value == int(case["secret_hex"], 16)
    joined = case["id_base62"] + case["secret_base62"] + case["checksum"]
    assert case["token"] == f"{case['brand']}_{case['environment']}_{joined}"
    assert case["hint"] == f"{case['brand']}_{case['environment']}_{case['id_base62']}"

    token = parse_token(case["token"])
    assert token is not None
    assert token.brand == case["brand"]
    assert token.environment == case["environment"]
    assert token.id == UUID(case["id"])
    assert encode_uuid(token.id) == case["id_base62"]
    assert token.secret() == case["secret_base62"].encode("ascii")
    assert token.hint == case["hint"]
    assert token.reveal() == case["token"]


@pytest.mark.parametrize("case", cases("token", "valid", "hint"))
def test_a_token_is_made_as_its_vector_says(case: Vector) -> None:
    made = make_token(
        brand=case["brand"],
        environment=case["environment"],
        id=UUID(case["id"]),
        secret=bytes.fromhex(case["secret_hex"]),
    )
    assert made.reveal() == case["token"]
    written = spec.write_token(
        case["brand"], case["environment"], UUID(case["id"]).int, int(case["secret_hex"], 16)
    )
    assert written == case["token"]


@pytest.mark.parametrize("case", cases("token", "malformed", "reason"))
def test_a_malformed_token_is_refused(case: Vector) -> None:
    assert spec.read_token(case["token"]) is None
    assert parse_token(case["token"]) is None


def test_malformed_vectors_differ_from_one_another() -> None:
    malformed: Any = spec.vectors("token")["malformed"]
    assert len({case["token"] for case in malformed}) == len(malformed) > 50
    assert len({case["reason"] for case in malformed}) == len(malformed)


# --- digests --------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", cases("digest", "cases", "peppers"))
def test_a_digest_is_made_as_its_vector_says(case: Vector) -> None:
    file: Any = spec.vectors("digest")
    peppers = {version: bytes.fromhex(pepper) for version, pepper in file["peppers"].items()}
    workspace_id, key_id = UUID(case["workspace_id"]), UUID(case["key_id"])
    secret, digest = case["secret"].encode("ascii"), bytes.fromhex(case["digest"])
    assert digest == spec.digest(peppers, case["peppers"], workspace_id.bytes, key_id.bytes, secret)

    ring = PepperRing({int(version): pepper for version, pepper in peppers.items()}, 1)
    assert ring.matches(
        digest, case["peppers"], workspace_id=workspace_id, id=key_id, secret=secret
    )
    if "+" not in case["peppers"]:
        current = int(case["peppers"])
        alone = PepperRing({current: peppers[case["peppers"]]}, current)
        made = alone.make(workspace_id=workspace_id, id=key_id, secret=secret)
        assert made == (digest, case["peppers"])


def test_a_wrapped_digest_is_made_of_the_one_before_it_as_its_vector_says() -> None:
    file: Any = spec.vectors("digest")
    peppers = {int(version): bytes.fromhex(text) for version, text in file["peppers"].items()}
    by_peppers = {
        (case["key_id"], case["workspace_id"], case["secret"], case["peppers"]): case
        for case in file["cases"]
    }
    wrapped = 0
    for (key_id, workspace_id, secret, applied), case in by_peppers.items():
        inner = by_peppers.get((key_id, workspace_id, secret, "1"))
        if applied == "1+2" and inner is not None:
            stored = bytes.fromhex(inner["digest"])
            ids = {"workspace_id": UUID(workspace_id), "id": UUID(key_id)}
            made = PepperRing(peppers, 2).wrap(stored, "1", **ids)
            assert made == (bytes.fromhex(case["digest"]), "1+2")
            wrapped += 1
    assert wrapped


# --- seals ----------------------------------------------------------------------------------------


def value(described: dict[str, str]) -> Cell:
    match described["type"]:
        case "null":
            return None
        case "integer":
            return int(described["value"])
        case "float":
            return float(described["value"])
        case "bytes":
            return bytes.fromhex(described["value"])
        case _:
            return described["value"]


@pytest.mark.parametrize("case", cases("seal", "rows", "table"))
def test_a_row_is_sealed_as_its_vector_says(case: Vector) -> None:
    file: Any = spec.vectors("seal")
    key = bytes.fromhex(file["key"])
    encoding = spec.row_encoding(case["table"], case["row"])
    assert encoding.hex() == case["encoding"]
    assert spec.seal(key, encoding).hex() == case["seal"]

    row = {column: value(described) for column, described in case["row"].items()}
    assert Sealer(key).seal(case["table"], row).hex() == case["seal"]


def test_no_two_rows_of_the_vectors_share_a_seal() -> None:
    rows: Any = spec.vectors("seal")["rows"]
    assert len({row["seal"] for row in rows}) == len(rows)


# --- activity -------------------------------------------------------------------------------------


def entry(content: dict[str, Any]) -> Entry:
    actor_id, workspace_id = content["actor_id"], content["workspace_id"]
    return Entry(
        id=UUID(content["id"]),
        workspace_id=None if workspace_id is None else UUID(workspace_id),
        actor=Actor(
            type=ActorType(content["actor_type"]),
            id=None if actor_id is None else UUID(actor_id),
            label=content["actor_label"],
        ),
        action=content["action"],
        category=Category(content["category"]),
        resource_type=content["resource_type"],
        resource_id=content["resource_id"],
        resource_version=content["resource_version"],
        status=ActivityStatus(content["status"]),
        message=content["message"],
        metadata=content["metadata"],
        request_id=content["request_id"],
        retention_days=content["retention_days"],
        created_at=content["created_at"],
        expires_at=content["expires_at"],
        position=content["position"],
    )


@pytest.mark.parametrize("case", cases("activity", "chain", "number"))
def test_an_entry_is_written_and_chained_as_its_vector_says(case: Vector) -> None:
    content = case["content"].encode("ascii")
    canonical = json.dumps(case["entry"], sort_keys=True, separators=(",", ":"))
    assert canonical == case["content"]
    hash_of_content = spec.content_hash(content)
    assert hash_of_content.hex() == case["content_hash"]
    previous = bytes.fromhex(case["previous_hash"])
    number, expires_at = case["number"], case["expires_at"]
    change = case["change"]
    spelled = spec.link_hash(previous, number, expires_at, hash_of_content, change)
    assert spelled.hex() == case["hash"]

    product = entry(case["entry"])
    assert product.content() == content
    assert product.content_hash() == hash_of_content
    logged = None if change is None else LoggedChange(*change)
    made = chain(previous, number, expires_at, product.content_hash(), logged)
    assert made.hex() == case["hash"]


def test_the_chain_of_the_vectors_holds_from_zero_on() -> None:
    links: Any = spec.vectors("activity")["chain"]
    assert len(links) == 3
    assert links[0]["previous_hash"] == GENESIS.hex() == "00" * 32
    for number, (before, after) in enumerate(itertools.pairwise(links), start=1):
        assert after["previous_hash"] == before["hash"]
        assert before["number"] == number
