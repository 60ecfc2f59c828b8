"""The how-to guides are followed word by word, each with a product of its own."""

import re
import socket
import subprocess
from contextlib import ExitStack
from pathlib import Path

import pytest

from keyturn.cli.run_supervision import OnChange
from keyturn.destinations.contract import FaultKind
from keyturn.domain.detectors import BLIND_SPOTS
from keyturn.domain.event import EVENT_TYPES
from keyturn.domain.evidence import BLOCKERS
from keyturn.domain.finding import FindingKind
from keyturn.domain.incident import CallerStanding
from keyturn.domain.posture.check import CheckId
from keyturn.domain.rotation import Standing
from tests.documentation.walk import (
    ADDRESS,
    PROJECT,
    copy_project,
    hold,
    product,
    reader,
    serving,
    settled,
    steps,
    walk,
)
from tests.notifications.mailbox import Mailbox
from tests.servers.openbao import require_program
from tests.servers.postgres import Postgres

HOWTO = PROJECT / "docs" / "howto"
# Where the tutorial's first two steps end.
SIGNED_IN = (
    f'export KEYTURN_URL={ADDRESS}\nexport KEYTURN_API_KEY_FILE="$PWD/.keyturn/operator.token"\n'
)
# The guides that are followed elsewhere: test_client_howto, and tests of the command line.
ELSEWHERE = {"use-the-python-client.md", "many-services-from-one-file.md"}
FOLLOWED = {
    "name-and-own-keys.md",
    "call-the-http-api.md",
    "back-up-and-restore.md",
    "rotate-the-pepper.md",
    "rotate-a-key-by-evidence.md",
    "respond-to-a-leak.md",
    "plan-rotations.md",
    "give-a-token-to-a-process.md",
    "send-notifications.md",
    "deliver-new-tokens.md",
    "check-your-posture.md",
    "see-unusual-use.md",
    "run-several-nodes.md",
}


def test_every_guide_is_followed() -> None:
    assert {page.name for page in HOWTO.glob("*.md")} <= ELSEWHERE | FOLLOWED


def test_no_row_that_a_guide_shows_stands_twice() -> None:
    for page in HOWTO.glob("*.md"):
        for step in steps(page):
            ids = re.findall(r"^([0-9A-Za-z]{22})  ", step.shows or "", re.MULTILINE)
            assert len(set(ids)) == len(ids), f"{page.name}: {step.script}"


def test_names_and_owners(tmp_path: Path) -> None:
    page = HOWTO / "name-and-own-keys.md"
    checkout = copy_project(tmp_path / "keyturn", "Makefile", "src")
    with product(checkout) as address:
        shown = walk(checkout, steps(page), instead={ADDRESS: address}, before={0: SIGNED_IN})
    hold(page, steps(page), shown)


@pytest.mark.parametrize(
    "name",
    [
        "rotate-a-key-by-evidence.md",
        "respond-to-a-leak.md",
        "plan-rotations.md",
        "give-a-token-to-a-process.md",
        "check-your-posture.md",
    ],
)
def test_rotations_and_incidents(name: str, tmp_path: Path) -> None:
    page = HOWTO / name
    checkout = copy_project(tmp_path / "keyturn", "Makefile", "src")
    with product(checkout) as address:
        shown = walk(checkout, steps(page), instead={ADDRESS: address}, before={0: SIGNED_IN})
    hold(page, steps(page), shown)


def test_the_guide_to_a_rotation_tells_every_blocker() -> None:
    told = (HOWTO / "rotate-a-key-by-evidence.md").read_text(encoding="utf-8")
    assert set(BLOCKERS) <= set(re.findall(r"^\| `([a-z_.]+)` \|", told, re.MULTILINE))
    assert all(f"--standing {one}" in told for one in Standing)


def test_the_guide_to_leaks_tells_every_standing_of_a_caller() -> None:
    told = (HOWTO / "respond-to-a-leak.md").read_text(encoding="utf-8")
    assert set(re.findall(r"^\| `([a-z]+)` \|", told, re.MULTILINE)) == set(CallerStanding)


def test_the_guide_to_posture_tells_every_check() -> None:
    told = (HOWTO / "check-your-posture.md").read_text(encoding="utf-8")
    assert re.findall(r"^\| `([a-z_.]+)` \|", told, re.MULTILINE) == list(CheckId)


