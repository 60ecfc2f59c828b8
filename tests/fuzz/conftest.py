"""The servers of the acceptance tests."""

from tests.acceptance.conftest import estate, open_shared_site

__all__ = ["estate", "open_shared_site"]
