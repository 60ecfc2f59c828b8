"""What is sealed opens in its own place, and nowhere else."""

import pickle

import pytest

from keyturn.domain.error import IntegrityFailed
from keyturn.services.strongbox import Strongbox
from keyturn.testing import SeededEntropy

BOX = Strongbox(b"k" * 32)
PLACE = ("deliveries", "token", "workspace", "row")
PLAIN = b"what nobody is to see"


def test_what_was_sealed_is_had_again_in_its_place() -> None:
    sealed = BOX.seal(SeededEntropy(1), PLACE, PLAIN)
    assert PLAIN not in sealed
    assert BOX.open(PLACE, sealed) == PLAIN


@pytest.mark.parametrize(
    "place",
    [
        ("deliveries", "token", "workspace", "another row"),
        ("deliveries", "token", "another workspace", "row"),
        ("deliveries", "previous", "workspace", "row"),
        ("destinations", "token", "workspace", "row"),
        ("deliveries", "token", "workspacerow", ""),
        ("deliveries", "token", "workspace"),
    ],
)
def test_it_opens_in_no_other_place(place: tuple[str, ...]) -> None:
    sealed = BOX.seal(SeededEntropy(1), PLACE, PLAIN)
    with pytest.raises(IntegrityFailed):
        BOX.open(place, sealed)


def test_any_changed_byte_is_found() -> None:
    sealed = BOX.seal(SeededEntropy(1), PLACE, PLAIN)
    for index in range(len(sealed)):
        changed = bytearray(sealed)
        changed[index] ^= 1
        with pytest.raises(IntegrityFailed):
            BOX.open(PLACE, bytes(changed))


@pytest.mark.parametrize("cell", [None, "text", 7, b"", b"\x01", b"\x01" + b"n" * 12, b"\x02"])
def test_what_is_no_seal_is_refused(cell: object) -> None:
    with pytest.raises(IntegrityFailed):
        BOX.open(PLACE, cell)


def test_another_installation_opens_nothing() -> None:
    sealed = BOX.seal(SeededEntropy(1), PLACE, PLAIN)
    with pytest.raises(IntegrityFailed):
        Strongbox(b"j" * 32).open(PLACE, sealed)


def test_the_same_plain_text_never_looks_the_same() -> None:
    entropy = SeededEntropy(1)
    assert BOX.seal(entropy, PLACE, PLAIN) != BOX.seal(entropy, PLACE, PLAIN)


def test_its_key_cannot_be_copied_or_shown() -> None:
    with pytest.raises(TypeError):
        pickle.dumps(BOX)
    assert "kkkk" not in repr(BOX)
