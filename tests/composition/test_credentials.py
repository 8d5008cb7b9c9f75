"""Credentials from mounted files: which of them count as the files change."""

from __future__ import annotations

from pathlib import Path

import pytest
import structlog

from agent.composition.credentials import Credentials, RotatedValue
from agent.settings import Settings, load

OLD, NEW, NEWER = "the-old-secret", "the-new-secret", "the-newer-secret"


class Mounted:
    """A file as Kubernetes mounts it: a link into a directory that is itself a link, which is swapped."""

    def __init__(self, home: Path, value: str) -> None:
        self.home = home
        self.path = home / "secret"
        self._count = 0
        self.swap(value)
        self.path.symlink_to(Path("..data", "secret"))

    def swap(self, value: str | bytes) -> None:
        self._count += 1
        version = self.home / f"..version-{self._count}"
        version.mkdir()
        (version / "secret").write_bytes(value if isinstance(value, bytes) else value.encode())
        fresh = self.home / "..data_tmp"
        fresh.symlink_to(version.name)
        fresh.replace(self.home / "..data")


@pytest.fixture
def mounted(tmp_path: Path) -> Mounted:
    return Mounted(tmp_path, OLD)


@pytest.fixture
def learned() -> list[str]:
    return []


@pytest.fixture
def secret(mounted: Mounted, learned: list[str]) -> RotatedValue:
    return RotatedValue("PORT_CLIENT_SECRET", OLD, mounted.path, learned.append)


def test_a_swapped_file_counts_at_once_and_the_old_value_stays_known(
    mounted: Mounted, secret: RotatedValue, learned: list[str]
) -> None:
    assert (secret.known(), learned) == ((OLD,), [])
    mounted.swap(NEW + "\n")
    assert (secret.known(), learned) == ((NEW, OLD), [NEW])
    assert secret.current() == NEW


def test_a_file_that_is_written_in_place_counts_as_well(tmp_path: Path, learned: list[str]) -> None:
    path = tmp_path / "secret"
    path.write_text(OLD)
    secret = RotatedValue("PORT_CLIENT_SECRET", OLD, path, learned.append)
    assert secret.known() == (OLD,)
    path.write_text(NEW)
    assert secret.known() == (NEW, OLD)


def test_no_more_than_the_last_two_count(mounted: Mounted, secret: RotatedValue) -> None:
    for value in (NEW, NEWER):
        mounted.swap(value)
        secret.known()
    assert secret.known() == (NEWER, NEW)


def test_the_same_value_anew_pushes_nothing_out(mounted: Mounted, secret: RotatedValue, learned: list[str]) -> None:
    mounted.swap(NEW)
    secret.known()
    mounted.swap(NEW)
    assert (secret.known(), learned) == ((NEW, OLD), [NEW])


@pytest.mark.parametrize(
    ("bad", "said"), [("", "it is empty"), ("\n", "it is empty"), (b"\xff\xfe", "it is not UTF-8 text")]
)
def test_a_file_without_a_value_changes_nothing_and_is_told_once(
    mounted: Mounted, secret: RotatedValue, bad: str | bytes, said: str
) -> None:
    mounted.swap(NEW)
    secret.known()
    mounted.swap(bad)
    with structlog.testing.capture_logs() as lines:
        assert [secret.known(), secret.known()] == [(NEW, OLD)] * 2
    [line] = lines
    assert (line["log_level"], line["detail"]) == ("warning", f"{mounted.path} cannot be read: {said}")
    mounted.swap(NEWER)
    assert secret.known() == (NEWER, NEW)


def test_a_file_that_is_gone_changes_nothing_until_it_is_back(mounted: Mounted, secret: RotatedValue) -> None:
    (mounted.home / "..data").unlink()
    with structlog.testing.capture_logs() as lines:
        assert [secret.current(), secret.current()] == [OLD, OLD]
    assert [line["detail"] for line in lines] == [f"{mounted.path} cannot be read: No such file or directory"]
    mounted.swap(NEW)
    assert secret.current() == NEW


def test_a_renewal_is_logged_without_the_value(mounted: Mounted, secret: RotatedValue) -> None:
    mounted.swap(NEW)
    with structlog.testing.capture_logs() as lines:
        secret.known()
    assert [line["event"] for line in lines] == ["a credential was read anew"]
    assert NEW not in str(lines)


def test_settings_say_which_values_come_from_files(monkeypatch: pytest.MonkeyPatch, mounted: Mounted) -> None:
    monkeypatch.setenv("PORT_ORG_ID", "org")
    monkeypatch.setenv("PORT_CLIENT_ID", "id")
    monkeypatch.setenv("PORT_CLIENT_SECRET_FILE", str(mounted.path))
    settings = load()
    assert (settings.file_of("PORT_CLIENT_ID"), settings.file_of("PORT_CLIENT_SECRET")) == (None, mounted.path)
    credentials = Credentials.of(settings)
    mounted.swap(NEW)
    assert (credentials.client_id.known(), credentials.client_secret.known()) == (("id",), (NEW, OLD))


def test_a_value_that_is_given_itself_wins_over_the_file(monkeypatch: pytest.MonkeyPatch, mounted: Mounted) -> None:
    for name in ("PORT_ORG_ID", "PORT_CLIENT_ID", "PORT_CLIENT_SECRET"):
        monkeypatch.setenv(name, "given")
    monkeypatch.setenv("PORT_CLIENT_SECRET_FILE", str(mounted.path))
    assert load().file_of("PORT_CLIENT_SECRET") is None


def test_settings_that_were_not_loaded_have_no_files() -> None:
    settings = Settings.model_validate({"PORT_ORG_ID": "o", "PORT_CLIENT_ID": "i", "PORT_CLIENT_SECRET": "s"})
    assert Credentials.of(settings).client_secret.known() == ("s",)
