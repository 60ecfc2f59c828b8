"""Whatever is done to the activity log, the change log or their head, `attest` finds it."""

from collections.abc import Callable

import pytest

from keyturn.domain.activity import LoggedChange, chain
from keyturn.domain.error import IntegrityFailed
from keyturn.domain.instant import DAY
from keyturn.domain.key import RevocationReason
from keyturn.domain.slot import SlotName, SlotNotes
from keyturn.services.attest import SignedHead
from keyturn.services.define import define_slot
from keyturn.services.journal import Act
from keyturn.services.revoke import revoke_key, suspend_key
from keyturn.services.tidy import tidy
from keyturn.storage.activity import ActivityFilter
from keyturn.storage.sealed import Damage
from tests.contract.hostile import Row, columns, edits, loosen, write
from tests.houses import NOTARY, House, Raw

# What the chain still holds of an entry whose content is gone.
HELD_FOR_EVER = {"number", "expires_at", "position", "content_hash", "hash"}


def live_a_little(house: House) -> None:
    """Some entries whose time is over, some that are whole."""
    first = house.issue(slot="first-prod")
    revoke_key(
        house.context, house.act(), house.workspace_id, first.token.id, RevocationReason.UNUSED
    )
    house.clock.advance(401 * DAY)
    assert tidy(house.context, house.clock.now()).entries > 0
    for name in ("second", "third"):
        issued = house.issue(slot=f"{name}-prod", scopes=("read", "write"))
        suspend_key(house.context, house.act(), house.workspace_id, issued.token.id)
    define_slot(
        house.context,
        house.act(),
        house.workspace_id,
        SlotName(service="third", environment="prod"),
        SlotNotes(owner="team"),
    )


@pytest.fixture
def lived(house: House) -> House:
    live_a_little(house)
    attestation = house.attest([house.signed_head()])
    assert attestation.is_sound
    assert attestation.blanked > 3
    return house


def entry(raw: Raw, *, blanked: bool = False, last: bool = False) -> Row:
    wanted = "IS NULL" if blanked else "IS NOT NULL"
    order = "max" if last else "min"
    [(number,)] = raw.run(f"SELECT {order}(number) FROM activity WHERE action {wanted}")
    return Row("activity", {"number": number}, marks=("hash",))


def last_number(raw: Raw) -> int:
    [(number,)] = raw.run("SELECT max(number) FROM activity")
    assert isinstance(number, int)
    return number


@pytest.mark.parametrize("blanked", [False, True], ids=["whole", "blanked"])
def test_an_edited_entry_is_found_whatever_was_written(lived: House, blanked: bool) -> None:
    loosen(lived, "activity")
    edited = set()
    everything = ActivityFilter()
    with lived.raw() as raw:
        row = entry(raw, blanked=blanked)
        for column, hostile in edits(lived, raw, row):
            if blanked and column not in HELD_FOR_EVER:
                continue
            edited.add(column)
            assert not lived.attest().is_sound, f"{column} became {hostile.name}"
            with lived.store.read() as reading:
                listed = reading.activity.list(
                    lived.workspace_id, everything, limit=100, before=None
                )
                assert len(listed) >= 6, f"{column} became {hostile.name}"
                reading.activity.newest_at()
    assert edited == (HELD_FOR_EVER if blanked else set(columns(lived, "activity")))
    assert lived.attest().is_sound


def test_content_that_returns_after_its_time_must_be_the_genuine_one(lived: House) -> None:
    with lived.raw() as raw:
        whole = entry(raw).genuine(raw)
        content = ("action", "actor_type", "actor_label", "category", "resource_type", "status")
        texts = ("resource_id", "message", "metadata", "request_id")
        entry(raw, blanked=True).edit(raw, **{name: whole[name] for name in content + texts})
    assert not lived.attest().is_sound