def test_the_guide_to_plans_tells_every_finding() -> None:
    told = (HOWTO / "plan-rotations.md").read_text(encoding="utf-8")
    named = re.findall(r"^\| (`.+?`) \|", told, re.MULTILINE)
    kinds = {kind.strip("`") for cell in named for kind in cell.split(", ")}
    assert kinds == {"usage.…", *set(FindingKind) - set(BLIND_SPOTS)}


def test_unusual_use(tmp_path: Path) -> None:
    page = HOWTO / "see-unusual-use.md"
    checkout = copy_project(tmp_path / "keyturn", "Makefile", "src")
    with product(checkout) as address:
        shown = walk(checkout, steps(page), instead={ADDRESS: address}, before={0: SIGNED_IN})
    hold(page, steps(page), shown)


def test_the_guide_to_unusual_use_tells_every_detector_and_what_it_cannot_see() -> None:
    told = (HOWTO / "see-unusual-use.md").read_text(encoding="utf-8")
    named = re.findall(r"^\| `(usage\.\w+)` \|", told, re.MULTILINE)
    assert named == 2 * [kind.value for kind in BLIND_SPOTS]
    assert set(BLIND_SPOTS) == {kind for kind in FindingKind if kind.startswith("usage.")}
    for kind, blind_spot in BLIND_SPOTS.items():
        assert f"| `{kind.value}` | {blind_spot} |" in told


def test_the_guide_to_processes_tells_every_place_and_every_reaction() -> None:
    told = (HOWTO / "give-a-token-to-a-process.md").read_text(encoding="utf-8")
    named = re.findall(r"^\| `([a-z]+)", told, re.MULTILINE)
    assert set(named) == {*OnChange, "env", "file", "vault", "aws", "gcp", "azure"}


def test_deliveries(tmp_path: Path) -> None:
    require_program()
    page = HOWTO / "deliver-new-tokens.md"
    checkout = copy_project(tmp_path / "keyturn", "Makefile", "src")
    with socket.create_server(("127.0.0.1", 0)) as free:
        bao = f"127.0.0.1:{free.getsockname()[1]}"
    blocks = steps(page)[1:]  # the first starts the product
    with product(checkout, KEYTURN_OUTBOUND_NETWORKS=bao) as address:
        instead = {ADDRESS: address, "127.0.0.1:8200": bao}
        shown = walk(checkout, blocks, instead=instead, before={0: SIGNED_IN})
    hold(page, blocks, shown)


def test_the_guide_to_deliveries_tells_every_fault() -> None:
    told = (HOWTO / "deliver-new-tokens.md").read_text(encoding="utf-8")
    named = re.findall(r"^\| (`.+?`) \|", told, re.MULTILINE)
    assert {kind.strip("`") for cell in named for kind in cell.split(", ")} == set(FaultKind)


def test_notifications(tmp_path: Path) -> None:
    page = HOWTO / "send-notifications.md"
    checkout = copy_project(tmp_path / "keyturn", "Makefile", "src")
    mailbox = Mailbox()
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = str(free.getsockname()[1])
    try:
        [settings] = re.findall(r"```toml\n(.*?)```", page.read_text("utf-8"), re.DOTALL)
        mine = settings.replace("9000", port).replace("2525", str(mailbox.port))
        (checkout / "keyturn.toml").write_text(mine)
        with product(checkout) as address:
            told = {ADDRESS: address, "127.0.0.1:9000": f"127.0.0.1:{port}"}
            told['"127.0.0.1", 9000'] = f'"127.0.0.1", {port}'
            shown = walk(checkout, steps(page), instead=told, before={0: SIGNED_IN})
        hold(page, steps(page), shown)
    finally:
        mailbox.close()


def test_the_guide_to_notifications_tells_every_event() -> None:
    told = (HOWTO / "send-notifications.md").read_text(encoding="utf-8")
    named = re.findall(r"^\| (`.+?`) \|", told, re.MULTILINE)
    assert {one.strip("`") for cell in named for one in cell.split(", ")} == set(EVENT_TYPES)


