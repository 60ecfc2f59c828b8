"""The contract of `keyturn.storage.contract` as tests, for every engine there is or will be.

    from keyturn.testing.storage import StorageContract

    class TestOurEngine(StorageContract):
        @pytest.fixture
        def damage(self) -> list[Damage]: ...

        @pytest.fixture
        def store(self, damage) -> Iterator[Store]: ...

`store` is a store on a database that has the tables and no row, and `damage` the list to which its
`on_damage` appends. An engine that several nodes may use at once keeps `ClusterContract` too, with
a fixture `beside`, another store on the database of `store`. Call
`pytest.register_assert_rewrite("keyturn.testing.storage")` before the import to see what a failing
test compared.
"""

from keyturn.testing.storage.changing import ChangeContract, ReadContract, SwapContract
from keyturn.testing.storage.channelling import ChannelContract, MessageContract
from keyturn.testing.storage.clustering import ClusterContract
from keyturn.testing.storage.counting import TrafficContract
from keyturn.testing.storage.delivering import DeliveryContract, DestinationContract
from keyturn.testing.storage.filling import FillContract
from keyturn.testing.storage.listing import ListContract, TenantContract
from keyturn.testing.storage.recording import KeepContract, RecordContract
from keyturn.testing.storage.responding import IncidentContract
from keyturn.testing.storage.rotating import FindingContract, RotationContract
from keyturn.testing.storage.using import UseContract
from keyturn.testing.storage.waiving import WaiverContract

__all__ = [
    "ChangeContract",
    "ChannelContract",
    "ClusterContract",
    "DeliveryContract",
    "DestinationContract",
    "FillContract",
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
    FillContract,
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
