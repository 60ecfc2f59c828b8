"""The picture of the demonstration needs nothing from elsewhere, and shows the table as it is."""

import re
from html import unescape
from pathlib import Path
from xml.etree import ElementTree

from keyturn.demo.evidence import Chapter
from keyturn.demo.figures import Figures
from keyturn.demo.incident_figures import IncidentFigures
from keyturn.demo.table import lines
from keyturn.demo.tally import Tally

PROJECT = Path(__file__).parents[2]
PICTURE = (PROJECT / "docs" / "images" / "demo.svg").read_text(encoding="utf-8")
SPACE = "http://www.w3.org/2000/svg"
ANY = Figures(
    services={},
    sent=2,
    served=1,
    sent_during_rotation=1,
    failed_during_rotation=0,
    failed_otherwise=0,
    started_by="keyturn rotations",
    has_started_by_itself=True,
    destination="openbao",
    destination_kind="vault",
    delivered_ms=1.0,
    first_use_ms=2.0,
    answers=4,
    tokens_shown=0,
    stragglers=["admin"],
    was_refused=True,
    has_retired_by_itself=True,
    move_to_retirement_ms=2.0,
    brownout_ms=1.0,
    lifts=0,
    incident=IncidentFigures(
        answered_ms=1.0,
        sent_after=1,
        tried=1,
        accepted_after=0,
        last_accepted_sent_ms=-1.0,
        last_acceptance_ms=-1.0,
        first_refusal_ms=1.0,
        thief=Tally(sent=2, served=1, refused=1, failed=0),
        strangers=["ua:curl"],
        reported=2,
        misreported=0,
        is_complete=True,
        was_refused=True,
        is_closed=True,
        replaced_ms=1.0,
        used_ms=1.5,
        recovered_ms=2.0,
    ),
    logged=2,
    found_in_log=2,
    unknown_in_log=0,
    agreeing_with_log=2,
    median_ms=1.0,
    p99_ms=1.0,
    chapters=[Chapter("rotation", 1.0)],
)


def test_it_is_shown_by_the_readme() -> None:
    readme = (PROJECT / "README.md").read_text(encoding="utf-8")
    assert re.search(r"!\[[^\]]+\]\(docs/images/demo\.svg\)", readme)


def test_it_loads_nothing_and_runs_nothing() -> None:
    tree = ElementTree.fromstring(PICTURE)
    assert {element.tag.removeprefix(f"{{{SPACE}}}") for element in tree.iter()} <= {
        "svg", "title", "style", "defs", "clipPath", "rect", "circle", "g", "text",
    }  # fmt: skip
    assert "://" not in PICTURE.replace(SPACE, "")
    assert "@" not in PICTURE
    assert all(target.startswith("#") for target in re.findall(r"url\(([^)]*)\)", PICTURE))


def test_each_clip_that_it_names_is_there() -> None:
    tree = ElementTree.fromstring(PICTURE)
    ids = {element.get("id") for element in tree.iter() if element.get("id")}
    assert {target.lstrip("#") for target in re.findall(r"url\(([^)]*)\)", PICTURE)} <= ids


def test_it_shows_each_figure_of_the_table_and_that_it_holds() -> None:
    text = re.sub(r"<[^>]+>", " ", unescape(PICTURE)).replace("\N{NO-BREAK SPACE}", " ")
    for line in lines(ANY):
        assert line.title in text, line.title
    assert "WRONG" not in text
    assert text.count(" ok ") == sum(line.must_hold for line in lines(ANY))
    assert "Every figure is as it must be." in text
