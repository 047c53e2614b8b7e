"""The page of the proofs in process: predict, reveal, wrong input, other models, the trap. The desk is played."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import streamlit as st
from dashboard_tools import button, charts, opened, sound
from fake_worker import small_snapshot
from made_up_samples import write_index
from streamlit.testing.v1 import AppTest
from tiny_models import tiny_with_words

from beft_core.errors import UserError
from beft_core.models import attention_experiments
from beft_core.runs.run import list_runs
from beft_core.snapshots.snapshot import Snapshot, SnapshotMeta, write_snapshot
from dashboard.app_pages.why import trap
from dashboard.shared import model_service

pytestmark = pytest.mark.usefixtures("lab")


HELD = attention_experiments.HeldModel()


class InProcess:
    """A desk that is this process: the tests have PyTorch already."""

    running = True

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.refusal: UserError | None = None

    def ask(self, question: str, timeout: float = 0, **fields: Any) -> Any:
        self.asked.append(question)
        if self.refusal is not None:
            raise self.refusal
        return {"model": HELD.describe, "prove": HELD.prove}[question](**fields)


@pytest.fixture(autouse=True)
def desk(monkeypatch: pytest.MonkeyPatch) -> InProcess:
    played = InProcess()
    monkeypatch.setattr(model_service, "service", lambda: played)
    st.cache_data.clear()
    HELD.describe("bundled")  # loaded before a page waits for it: that has a limit of its own
    return played


def words(at: AppTest) -> str:
    return " ".join(element.value for element in [*at.markdown, *at.caption, *at.info, *at.warning, *at.error])


def test_nothing_is_given_away_before_the_prediction(desk: InProcess) -> None:
    at = opened("why")
    assert charts(at) == 0 and desk.asked == []
    assert [len(group) for group in (at.text_input, at.slider, at.number_input)] == [3, 1, 1]
    assert button(at, "Show what happens") and not at.error


def test_predict_reveal_and_the_tour_knows() -> None:
    at = opened("why")
    at.get("button_group")[1].set_value("moves").run()
    button(at, "Show what happens").click().run()
    text = words(sound(at))
    assert "The attention of layer 2 **stays**." in text and "The output of the model **stays**." in text
    assert charts(at) == 2 and all(b.label != "Show what happens" for b in at.button)
    assert at.query_params["tour"] == "proof" and at.query_params["why_seen"] == "b_k"


@pytest.mark.parametrize(
    ("tab", "term", "attention", "output", "figures"),
    [
        ("1 · Push b_k", "k", "stays", "stays", 2),
        ("2 · Push b_q", "q", "moves", "moves", 2),
        ("3 · Push b_v", "v", "stays", "moves", 3),
    ],
)
def test_a_link_restores_each_answer(tab: str, term: str, attention: str, output: str, figures: int) -> None:
    at = opened(
        "why",
        why_tab=tab,
        why_seen=f"b_{term}",
        why_layer="4",
        why_size="30",
        why_seed="7",
        why_text="A link, restored.",
        **{f"why_{term}_att": attention, f"why_{term}_out": "moves" if output == "stays" else "stays"},
    )
    text = words(at)
    assert f"The attention of layer 4 **{attention}**." in text and f"The output of the model **{output}**." in text
    assert text.count("as you predicted") == 1 and text.count("you predicted that it") == 1
    assert charts(at) == figures and "has length 30" in text
    result = HELD.prove("bundled", "A link, restored.", 4, 30.0, 7)
    assert f"{result['terms'][term]['logits_after'][0]:.4f}".replace("-", "−") in text


@pytest.mark.parametrize(
    ("query", "told"),
    [
        ({"why_text": "   "}, "no sentence"),
        ({"why_model": "/no/such/folder"}, "not a folder"),
        ({"why_model": "no such model <b>"}, "the model name"),
        ({"why_text": "x" * 500}, ""),
        ({"why_layer": "77", "why_size": "?", "why_seed": "-5", "why_tab": "?", "why_seen": "?"}, ""),
    ],
)
def test_wrong_input_is_told_and_loses_nothing(query: dict[str, str], told: str) -> None:
    at = opened("why", **{"why_seen": "b_k", **query})
    assert told in words(at) and len(at.error) == (1 if told else 0)
    at.text_input(key="why_text").set_value("A good sentence.")
    at.text_input(key="why_model").set_value("bundled")
    assert not sound(at.run()).error


def test_a_desk_that_fails_is_told_in_a_box_and_asked_again(desk: InProcess) -> None:
    desk.refusal = UserError("the process that holds the model was killed", "", "a smaller model")
    at = opened("why", why_seen="b_k")
    assert "was killed" in at.error[0].value and charts(at) == 0
    desk.refusal = None
    assert charts(sound(at.run())) == 2 and not at.error


def test_a_model_whose_key_bias_acts_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attention_experiments, "load_model", lambda name, **_: tiny_with_words("llama"))
    at = opened("why", why_model="org/rotary", why_text="5 17 23 9", why_seen="b_k")
    assert at.warning and "rotary positions" in at.warning[0].value
    assert "The attention of layer 1 **moves**." in words(at)
    monkeypatch.setattr(attention_experiments, "load_model", lambda name, **_: tiny_with_words("deberta"))
    at = opened("why", why_model="org/no-key-bias", why_text="5 17 23 9", why_seen="b_k")
    assert "has no $b_k$" in at.info[0].value and charts(at) == 0


def test_another_model_with_fewer_layers_moves_the_layer(monkeypatch: pytest.MonkeyPatch) -> None:
    at = opened("why", why_layer="5")
    monkeypatch.setattr(attention_experiments, "load_model", lambda name, **_: tiny_with_words("bert"))
    at.text_input(key="why_model").set_value("org/two-layers").run()
    assert sound(at).slider(key="why_layer").value == 1


# ---- the trap ------------------------------------------------------------------------------------


def followed(trained: bool, precision: str, share: float, **settings: object) -> Snapshot:
    """A probe whose b_k was moved by `share` of its length, sideways, in two checkpoints."""
    made = small_snapshot()
    keys = made.keys()
    pre = {key: made.pre(*key) for key in keys}
    noise = {key: np.random.default_rng(1).normal(size=value.shape).astype(np.float32) for key, value in pre.items()}
    amount = {"k": share if trained else 0.0, "v": 1.0, "q": 0.2}
    post = {key: value + amount.get(key[1], 0.3) * noise[key] for key, value in pre.items()}
    terms = tuple(term for _, term in keys if trained or term != "k")
    fields = {**made.meta.__dict__, "trained_terms": terms, "hyperparameters": {"precision": precision, "steps": 40}}
    fields["hyperparameters"] |= settings
    steps = {key: np.stack([(pre[key] + post[key]) / 2, post[key]]) for key in keys if key[1] in terms}
    return Snapshot.build(SnapshotMeta(**fields), pre, post, steps=steps, trajectory_step=np.array([20, 40]))


@pytest.fixture
def three(lab: Path, tmp_path: Path) -> None:
    runs = {"frozen": (False, "float32", 0), "f32": (True, "float32", 0.1), "b16": (True, "bfloat16", 50)}
    for name, (trained, precision, share) in runs.items():
        write_snapshot(tmp_path / "samples" / f"{name}.beft.safetensors", followed(trained, precision, share))
    write_index(
        tmp_path / "samples", {"b16": "In bfloat16", "probe": "A probe", "frozen": "Frozen", "f32": "In float32"}
    )


@pytest.mark.usefixtures("three")
def test_the_trap_names_noise_as_noise() -> None:
    at = opened("why", why_tab="4 · The trap", why_seen="trap", why_trap="b_v")
    assert "selects **$b_k$**: **rounding noise**" in words(at) and "you predicted b\\_v" in words(at)
    right = words(opened("why", why_tab="4 · The trap", why_seen="trap", why_trap="b_k"))
    assert "as you predicted" in right and "you predicted b" not in right
    rankings = [m.value for m in at.markdown if m.value.startswith("1. ")]
    assert [r.split()[1] for r in rankings] == ["$b_v$", "$b_v$", "$b_k$"]
    assert "3. $b_k$ 0.00 frozen" in rankings[0] and "⚠ noise" in rankings[1] and "⚠ noise" in rankings[2]
    figure = json.loads(at.get("plotly_chart")[0].proto.spec)
    lines = {(t["name"] if "name" in t else t["hovertemplate"].split()[2], t["xaxis"]) for t in figure["data"]}
    assert len(figure["data"]) == 9 and len(lines) == 9
    assert sum(t["line"]["dash"] == "dot" for t in figure["data"]) == 2


@pytest.fixture
def five(lab: Path, tmp_path: Path) -> None:
    """With ours, recorded or from before it was, and with the authors' epsilon."""
    theirs = {"adam_epsilon": 1e-6, "adam_epsilon_at": "before"}
    runs: dict[str, tuple[str, float, dict[str, object]]] = {
        "f32": ("float32", 0.1, {}),
        "b16": ("bfloat16", 50, {"adam_epsilon": 1e-8, "adam_epsilon_at": "after"}),
        "a32": ("float32", 0.001, theirs),
        "a16": ("bfloat16", 40, theirs),
    }
    write_snapshot(tmp_path / "samples" / "frozen.beft.safetensors", followed(False, "float32", 0, optimizer="AdamW"))
    for name, (precision, share, settings) in runs.items():
        made = followed(True, precision, share, optimizer="AdamW", **settings)
        write_snapshot(tmp_path / "samples" / f"{name}.beft.safetensors", made)
    write_index(tmp_path / "samples", {name: name for name in ("b16", "probe", "a16", "frozen", "f32", "a32")})


