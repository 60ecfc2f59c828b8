"""Who is served next: nobody waits for long because of what others do."""

from collections import Counter
from itertools import count

from keyturn.domain.channel import Channel
from keyturn.services.places import (
    MOST_FAILING,
    MOST_OF_A_CHANNEL,
    MOST_OF_A_WORKSPACE,
    PLACES,
    Place,
    Round,
    Turns,
)
from keyturn.testing.storage import making

_subjects = count()


class Hall:
    """Channels that always have more to send, and the places that they have."""

    def __init__(self) -> None:
        self.turns = Turns()
        self.taken: list[Place] = []
        self.failing: set[Channel] = set()

    def fill(self, *channels: Channel) -> list[Channel]:
        """Gives away what is free; says to whom, in order."""
        failing = {one.id for one in self.failing}
        turn = Round(self.turns, list(self.taken), failing)
        for channel in channels:
            turn.join(channel)
        served: list[Channel] = []
        while (channel_ := turn.next()) is not None:
            turn.take(channel_)
            turn.join(channel_)
            served.append(channel_)
            self.taken.append(
                Place(
                    workspace_id=channel_.workspace_id,
                    channel_id=channel_.id,
                    subject=str(next(_subjects)),
                )
            )
        return served


def test_a_workspace_has_half_of_the_places_and_a_channel_a_quarter() -> None:
    hall = Hall()
    one = making.channel(1)
    assert hall.fill(one) == [one] * MOST_OF_A_CHANNEL
    many = [making.channel(number) for number in range(1, 9)]
    hall.fill(*many)
    assert len(hall.taken) == MOST_OF_A_WORKSPACE
    elsewhere = making.channel(9, workspace_id=making.ABROAD)
    assert hall.fill(*many, elsewhere) == [elsewhere] * MOST_OF_A_CHANNEL


def test_who_has_nothing_has_the_next_place_that_is_free() -> None:
    for home in (making.HOME, making.ABROAD):
        hall = Hall()
        slow = [making.channel(number) for number in range(1, 5)]
        slow += [making.channel(number, workspace_id=making.ABROAD) for number in range(5, 9)]
        hall.fill(*slow)
        assert len(hall.taken) == PLACES
        late = making.channel(99, workspace_id=home)
        assert hall.fill(*slow, late) == []
        hall.taken.remove(next(one for one in hall.taken if one.workspace_id == home))
        assert hall.fill(*slow, late) == [late]


def test_of_those_that_have_none_the_one_that_was_served_longest_ago_is_next() -> None:
    hall = Hall()
    channels = [making.channel(number) for number in range(1, 21)]
    rounds = []
    for _ in range(5):
        rounds += hall.fill(*channels)
        hall.taken = []
    assert Counter(rounds) == dict.fromkeys(channels, 2)


def test_one_that_fails_has_one_place_and_all_that_fail_have_half() -> None:
    hall = Hall()
    failing = [making.channel(number) for number in range(1, 7)]
    failing += [making.channel(number, workspace_id=making.ABROAD) for number in range(7, 13)]
    hall.failing = set(failing)
    assert hall.fill(failing[0]) == [failing[0]]
    assert len(hall.fill(*failing)) == MOST_FAILING - 1
    assert max(Counter(one.channel_id for one in hall.taken).values()) == 1
    sound = making.channel(99)
    assert sound in hall.fill(*failing, sound)
