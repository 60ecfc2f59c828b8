"""The contract of `keyturn.storage.contract` as tests, for every engine there is or will be.

    from keyturn.testing.storage import StorageContract

    class TestOurEngine(StorageContract):
        @pytest.fixture
        def damage(self) -> list[Damage]: ...

        @pytest.fixture
        def store(self, damage) -> Iterator[Store]: ...

`store` is a store on a database that has the tables and no row, and `damage` the list to which its
`on_damage` appends. Call `pytest.register_assert_rewrite("keyturn.testing.storage")` before the
import to see what a failing test compared.
"""

from keyturn.testing.storage.changing import ChangeContract, ReadContract, SwapContract
from keyturn.testing.storage.channelling import ChannelContract, MessageContract
from keyturn.testing.storage.counting import TrafficContract
from keyturn.testing.storage.delivering import DeliveryContract, DestinationContract
from keyturn.testing.storage.listing import ListContract, TenantContract
from keyturn.testing.storage.recording import KeepContract, RecordContract
from keyturn.testing.storage.responding import IncidentContract
from keyturn.testing.storage.rotating import FindingContract, RotationContract
from keyturn.testing.storage.using import UseContract
from keyturn.testing.storage.waiving import WaiverContract

__all__ = [
    "ChangeContract",
    "ChannelContract",
    "DeliveryContract",
    "DestinationContract",
    "FindingContract",
    "IncidentContract",
    "KeepContract",
    "ListContract",
    "MessageContract",
    "ReadContract",
    "RecordContract",
    "RotationContract",
    "StorageContract",
    "SwapContract",
    "TenantContract",
    "TrafficContract",
    "UseContract",
    "WaiverContract",
]


class StorageContract(
    ChangeContract,
    SwapContract,
    ReadContract,
    TenantContract,
    ListContract,
    RecordContract,
    KeepContract,
    UseContract,
    TrafficContract,
    RotationContract,
    FindingContract,
    IncidentContract,
    DestinationContract,
    DeliveryContract,
    ChannelContract,
    MessageContract,
    WaiverContract,
):
    """All of it."""
