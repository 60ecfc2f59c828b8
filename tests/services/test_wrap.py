"""Rotating the pepper: every token works all the time, and nothing stays under old ones alone."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any
from uuid import UUID

import pytest

from keyturn.domain.digest import PepperRing
from keyturn.domain.error import InstallationFault, StorageUnavailable
from keyturn.domain.key import RevocationReason
from keyturn.domain.operator import OperatorKind
from keyturn.domain.token import Token
from keyturn.domain.verdict import VerdictCode
from keyturn.server.readiness import check_readiness
from keyturn.services.appoint import appoint_operator, dismiss_operator
from keyturn.services.context import Context
from keyturn.services.follow import ASKED, TAKEN_UP, answer, ask, follow, is_taken_up, lacking
from keyturn.services.identify import identify, reference
from keyturn.services.issue import KeyDraft, issue_key
from keyturn.services.revoke import revoke_key, suspend_key
from keyturn.services.verify import Question, verify
from keyturn.services.wrap import (
    ADDED,
    BATCH,
    ROTATED,
    Wrapped,
    record_pepper,
    survey,
    wrap_records,
)
from tests.houses import House

PEPPERS = {
    1: b"pepper of houses".ljust(32, b"."),
    2: b"second pepper".ljust(32, b"."),
    3: b"third pepper".ljust(32, b"."),
}


class Killed(BaseException):
    """The process ended here."""


@dataclass
class Peppers:
    """The file of the root secret: what it has now, and how often it was asked."""

    held: dict[int, bytes] = field(default_factory=lambda: {1: PEPPERS[1]})
    asked: int = 0

    def __call__(self) -> dict[int, bytes]:
        self.asked += 1
        return dict(self.held)


def process(house: House, file: Peppers) -> Context:
    """A context as a process has it that starts now; they share the file and the database."""
    with house.store.read() as reading:
        installation = reading.installation.find()
    assert installation is not None
    return replace(house.context, ring=PepperRing(file.held, installation.newest_pepper, file))


def verdict(context: Context, token: Token) -> VerdictCode:
    asked = reference(token)
    found = context.store.credentials.read([asked]).found.get(asked.id)
    return identify(context.ring, token, found, now=context.clock.now(), address=None).code


def add_to(file: Peppers) -> int:
    version = max(file.held) + 1
    file.held[version] = PEPPERS[version]
    return version


def rotate(context: Context, pause: Callable[[float], None] = lambda _: None) -> Wrapped:
    """A rotation to the newest pepper of the file, or what is left of one."""
    context.ring.learn()
    assert record_pepper(context, ask(context, max(context.ring.versions)))
    return wrap_records(context, pause, lambda _: None)


def issue(context: Context, house: House, name: str = "scheduler-prod") -> Token:
    draft = KeyDraft(name=name)
    return issue_key(context, house.act(), house.workspace_id, draft).token


def peppers_of(house: House, kind: str = "keys") -> list[str]:
    return sorted(row[0] for row in house.run(f"SELECT peppers FROM {kind}"))


def actions(house: House, like: str = "%") -> list[str]:
    rows = house.run(
        "SELECT action FROM activity WHERE action LIKE :like ORDER BY number", like=like
    )
    return [row[0] for row in rows]


@pytest.fixture
def file() -> Peppers:
    return Peppers()


@contextmanager
def killed_at(step: int) -> Iterator[Callable[[float], None]]:
    """A pause that is the end of the process at its `step`th call."""
    calls = iter(range(1, step + 1))

    def pause(seconds: float) -> None:
        assert seconds > 0
        if next(calls) == step:
            raise Killed

    with pytest.raises(Killed):
        yield pause


# --- the whole of it ------------------------------------------------------------------------------


def test_every_token_works_on_and_every_record_stands_under_the_new_pepper(
    house: House, file: Peppers
) -> None:
    command, server = process(house, file), process(house, file)
    tokens = [issue(server, house, f"service{number}-prod") for number in range(BATCH + 3)]
    operator = appoint_operator(server, "Ada", OperatorKind.OPERATOR, None).token
    add_to(file)
    wrapped = rotate(command)
    assert (wrapped.keys, wrapped.operators, wrapped.damaged) == (BATCH + 3, 2, 0)
    for context in (command, server, process(house, file)):
        for token in (*tokens, operator, house.token):
            assert verdict(context, token) is VerdictCode.VALID
    assert set(peppers_of(house)) == set(peppers_of(house, "operators")) == {"1+2"}
    assert not house.damage
    assert house.attest().is_sound
    assert actions(house, "pepper.%") == [ASKED, ADDED, ROTATED]


def test_a_wrong_secret_fits_no_wrapped_digest(house: House, file: Peppers) -> None:
    context = process(house, file)
    one, other = issue(context, house), issue(context, house)
    add_to(file)
    rotate(context)
    key = house.view(one.id).key
    row = {"workspace_id": key.workspace_id, "id": key.id}
    assert context.ring.matches(key.digest, key.peppers, **row, secret=one.secret())
    assert not context.ring.matches(key.digest, key.peppers, **row, secret=other.secret())


def test_the_old_pepper_alone_tests_nothing_afterwards(house: House, file: Peppers) -> None:
    context = process(house, file)
    token = issue(context, house)
    add_to(file)
    rotate(context)
    [(digest, applied)] = house.run("SELECT digest, peppers FROM keys")
    thief = PepperRing({1: PEPPERS[1]}, 1)
    row = {"workspace_id": house.workspace_id, "id": token.id}
    assert thief.make(**row, secret=token.secret())[0] != digest
    with pytest.raises(StorageUnavailable, match="lacks pepper 2"):
        thief.matches(digest, applied, **row, secret=token.secret())
    assert not thief.matches(digest, "1", **row, secret=token.secret())


def test_a_second_rotation_wraps_once_more(house: House, file: Peppers) -> None:
    context = process(house, file)
    first = issue(context, house)
    add_to(file)
    rotate(context)
    second = issue(context, house)
    add_to(file)
    rotate(context)
    third = issue(context, house)
    assert peppers_of(house) == ["1+2+3", "2+3", "3"]
    for token in (first, second, third, house.token):
        assert verdict(process(house, file), token) is VerdictCode.VALID
    assert house.attest().is_sound


def test_keys_of_every_status_are_wrapped_and_stay_what_they_are(
    house: House, file: Peppers
) -> None:
    context = process(house, file)
    tokens = [issue(context, house) for _ in range(3)]
    act = house.act()
    revoke_key(context, act, house.workspace_id, tokens[0].id, RevocationReason.UNUSED)
    suspend_key(context, act, house.workspace_id, tokens[1].id)
    gone = appoint_operator(context, "Ada", OperatorKind.GATEWAY, None)
    dismiss_operator(context, gone.operator.id)
    before = {token.id: house.view(token.id).key for token in tokens}
    add_to(file)
    assert rotate(context).keys == 3
    for id_, key in before.items():
        after = house.view(id_).key
        assert after.version == key.version + 1, "its ETag moves"
        assert (
            replace(
                after,
                digest=key.digest,
                peppers=key.peppers,
                version=key.version,
                updated_at=key.updated_at,
            )
            == key
        )
    assert set(peppers_of(house)) == set(peppers_of(house, "operators")) == {"1+2"}
    codes = [verdict(context, token) for token in (*tokens, gone.token)]
    assert codes == [
        VerdictCode.REVOKED,
        VerdictCode.SUSPENDED,
        VerdictCode.VALID,
        VerdictCode.REVOKED,
    ]


# --- broken off -----------------------------------------------------------------------------------

KEYS = 2 * BATCH + 1


def _in_file(context: Context) -> None:
    """The file has the pepper, the database has not heard of it."""


def _recorded(context: Context) -> None:
    context.ring.learn()
    assert record_pepper(context, ask(context, 2))


def _wrapped_to(step: int) -> Callable[[Context], None]:
    def break_off(context: Context) -> None:
        with killed_at(step) as pause:
            rotate(context, pause)

    break_off.__name__ = f"_after_batch_{step}"
    return break_off


BREAKS = [_in_file, _recorded, *(_wrapped_to(step) for step in (1, 2, 3))]


@pytest.mark.parametrize("break_off", BREAKS, ids=lambda one: one.__name__)
def test_broken_off_anywhere_every_token_works_and_the_same_command_finishes_it(
    break_off: Callable[[Context], None], house: House, file: Peppers
) -> None:
    server = process(house, file)
    tokens = [issue(server, house, f"service{number}-prod") for number in range(KEYS)]
    add_to(file)
    break_off(process(house, file))
    for context in (server, process(house, file)):
        new = issue(context, house)
        for token in (*tokens, house.token, new):
            assert verdict(context, token) is VerdictCode.VALID
        tokens.append(new)
    found = survey(process(house, file))
    assert found.is_unfinished or found.newest == 1
    rotate(process(house, file))
    finished = survey(process(house, file))
    assert (finished.newest, finished.waiting, finished.is_unfinished) == (2, 0, False)
    for context in (server, process(house, file)):
        for token in (*tokens, house.token):
            assert verdict(context, token) is VerdictCode.VALID
    assert set(peppers_of(house)) <= {"2", "1+2"}
    assert [one for one in actions(house, "pepper.%") if one != ASKED] == [ADDED, ROTATED]
    assert house.attest().is_sound
    assert not house.damage


def test_the_end_that_was_not_told_of_is_unfinished(house: House, file: Peppers) -> None:
    """Every record is wrapped by other means, and the command died before it could say so."""
    context = process(house, file)
    add_to(file)
    _recorded(context)
    [(digest,)] = house.run("SELECT count(*) FROM keys")
    assert digest == 0
    assert survey(context).is_unfinished
    rotate(context)
    assert not survey(context).is_unfinished


def test_a_database_that_is_away_for_a_moment_is_waited_for(house: House, file: Peppers) -> None:
    context = process(house, file)
    tokens = [issue(context, house) for _ in range(3)]
    add_to(file)
    _recorded(context)
    flaky = _Flaky(house.store, failures=3)
    waits: list[float] = []
    wrapped = wrap_records(replace(context, store=flaky), waits.append, lambda _: None)
    assert wrapped.keys == 3
    assert waits.count(1.0) == 3
    assert all(verdict(context, token) is VerdictCode.VALID for token in tokens)
    flaky.failures = 100
    with pytest.raises(StorageUnavailable):
        wrap_records(replace(context, store=flaky), waits.append, lambda _: None)


class _Flaky:
    """A store that refuses some changes."""

    def __init__(self, store: Any, failures: int) -> None:
        self._store = store
        self.failures = failures

    def change(self) -> Any:
        if self.failures:
            self.failures -= 1
            raise StorageUnavailable("The database cannot be used now.")
        return self._store.change()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)


# --- what a running server does -------------------------------------------------------------------


def test_a_new_digest_stands_under_the_recorded_pepper_whoever_makes_it(
    house: House, file: Peppers
) -> None:
    server, other = process(house, file), process(house, file)
    add_to(file)
    _recorded(process(house, file))
    key = issue(server, house)
    operator = appoint_operator(other, "Ada", OperatorKind.OPERATOR, None).token
    assert peppers_of(house) == ["1+2"], "made before it knew, kept after"
    assert verdict(server, key) is verdict(server, operator) is VerdictCode.VALID
    issue(server, house)
    assert peppers_of(house) == ["1+2", "2"], "from now on it makes them so at once"


def test_a_key_is_not_kept_by_a_server_that_cannot_read_the_newest_pepper(
    house: House, file: Peppers
) -> None:
    """Its file is another one, so it cannot follow: what is there works, nothing new is made."""
    own = Peppers()
    stranded = process(house, own)
    token = issue(stranded, house)
    add_to(file)
    _recorded(process(house, file))
    with pytest.raises(StorageUnavailable, match="cannot read pepper 2"):
        issue(stranded, house)
    assert peppers_of(house) == ["1"]
    assert verdict(stranded, token) is VerdictCode.VALID
    wrap_records(process(house, file), lambda _: None, lambda _: None)


def test_a_sound_row_whose_pepper_is_lacking_is_not_judged_and_a_damaged_one_is_denied(
    house: House, file: Peppers
) -> None:
    own = Peppers()
    stranded = process(house, own)
    sound, spoiled = issue(stranded, house), issue(stranded, house)
    assert check_readiness(stranded).is_ready
    add_to(file)
    rotate(process(house, file))
    house.run("UPDATE keys SET name = 'edited' WHERE id = :id", id=str(spoiled.id))
    for token in (sound, house.token):
        with pytest.raises(StorageUnavailable, match="lacks pepper 2"):
            verdict(stranded, token)
    assert verdict(stranded, spoiled) is VerdictCode.UNKNOWN
    assert check_readiness(stranded).checks["peppers"].endswith("lacks pepper 2.")
    assert not check_readiness(stranded).is_ready
    own.held[2] = PEPPERS[2]
    assert verdict(stranded, sound) is verdict(stranded, house.token) is VerdictCode.VALID
    assert check_readiness(stranded).is_ready


def test_a_key_out_of_reach_stays_unknown_where_its_pepper_is_lacking(
    house: House, file: Peppers
) -> None:
    stranded = process(house, Peppers())
    token = issue(stranded, house)
    add_to(file)
    rotate(process(house, file))
    asked = reference(token)
    found = house.store.credentials.read([asked]).found[asked.id]
    judge = partial(
        verify,
        stranded.ring,
        house.operator,
        Question(token=token, request_id="request"),
        found,
        now=house.clock.now(),
    )
    with pytest.raises(StorageUnavailable, match="lacks pepper 2"):
        judge(home=house.workspace_id)
    assert judge(home=UUID(int=9)).verdict.code is VerdictCode.UNKNOWN


def test_a_pepper_of_the_same_number_and_other_bytes_is_not_the_one(
    house: House, file: Peppers
) -> None:
    other = Peppers({1: PEPPERS[1], 2: PEPPERS[3]})
    stranded = process(house, other)
    add_to(file)
    _recorded(process(house, file))
    with pytest.raises(StorageUnavailable):
        issue(stranded, house)
    twin = replace(stranded, ring=PepperRing(other.held, 1, other))
    with pytest.raises(InstallationFault, match="Another pepper 2"):
        record_pepper(twin, ask(twin, 2))
    assert not peppers_of(house)


def test_a_row_set_back_does_not_bring_an_old_pepper_back(house: House, file: Peppers) -> None:
    server = process(house, file)
    add_to(file)
    before = house.run("SELECT pepper_fingerprints FROM installation")[0][0]
    rotate(server)
    house.run("UPDATE installation SET pepper_fingerprints = :before", before=before)
    issue(server, house)
    assert peppers_of(house) == ["2"]


def test_a_server_says_once_that_it_has_taken_up_what_is_asked_for(
    house: House, file: Peppers
) -> None:
    server = process(house, file)
    add_to(file)
    for _ in range(3):
        follow(server)
    assert not actions(house, "pepper.%"), "nobody has asked"
    command = process(house, file)
    asking = ask(command, 2)
    assert not is_taken_up(command, asking)
    for _ in range(3):
        follow(server)
    assert actions(house, "pepper.%") == [ASKED, TAKEN_UP]
    assert is_taken_up(command, asking)
    assert server.ring.current == 1, "nothing is made with it before it is recorded"
    assert house.attest().is_sound


def test_a_server_follows_what_was_recorded_though_it_makes_nothing(
    house: House, file: Peppers
) -> None:
    server = process(house, file)
    add_to(file)
    rotate(process(house, file))
    follow(server)
    assert server.ring.current == 2
    assert actions(house, "pepper.%") == [ASKED, ADDED, ROTATED], "it is over, nothing is answered"


def test_a_server_with_another_pepper_of_the_number_has_not_taken_it_up(
    house: House, file: Peppers
) -> None:
    add_to(file)
    command = process(house, file)
    asking = ask(command, 2)
    follow(process(house, Peppers({1: PEPPERS[1], 2: PEPPERS[3]})))
    assert not is_taken_up(command, asking)
    assert not record_pepper(command, asking)


def test_the_yes_of_a_server_that_is_gone_is_worth_nothing(house: House, file: Peppers) -> None:
    first, command = process(house, file), process(house, file)
    add_to(file)
    broken_off = ask(command, 2)
    follow(first)
    assert is_taken_up(command, broken_off)
    second = process(house, Peppers())
    token = issue(second, house)
    asking = ask(command, 2)
    for _ in range(3):
        follow(second)
    assert not is_taken_up(command, asking), "that was another time"
    answer(second)
    assert not record_pepper(command, asking)
    assert not record_pepper(command, broken_off)
    assert verdict(second, token) is VerdictCode.VALID


@pytest.mark.parametrize("has_answered", [False, True], ids=["no_server", "a_server_that_ended"])
def test_a_server_that_starts_between_the_answer_and_the_recording_is_not_shut_out(
    has_answered: bool, house: House, file: Peppers
) -> None:
    before, command = process(house, file), process(house, file)
    add_to(file)
    asking = ask(command, 2)
    if has_answered:
        follow(before)
        assert is_taken_up(command, asking)
    own = Peppers()
    late = process(house, own)
    for _ in range(2):
        answer(late)  # as it does before it listens
    assert not record_pepper(command, asking)
    assert set(peppers_of(house, "operators")) == {"1"}
    assert actions(house, "pepper.%").count(TAKEN_UP) == 1 + has_answered
    own.held[2] = PEPPERS[2]
    follow(late)
    assert is_taken_up(command, asking)
    assert record_pepper(command, asking)


def test_a_server_that_starts_with_the_pepper_says_so_where_no_other_has(
    house: House, file: Peppers
) -> None:
    command = process(house, file)
    add_to(file)
    asking = ask(command, 2)
    answer(process(house, file))
    answer(process(house, file))
    assert actions(house, "pepper.%") == [ASKED, TAKEN_UP]
    late = replace(command, ring=PepperRing({1: PEPPERS[1]}, 1))
    assert record_pepper(command, asking)
    answer(late)
    assert actions(house, "pepper.%") == [ASKED, TAKEN_UP, ADDED], "the row tells it"


def test_each_of_several_nodes_answers_for_itself(house: House, file: Peppers) -> None:
    command, has, lacks = process(house, file), process(house, file), process(house, Peppers())
    add_to(file)
    asking = ask(command, 2)
    nodes = ("one", "other")
    for _ in range(3):  # neither answers over the other
        follow(has, "one")
        answer(lacks, "other")
    assert actions(house, "pepper.%") == [ASKED, TAKEN_UP, TAKEN_UP]
    assert lacking(command, asking, nodes) == ["other"]
    assert not is_taken_up(command, asking)
    assert not record_pepper(command, asking)
    answer(process(house, file), "other")  # it was given the file
    assert not lacking(command, asking, nodes)
    assert lacking(command, asking, (*nodes, "third")) == ["third"]
    assert record_pepper(command, asking)


# --- damage ---------------------------------------------------------------------------------------


def test_a_damaged_row_stays_as_it_is_and_is_counted(house: House, file: Peppers) -> None:
    context = process(house, file)
    tokens = [issue(context, house, f"service{number}-prod") for number in range(BATCH + 5)]
    spoiled = tokens[:2] + tokens[-1:]
    for token in spoiled:
        house.run("UPDATE keys SET scopes = '[\"*\"]' WHERE id = :id", id=str(token.id))
    ada = appoint_operator(context, "Ada", OperatorKind.OPERATOR, None)
    house.run("UPDATE operators SET name = 'Eve' WHERE id = :id", id=str(ada.operator.id))
    rows = {id_: _row(house, id_) for id_ in (token.id for token in spoiled)}
    add_to(file)
    wrapped = rotate(context)
    assert (wrapped.keys, wrapped.operators, wrapped.damaged) == (BATCH + 2, 1, 4)
    assert {id_: _row(house, id_) for id_ in rows} == rows
    found = survey(context)
    assert (found.waiting, found.damaged, found.is_unfinished) == (0, 4, False)
    for token in tokens:
        expected = VerdictCode.UNKNOWN if token in spoiled else VerdictCode.VALID
        assert verdict(context, token) is expected
    assert len({damage.ref for damage in house.damage}) == 4


def test_a_damaged_row_that_is_mended_is_wrapped_by_the_next_call(
    house: House, file: Peppers
) -> None:
    context = process(house, file)
    token = issue(context, house)
    house.run("UPDATE keys SET name = 'edited'")
    add_to(file)
    assert rotate(context).damaged == 1
    house.run("UPDATE keys SET name = 'scheduler-prod'")
    assert survey(context).is_unfinished
    assert rotate(context).keys == 1
    assert verdict(context, token) is VerdictCode.VALID
    assert house.attest().is_sound


def test_a_buried_key_without_a_secret_is_left_alone(house: House, file: Peppers) -> None:
    context = process(house, file)
    token = issue(context, house)
    house.run("UPDATE keys SET name = 'edited'")
    revoke_key(context, house.act(), house.workspace_id, token.id, RevocationReason.COMPROMISED)
    add_to(file)
    wrapped = rotate(context)
    assert (wrapped.keys, wrapped.damaged) == (0, 0)
    assert peppers_of(house) == [""]
    assert not survey(context).is_unfinished
    assert verdict(context, token) is VerdictCode.UNKNOWN


def _row(house: House, id_: UUID) -> list[tuple[Any, ...]]:
    return house.run("SELECT * FROM keys WHERE id = :id", id=str(id_))


def test_the_survey_counts_by_kind_and_peppers(house: House, file: Peppers) -> None:
    context = process(house, file)
    issue(context, house)
    add_to(file)
    _recorded(context)
    issue(context, house)
    found = survey(context)
    assert found.records == {"operator": {"1": 1}, "key": {"1": 1, "2": 1}}
    assert (found.newest, found.waiting, found.total) == (2, 2, 3)
    assert sorted(found.fingerprints) == [1, 2]
