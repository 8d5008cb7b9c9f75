"""Secrets that a mapping file has in clear text are named by their places when they are copied."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from agent.commands.clear_secrets import in_clear_text
from tests.whole.commands import command


@pytest.mark.parametrize(
    ("http", "places"),
    [
        ({"headers": {"Authorization": "Bearer ghp_0123456789"}}, ["headers.Authorization"]),
        ({"headers": {"X-Api-Key": "0123456789", "PRIVATE-TOKEN": "glpat-0123"}}, 2),
        ({"query": {"access_token": ["0123456789"], "a": "0123456789"}}, ["query.access_token[0]"]),
        ({"body": {"auth": {"clientSecret": "0123456789"}, "l": [{"password": "hunter22"}]}}, 2),
        ({"url": "https://user:hunter2@ci.internal/"}, ["url"]),
        ({"url": "https://ci.internal/?a=1&token=0123"}, ["url"]),
        ({"headers": {"Authorization": '{{ "Bearer " + env.TOKEN }}', "X-Tokens-Left": "0123456789"}}, []),
        ({"body": {"token": None, "secret": True, "monkey": "0123456789", "broken": "0123456789"}}, []),
        ({"url": "https://ci.internal/token?a=1", "headers": "{{ .message }}", "body": "{{ .message }}"}, []),
        ({"url": "https://[ci/"}, []),
    ],
)
def test_what_is_secret_by_its_name_is_found(http: dict[str, Any], places: list[str] | int) -> None:
    found = list(in_clear_text(http))
    assert (len(found) if isinstance(places, int) else found) == places


def test_migrate_says_so_without_showing_it(tmp_path: Path) -> None:
    mapping = [{"url": '"https://ci.internal/"', "headers": {"Authorization": '"Bearer ghp_0123456789"'}}]
    (tmp_path / "mapping.json").write_text(json.dumps(mapping))
    ended = command("migrate", "--mapping", "mapping.json", "--out", "new", env={}, cwd=tmp_path)
    assert ended.returncode == 0
    assert "in clear text, as in the mapping: headers.Authorization;" in ended.stdout
    assert "ghp_" not in ended.stdout + ended.stderr
    comments = [line for line in (tmp_path / "new" / "routes.yaml").read_text().splitlines() if " # " in line]
    assert any("in clear text" in line for line in comments)
