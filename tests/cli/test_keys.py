"""`hearth keys` makes, lists and revokes keys; a key is shown once."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.conftest import Run


@pytest.fixture
def where(tmp_path: Path) -> dict[str, str]:
    """The variable that names the keys' folder."""
    return {"HEARTH_GATEWAY_DATA_DIR": str(tmp_path)}


def test_a_key_is_made_listed_and_revoked(run: Run, where: dict[str, str]) -> None:
    assert "There are no keys" in run("keys", "list", **where).out
    made = run("keys", "create", "--owner", "ann", "--name", "notebook", "--tokens-per-day", "5000", **where)
    secret = made.out.strip()
    assert secret.startswith("hearth-")
    assert len(secret) > 40
    assert "not shown again" in made.err
    listed = run("keys", "list", **where).out
    assert "ann" in listed
    assert "notebook" in listed
    assert secret not in listed
    [key] = json.loads(run("keys", "list", "--json", **where).out)
    assert secret.startswith(key["prefix"])
    assert (key["tokens_per_day"], key["requests_per_minute"], key["tokens_today"]) == (5000, None, 0)
    assert "is revoked" in run("keys", "revoke", key["prefix"], **where).out
    [key] = json.loads(run("keys", "list", "--json", **where).out)
    assert key["revoked"]


def test_what_is_wrong_is_named(run: Run, where: dict[str, str]) -> None:
    done = run("keys", "create", "--owner", "ann\u00e9", **where)
    assert done.code == 1
    assert "owner" in done.err
    done = run("keys", "revoke", "nothing", **where)
    assert done.code == 1
    assert "there is no key 'nothing'" in done.err
    done = run("keys", "list", HEARTH_GATEWAY_DATABASE_URL="mysql://somewhere")
    assert done.code == 1
    assert "mysql is not supported" in done.err
