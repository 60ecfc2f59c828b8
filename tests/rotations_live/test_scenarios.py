"""What happens to rotations in real life, played against a real server over HTTP."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

from tests.acceptance.servers import until
from tests.kills.grounds import Grounds
from tests.kills.sites import Site
from tests.rotations_live.slot import PATIENCE_SECONDS, QUICK, Slot, build_slot

STARTS = 64
PODS = 50
ELSEWHERE = "203.0.113.9"


@contextmanager
def calling(slot: Slot) -> Iterator[list[str]]:
    """A thief with the old key calls all the while, under a new name each time; gives what it was
    answered."""
    over, codes = threading.Event(), list[str]()

    def steal() -> None:
        while not over.wait(0.05):
            codes.append(slot.uses_old(f"thief-{len(codes)}", ip=ELSEWHERE))

    thief = threading.Thread(target=steal)
    thief.start()
    try:
        yield codes
    finally:
        over.set()
        thief.join()


def test_of_many_starts_at_once_there_comes_one_rotation_and_one_token(site: Site) -> None:
    slot = build_slot(site)
    path = f"/v1/api-keys/{slot.old['id']}/rotations"
    with ThreadPoolExecutor(STARTS) as pool:
        replies = list(pool.map(lambda _: slot.reply("POST", path, QUICK), range(STARTS)))
    assert sorted({reply.status for reply in replies}) == [200, 201]
    assert len({reply.body["id"] for reply in replies}) == 1
    assert sum(reply.body["api_key"] is not None for reply in replies) == 1
    keys = slot.ask("GET", "/v1/api-keys?status=all&service=api")
    assert len(keys) == 2


def test_a_thief_under_new_names_neither_holds_a_rotation_open_nor_ends_it(
    site: Site,
) -> None:
    slot = build_slot(site)
    slot.rotate()
    with calling(slot) as codes:
        assert until(lambda: "stranger_on_old_key" in slot.kinds(), PATIENCE_SECONDS)
        assert slot.blocked_by() == [("runtime.not_moved", "worker")]
        assert slot.uses_new() == "valid"
        assert slot.ends()
        assert until(lambda: codes[-1] == "revoked", PATIENCE_SECONDS)
    assert slot.uses_new() == "valid"


def test_a_thief_with_the_new_key_does_not_end_a_rotation_for_those_who_have_not_moved(
    sqlite_site: Site,
) -> None:
    slot = build_slot(sqlite_site)
    slot.rotate()
    assert slot.uses_new("thief", ip=ELSEWHERE) == "valid"
    assert slot.uses_new("worker", ip=ELSEWHERE) == "valid"
    # Long enough for a process that took either for the worker's move.
    assert not until(lambda: slot.state() != "overlapping", 3.0)
    assert ("runtime.not_moved", "worker") in slot.blocked_by()
    assert slot.uses_old() == "valid"


def test_a_thief_who_claims_a_known_name_from_elsewhere_blocks_until_a_person_decides(
    site: Site,
) -> None:
    slot = build_slot(site)
    slot.rotate()
    assert slot.uses_old("worker", ip=ELSEWHERE) == "valid"
    assert slot.uses_new() == "valid"
    assert until(lambda: "identity.conflict" in slot.kinds(), PATIENCE_SECONDS)
    assert ("identity.conflict", "worker") in slot.blocked_by()
    refused = slot.reply("POST", f"{slot.path}/complete")
    assert (refused.status, refused.body["code"]) == (409, "rotation.evidence_missing")
    word = {"runtime": "worker", "standing": "intruder"}
    assert slot.reply("POST", f"{slot.path}/runtimes", word).status == 422  # at which network?
    (mine,) = [one for one in slot.now()["evidence"] if one["runtime"] == "worker"]
    (there,) = set(mine["networks"]) - {"10.0.0.0/8"}
    slot.ask("POST", f"{slot.path}/runtimes", {**word, "network": there})
    with calling(slot):
        assert slot.uses_old("worker", ip=ELSEWHERE) in ("valid", "suspended")
        assert slot.ends()
    assert slot.kinds() == set()


def test_pods_that_come_and_go_behind_one_address_with_new_releases_are_one_caller(
    site: Site,
) -> None:
    slot = build_slot(site, used_by=())
    for pod in range(PODS):
        agent = f"billing/1.4.{pod}"
        assert slot.uses_old(None, user_agent=agent, ip=f"10.{pod}.0.1") == "valid"
    slot.rotate()
    with ThreadPoolExecutor(8) as pool:

        def come(pod: int) -> str:
            token = slot.old if pod % 2 else slot.rotation
            agent, address = f"billing/2.{pod}.0-rc1", f"10.200.{pod}.7"
            return slot.call(token["api_key"], None, user_agent=agent, ip=address)

        assert set(pool.map(come, range(PODS))) == {"valid"}
    assert [one["runtime"] for one in slot.now()["evidence"]] == ["ua:billing"]
    assert slot.kinds() == set()
    assert slot.ends()
    assert slot.now()["forced"] is False


def test_a_brownout_that_a_straggler_meets_is_lifted_and_he_is_let_in_again(
    site: Site,
) -> None:
    slot = build_slot(site)
    slot.rotate(brownout_seconds=600)
    assert slot.uses_new() == "valid"
    assert until(lambda: slot.state() == "brownout", PATIENCE_SECONDS)
    assert slot.statuses() == ("suspended", "active")
    assert slot.uses_old() == "suspended"
    # Ten minutes were asked for; he waits for the lift alone.
    assert until(lambda: slot.uses_old() == "valid", PATIENCE_SECONDS)
    now = slot.now()
    assert (now["state"], now["lifts"]) == ("overlapping", 1)
    assert slot.statuses() == ("active", "active")
    assert until(lambda: slot.state() == "brownout", PATIENCE_SECONDS)
    assert slot.uses_old() == "suspended"
    assert until(lambda: slot.now()["lifts"] == 2, PATIENCE_SECONDS)
    assert until(lambda: "rotation.brownout_lifted" in slot.kinds(), PATIENCE_SECONDS)
    assert ("brownout.lifted", None) in slot.blocked_by()


def test_a_rotation_can_be_rolled_back_out_of_its_brownout_and_not_once_callers_moved(
    site: Site,
) -> None:
    early = build_slot(site)
    early.rotate()
    early.ask("POST", f"{early.path}/rollback")
    assert (early.state(), early.statuses()) == ("rolled_back", ("active", "revoked"))

    browned = build_slot(site)
    browned.rotate()
    browned.ask("POST", f"{browned.path}/brownout", {"brownout_seconds": 600})
    assert browned.uses_old() == "suspended"
    browned.ask("POST", f"{browned.path}/rollback")
    assert browned.uses_old() == "valid"
    assert browned.statuses() == ("active", "revoked")

    moved = build_slot(site, used_by=("worker", "batch"))
    moved.rotate()
    assert moved.uses_new() == "valid"
    refused = moved.reply("POST", f"{moved.path}/rollback")
    assert (refused.status, refused.body["code"]) == (409, "rotation.rollback_unsafe")
    assert refused.body["runtimes"] == ["worker"]
    moved.ask("POST", f"{moved.path}/rollback", {"keep_both": True})
    assert moved.statuses() == ("active", "active")
    assert (moved.uses_new(), moved.uses_old("batch")) == ("valid", "valid")


def test_who_completes_too_early_is_told_who_would_be_cut_off(site: Site) -> None:
    slot = build_slot(site, used_by=("worker", "batch"))
    slot.rotate(auto_complete=False)
    assert slot.uses_new() == "valid"
    refused = slot.reply("POST", f"{slot.path}/complete")
    assert (refused.status, refused.body["code"]) == (409, "rotation.evidence_missing")
    told = [(one["code"], one["runtime"]) for one in refused.body["blocked_by"]]
    assert ("runtime.not_moved", "batch") in told
    assert slot.statuses() == ("active", "active")
    assert slot.uses_new("batch") == "valid"
    body = {"reason": "all have moved"}
    assert until(
        lambda: slot.reply("POST", f"{slot.path}/complete", body).status in (200, 202),
        PATIENCE_SECONDS,
    )
    assert slot.ends()


def test_to_delete_a_key_of_a_rotation_ends_the_rotation(site: Site) -> None:
    ends = {
        ("old_key_id", ""): ("completed", ("revoked", "active")),
        ("new_key_id", ""): ("rolled_back", ("active", "revoked")),
        ("old_key_id", "?reason=compromised"): ("cancelled", ("revoked", "active")),
        ("new_key_id", "?reason=compromised"): ("cancelled", ("active", "revoked")),
    }
    for (key, reason), (state, statuses) in ends.items():
        slot = build_slot(site)
        slot.rotate()
        slot.ask("POST", f"{slot.path}/brownout", {"brownout_seconds": 600})
        slot.ask("DELETE", f"/v1/api-keys/{slot.rotation[key]}{reason}")
        assert (slot.state(), slot.statuses()) == (state, statuses), (key, reason)
        if statuses[0] == "active":
            assert slot.uses_old() == "valid"


def test_a_key_that_only_verifies_others_is_not_taken_for_unused(site: Site) -> None:
    slot = build_slot(site, used_by=(), permissions=["verify"])
    other = build_slot(site)
    asked = {"api_key": other.old["api_key"]}
    named = {"Keyturn-Runtime": "gateway"}
    site.ask("POST", "/v1/verify", slot.old["api_key"], asked, **named)
    slot.rotate(quiet_seconds=0, brownout_seconds=0)
    assert slot.blocked_by() == [("runtime.not_moved", "gateway")]
    refused = slot.reply("POST", f"{slot.path}/complete")
    assert refused.status == 409
    site.ask("POST", "/v1/verify", slot.rotation["api_key"], asked, **named)
    assert slot.ends()


def test_a_check_in_counts_once_a_person_takes_it_for_the_run(site: Site) -> None:
    slot = build_slot(site, used_by=())
    assert slot.uses_old("batch", ip="127.0.0.1") == "valid"  # from where it checks in
    slot.rotate()
    word = {"runtime": "batch", "standing": "checked_in", "reason": "it runs once a month"}
    early = slot.reply("POST", f"{slot.path}/runtimes", word)
    assert (early.status, early.body["code"]) == (409, "rotation.not_checked_in")
    named = {"Keyturn-Runtime": "batch"}
    told = site.ask("GET", "/v1/self", slot.rotation["api_key"], **named)
    assert told["rotation"]["role"] == "new"
    assert slot.blocked_by() == [("runtime.not_moved", "batch")]
    assert slot.ask("POST", f"{slot.path}/runtimes", word)["decisions"]
    assert slot.uses_new("worker") == "valid"
    assert slot.ends()


def test_a_rotation_outlives_the_death_of_the_server_in_the_middle_of_everything(
    grounds: Grounds,
) -> None:
    site = grounds.site()
    site.start()
    slot = build_slot(site)
    slot.rotate(brownout_seconds=2)
    site.kill()
    site.start()
    assert slot.blocked_by() == [("runtime.not_moved", "worker")]
    assert slot.uses_new() == "valid"
    site.kill()
    site.start()
    assert until(lambda: slot.state() == "brownout", PATIENCE_SECONDS)
    site.kill()
    site.start()
    assert slot.ends()
    assert slot.statuses() == ("revoked", "active")
    assert site.faults() == []
    site.kill()
