"""What these tests share: houses on both engines."""

import pytest

# So that a failing test of the exported suite shows what it compared.
pytest.register_assert_rewrite("keyturn.testing.storage", "tests.houses")

from tests.houses import build_house, engine, house, plots  # noqa: E402

__all__ = ["build_house", "engine", "house", "plots"]
