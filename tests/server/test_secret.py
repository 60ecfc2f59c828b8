"""The root secret's file: private, whole, never told, and each purpose has a key of its own."""

import json
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyturn.domain.error import InstallationFault
from keyturn.server.secret import RootSecret, load_root_secret, make_root_secret
from keyturn.testing import SeededEntropy

PURPOSES = ("row-mac", "activity-heads", "fingerprint")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "root.secret"
    make_root_secret(path, SeededEntropy())
    return path


def test_it_is_kept_for_its_owner_alone_and_read_back_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "root.secret"
    made = make_root_secret(path, SeededEntropy())
    assert path.stat().st_mode & 0o777 == 0o600
    assert load_root_secret(path) == made
    assert [one.name for one in tmp_path.iterdir()] == ["root.secret"]


def test_it_never_shows_itself(file: Path) -> None:
    secret = load_root_secret(file)
    for shown in (repr(secret), str(secret), f"{secret}", repr([secret])):
        assert shown.strip("[]") == f"<RootSecret {secret.fingerprint}>"


def test_each_purpose_has_a_key_of_its_own() -> None:
    secret = RootSecret(bytes(32), {1: bytes(32)})
    keys = [secret.key(purpose) for purpose in PURPOSES]
    assert all(len(key) == 32 for key in keys)
    assert len(set(keys)) == len(PURPOSES)
    assert secret.root not in keys


def test_keys_are_derived_by_hkdf_as_its_rfc_says() -> None:
    """RFC 5869 by hand, so that another language can derive the same keys."""
    import hmac

    root = bytes(range(32))
    extracted = hmac.digest(bytes(32), root, "sha256")
    expected = hmac.digest(extracted, b"keyturn/row-mac\x01", "sha256")
    assert RootSecret(root, {1: bytes(32)}).key("row-mac") == expected


@given(st.lists(st.binary(min_size=32, max_size=32), min_size=2, max_size=4, unique=True))
def test_fingerprints_tell_secrets_apart_and_give_none_away(roots: list[bytes]) -> None:
    secrets = [RootSecret(root, {1: root}) for root in roots]
    for one, other in combinations(secrets, 2):
        assert one.fingerprint != other.fingerprint
        assert one.pepper_fingerprints != other.pepper_fingerprints
    for secret in secrets:
        assert len(secret.fingerprint) == 16
        assert secret.root.hex() not in secret.fingerprint
        assert secret.pepper_fingerprints[1] != secret.fingerprint


def test_the_newest_pepper_is_the_one_in_use() -> None:
    secret = RootSecret(bytes(32), {1: bytes(32), 3: b"3" * 32, 2: b"2" * 32})
    assert secret.ring.current == 3


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o644, 0o601])
def test_a_file_that_others_can_reach_is_refused(mode: int, file: Path) -> None:
    file.chmod(mode)
    with pytest.raises(InstallationFault, match="Others can read") as refused:
        load_root_secret(file)
    assert refused.value.remedy == f"Run `chmod 600 {file}`."


def test_a_file_for_reading_alone_is_fine(file: Path) -> None:
    file.chmod(0o400)
    load_root_secret(file)


def test_a_missing_file_and_a_folder_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(InstallationFault, match="There is no root secret"):
        load_root_secret(tmp_path / "none")
    with pytest.raises(InstallationFault, match="cannot be read"):
        load_root_secret(tmp_path)


DAMAGE: dict[str, Any] = {
    "no object": [],
    "another format": {"format": 2},
    "no root": {"root": None},
    "a short root": {"root": "AAAA"},
    "no base64": {"root": "!" * 44},
    "no peppers": {"peppers": {}},
    "peppers that are a list": {"peppers": []},
    "a short pepper": {"peppers": {"1": "AAAA"}},
    "a version that is no number": {"peppers": {"x": "A" * 43 + "="}},
    "a version below one": {"peppers": {"-1": "A" * 43 + "="}},
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_a_damaged_file_is_refused_and_not_repeated(kind: str, file: Path) -> None:
    content = json.loads(file.read_text())
    secret_text = content["root"]
    damaged = DAMAGE[kind] if isinstance(DAMAGE[kind], list) else content | DAMAGE[kind]
    file.write_text(json.dumps(damaged))
    with pytest.raises(InstallationFault, match="damaged") as refused:
        load_root_secret(file)
    assert "escrow" in refused.value.remedy
    assert secret_text not in refused.value.detail + refused.value.remedy
    assert refused.value.__cause__ is None


@given(cut=st.integers(0, 226), byte=st.integers(0, 255))
def test_a_cut_or_altered_file_is_refused_or_is_another_secret(
    cut: int, byte: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("secret") / "root.secret"
    made = make_root_secret(path, SeededEntropy())
    raw = path.read_bytes()
    for text in (raw[:cut], raw[:cut] + bytes([byte]) + raw[cut + 1 :]):
        path.write_bytes(text)
        try:
            loaded = load_root_secret(path)
        except InstallationFault:
            continue
        same = (loaded.root, loaded.peppers) == (made.root, made.peppers)
        assert same == (loaded.fingerprint == made.fingerprint and loaded.peppers == made.peppers)


def test_a_secret_that_cannot_be_written_leaves_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "file"
    folder.write_text("no folder")
    with pytest.raises(OSError, match="Not a directory"):
        make_root_secret(folder / "root.secret", SeededEntropy())
    assert [one.name for one in tmp_path.iterdir()] == ["file"]
