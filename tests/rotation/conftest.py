"""What these tests share: houses on both engines."""

from tests.houses import build_house, engine, house, plots

__all__ = ["build_house", "engine", "house", "plots"]
