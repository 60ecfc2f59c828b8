"""How well the detectors tell what was planted from what is not: precision and recall."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from random import Random

from keyturn.domain.detectors import USAGE_KINDS, Case, Reason, detect
from keyturn.domain.detectors.profile import Profile
from keyturn.domain.finding import FindingKind
from keyturn.domain.instant import DAY
from keyturn.domain.traffic import HOUR, TrafficRow
from tests.detectors.lives import END, MONTH, Life, make_life
from tests.detectors.planting import Label, plant

KEYS_OF_A_SEED = 20
LOOK_EVERY = 12 * HOUR


@dataclass(slots=True)
class Score:
    planted: int = 0
    found: int = 0
    right: int = 0
    wrong: int = 0

    @property
    def precision(self) -> float | None:
        told = self.right + self.wrong
        return self.right / told if told else None

    @property
    def recall(self) -> float | None:
        return self.found / self.planted if self.planted else None


@dataclass(slots=True)
class Quality:
    scores: dict[FindingKind, Score] = field(
        default_factory=lambda: {kind: Score() for kind in USAGE_KINDS}
    )
    keys: int = 0
    wrong: dict[tuple[str, FindingKind], int] = field(default_factory=lambda: defaultdict(int))
    missed: dict[tuple[str, FindingKind], int] = field(default_factory=lambda: defaultdict(int))
    most_of_a_key: int = 0

    @property
    def wrong_of_100_keys(self) -> float:
        return 100 * sum(one.wrong for one in self.scores.values()) / max(1, self.keys)


def measure(seeds: Iterable[int], keys: int = KEYS_OF_A_SEED) -> Quality:
    quality = Quality()
    for seed in seeds:
        for number in range(keys):
            random = Random(f"{seed}/{number}")
            life = make_life(random, number)
            label = plant(life, random)
            _score(quality, life, label, told_of(life))
    return quality


def told_of(life: Life) -> dict[tuple[FindingKind, str], Reason]:
    """All that was told in the month, each as it was told first."""
    rows: dict[int, list[TrafficRow]] = defaultdict(list)
    for row in life.rows():
        rows[row.hour // LOOK_EVERY].append(row)
    profile = Profile(since=min(life.key.created_at, MONTH - 400 * DAY))
    found: dict[tuple[FindingKind, str], Reason] = {}
    standing: set[tuple[FindingKind, str]] = set()
    episodes = 0
    for part in sorted(rows):
        start = part * LOOK_EVERY
        if start + LOOK_EVERY > MONTH:
            looked = profile.with_recent(rows[part])
            case = Case(key=life.key, profile=looked, now=min(END, start + LOOK_EVERY - 1))
            reasons = {(one.kind, one.mark): one for one in detect(case)}
            for identity in set(reasons) - standing:
                # The same again, after it was resolved, is told again.
                name = identity if identity not in found else (identity[0], f"#{episodes}")
                found[name] = reasons[identity]
                episodes += 1
            standing = set(reasons)
        profile.extend(rows[part], start + LOOK_EVERY)
    return found


def _score(
    quality: Quality,
    life: Life,
    label: Label | None,
    told: dict[tuple[FindingKind, str], Reason],
) -> None:
    quality.keys += 1
    quality.most_of_a_key = max(quality.most_of_a_key, len(told))
    found: set[FindingKind] = set()
    for (kind, _), reason in told.items():
        is_of_it = label is not None and label.since - HOUR <= reason.since <= label.until + HOUR
        if label is not None and is_of_it and kind in label.kinds:
            found.add(kind)
            quality.scores[kind].right += 1
        elif not is_of_it:
            # What else is told of what was planted is neither: it is so.
            quality.scores[kind].wrong += 1
            quality.wrong[life.kind, kind] += 1
    for kind in label.kinds if label is not None else ():
        quality.scores[kind].planted += 1
        quality.scores[kind].found += kind in found
        quality.missed[life.kind, kind] += kind not in found
