"""``beft push`` by the command line: a dry run unless asked, the command that uploads, and what is said beside it."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest
from cli_runner import assert_refused, beft

from beft_core.errors import UserError
from beft_core.publishing import upload

SAMPLE = Path(__file__).parents[4] / "sample_snapshots/sst2-low-seed0-v-only.beft.safetensors"


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*_: object, **__: object) -> str:
        raise AssertionError("asked the Hub")

    monkeypatch.setattr(upload, "upload", never)


def test_a_dry_run_writes_a_folder_and_says_what_uploads_it(folder: Path) -> None:
    done = beft("push", SAMPLE, "me/my-v")
    assert done.status == 0, done.err
    names = {path.name for path in (folder / "me--my-v").iterdir()}
    assert names == {
        *("README.md", "scores.svg", "adapter_config.json", "adapter_model.safetensors"),
        "snapshot.beft.safetensors",
    }
    assert all(name in done.out for name in names) and "nothing was uploaded; to a private repository" in done.out
    assert shlex.split(done.out.splitlines()[-1]) == ["beft", "push", str(SAMPLE), "me/my-v", "--upload"]
    assert "the licence is unknown" in done.err
    again = beft("push", SAMPLE, "me/my-v", "--json")
    assert again.json["uploaded"] is None and again.json["adapter"] and again.json["private"]
    assert set(again.json["files"]) == names
    assert "exists and has another" in assert_refused(
        beft("push", SAMPLE.with_name("sst2-low-seed0-q-only.beft.safetensors"), "me/my-v")
    )
    (folder / "me--my-v" / "README.md").write_text((folder / "me--my-v" / "README.md").read_text() + "\nOurs.\n")
    theirs = beft("push", SAMPLE, "you/my-v", "--json").json
    assert theirs["folder"] == "you--my-v" and not theirs["card_edited"], "another's card is not taken"


def test_the_command_repeats_what_was_given_and_uploads(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given = ["push", str(SAMPLE), "me/my-v", "--out", "a folder", "--license", "mit", "--public"]
    dry = beft(*given)
    assert "to a public repository" in dry.out and "licence" not in dry.err
    words = shlex.split(dry.out.splitlines()[-1])[1:]
    asked: list[tuple[str, bool]] = []

    def send(written: object, repo: str, *, public: bool) -> str:
        asked.append((repo, public))
        return "https://hub/me/my-v"

    monkeypatch.setattr(upload, "upload", send)
    assert "uploaded to https://hub/me/my-v (public)" in beft(*words).out and asked == [("me/my-v", True)]

    def refuse(*_: object, **__: object) -> str:
        raise UserError("got no token of the Hub; x is kept")

    monkeypatch.setattr(upload, "upload", refuse)
    assert "is kept" in assert_refused(beft(*words))
    assert (folder / "a folder" / "README.md").is_file()


def test_what_cannot_be_pushed_is_one_line(folder: Path) -> None:
    assert "as a name on the Hub" in assert_refused(beft("push", SAMPLE, "../up"))
    assert "got no adapter" in assert_refused(beft("push", _lora(folder), "me/x"))
    assert "without a head for rte" in assert_refused(beft("push", SAMPLE, "me/x", "--task", "rte"))
    assert [path.name for path in folder.iterdir()] == ["lora.beft.safetensors"]


def _lora(folder: Path) -> Path:
    from example_snapshots import example

    from beft_core.snapshots.snapshot import write_snapshot

    write_snapshot(folder / "lora.beft.safetensors", example(mode="lora"))
    return folder / "lora.beft.safetensors"