def test_the_http_api(tmp_path: Path) -> None:
    page = HOWTO / "call-the-http-api.md"
    checkout = copy_project(tmp_path / "keyturn", "Makefile", "src")
    with product(checkout) as address:
        shown = walk(checkout, steps(page), instead={ADDRESS: address})
    hold(page, steps(page), shown)
    told = "\n".join(shown)
    assert "HTTP/1.1 204" in told
    assert "keyturn-propagation: complete;" in told.lower()
    assert shown[-2].endswith("\nrevoked")
    assert '"api_key.revoked"' in shown[-1]


def test_back_up_and_restore(tmp_path: Path, postgres: Postgres) -> None:
    page = HOWTO / "back-up-and-restore.md"
    checkout = installed(tmp_path)
    empty = "rm .keyturn/keyturn.db*\n"
    later = "keyturn operators create --name Eve --output eve.token\n"
    shown = walk(
        checkout,
        steps(page),
        instead={"postgresql://keyturn@db.internal/keyturn": postgres.create_database()},
        before={
            1: empty,
            # The log goes on after the backup, and is lost.
            2: f"{later}{empty}keyturn restore --suspend-keys keyturn.backup\n",
            3: "rm keyturn.backup\n",
        },
    )
    backed_up, restored, kept_out, moved = shown
    assert "\nWhole: " in backed_up
    assert "Nothing is lost" in backed_up
    assert restored.startswith("Restored: ")
    assert "is in ada.token" in kept_out
    assert "Restored: " in moved


def test_rotate_the_pepper(tmp_path: Path) -> None:
    page = HOWTO / "rotate-the-pepper.md"
    shown = walk(installed(tmp_path), steps(page), instead={})
    said, says = shown[0].splitlines(), (steps(page)[0].shows or "").splitlines()
    assert len(said) == len(says) == 3
    assert said[0] == says[0]
    assert said[1].partition("wrapped")[2] == says[1].partition("wrapped")[2]
    assert said[2].partition("root.secret")[2] == says[2].partition("root.secret")[2]


def test_several_nodes(tmp_path: Path, postgres: Postgres) -> None:
    page = HOWTO / "run-several-nodes.md"
    first, second, *blocks = steps(page)
    checkout = copy_project(tmp_path / "keyturn", "Makefile", "src")
    homes = [tmp_path / f"host-{number}" for number in (1, 2)]
    ports = free_ports(2)
    database = postgres.create_database()

    def on_host(number: int) -> dict[str, str]:
        """What a test must have instead of a host of its own."""
        own = f"KEYTURN_HOST=127.0.0.1 KEYTURN_PORT={ports[number]}"
        return {
            "scp 10.0.0.1:/var/lib/keyturn/root.secret": f"cp {homes[0]}/root.secret",
            "/var/lib/keyturn": str(homes[number]),
            f"KEYTURN_HOST=10.0.0.{number + 1}": own,
            "postgresql://keyturn@db.internal/keyturn": database,
        }

    addresses = [f"http://127.0.0.1:{port}" for port in ports]
    told = {f"http://10.0.0.{n}:8420": address for n, address in enumerate(addresses, 1)}
    with (
        serving(checkout, first, on_host(0), addresses[0]) as leader,
        serving(checkout, second, on_host(1), addresses[1]) as follower,
    ):
        shown = walk(checkout, blocks, instead=told)
        assert '"message": "leading"' in leader()
        assert "FAULT" not in follower()
        assert '"message": "leading"' not in follower()
    drill = next(n for n, step in enumerate(blocks) if "drill" in step.script)
    assert measured(shown.pop(drill)) == measured(blocks.pop(drill).shows or "")
    hold(page, blocks, shown)
    ready, *_, metrics = shown
    assert ready.count('"verifier":"ok"') == 2
    assert metrics.count("keyturn_verifier_lease_seconds ") == 2


def measured(text: str) -> list[str]:
    """The lines of what was measured, without the figures."""
    return settled(re.sub(r"drill-[0-9a-f]{8}|\d[\d.,]*", "#", text))


def free_ports(count: int) -> list[int]:
    with ExitStack() as stack:
        taken = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [one.getsockname()[1] for one in taken]


def installed(folder: Path) -> Path:
    """A folder with an installation in it."""
    checkout = copy_project(folder / "keyturn", "Makefile", "src")
    made = subprocess.run(
        ["keyturn", "init"], cwd=checkout, env=reader(checkout), capture_output=True, text=True
    )
    assert made.returncode == 0, made.stderr
    return checkout
