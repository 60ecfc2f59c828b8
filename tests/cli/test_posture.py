"""Posture from the command line: failing first, exit codes for CI, waivers, CSV for auditors."""

import csv
import io
import json
from pathlib import Path

from keyturn.cli import ending
from keyturn.domain.posture.check import CheckId
from keyturn.server.checks import ChecksFile
from keyturn.services.attest import Attestation, Notary
from tests.cli.calling import House
from tests.cli.programs import Place

FOUND = Attestation(entries=3, changes=2, blanked=0, heads=1, faults=(), hash="ab" * 32)


def check(house: House, name: str) -> str:
    body = house.ask("GET", f"/v1/posture?check={name}")
    return str(body["checks"][0]["result"])


def test_failing_checks_stand_first_each_with_its_remedy(house: House) -> None:
    house.make("table-prod", "--scope", "read")
    shown = house.run("posture").done()
    results = [line.split()[0] for line in shown.output.splitlines()[1:]]
    assert results == sorted(results, key=["fail", "unknown", "waived", "pass"].index)
    assert len(results) == len(CheckId)
    failing = [line for line in shown.output.splitlines()[1:] if line.startswith("fail")]
    assert all("`keyturn " in line for line in failing)
    told = json.loads(house.run("posture", "--json").done().output)
    assert {one["id"] for one in told["checks"]} == set(CheckId)
    names = house.run("posture", "--result", "fail", "--quiet").done().output.split()
    assert names == [line.split()[1] for line in failing]


def test_the_exit_code_says_no_where_what_is_wanted_is_not_kept(house: House) -> None:
    house.make("exit-prod", "--owner", "ops")
    for wanted, code in (
        ("fail", ending.NO),
        ("unknown", ending.NO),
        ("fail,unknown", ending.NO),
        ("keys.networks", ending.NO),
        ("keys.named,keys.networks", ending.NO),
        ("slots.few_keys", ending.DONE),
        ("clock.steady,slots.few_keys", ending.DONE),
        ("keys.rich", ending.WRONG),
        ("", ending.WRONG),
    ):
        assert house.run("posture", "--fail-on", wanted).code == code, wanted
    quiet = house.run("posture", "--check", "slots.few_keys", "--fail-on", "fail", "-q")
    assert (quiet.code, quiet.output) == (ending.NO, "slots.few_keys\n")


def test_unknown_never_passes_by_name_either(house: House) -> None:
    house.make("silent-prod")
    assert check(house, "keys.separate") in ("unknown", "fail")
    assert house.run("posture", "--fail-on", "keys.separate").code == ending.NO


def test_a_waived_check_is_no_failure_until_it_is_unwaived(house: House) -> None:
    house.make("waived-prod")
    asked = ("keys.networks", "--until", "30d", "--reason", "no fixed address")
    id_ = house.run("posture", "waive", *asked, "-q").done().output.strip()
    assert house.run("posture", "--fail-on", "keys.networks").code == ending.DONE
    shown = house.run("posture", "--check", "keys.networks").done().output
    assert "no fixed address" in shown
    assert id_ in house.run("posture", "waivers", "-q").done().output.split()
    house.run("posture", "unwaive", id_).done()
    assert house.run("posture", "--fail-on", "keys.networks").code == ending.NO
    house.run("posture", "unwaive", id_).done()


def test_a_waiver_is_asked_for_rightly(house: House) -> None:
    good = ("keys.owned", "--reason", "why", "--until", "1d")
    for wrong in (
        ("keys.rich", *good[1:]),
        good[:3],
        ("keys.owned", "--until", "1d"),
        (*good[:3], "--until", "800d"),
        (*good, "--slot", "nothing"),
    ):
        assert house.run("posture", "waive", *wrong).code == ending.WRONG, wrong
    absent = house.run("posture", "waive", *good, "--slot", "nothing-prod")
    assert absent.code == ending.ABSENT
    assert house.run("posture", "--json", "waivers").code == ending.WRONG


def test_the_evidence_is_a_table_json_or_csv_without_formulas(house: House) -> None:
    id_ = house.make("evidence-prod", "--owner", "=cmd|' /C calc'!A0")
    asked = ("posture", "evidence", "--from", "1d")
    assert "evidence-prod" in house.run(*asked).done().output
    (told,) = [
        one for one in json.loads(house.run(*asked, "--json").done().output) if one["key_id"] == id_
    ]
    assert told["owner"] == "=cmd|' /C calc'!A0"
    text = house.run(*asked, "--format", "csv").done().output
    rows = {one["key_id"]: one for one in csv.DictReader(io.StringIO(text, newline=""))}
    assert rows[id_]["owner"] == "'=cmd|' /C calc'!A0"
    assert id_ in house.run(*asked, "-q").done().output.split()
    early = ("--from", "2020-01-01T00:00:00Z", "--to", "2020-02-01T00:00:00Z", "-q")
    assert house.run("posture", "evidence", *early).done().output == ""


def test_a_check_of_the_log_is_known_to_the_server_of_that_folder(house: House) -> None:
    house.make("log-prod")
    house.run("activity", "verify").done()
    assert check(house, "log.verified") == "pass"
    file = house.place.home / "activity.checks"
    assert file.stat().st_mode & 0o777 == 0o600
    # What is not signed by this installation says nothing.
    file.write_text(file.read_text().replace('"sound": true', '"sound": false'))
    assert check(house, "log.verified") == "unknown"


def test_an_outcome_that_cannot_be_kept_is_the_same_outcome(made: Place) -> None:
    (made.home / "activity.checks").mkdir()
    checked = made.run("activity", "verify").done()
    assert "cannot be kept" in checked.errors


def test_the_newest_outcome_counts_and_torn_or_foreign_lines_do_not(tmp_path: Path) -> None:
    mine, other = (Notary(bytes([seed]) * 32) for seed in (1, 2))
    file = ChecksFile(tmp_path / "checks", mine)
    assert file.last() is None
    file.add(FOUND, 1_000)
    ChecksFile(tmp_path / "checks", other).add(FOUND, 9_000)
    with (tmp_path / "checks").open("a") as raw:
        raw.write('{"at": 5, "sound": tr\n[]\n7\n{"at": "5"}\n')
    found = file.last()
    assert found is not None
    assert (found.at, found.is_sound, found.entries, found.hash) == (1_000, True, 3, "ab" * 32)
    unsound = Attestation(entries=4, changes=2, blanked=0, heads=1, faults=("x",), hash="cd" * 32)
    file.add(unsound, 2_000)
    last = file.last()
    assert last is not None
    assert not last.is_sound
