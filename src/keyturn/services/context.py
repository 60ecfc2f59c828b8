"""What every verb is given: the store, the pepper ring, time, chance, and a few settings."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from uuid import UUID

from keyturn.destinations.contract import DestinationKind
from keyturn.domain.ambience import Clock, Entropy
from keyturn.domain.digest import PepperRing
from keyturn.domain.identity import make_id
from keyturn.domain.network import Address
from keyturn.domain.posture.facts import LogCheck
from keyturn.domain.slot import KNOWN_ENVIRONMENTS
from keyturn.services.strongbox import Strongbox
from keyturn.storage.contract import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """One installation's tools. `environments` are those that a key's name may end in; `kinds` the
    kinds of destinations that this installation knows, by name. Without a mail server there are no
    channels by e-mail; plain http goes nowhere unless the operator has allowed some network.
    Where `country_of` is None, no address's country is known. `log_check` gives the last check
    of the activity log, None where none is known."""

    store: Store
    ring: PepperRing
    strongbox: Strongbox
    clock: Clock
    entropy: Entropy
    brand: str
    kinds: Mapping[str, DestinationKind] = field(default_factory=dict)
    environments: frozenset[str] = frozenset(KNOWN_ENVIRONMENTS)
    activity_retention_days: int = 400
    request_retention_days: int = 90
    country_of: Callable[[Address], str | None] | None = None
    has_mail: bool = False
    may_send_plain: bool = False
    log_check: Callable[[], LogCheck | None] = lambda: None

    def country(self, address: Address | None) -> str | None:
        """The country of an address (ISO 3166), None where it is not known."""
        if address is None or self.country_of is None:
            return None
        return self.country_of(address)

    def new_id(self, now: int) -> UUID:
        return make_id(now, self.entropy)
