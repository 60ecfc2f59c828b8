"""The contract of `keyturn.destinations.contract` as tests, for every kind of place.

    from keyturn.testing.destinations import Behind, DestinationContract

    class TestOurPlace(DestinationContract):
        @pytest.fixture
        def destination(self) -> Iterator[Destination]: ...

        @pytest.fixture
        def another(self) -> Iterator[Destination]: ...

        @pytest.fixture
        def behind(self) -> Behind: ...

        @pytest.fixture
        def broken(self) -> Mapping[FaultKind, Destination]: ...

        @pytest.fixture
        def hidden(self) -> tuple[str, ...]: ...

`destination` is opened on a place that holds nothing; `another` is a second one, opened on the
same place. `behind` looks at the place, and changes it, past the destination. `broken` are
destinations that fail, each with the fault that both its `read` and its `write` tell; `hidden` are
the texts that no fault may show (credentials, what a lying server says). A place that cannot
compare sets `COMPARES = False`.

Call `pytest.register_assert_rewrite("keyturn.testing.destinations")` before the import to see what
a failing test compared.
"""

from keyturn.testing.destinations.behind import Behind
from keyturn.testing.destinations.failing import FailContract
from keyturn.testing.destinations.holding import HoldContract
from keyturn.testing.destinations.writing import WriteContract

__all__ = ["Behind", "DestinationContract", "FailContract", "HoldContract", "WriteContract"]


class DestinationContract(HoldContract, WriteContract, FailContract):
    """All of it."""
