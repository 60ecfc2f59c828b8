"""The seal: no two rows share one, and nothing but the genuine row holds."""

import copy
import pickle

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from keyturn.domain.seal import Cell, Sealer
from tests.domain import spec

SEALER = Sealer(b"\x33" * 32)

cells = (
    st.none()
    | st.text(max_size=8)
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False)
    | st.binary(max_size=8)
)
columns = st.text(alphabet="abc_", min_size=1, max_size=4)
tables = st.sampled_from(["keys", "workspaces", "key"])
rows = st.dictionaries(columns, cells, max_size=6)


def described(value: Cell) -> bytes:
    match value:
        case None:
            return spec.cell("null", b"")
        case str():
            return spec.cell("text", value.encode("utf-8", "surrogatepass"))
        case bytes():
            return spec.cell("bytes", value)
        case float():
            return spec.cell("float", repr(value).encode())
        case int():
            return spec.cell("integer", f"{value:d}".encode())


def encoding(table: str, row: dict[str, Cell]) -> bytes:
    pairs = [spec.cell("text", name.encode()) + described(row[name]) for name in sorted(row)]
    return spec.cell("text", table.encode()) + b"".join(pairs)


def kinds(row: dict[str, Cell]) -> list[tuple[str, str, str]]:
    """A row with the types in it, so that 1, 1.0 and "1" are three values."""
    return sorted((name, type(value).__name__, repr(value)) for name, value in row.items())


@given(tables, rows)
def test_a_row_is_sealed_as_the_specification_says(table: str, row: dict[str, Cell]) -> None:
    seal = SEALER.seal(table, row)
    assert seal == spec.seal(b"\x33" * 32, encoding(table, row))
    assert SEALER.holds(table, row, seal)
    assert SEALER.holds(table, dict(reversed(row.items())), seal)


@given(tables, rows, tables, rows)
def test_no_two_different_rows_share_a_seal(
    table: str, row: dict[str, Cell], other_table: str, other: dict[str, Cell]
) -> None:
    assume((table, kinds(row)) != (other_table, kinds(other)))
    assert not SEALER.holds(other_table, other, SEALER.seal(table, row))


@given(st.dictionaries(columns, cells, min_size=1, max_size=6), st.data())
def test_a_change_of_any_single_cell_breaks_the_seal(
    row: dict[str, Cell], data: st.DataObject
) -> None:
    seal = SEALER.seal("keys", row)
    for column, cell in row.items():
        edited = {**row, column: data.draw(cells)}
        if kinds(edited) != kinds(row):
            assert not SEALER.holds("keys", edited, seal)
        without = {name: row[name] for name in row if name != column}
        assert not SEALER.holds("keys", without, seal)
        renamed = {**without, column + "x": cell}
        assert not SEALER.holds("keys", renamed, seal)
    assert not SEALER.holds("keys", {**row, "added": None}, seal)
    assert not SEALER.holds("slots", row, seal)


@given(st.dictionaries(columns, cells, min_size=2, max_size=4), st.data())
def test_swapped_columns_break_the_seal(row: dict[str, Cell], data: st.DataObject) -> None:
    first, second = data.draw(st.permutations(sorted(row)))[:2]
    swapped = {**row, first: row[second], second: row[first]}
    assume(kinds(swapped) != kinds(row))
    assert not SEALER.holds("keys", swapped, SEALER.seal("keys", row))


@pytest.mark.parametrize(
    "values",
    [
        (1, "1", b"1", 1.0),
        (0, None, "", b"", 0.0, "0"),
        (None, "None", "null", b"n"),
        (True, "True", "true", b"\x01"),
        ("a", b"a"),
        (-1, "-1", -1.0),
        (0.0, -0.0),
        ("e\u0301", "\xe9"),  # the same to the eye
    ],
)
def test_a_value_is_not_another_of_another_type(values: tuple[Cell, ...]) -> None:
    seals = {SEALER.seal("keys", {"column": value}) for value in values}
    assert len(seals) == len(values)


@pytest.mark.parametrize(
    ("row", "other"),
    [
        ({"a": "b", "c": "d"}, {"a": "bcd"}),
        ({"a": "bc"}, {"ab": "c"}),
        ({"a": "", "b": ""}, {"a": ""}),
        ({"a": b"\0" * 8}, {"a": b"\0" * 9}),
        ({"a": "x", "b": "y"}, {"a": "xs\0\0\0\0\0\0\0\x01b", "b": "y"}),
    ],
)
def test_moving_a_boundary_breaks_the_seal(row: dict[str, Cell], other: dict[str, Cell]) -> None:
    assert not SEALER.holds("keys", other, SEALER.seal("keys", row))


@given(rows, st.binary(min_size=33, max_size=33))
def test_a_seal_cannot_be_guessed_or_shortened(row: dict[str, Cell], guess: bytes) -> None:
    seal = SEALER.seal("keys", row)
    assume(guess != seal)
    assert not SEALER.holds("keys", row, guess)
    assert not SEALER.holds("keys", row, seal[:-1])
    assert not SEALER.holds("keys", row, seal + b"\0")
    assert not SEALER.holds("keys", row, b"\x02" + seal[1:])  # another scheme
    assert not Sealer(b"\x34" * 32).holds("keys", row, seal)


@pytest.mark.parametrize("seal", [None, "", "text", 0, 1.5, b"", [], True], ids=repr)
def test_what_is_no_seal_at_all_does_not_hold(seal: object) -> None:
    assert not SEALER.holds("keys", {"a": 1}, seal)


def test_text_that_is_not_valid_unicode_does_not_stop_the_check() -> None:
    assert not SEALER.holds("keys", {"a": "\ud800"}, SEALER.seal("keys", {"a": "\udfff"}))


@pytest.mark.parametrize("size", [0, 31, 33])
def test_a_row_key_has_32_bytes(size: int) -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        Sealer(bytes(size))


def test_a_sealer_never_shows_its_key() -> None:
    sealer = Sealer(b"ROWKEYROWKEYROWKEYROWKEYROWKEY!!")
    assert "ROWKEY" not in f"{sealer} {sealer!r} {[sealer]}"
    with pytest.raises(TypeError, match="cannot be pickled"):
        pickle.dumps(sealer)
    with pytest.raises(TypeError):
        copy.deepcopy(sealer)
