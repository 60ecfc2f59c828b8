"""The vendors' libraries are extras: the rest works without them, and does not load them."""

import json
import subprocess
import sys

import pytest

VENDORS = ("azure", "boto3", "botocore", "google", "msal", "requests")

OPEN_WITHOUT = """
import sys

class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {blocked}:
            raise ModuleNotFoundError(name)

sys.meta_path.insert(0, Missing())
from uuid import UUID
from keyturn.destinations.contract import DestinationFault, Opening
from keyturn.destinations.{module} import {kind}
from keyturn.testing import FakeClock

opening = Opening(
    workspace_id=UUID(int=1), destination_id=UUID(int=2), config={{}}, credential={{}}
)
try:
    {kind}(None, FakeClock()).open(opening)
except DestinationFault as fault:
    print(fault.kind.value, fault.detail)
"""


def run(program: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60
    )
    return done.stdout.strip()


@pytest.mark.parametrize(
    ("module", "kind", "extra"),
    [("aws", "AwsKind", "aws"), ("gcp", "GcpKind", "gcp"), ("azure", "AzureKind", "azure")],
)
def test_without_its_library_a_kind_says_what_to_install(
    module: str, kind: str, extra: str
) -> None:
    told = run(OPEN_WITHOUT.format(blocked=set(VENDORS), module=module, kind=kind))
    assert told.startswith("missing ")
    assert f"`keyturn[{extra}]`" in told


@pytest.mark.parametrize(
    "module", ["keyturn", "keyturn.cli", "keyturn.client", "keyturn.server.build"]
)
def test_nothing_of_the_vendors_is_loaded_before_a_destination_is_opened(module: str) -> None:
    program = (
        f"import {module}, sys, json;"
        " print(json.dumps(sorted({name.partition('.')[0] for name in sys.modules})))"
    )
    assert not set(json.loads(run(program))) & set(VENDORS)
