"""Settings: what they are by default, where they come from, and every fault of them at once."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyturn.domain.slot import KNOWN_ENVIRONMENTS
from keyturn.server.settings import SETTINGS, Settings, SettingsFault, load_settings

HERE = Path("/nowhere/at/all")


def load(folder: Path = HERE, **environ: str) -> Settings:
    return load_settings(environ, folder, default_environment="production")[0]


def faults(folder: Path = HERE, **environ: str) -> tuple[tuple[str, str], ...]:
    with pytest.raises(SettingsFault) as refused:
        load(folder, **environ)
    return refused.value.faults


def test_without_any_setting_it_serves_this_machine_from_a_folder_here() -> None:
    settings = load()
    assert settings.home == Path.cwd() / ".keyturn"
    assert settings.sqlite_path == settings.home / "keyturn.db"
    assert settings.root_secret_file == settings.home / "root.secret"
    assert settings.heads_file == settings.home / "activity.heads"
    assert (settings.host, settings.port) == ("127.0.0.1", 8420)
    assert settings.trusted_proxies == 0
    assert settings.environments == frozenset(KNOWN_ENVIRONMENTS)
    assert settings.brand is None
    assert settings.environment == "production"


def test_what_the_list_of_settings_calls_the_default_is_the_default() -> None:
    told = {one.variable: one.default for one in SETTINGS if one.default and "<" not in one.default}
    told.pop("KEYTURN_BRAND")
    assert load_settings(told, HERE, default_environment="production")[0] == load()


def test_the_data_folder_moves_what_lies_in_it() -> None:
    settings = load(KEYTURN_HOME="/srv/keyturn")
    assert settings.sqlite_path == Path("/srv/keyturn/keyturn.db")
    assert settings.root_secret_file == Path("/srv/keyturn/root.secret")


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("sqlite:////srv/k.db", "sqlite:////srv/k.db"),
        ("sqlite:///k.db", f"sqlite:///{Path.cwd() / 'k.db'}"),
        ("postgres://u@h/d", "postgresql://u@h/d"),
        ("postgresql://u:p%40ss@h:5432/d?sslmode=require", None),
        ("postgresql:///d?host=/run/postgresql", None),
        ("postgresql://u@[::1]:5432/d", None),
    ],
)
def test_a_database_is_named_by_its_address(text: str, url: str | None) -> None:
    assert load(KEYTURN_DATABASE_URL=text).database_url == (url or text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "keyturn.db",
        "sqlite://",
        "sqlite:///",
        "sqlite:///:memory:",
        "sqlite:///a\0b",
        "mysql://u@h/d",
        "postgresql://",
        "postgresql://u@h",
        "postgresql://u@h/",
        "postgresql://u@h:port/d",
        "postgresql://u@h:99999/d",
        "postgresql://u:pass/word@h/d",
        "postgresql://u:pass word@h/d",
        "postgresql://u@[::1/d",
    ],
)
def test_an_address_that_cannot_be_meant_is_refused_and_never_repeated(text: str) -> None:
    ((problem, remedy),) = faults(KEYTURN_DATABASE_URL=text)
    assert problem.startswith("KEYTURN_DATABASE_URL is not ")
    assert remedy
    assert "pass/" not in problem + remedy
    assert "pass word" not in problem + remedy


@given(
    values=st.fixed_dictionaries(
        {},
        optional={
            one.variable: st.text(st.characters(exclude_characters="\0"), max_size=40)
            for one in SETTINGS
        },
    )
)
def test_any_values_are_read_or_refused_by_name(values: dict[str, str]) -> None:
    told: tuple[tuple[str, str], ...] = ()
    try:
        load_settings(values, HERE, default_environment="production")
    except SettingsFault as fault:
        told = fault.faults
    named = {problem.partition(" ")[0] for problem, _ in told}
    assert named <= set(values)
    assert len(named) == len(told)
    assert all(remedy.endswith(".") for _, remedy in told)


def test_mail_that_is_set_by_half_names_what_is_missing_and_nothing_that_is_there() -> None:
    ((problem, _),) = faults(KEYTURN_MAIL_SERVER="smtp://mail.example.com")
    assert problem == "KEYTURN_MAIL_SERVER is set without KEYTURN_MAIL_FROM."
    ((problem, _),) = faults(KEYTURN_MAIL_FROM="keyturn@example.com")
    assert problem == "KEYTURN_MAIL_FROM is set without KEYTURN_MAIL_SERVER."
    ((problem, _),) = faults(KEYTURN_MAIL_SERVER="?", KEYTURN_MAIL_FROM="keyturn@example.com")
    assert problem.startswith("KEYTURN_MAIL_SERVER is not ")


def test_every_fault_of_file_and_environment_is_told_at_once(tmp_path: Path) -> None:
    (tmp_path / "keyturn.toml").write_text('port = "x"\ncolour = 1\ntrusted_proxies = 17\n')
    told = faults(tmp_path, KEYTURN_HOST="", KEYTURN_BRAND="K")
    assert [problem.partition(" is not ")[0] for problem, _ in told[1:]] == [
        "KEYTURN_HOST",
        f"`port` in {tmp_path / 'keyturn.toml'}",
        "KEYTURN_BRAND",
        f"`trusted_proxies` in {tmp_path / 'keyturn.toml'}",
    ]
    assert "`colour`, which is no setting" in told[0][0]


def test_a_variable_that_is_set_hides_what_the_file_says(tmp_path: Path) -> None:
    (tmp_path / "keyturn.toml").write_text('port = 1\nhost = "::1"\n')
    settings = load(tmp_path, KEYTURN_PORT="2")
    assert (settings.port, settings.host) == (2, "::1")


@pytest.mark.parametrize(("name", "hint"), [("KEYTURN_PROT", "KEYTURN_PORT"), ("KEYTURN_X", None)])
def test_an_unknown_variable_is_a_warning_that_says_what_may_be_meant(
    name: str, hint: str | None
) -> None:
    _, warnings = load_settings({name: "1"}, HERE, default_environment="production")
    (warning,) = warnings
    assert warning.startswith(f"{name} is no setting of this version and is ignored.")
    assert (f"Did you mean {hint}?" if hint else "Take it out.") in warning


def test_other_programs_variables_are_none_of_ours() -> None:
    others = {"HOME": "x", "KEYTURNS": "x", "KEYTURN_URL": "x", "KEYTURN_API_KEY": "x"}
    others |= {"KEYTURN_API_KEY_FILE": "x", "KEYTURN_WORKSPACE": "x"}
    assert load_settings(others, HERE, default_environment="production")[1] == []


def test_no_setting_holds_a_secret() -> None:
    assert not [one.name for one in SETTINGS if "secret" in one.name and "file" not in one.name]
