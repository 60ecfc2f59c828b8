"""For tests, ours and other people's: a clock to set, chance to repeat, and contract suites."""

from keyturn.testing.ambience import FakeClock, SeededEntropy

__all__ = ["FakeClock", "SeededEntropy"]
