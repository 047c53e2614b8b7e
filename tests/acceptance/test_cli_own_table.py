"""Tables of the user's own from the command line: what a fine-tune on one keeps, and all that is done with it after."""

from __future__ import annotations

from pathlib import Path

import pytest
from cli_runner import assert_refused, beft

from beft_core.snapshots.snapshot import read_snapshot

QUICK = ["--epochs", "1", "--max-length", "16", "--device", "cpu", "--batch-size", "8"]
REVIEWS = ["--train-file", "reviews.csv", "--text", "review", "--label", "stars"]
PAIRS = ["--train-file", "pairs.tsv", "--text", "one", "--text-pair", "two", "--label", "closeness"]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with a table of stars from 1 to 5 and one of pairs with a number."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BEFT_HOME", str(tmp_path / "home"))
    stars = "".join(f"film number {i},{i % 5 + 1}\n" for i in range(40))
    Path("reviews.csv").write_text(f"review,stars\n{stars}")
    Path("test.csv").write_text("id,review,stars\n1,a fine film,5\n2,a poor film,1\n3,a film,2\n")
    numbers = "".join(f"film {i}\tfilm {i // 2}\t{i / 8}\n" for i in range(30))
    Path("pairs.tsv").write_text(f"one\ttwo\tcloseness\n{numbers}")
    return tmp_path


def test_a_snapshot_knows_how_its_table_is_read(folder: Path) -> None:
    trained = beft("train", *REVIEWS, "--name", "reviews", *QUICK, "--out", "r.beft.safetensors")
    assert trained.status == 0, trained.err
    assert "classification, 5 classes, 30 train / 10 validation rows of reviews.csv" in trained.err.splitlines()
    head = read_snapshot("r.beft.safetensors").meta.heads["reviews"]
    assert head["columns"] == {"text": "review", "text_pair": None, "label": "stars"}
    assert (head["kind"], head["labels"]) == ("classification", ["1", "2", "3", "4", "5"])

    scored = beft("evaluate", "r.beft.safetensors", "--file", "test.csv")
    assert scored.status == 0, scored.err
    assert "r.beft.safetensors on reviews: 3 rows of test.csv" in scored.out
    same = beft("evaluate", "r.beft.safetensors", "--eval-file", "test.csv", "--json").json
    assert (same["task"], same["data"], same["examples"]) == ("reviews", "test.csv", 3)
    assert same["metrics"]["accuracy"] in (0, pytest.approx(1 / 3), pytest.approx(2 / 3), 1)
    held = beft("evaluate", "r.beft.safetensors", *REVIEWS)
    assert "on reviews: 10 rows of reviews.csv, held out by the training" in held.out
    few = beft("evaluate", "r.beft.safetensors", *REVIEWS, "--n-eval", "4", "--json").json
    assert few["examples"] == 4

    # What does not fit the head is told before PyTorch is started.
    Path("other.csv").write_text("text,stars\nfine,5\npoor,6\n")
    assert "no column 'review'" in assert_refused(beft("evaluate", "r.beft.safetensors", "--file", "other.csv"))
    told = assert_refused(beft("evaluate", "r.beft.safetensors", "--file", "other.csv", "--text", "text"))
    assert "row 3: got the label '6'; expected one of the labels that the head reviews knows, 1, 2, 3, 4, 5" in told
    assert "--file FILE" in assert_refused(beft("evaluate", "r.beft.safetensors"))
    assert "got both" in assert_refused(beft("evaluate", "r.beft.safetensors", *REVIEWS, "--file", "test.csv"))
    for task in ("sst2", "review"):
        said = assert_refused(beft("evaluate", "r.beft.safetensors", "--task", task))
        assert f"without a head for {task}; expected one of its tasks: reviews" in said


def test_numbers_are_what_the_user_says(folder: Path) -> None:
    words = [*REVIEWS, "--problem", "regression", "--n-eval", "5", *QUICK, "--out", "n.beft.safetensors"]
    trained = beft("train", *words)
    assert "regression, 32 train / 5 validation rows of reviews.csv" in trained.err.splitlines()
    meta = read_snapshot("n.beft.safetensors").meta
    assert meta.metric == "spearman" and meta.hyperparameters["n_eval"] == 5
    assert meta.heads["file-reviews"]["kind"] == "regression"
    # The head says that labels are numbers, and nothing else has to.
    again = beft("evaluate", "n.beft.safetensors", *REVIEWS, "--n-eval", "5", "--json")
    assert again.status == 0, again.err
    last = meta.metrics[-1]
    assert again.json["metrics"] == pytest.approx({name: last[name] for name in ("spearman", "pearson")}, abs=1e-5)
    said = assert_refused(beft("evaluate", "n.beft.safetensors", *REVIEWS, "--problem", "classification"))
    assert "expected those of the head file-reviews: regression" in said


def test_a_sweep_takes_a_table_and_notices_when_it_changes(folder: Path) -> None:
    words = ["sweep", *REVIEWS, "--name", "reviews", "--terms", "v", "head", *QUICK, "--out", "s"]
    first = beft(*words, "--json")
    assert first.status == 0, first.err
    assert [row["task"] for row in first.json["results"]] == ["reviews"] * 2 and first.json["banks"] == 1
    assert first.json["results"][0]["n_train"] == 30 and first.json["results"][0]["metric"] == "accuracy"
    Path("elsewhere").mkdir()
    Path("reviews.csv").rename("elsewhere/reviews.csv")
    words[2] = "elsewhere/reviews.csv"
    assert beft(*words, "--json").json["trained"] == 0
    with Path("elsewhere/reviews.csv").open("a") as file:
        file.write("one more film,3\n")
    assert "which has changed since the sweep in s began" in assert_refused(beft(*words))


def test_a_merge_is_scored_on_the_tables_that_are_named(folder: Path) -> None:
    for name, table in (("reviews", REVIEWS), ("pairs", PAIRS)):
        done = beft("train", *table, "--name", name, *QUICK, "--out", f"{name}.beft.safetensors")
        assert done.status == 0, done.err
    words = ["merge", "reviews.beft.safetensors", "pairs.beft.safetensors", "--evaluate"]
    merged = beft(*words, "--file", "reviews=test.csv", "--file", "pairs=pairs.tsv", "--json")
    assert merged.status == 0, merged.err
    rows = merged.json["evaluation"]
    assert [row["model"] for row in rows] == ["base model", "reviews", "pairs", "merged"]
    alone = beft("evaluate", "pairs.beft.safetensors", "--file", "pairs.tsv", "--json").json["metrics"]
    assert rows[2]["tasks"]["pairs"] == pytest.approx(alone, abs=1e-6)
    # One that is not named is left out and told; with none there is nothing to score.
    partly = beft(*words, "--file", "reviews=test.csv")
    assert partly.status == 0 and "left out pairs: a table of your own" in partly.err
    assert "--file reviews=FILE" in assert_refused(beft(*words))
    assert "reviews=FILE, pairs=FILE" in assert_refused(beft(*words, "--file", "film=test.csv"))
