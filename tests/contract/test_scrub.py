"""What was set back or taken out is refused by who has seen what came after it, and found."""

import pytest

from keyturn.domain.error import IntegrityFailed
from keyturn.domain.key import RevocationReason
from keyturn.domain.verdict import VerdictCode
from keyturn.services.revoke import revoke_key
from keyturn.services.scrub import Scrub
from keyturn.storage.memory import Memory, Place, Seen
from keyturn.storage.sealed import Damage
from tests.contract.hostile import Row
from tests.houses import House


def test_an_old_row_whose_later_changes_were_taken_out_is_refused_and_the_gap_found(
    house: House,
) -> None:
    token = house.issue(slot="mine-prod").token
    other = house.issue(slot="other-prod").token
    assert house.verdict(token) is VerdictCode.VALID
    row = Row("keys", {"id": str(token.id)})
    with house.raw() as raw:
        old = row.genuine(raw)
        revoke_key(house.context, house.act(), house.workspace_id, token.id, RevocationReason.OTHER)
        row.restore(raw, old)
        raw.run("DELETE FROM changes WHERE position = (SELECT max(position) FROM changes)")
    assert house.verdict(token) is VerdictCode.UNKNOWN
    fresh = house.again()
    Scrub(fresh.context).step()
    assert fresh.store.memory.fault is not None
    with pytest.raises(IntegrityFailed):
        fresh.issue(slot="new-prod")
    assert fresh.verdict(other) is VerdictCode.VALID
    fresh.close()


def test_a_damaged_row_and_a_deleted_row_that_nobody_reads_are_reported(house: House) -> None:
    edited, deleted = house.issue(slot="a-prod").token.id, house.issue(slot="b-prod").token.id
    house.run("UPDATE keys SET scopes = '[\"*\"]' WHERE id = :id", id=str(edited))
    house.run("DELETE FROM keys WHERE id = :id", id=str(deleted))
    house.damage.clear()
    scrub = Scrub(house.context)
    for _ in range(8):
        scrub.step()
    assert {Damage("key", str(edited)), Damage("key", str(deleted))} <= set(house.damage)
    assert house.store.memory.fault is None
    assert not house.attest().is_sound


def test_a_revived_key_is_found_by_the_attestation_after_its_entries_went(house: House) -> None:
    token = house.issue(slot="mine-prod").token
    row = Row("keys", {"id": str(token.id)})
    with house.raw() as raw:
        old = row.genuine(raw)
        revoke_key(house.context, house.act(), house.workspace_id, token.id, RevocationReason.OTHER)
        raw.run(
            "UPDATE activity SET actor_type = NULL, actor_id = NULL, actor_label = NULL,"
            " action = NULL, category = NULL, resource_type = NULL, resource_id = NULL,"
            " resource_version = NULL, status = NULL, message = NULL, metadata = NULL,"
            " request_id = NULL"
        )
        house.clock.advance(500 * 86_400 * 1_000_000)
        assert house.attest().is_sound
        row.restore(raw, old)
        raw.run("UPDATE changes SET version = 1 WHERE ref = :ref", ref=str(token.id))
    fresh = house.again()
    assert fresh.verdict(token) is VerdictCode.UNKNOWN
    assert not fresh.attest().is_sound
    fresh.close()


def test_who_began_before_a_version_was_seen_may_still_see_the_one_before() -> None:
    memory = Memory()
    mark = memory.mark()
    memory.remember([Seen("key", "a", 2)])
    assert not memory.is_older(Seen("key", "a", 1), mark)
    assert memory.is_older(Seen("key", "a", 1), memory.mark())
    assert not memory.is_older(Seen("key", "a", 2), memory.mark())


def test_the_furthest_place_alone_is_kept() -> None:
    memory = Memory()
    for number in (1, 3, 2):
        memory.expect(Place(number, bytes([number]), number))
    assert memory.newest() == Place(3, b"\x03", 3)
    assert memory.newest(0) is None
