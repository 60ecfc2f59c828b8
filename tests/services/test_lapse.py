"""Waivers of the checklist that ran out: found while they matter, and no longer."""

from uuid import UUID

from keyturn.domain.finding import Cause, FindingKind
from keyturn.domain.instant import DAY
from keyturn.domain.key import RevocationReason
from keyturn.domain.posture.check import CheckId
from keyturn.domain.slot import SlotName
from keyturn.services.lapse import TOLD_DAYS, lapse_causes
from keyturn.services.revoke import revoke_key
from keyturn.services.waive import WaiverDraft, end_waiver, waive_check
from tests.houses import House

A_PROD = SlotName(service="a", environment="prod")


def waive(house: House, *, key_id: UUID | None = None, slot: SlotName | None = None) -> UUID:
    """Waives a check for a day."""
    asked = WaiverDraft(
        check=CheckId.NETWORKS,
        key_id=key_id,
        slot=slot,
        reason="until the move",
        until=house.clock.now() + DAY,
    )
    return waive_check(house.context, house.act(), house.workspace_id, asked).id


def found(house: House) -> list[Cause]:
    with house.store.read() as transaction:
        return lapse_causes(transaction, house.workspace_id, house.clock.now())


def test_a_waiver_that_ran_out_is_found_for_a_month(house: House) -> None:
    key = house.issue(slot=str(A_PROD)).view.key
    waivers = [waive(house, key_id=key.id), waive(house, slot=A_PROD), waive(house)]
    assert found(house) == []
    house.clock.advance(DAY)
    causes = found(house)
    assert {cause.evidence["waiver_id"] for cause in causes} == {str(id_) for id_ in waivers[:2]}
    assert {cause.subject_id for cause in causes} == {str(key.id), str(A_PROD)}
    assert {cause.kind for cause in causes} == {FindingKind.POSTURE_WAIVER_EXPIRED}
    assert {cause.slot for cause in causes} == {A_PROD}
    house.clock.advance(TOLD_DAYS * DAY)
    assert found(house) == []


def test_what_is_waived_anew_or_was_ended_by_hand_or_lives_no_more_is_not_found(
    house: House,
) -> None:
    anew, ended, gone = (house.issue(slot=str(A_PROD)).view.key for _ in range(3))
    waive(house, key_id=anew.id)
    end_waiver(house.context, house.act(), house.workspace_id, waive(house, key_id=ended.id))
    waive(house, key_id=gone.id)
    house.clock.advance(DAY)
    assert {cause.subject_id for cause in found(house)} == {str(anew.id), str(gone.id)}
    revoke_key(house.context, house.act(), house.workspace_id, gone.id, RevocationReason.UNUSED)
    waive(house, key_id=anew.id)
    assert found(house) == []


def test_what_a_wider_waiver_holds_is_not_found(house: House) -> None:
    key = house.issue(slot=str(A_PROD)).view.key
    waive(house, key_id=key.id)
    house.clock.advance(DAY)
    waive(house, slot=A_PROD)
    assert found(house) == []