def test_an_edited_change_is_found_whatever_was_written(lived: House) -> None:
    loosen(lived, "changes")
    edited = set()
    with lived.raw() as raw:
        [(last,)] = raw.run("SELECT max(position) FROM changes WHERE kind = 'slot'")
        row = Row("changes", {"position": last}, marks=("kind", "ref", "version"))
        for column, hostile in edits(lived, raw, row):
            edited.add(column)
            assert not lived.attest().is_sound, f"{column} became {hostile.name}"
    assert edited == set(columns(lived, "changes"))
    assert lived.attest().is_sound


def test_every_single_deletion_is_found(lived: House) -> None:
    with lived.raw() as raw:
        for table, key, mark in (("activity", "number", "hash"), ("changes", "position", "kind")):
            for (place,) in raw.run(f"SELECT {key} FROM {table}"):
                row = Row(table, {key: place}, marks=(key, mark))
                genuine = row.genuine(raw)
                row.delete(raw)
                assert not lived.attest().is_sound, f"{table} {place}"
                row.restore(raw, genuine)
    assert lived.attest().is_sound


# --- edits of more than one cell ------------------------------------------------------------------


def exchange(raw: Raw, one: int, other: int, *columns: str) -> None:
    """Exchanges what two entries say, all of it or only the given columns."""
    first, second = (Row("activity", {"number": number}) for number in (one, other))
    before, after = first.genuine(raw), second.genuine(raw)
    names = columns or tuple(set(before) - {"number"})
    first.edit(raw, **{name: after[name] for name in names})
    second.edit(raw, **{name: before[name] for name in names})


def reorder(raw: Raw) -> None:
    last = last_number(raw)
    exchange(raw, last, last - 1)


def reorder_with_hashes_made_anew(raw: Raw) -> None:
    reorder(raw)
    rechain(raw, last_number(raw) - 1)


def rechain(raw: Raw, since: int) -> None:
    """The chain made to fit again from an entry on; only the head cannot be sealed anew."""
    [(link,)] = raw.run("SELECT hash FROM activity WHERE number = :n", n=since - 1)
    for number, expires_at, content in raw.run(
        "SELECT number, expires_at, content_hash FROM activity WHERE number >= :n ORDER BY number",
        n=since,
    ):
        found = raw.run(
            "SELECT c.position, c.kind, c.ref, c.version, c.workspace_id, c.at FROM changes c"
            " JOIN activity a ON a.position = c.position WHERE a.number = :n",
            n=number,
        )
        change = LoggedChange(*found[0]) if found else None
        link = chain(link, number, expires_at, content, change)
        Row("activity", {"number": number}).edit(raw, hash=link)


def duplicate_at_the_end(raw: Raw) -> None:
    last = last_number(raw)
    cells = Row("activity", {"number": last}).genuine(raw)
    write(raw, "activity", {**cells, "number": last + 1})


def duplicate_at_the_end_with_a_fitting_hash(raw: Raw) -> None:
    duplicate_at_the_end(raw)
    rechain(raw, last_number(raw))


def forge_before_the_beginning(raw: Raw) -> None:
    cells = Row("activity", {"number": last_number(raw)}).genuine(raw)
    write(raw, "activity", {**cells, "number": 0, "message": "This never happened."})


def forge_far_before_the_beginning(raw: Raw) -> None:
    cells = Row("activity", {"number": last_number(raw)}).genuine(raw)
    write(raw, "activity", {**cells, "number": -(2**63), "message": "This never happened."})


def truncate(raw: Raw) -> None:
    last = last_number(raw)
    raw.run("DELETE FROM activity WHERE number > :n", n=last - 3)


def empty(raw: Raw) -> None:
    raw.run("DELETE FROM activity")


def empty_the_changes(raw: Raw) -> None:
    raw.run("DELETE FROM changes")


def truncate_the_changes(raw: Raw) -> None:
    raw.run("DELETE FROM changes WHERE position > 3")


def forge_a_change_before_the_beginning(raw: Raw) -> None:
    cells = Row("changes", {"position": 1}).genuine(raw)
    write(raw, "changes", {**cells, "position": 0})


