"""Records and strategies that several tests of the domain start from."""

from uuid import UUID

from hypothesis import strategies as st

from keyturn.domain.identity import make_id
from keyturn.domain.key import Key, KeyState
from keyturn.domain.policy import WEEK, MaintenanceWindow, RotationPolicy
from keyturn.domain.slot import SlotName
from keyturn.domain.token import Token, make_token
from keyturn.domain.workspace import Workspace, WorkspaceStatus
from keyturn.testing import SeededEntropy

NOW = 1_790_000_000_000_000
SECRET = b"\x5a" * 32

ids = st.uuids(version=None) | st.sampled_from([UUID(int=0), UUID(int=2**128 - 1)])
secrets = st.binary(min_size=32, max_size=32)
brands = st.from_regex(r"[a-z]{2,8}", fullmatch=True)
environments = st.from_regex(r"[a-z0-9]{1,16}", fullmatch=True)
# Secrets with nothing in common: one of zeros would be "found" in any run of zeros.
random_secrets = st.integers(0, 2**32).map(lambda seed: SeededEntropy(seed).take(32))
tokens = st.builds(make_token, brand=brands, environment=environments, id=ids, secret=secrets)


random_tokens = st.builds(
    make_token, brand=brands, environment=environments, id=ids, secret=random_secrets
)

windows = st.builds(
    MaintenanceWindow,
    days=st.sets(st.sampled_from(WEEK), min_size=1).map(
        lambda days: tuple(day for day in WEEK if day in days)
    ),
    starts_minute=st.integers(0, 1_439),
    minutes=st.integers(15, 1_440),
)
policies = st.builds(
    RotationPolicy,
    rotation_period_days=st.none() | st.integers(1, 400),
    most_at_once=st.integers(1, 5),
    windows=st.lists(windows, max_size=4).map(tuple),
)


def sample_id(number: int = 0) -> UUID:
    return make_id(NOW + number, SeededEntropy(number))


def sample_token(number: int = 0) -> Token:
    secret = SeededEntropy(number).take(32)
    return make_token(brand="kt", environment="prod", id=sample_id(number), secret=secret)


SAMPLE_KEY = Key(
    id=sample_id(1),
    workspace_id=sample_id(2),
    slot=SlotName(service="scheduler", environment="prod"),
    brand="kt",
    name="scheduler-prod",
    scopes=("read",),
    permissions=(),
    allowed_cidrs=(),
    metadata="{}",
    state=KeyState.ACTIVE,
    compromised=False,
    digest=bytes(32),
    peppers="1",
    created_at=NOW,
    created_by=None,
    not_before=None,
    expires_at=None,
    last_rotated_at=None,
    updated_at=NOW,
    revoked_at=None,
    revocation_reason=None,
    version=1,
)

SAMPLE_WORKSPACE = Workspace(
    id=SAMPLE_KEY.workspace_id,
    name="acme",
    status=WorkspaceStatus.ACTIVE,
    networks=(),
    created_at=NOW,
    updated_at=NOW,
    version=1,
)
