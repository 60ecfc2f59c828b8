"""What is shown fits where it is shown, and nothing in it is obeyed."""

import json
import re
import unicodedata
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from keyturn.cli.output import Column, fit, spelled
from tests.cli.calling import House, answer, answering, place_at, terminal

TITLES = ("id", "name", "status", "owner", "a longer title")
TEXTS = st.text(alphabet=st.characters(codec="utf-8"), max_size=60).map(spelled)

tables = st.lists(
    st.builds(
        Column,
        title=st.sampled_from(TITLES),
        wide=st.booleans(),
        right=st.booleans(),
        optional=st.booleans(),
    ),
    min_size=1,
    max_size=7,
).flatmap(
    lambda columns: st.tuples(
        st.just(columns),
        st.lists(st.tuples(*(TEXTS for _ in columns)), max_size=8),
    )
)


def natural(columns: list[Column], cells: list[tuple[str, ...]]) -> list[int]:
    return [
        max([len(column.title), *(cell_len(row[index]) for row in cells)])
        for index, column in enumerate(columns)
    ]


@given(tables, st.integers(1, 200))
def test_a_table_is_never_wider_than_its_terminal(
    table: tuple[list[Column], list[tuple[str, ...]]], width: int
) -> None:
    columns, cells = table
    widths = fit(columns, cells, width)
    if widths is None:
        return
    shown = [one for one in widths if one]
    assert sum(shown) + 2 * (len(shown) - 1) <= width
    for column, found, whole in zip(columns, widths, natural(columns, cells), strict=True):
        assert found <= whole
        assert found == whole or column.wide or (found == 0 and column.optional)
        assert found > 0 or column.optional


@given(tables)
def test_off_a_terminal_nothing_is_cut(
    table: tuple[list[Column], list[tuple[str, ...]]],
) -> None:
    columns, cells = table
    assert fit(columns, cells, None) == natural(columns, cells)


@given(tables, st.integers(1, 200))
def test_a_table_stands_side_by_side_wherever_it_can(
    table: tuple[list[Column], list[tuple[str, ...]]], width: int
) -> None:
    columns, cells = table
    needed = [
        min(whole, 8) if column.wide else whole
        for column, whole in zip(columns, natural(columns, cells), strict=True)
        if not column.optional
    ]
    if needed and sum(needed) + 2 * (len(needed) - 1) <= width:
        assert fit(columns, cells, width) is not None


# --- what others wrote ---------------------------------------------------------------------------

HOSTILE = [
    "\x1b[31mred\x1b[0m",
    "\x1b]0;title\x07",
    "\x9b31m",
    "a\rb\nkeyturn: all is well",
    "\u202egnp.exe",
    "[red]bold[/red] [link=https://evil.example]here[/link]",
    "東京都庁の鍵束です",
    "👩‍👩‍👧‍👦 🔑🔑🔑",
    "שלום עולם",
    "e\u0301e\u0301",
    "a" * 500,
]
OBEYED = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")
COLOUR = re.compile(r"\x1b\[\d*m")


def key(number: int, name: str) -> dict[str, object]:
    now = "2026-01-01T00:00:00.000000Z"
    return {
        "id": f"01a203e7-487b-774f-94db-b6feca2dc3{number:02x}",
        "workspace_id": name,
        "name": name,
        "service": "a",
        "environment": "b",
        "status": "active",
        "version": 1,
        "scopes": [name],
        "permissions": [],
        "allowed_cidrs": [],
        "metadata": {name: name},
        "hint": name,
        "created_at": now,
        "updated_at": now,
        "owner": name,
        "purpose": name,
    }


def hostile(handler: BaseHTTPRequestHandler) -> None:
    if handler.command == "DELETE":
        faults = [{"pointer": f"/{name}", "detail": name} for name in HOSTILE]
        problem = {"code": HOSTILE[0], "detail": "\n".join(HOSTILE), "request_id": HOSTILE[1]}
        content = json.dumps({**problem, "errors": faults}).encode()
        answer(handler, 422, "application/problem+json", content)
        return
    path = handler.path.partition("?")[0]
    found = [key(number, name) for number, name in enumerate(HOSTILE)]
    told: object = found if path == "/v1/api-keys" else found[int(path[-2:], 16)]
    answer(handler, 200, "application/json", json.dumps(told).encode())


