"""Settings: two files, the user's wins and is never written; nothing unknown is lost."""

from __future__ import annotations

import stat
import threading
from pathlib import Path

import pytest
import yaml
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from chat.settings import Folders, ModelOverride, Settings, SettingsError
from presets.values import Persona


def written(folders: Folders) -> dict[str, object]:
    found: dict[str, object] = yaml.safe_load(folders.settings.read_text(encoding="utf-8"))
    return found


@pytest.fixture
def folders(home: Path) -> Folders:
    return Folders.find()


def user_config(folders: Folders, text: str) -> bytes:
    folders.config.parent.mkdir(parents=True, exist_ok=True)
    folders.config.write_text(text, encoding="utf-8")
    return folders.config.read_bytes()


def test_everything_lies_in_the_one_folder_that_was_asked_for(folders: Folders, home: Path) -> None:
    places = [getattr(folders, name) for name in folders.__dataclass_fields__]
    assert all(place.is_relative_to(home) for place in [*places, folders.worker_log, folders.program_log])
    assert not home.exists()


def test_without_the_variable_the_system_says_where(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("RPCHAT_HOME")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    folders = Folders.find()
    assert folders.database.parent.name == "rpchat"
    assert folders.config.parent == folders.settings.parent


def test_a_first_start_knows_nobody(folders: Folders) -> None:
    settings = Settings(folders)
    assert not settings.persona_settled
    assert settings.default_persona == Persona("User", "")
    assert settings.personas == []
    assert settings.last_model is None
    assert settings.model_places == [folders.models]


def test_what_is_settled_is_there_for_the_next_program_and_private(folders: Folders, tmp_path: Path) -> None:
    model = tmp_path / "my model.gguf"
    settings = Settings(folders)
    settings.save_persona(Persona("Alex", "A sailor.\nTall."))
    settings.remember_model(model)
    settings.remember_override(model, format="limarp-v1")
    settings.add_model_place(tmp_path)
    settings.set("theme", "night")

    again = Settings(folders)
    assert again.default_persona == Persona("Alex", "A sailor.\nTall.")
    assert again.persona_settled
    assert again.last_model == model
    assert again.override(model) == ModelOverride("limarp-v1", None)
    assert again.override(tmp_path / "elsewhere" / model.name).format == "limarp-v1"
    assert again.model_places == [tmp_path, folders.models]
    assert again.get("theme") == "night"
    assert stat.S_IMODE(folders.settings.stat().st_mode) == 0o600
    assert stat.S_IMODE(folders.settings.parent.stat().st_mode) == 0o700
    assert not [file for file in folders.settings.parent.iterdir() if file.name.startswith(".settings.yaml")]


def test_the_users_file_wins_and_stays_as_it_is(folders: Folders) -> None:
    before = user_config(folders, "# mine\nmax_tokens: 200\npersonas: {Alex: A pilot.}\n")
    settings = Settings(folders)
    settings.set("max_tokens", 300)
    settings.save_persona(Persona("Alex", "A sailor."))
    assert folders.config.read_bytes() == before
    assert Settings(folders).max_tokens == 200
    assert settings.from_config("max_tokens")
    assert settings.persona("alex") == Persona("Alex", "A pilot.")
    assert not settings.delete_persona("nobody")


def test_unknown_keys_of_a_newer_version_are_kept(folders: Folders) -> None:
    folders.settings.parent.mkdir(parents=True)
    folders.settings.write_text("from_the_future: {a: [1, 2]}\npersona: Alex\n", encoding="utf-8")
    Settings(folders).set("mouse", False)
    assert written(folders) == {"from_the_future": {"a": [1, 2]}, "persona": "Alex", "mouse": False}


def test_an_override_can_be_taken_back(folders: Folders) -> None:
    settings, model = Settings(folders), Path("/m/x.gguf")
    settings.remember_override(model, format="alpaca", sampling="modern")
    settings.remember_override(model, format="auto")
    assert Settings(folders).override(model) == ModelOverride(None, "modern")
    settings.remember_override(model, sampling="auto")
    assert Settings(folders).override(model) == ModelOverride()


def test_deleting_the_default_persona_leaves_a_nameless_user(folders: Folders) -> None:
    settings = Settings(folders)
    settings.save_persona(Persona("Alex", "A sailor."))
    settings.save_persona(Persona("Kim", ""))
    assert settings.default_persona.name == "Alex"
    settings.save_persona(Persona("kim", "A pilot."), default=True)
    assert settings.default_persona == Persona("kim", "A pilot.")
    assert [persona.name for persona in settings.personas] == ["Alex", "kim"]
    assert settings.delete_persona("KIM")
    assert Settings(folders).default_persona == Persona()


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("max_tokens: [1, 2\nformat: x", "line 2, column 7"),
        ("a: b: c", "line 1, column 5"),
        ("just words", "line 1"),
        ("- a\n- b", "line 1"),
        ("a: \x01", "config.yaml"),
        ("\ttab: 1", "line 1"),
    ],
)
def test_broken_yaml_is_named_by_line_and_column_and_left_alone(
    folders: Folders, text: str, place: str
) -> None:
    before = user_config(folders, text)
    with pytest.raises(SettingsError) as caught:
        Settings(folders)
    assert place in str(caught.value)
    assert str(folders.config) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert folders.config.read_bytes() == before


def test_a_file_that_is_no_text_is_named(folders: Folders) -> None:
    user_config(folders, "")
    folders.config.write_bytes(b"a: \xff\xfe")
    with pytest.raises(SettingsError, match="not UTF-8 at byte 3"):
        Settings(folders)


@pytest.mark.parametrize("value", ["0", "-5", "many", "true", "1.5", "[1]"])
def test_a_value_that_cannot_be_names_its_file(folders: Folders, value: str) -> None:
    user_config(folders, f"context: {value}")
    with pytest.raises(SettingsError, match=r"context: .* is needed in .*config\.yaml"):
        _ = Settings(folders).context


def test_a_folder_that_cannot_be_written_is_said_in_one_line(folders: Folders, home: Path) -> None:
    settings = Settings(folders)
    home.write_text("a file where the folder should be")
    with pytest.raises(SettingsError, match="settings not saved"):
        settings.set("a", 1)


def test_two_programs_lose_nothing_of_each_other(folders: Folders) -> None:
    programs = [Settings(folders) for _ in range(4)]

    def change(number: int) -> None:
        for step in range(5):
            programs[number].set(f"key {number} {step}", step)

    threads = [threading.Thread(target=change, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(written(folders)) == 20


NAMES = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1).map(str.strip).filter(bool)


@hypothesis_settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(name=NAMES, text=st.text(st.characters(exclude_categories=["Cs", "Cc"], include_characters="\n\t")))
def test_any_name_and_text_comes_back_as_it_was(folders: Folders, name: str, text: str) -> None:
    folders.settings.unlink(missing_ok=True)
    Settings(folders).save_persona(Persona(name, text))
    assert Settings(folders).default_persona == Persona(name, text)
