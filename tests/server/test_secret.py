"""The root secret's file: private, whole, never told, and each purpose has a key of its own."""

import json
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyturn.domain.error import InstallationFault
from keyturn.server.secret import (
    PepperFile,
    RootSecret,
    add_pepper,
    load_root_secret,
    make_root_secret,
)
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
    assert secret.newest == 3


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


# --- another pepper -------------------------------------------------------------------------------


def test_a_pepper_is_added_and_all_else_stays(file: Path) -> None:
    before = load_root_secret(file)
    after = add_pepper(file, SeededEntropy(7))
    assert load_root_secret(file) == after
    assert (after.root, after.newest) == (before.root, 2)
    assert after.peppers[1] == before.peppers[1] != after.peppers[2]
    assert file.stat().st_mode & 0o777 == 0o600
    assert [one.name for one in file.parent.iterdir()] == ["root.secret"]


def test_a_pepper_that_cannot_be_written_leaves_the_file_as_it_was(file: Path) -> None:
    before = file.read_bytes()
    (file.parent / ".root.secret.draft").mkdir()  # in the way of the draft
    with pytest.raises(OSError, match=r"secret\.draft"):
        add_pepper(file, SeededEntropy(7))
    assert file.read_bytes() == before


def test_what_a_crash_left_of_a_draft_is_in_nobodys_way(file: Path) -> None:
    (file.parent / ".root.secret.draft").write_text('{"root": "half')
    assert add_pepper(file, SeededEntropy(7)).newest == 2
    assert [one.name for one in file.parent.iterdir()] == ["root.secret"]


def test_a_link_to_the_file_stays_one(file: Path, tmp_path: Path) -> None:
    link = tmp_path / "link.secret"
    link.symlink_to(file)
    add_pepper(link, SeededEntropy(7))
    assert link.is_symlink()
    assert load_root_secret(file).newest == 2


@pytest.mark.skipif(os.geteuid() != 0, reason="only root writes for others")
def test_an_administrator_does_not_take_the_file_from_the_server(file: Path) -> None:
    os.chown(file, 4_321, 4_322)
    add_pepper(file, SeededEntropy(7))
    status = file.stat()
    assert (status.st_uid, status.st_gid, status.st_mode & 0o777) == (4_321, 4_322, 0o600)


def test_a_process_reads_the_file_once_for_each_that_it_becomes(file: Path) -> None:
    followed = PepperFile(file, load_root_secret(file))
    with ThreadPoolExecutor(8) as pool:
        assert {len(found) for found in pool.map(lambda _: followed(), range(200))} == {1}
    assert followed.reads == 1
    add_pepper(file, SeededEntropy(7))
    with ThreadPoolExecutor(8) as pool:
        assert {len(found) for found in pool.map(lambda _: followed(), range(200))} == {2}
    assert followed.reads == 2


def _gone(file: Path) -> None:
    file.unlink()


def _damaged(file: Path) -> None:
    file.write_text(file.read_text()[:100])


def _others(file: Path) -> None:
    file.chmod(0o644)


def _foreign(file: Path) -> None:
    file.unlink()
    make_root_secret(file, SeededEntropy(99))


@pytest.mark.parametrize("spoil", [_gone, _damaged, _others, _foreign])
def test_a_file_that_cannot_be_used_is_logged_once_without_content_and_changes_nothing(
    spoil: Callable[[Path], None], file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    content = json.loads(file.read_text())
    followed = PepperFile(file, load_root_secret(file))
    before = dict(followed())
    spoil(file)
    assert [dict(followed()) for _ in range(50)] == [before] * 50
    assert len(caplog.records) == 1
    for text in (content["root"], content["peppers"]["1"]):
        assert text not in caplog.text
    file.unlink(missing_ok=True)
    file.write_text(json.dumps(content))
    file.chmod(0o600)
    add_pepper(file, SeededEntropy(7))
    assert sorted(followed()) == [1, 2], "once it is mended it is read again"
