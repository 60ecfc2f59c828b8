"""The detectors stay about as good as the benchmark prints: a small part of it, on other seeds."""

from keyturn.domain.detectors import BLIND_SPOTS
from tests.detectors.quality import measure

SEEDS = range(1101, 1104)
LEAST_RECALL = 0.8
MOST_WRONG_OF_100_KEYS = 10.0
MOST_OF_A_KEY = 12


def test_what_was_planted_is_found_and_little_else() -> None:
    quality = measure(SEEDS, keys=12)
    scores = quality.scores.values()
    planted, found = (sum(getattr(one, name) for one in scores) for name in ("planted", "found"))
    assert set(quality.scores) == set(BLIND_SPOTS)
    assert planted >= 10
    assert found / planted >= LEAST_RECALL
    assert quality.wrong_of_100_keys <= MOST_WRONG_OF_100_KEYS
    assert quality.most_of_a_key <= MOST_OF_A_KEY