@pytest.mark.usefixtures("five")
def test_the_trap_shows_what_each_epsilon_makes_of_noise() -> None:
    at = opened("why", why_tab="4 · The trap", why_seen="trap")
    assert len(json.loads(at.get("plotly_chart")[0].proto.spec)["data"]) == 9  # the three with our epsilon
    (table,) = [m.value for m in at.markdown if m.value.startswith("| precision")]
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in table.splitlines()[2:]]
    assert [row[:2] + row[-1:] for row in rows] == [
        ["float32", "1e-08 after", "$b_v$"],
        ["float32", "1e-06 before", "$b_v$"],
        ["bfloat16", "1e-08 after", "$b_k$"],
        ["bfloat16", "1e-06 before", "$b_k$"],
    ]
    moved = {(row[0], row[1][:5]): movement_of(row[3]) for row in rows}
    assert moved["float32", "1e-06"] == pytest.approx(moved["float32", "1e-08"] / 100, rel=0.1)
    text = words(at)
    assert "enough for a $b_k$ of 0.000 without any freezing" in text and "$b_k$ still comes first" in text


def movement_of(cell: str) -> float:
    return float(cell.replace("−", "-"))


@pytest.mark.usefixtures("three")
def test_the_trap_hides_its_answer_first() -> None:
    at = opened("why", why_tab="4 · The trap")
    assert charts(at) == 0
    button(at, "Show what happens").click().run()
    assert charts(sound(at)) == 1


def test_the_trap_without_its_samples_offers_the_run() -> None:
    at = opened("why", why_tab="4 · The trap", why_seen="trap")
    assert "Run it live" in at.info[0].value and charts(at) == 0
    button(at, "Train b_k in bfloat16, here and now").click().run()
    (run,) = list_runs()
    kind, config = run.config()
    assert (kind, config["mode"], config["train_null"], config["precision"]) == ("select", "all", True, "bfloat16")
    assert config["trajectory_every"] and config["fisher"] and not sound(at).error
    assert "watch it" in at.get("page_link")[0].proto.label


@pytest.mark.parametrize("how", ["read only", "presenter"])
def test_the_live_run_is_locked(how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if how == "read only":
        monkeypatch.setenv("BEFT_READ_ONLY", "1")
    query = {"present": "true"} if how == "presenter" else {}
    at = opened("why", why_tab="4 · The trap", why_seen="trap", **query)
    assert button(at, "Train b_k in bfloat16, here and now").disabled
    if how == "read only":
        trap._launch()  # a click that was on its way
        assert not list_runs()
