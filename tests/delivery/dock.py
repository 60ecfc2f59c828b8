"""A house with a shelf: a slot whose tokens go there, and all that carries them."""

from dataclasses import dataclass, field, replace
from uuid import UUID

from keyturn.domain.delivery import Delivery
from keyturn.domain.destination import Destination
from keyturn.domain.evidence import Evidence
from keyturn.domain.instant import SECOND
from keyturn.domain.key import RevocationReason
from keyturn.domain.rotation import Rotation
from keyturn.domain.slot import ExpectedRuntime, SlotName, SlotNotes
from keyturn.domain.token import Token
from keyturn.services.advance import Advancer
from keyturn.services.connect import DestinationDraft, connect_destination, prove_destination
from keyturn.services.define import define_slot
from keyturn.services.deliver import Deliverer
from keyturn.services.issue import IssuedKey
from keyturn.services.meter import Meter
from keyturn.services.revoke import revoke_key
from keyturn.services.rotate import RotationDraft, StartedRotation, start_rotation
from keyturn.services.weigh import weigh
from keyturn.services.witness import Witness
from keyturn.storage.deliveries import DeliveryFilter
from keyturn.testing.storage import making
from tests.delivery.shelf import PASSWORD, Shelf
from tests.houses import House

SLOT = SlotName(service="scheduler", environment="prod")
WORKER = "worker"
OVERLAP = 3_600
QUIET = 30


@dataclass(slots=True)
class Dock:
    """One installation with one shelf. Time is the house's."""

    house: House
    shelf: Shelf = field(default_factory=Shelf)
    meter: Meter = field(init=False)
    witness: Witness = field(init=False)
    advancer: Advancer = field(init=False)
    deliverer: Deliverer = field(init=False)
    _requests: int = 1

    def __post_init__(self) -> None:
        self.house.context = replace(self.house.context, kinds={"shelf": self.shelf})
        self.begin()

    def begin(self) -> None:
        """As a fresh process does, which remembers nothing."""
        context = self.house.context
        self.meter = Meter(context)
        self.witness = Witness(context, self.meter)
        self.advancer = Advancer(context, self.witness)
        self.deliverer = Deliverer(context)

    # --- what people do --------------------------------------------------------------------------

    def connect(
        self,
        name: str = "shelf",
        address: str = "shelf",
        workspace_id: UUID | None = None,
        password: str = PASSWORD,
    ) -> Destination:
        """A destination, proven where it can be."""
        place = workspace_id or self.house.workspace_id
        draft = DestinationDraft(
            name=name, kind="shelf", config={"address": address}, credential={"password": password}
        )
        connect_destination(self.house.context, self.house.act(), place, draft)
        return prove_destination(self.house.context, self.house.act(), place, name)

    def define(
        self, *destinations: str, slot: SlotName = SLOT, workspace_id: UUID | None = None
    ) -> None:
        notes = SlotNotes(
            owner="ops@example.com",
            destinations=destinations,
            runtimes=(ExpectedRuntime(name=WORKER, max_call_interval_seconds=600),),
        )
        place = workspace_id or self.house.workspace_id
        define_slot(self.house.context, self.house.act(), place, slot, notes)

    def furnish(self, *addresses: str) -> IssuedKey:
        """A slot whose key's token is in its destinations, which are called as their addresses."""
        for address in addresses or ("shelf",):
            self.connect(address, address)
        self.define(*(addresses or ("shelf",)))
        issued = self.house.issue(slot=str(SLOT), scopes=("read",))
        self.settle()
        self.house.clock.advance(60 * SECOND)
        for address in addresses or ("shelf",):
            assert self.shelf.value(SLOT, address) == issued.token.reveal()
        return issued

    def rotate(self, old: UUID, **draft: object) -> StartedRotation:
        asked = RotationDraft(
            **{"overlap_seconds": OVERLAP, "quiet_seconds": QUIET, "brownout_seconds": 0, **draft}  # type: ignore[arg-type]
        )
        house = self.house
        return start_rotation(house.context, house.act(), house.workspace_id, old, asked)

    # --- what happens by itself ------------------------------------------------------------------

    def revoke(self, token: Token) -> None:
        house = self.house
        reason = RevocationReason.UNUSED
        revoke_key(house.context, house.act(), house.workspace_id, token.id, reason)

    def settle(self, rounds: int = 12) -> None:
        """Goes on until nothing is due any more; a failure waits for its time."""
        for _ in range(rounds):
            if self.deliverer.step() == 0:
                return

    def run(self, seconds: int, step: int = 5) -> None:
        """Lets so many seconds pass, and everything that is due meanwhile happen."""
        for _ in range(0, seconds, step):
            self.house.clock.advance(step * SECOND)
            self.deliverer.step()
            self.advancer.step()

    def use(self, token: Token) -> None:
        """The worker calls with a token."""
        used = making.request(
            self.house.clock.now(),
            key_id=token.id,
            workspace_id=self.house.workspace_id,
            runtime=WORKER,
        )
        making.record(self.house.store, used, first=self._requests)
        self._requests += 1

    # --- looking ---------------------------------------------------------------------------------

    def rotation(self, id_: UUID) -> Rotation:
        with self.house.store.read() as reading:
            rotation = reading.rotations.find(self.house.workspace_id, id_)
        assert rotation is not None
        return rotation

    def evidence(self, id_: UUID) -> Evidence:
        """What is known of an open rotation now."""
        observation = self.witness.observe()
        with self.house.store.read() as reading:
            return weigh(reading, self.rotation(id_), observation).evidence

    def deliveries(self, workspace_id: UUID | None = None) -> list[Delivery]:
        """All of them, oldest first."""
        place = workspace_id or self.house.workspace_id
        with self.house.store.read() as reading:
            found = reading.deliveries.list(place, DeliveryFilter(), limit=1_000, before=None)
        return list(reversed(found))

    def delivery_of(self, key_id: UUID, destination: str = "shelf") -> Delivery:
        [found] = [
            one
            for one in self.deliveries()
            if one.key_id == key_id and one.destination == destination
        ]
        return found