def forge_a_change_at_the_end(raw: Raw) -> None:
    [(last,)] = raw.run("SELECT max(position) FROM changes")
    cells = Row("changes", {"position": last}).genuine(raw)
    write(raw, "changes", {**cells, "position": last + 1})


def exchange_two_changes(raw: Raw) -> None:
    [(last,)] = raw.run("SELECT max(position) FROM changes")
    one, other = Row("changes", {"position": last}), Row("changes", {"position": last - 1})
    first, second = one.genuine(raw), other.genuine(raw)
    one.edit(raw, **{**second, "position": last})
    other.edit(raw, **{**first, "position": last - 1})


def set_the_head_back(raw: Raw) -> None:
    raw.run("UPDATE change_head SET position = position - 1, activity_number = activity_number - 1")


def set_the_head_forward(raw: Raw) -> None:
    raw.run("UPDATE change_head SET position = position + 1")


def delete_the_head(raw: Raw) -> None:
    raw.run("DELETE FROM change_head")


def blank_early(raw: Raw) -> None:
    row = entry(raw)
    names = set(row.genuine(raw)) - {
        *("number", "id", "workspace_id", "retention_days", "created_at", "expires_at"),
        *("position", "content_hash", "hash"),
    }
    row.edit(raw, **dict.fromkeys(names))


def blank_early_and_say_it_was_time(raw: Raw) -> None:
    row = entry(raw)
    blank_early(raw)
    row.edit(raw, expires_at=1)


def blank_early_in_a_fitting_chain(raw: Raw) -> None:
    number = entry(raw).key["number"]
    blank_early_and_say_it_was_time(raw)
    assert isinstance(number, int)
    rechain(raw, number)


def rewrite_history(raw: Raw) -> None:
    """An entry with a hash of its own content, and a chain that follows from it."""
    row = entry(raw)
    raw_number = row.key["number"]
    assert isinstance(raw_number, int)
    donor = entry(raw, last=True).genuine(raw)
    names = set(donor) - {"number", "hash", "position", "resource_version"}
    row.edit(raw, **{name: donor[name] for name in names})
    rechain(raw, raw_number)


@pytest.mark.parametrize(
    "attack",
    [
        reorder,
        reorder_with_hashes_made_anew,
        duplicate_at_the_end,
        duplicate_at_the_end_with_a_fitting_hash,
        forge_before_the_beginning,
        forge_far_before_the_beginning,
        truncate,
        empty,
        empty_the_changes,
        truncate_the_changes,
        forge_a_change_before_the_beginning,
        forge_a_change_at_the_end,
        exchange_two_changes,
        set_the_head_back,
        set_the_head_forward,
        delete_the_head,
        blank_early,
        blank_early_and_say_it_was_time,
        blank_early_in_a_fitting_chain,
        rewrite_history,
    ],
    ids=lambda attack: attack.__name__,
)
def test_an_attack_on_the_log_is_found(lived: House, attack: Callable[[Raw], None]) -> None:
    with lived.raw() as raw:
        attack(raw)
    assert not lived.attest().is_sound


# --- what only a head outside the database can show -----------------------------------------------


def snapshot(house: House) -> list[tuple[str, list[dict[str, object]]]]:
    tables = ("keys", "slots", "workspaces", "operators", "activity", "changes", "change_head")
    with house.raw() as raw:
        return [(table, raw.rows(f"SELECT * FROM {table}")) for table in tables]


def restore(house: House, kept: list[tuple[str, list[dict[str, object]]]]) -> None:
    with house.raw() as raw:
        for table, rows in kept:
            raw.run(f"DELETE FROM {table}")
            for cells in rows:
                write(raw, table, cells)


def test_a_cut_off_end_under_an_old_genuine_head_is_found_by_a_signed_head(lived: House) -> None:
    kept = snapshot(lived)
    early = lived.signed_head()
    lived.issue(slot="hidden-prod")
    late = lived.signed_head()
    assert lived.attest([early, late]).is_sound
    restore(lived, kept)
    assert not lived.attest([early]).is_sound  # this process has seen the later head
    fresh = lived.again()
    assert fresh.attest([early]).is_sound  # inside the database nothing shows it
    assert not fresh.attest([early, late]).is_sound
    fresh.close()


