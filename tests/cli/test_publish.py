"""A model is uploaded only where that is asked for, and stays where it is whatever the hub says."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
from huggingface_hub import RepoUrl

from lowland.cli import main
from lowland.cli.compare import push
from lowland.errors import UserError


def test_the_folder_is_uploaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The whole directory goes to a private repository of that name."""
    calls: list[tuple[str, dict[str, Any]]] = []

    class Hub:
        def create_repo(self, name: str, **options: Any) -> RepoUrl:
            calls.append((name, options))
            return RepoUrl(f"https://huggingface.co/{name}")

        def upload_folder(self, **options: Any) -> None:
            calls.append(("upload", options))

    monkeypatch.setattr(huggingface_hub, "HfApi", Hub)
    assert push(tmp_path, "me/reviews") == "https://huggingface.co/me/reviews"
    assert calls[0] == ("me/reviews", {"private": True, "exist_ok": True})
    assert calls[1][1]["repo_id"] == "me/reviews" and calls[1][1]["folder_path"] == tmp_path


@pytest.mark.parametrize("name", ["me/reviews", "not a name"])
def test_a_refusal_is_one_sentence(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A hub that cannot be reached, and a name that it does not take, are told with the way on."""

    def offline(*_: Any, **__: Any) -> None:
        raise ConnectionError("The hub cannot be reached.\nMore about it.")

    if name == "me/reviews":
        monkeypatch.setattr(huggingface_hub.HfApi, "create_repo", offline)
    with pytest.raises(UserError, match="hf upload") as caught:
        push(tmp_path, name)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("words", "offline"), [([], "1"), (["--push-to-hub", "me/reviews"], None)])
def test_who_uploads_is_online(
    words: list[str], offline: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The hub is out of reach of a command, but for one that is to upload there."""
    seen: list[str | None] = []

    def run(arguments: argparse.Namespace) -> int:
        seen.append(os.environ.get("HF_HUB_OFFLINE"))
        return 0

    monkeypatch.setenv("HF_HUB_OFFLINE", "0")  # which is put back afterwards
    monkeypatch.delenv("HF_HUB_OFFLINE")
    monkeypatch.setattr("lowland.cli.compare.run", run)
    assert main(["compare", "facts/continents", *words]) == 0
    assert seen == [offline]
