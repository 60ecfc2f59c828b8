"""What these tests share: houses on both engines."""

from tests.houses import build_house, plots

__all__ = ["build_house", "plots"]