def test_an_old_copy_that_was_written_on_is_found_by_a_signed_head(lived: House) -> None:
    kept = snapshot(lived)
    lived.issue(slot="hidden-prod")
    late = lived.signed_head()
    restore(lived, kept)
    fresh = lived.again()
    fresh.issue(slot="other-prod")
    fresh.issue(slot="another-prod")
    assert not fresh.attest([late]).is_sound
    with pytest.raises(IntegrityFailed):
        lived.issue(slot="third-prod")
    fresh.close()


def test_an_old_copy_that_was_written_on_to_the_same_length_and_signed_is_found(
    lived: House,
) -> None:
    kept = snapshot(lived)
    lived.issue(slot="hidden-prod")
    hidden = lived.signed_head()
    restore(lived, kept)
    with pytest.raises(IntegrityFailed):
        lived.issue(slot="shown-prod")
    fresh = lived.again()
    fresh.issue(slot="shown-prod")
    shown = fresh.signed_head()
    assert fresh.attest([shown]).is_sound
    assert not fresh.attest([hidden, shown]).is_sound
    assert not fresh.attest([shown, hidden]).is_sound
    with pytest.raises(IntegrityFailed), lived.store.read() as reading:
        reading.head()
    fresh.close()


NOT_SIGNED = (
    "nonsense",
    "{}",
    "[]",
    "7",
    "null",
    "[" * 100_000,
    '{"number": 1, "hash": "", "position": 1, "at": 1, "signature": "AAAA"}',
    '{"number": 1, "hash": "", "position": 1, "at": 1, "signature": 1}',
)


def test_a_line_that_we_did_not_sign_is_a_fault(lived: House) -> None:
    for line in NOT_SIGNED:
        assert not lived.attest([line]).is_sound, line[:100]
    assert lived.attest(["", "  \n", lived.signed_head() + "\n"]).is_sound


def test_what_a_crash_left_of_a_line_is_no_fault(lived: House) -> None:
    line = lived.signed_head()
    for length in (1, 5, 20, len(line) - 1):
        assert lived.attest([line[:length] + "\n", line + "\n"]).is_sound


def test_a_signature_fits_one_spelling_of_its_numbers(lived: House) -> None:
    genuine = NOTARY.read(lived.signed_head())
    assert genuine is not None
    spelled = lived.signed_head().replace(
        f'"number": {genuine.number}', f'"number": "{genuine.number}"'
    )
    assert spelled != lived.signed_head()
    assert NOTARY.read(spelled) is None
    moved = SignedHead(
        number=genuine.number + 1,
        hash=genuine.hash,
        position=genuine.position,
        at=genuine.at,
        signature=genuine.signature,
    )
    assert NOTARY.read(moved.line()) is None


# --- reading beside the damage --------------------------------------------------------------------


def test_an_entry_that_cannot_be_read_is_left_out_and_reported_and_hides_no_other(
    lived: House,
) -> None:
    act = Act(caller=lived.operator, request_id="request-2")
    revoke_key(
        lived.context, act, lived.workspace_id, lived.issue().token.id, RevocationReason.OTHER
    )
    everything = ActivityFilter()
    with lived.store.read() as reading:
        whole = reading.activity.list(lived.workspace_id, everything, limit=100, before=None)
    with lived.raw() as raw:
        row = Row("activity", {"number": whole[0][0]})
        row.edit(raw, metadata="[" * 100_000)
    with lived.store.read() as reading:
        page = reading.activity.list(lived.workspace_id, everything, limit=2, before=None)
        rest = reading.activity.list(lived.workspace_id, everything, limit=100, before=None)
    assert page == whole[1:3]
    assert rest == whole[1:]
    assert lived.damage == [Damage("activity", str(whole[0][0]))] * 2