def columns_of(text: str) -> int:
    """As terminals count: two for wide characters, none for marks that join."""
    return sum(
        0
        if unicodedata.combining(one) or one == "\u200d"
        else 2
        if unicodedata.east_asian_width(one) in "WF"
        else 1
        for one in text
    )


@pytest.mark.parametrize("columns", [40, 60, 80, 120])
def test_no_text_of_others_is_obeyed_and_tables_fit(
    columns: int, house: House, tmp_path: Path
) -> None:
    own = str(house.place.home / "operator.token")
    with answering(hostile) as url:
        place = place_at(tmp_path, url, "")
        place.settings["KEYTURN_API_KEY_FILE"] = own
        shown = {}
        for words in ("keys list", "keys list -q", "keys list --json", "keys show", "keys revoke"):
            id_ = f"01a203e7-487b-774f-94db-b6feca2dc3{(columns // 20) % 5:02x}"
            more = (
                [id_, *(["-y"] if words.endswith("revoke") else [])] if "list" not in words else []
            )
            with terminal(place, *words.split(), *more, columns=columns) as one:
                shown[words] = one.end()[1]
    for words, text in shown.items():
        plain = COLOUR.sub("", text)
        assert OBEYED.search(plain) is None, (words, ascii(plain))
    assert [one["name"] for one in json.loads(shown["keys list --json"])] == HOSTILE
    table = COLOUR.sub("", shown["keys list"]).splitlines()
    if columns >= 80:
        simple = [line for line in table if "\u200d" not in line]
        assert max(map(columns_of, simple)) <= columns
        status = table[0].index("STATUS")
        for line in simple[1:]:
            before = next(at for at in range(len(line)) if line[at:].startswith("active"))
            assert columns_of(line[:before]) == status, ascii(line)
        assert "[red]" in "\n".join(table)
    else:
        assert table[0].startswith("id ")


def test_colour_stands_on_a_terminal_that_wants_it(house: House) -> None:
    house.make("colour-prod")
    ask = ("keys", "list", "--service", "colour")
    wanted = {"plain": {}, "NO_COLOR": {"NO_COLOR": "1"}, "dumb": {"TERM": "dumb"}}
    shown = {}
    for kind, settings in wanted.items():
        with terminal(house.place, *ask, columns=120, **settings) as one:
            shown[kind] = one.end()[1]
    assert "\x1b[32mactive" in shown["plain"]
    assert "\x1b" not in shown["NO_COLOR"] + shown["dumb"] + house.run(*ask).done().output
    assert COLOUR.sub("", shown["plain"]) == shown["dumb"]


def test_off_a_terminal_a_long_text_is_whole(house: House) -> None:
    house.make("whole-prod", "--owner", "o" * 200)
    assert "o" * 200 in house.run("keys", "list", "--service", "whole").done().output
    with terminal(house.place, "keys", "list", "--service", "whole", columns=80) as one:
        text = one.end()[1]
    assert "…" in text
    assert max(len(COLOUR.sub("", line)) for line in text.splitlines()) <= 80


def test_an_output_that_cannot_spell_it_is_no_stack_trace(house: House) -> None:
    house.make("odd-prod", "--owner", "Zoe 東京")
    ask, encoding = ("keys", "list", "--service", "odd"), "iso8859-1"
    with terminal(house.place, *ask, PYTHONIOENCODING=encoding) as one:
        code, text = one.end()
    assert (code, "Zoe ??" in text) == (0, True)
    with terminal(house.place, *ask, "--json", PYTHONIOENCODING=encoding) as one:
        code, text = one.end()
    assert (code, json.loads(text)[0]["owner"]) == (0, "Zoe 東京")
