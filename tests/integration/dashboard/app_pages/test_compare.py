"""Compare in process: samples, one, none, several uploads, broken ones, adapters, models, keeping and forgetting."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from dashboard_tools import button, charts, opened, sound
from example_snapshots import base, example
from fake_worker import small_snapshot
from hostile import hostile_snapshots
from streamlit.testing.v1 import AppTest

from beft_core.exchange.upload_library import keep, kept
from beft_core.files.safetensors_file import SafetensorsFile, write_safetensors
from beft_core.models.source import bundled_path
from beft_core.runs.about import rename
from beft_core.runs.run import Run
from beft_core.scores.table import score_snapshot
from beft_core.snapshots.snapshot import Snapshot, write_snapshot
from dashboard.app_pages.compare import parts
from dashboard.shared import sources

OVERVIEW = 2
"""Figures of the first tab: three approaches, two of them in one figure."""
pytestmark = pytest.mark.usefixtures("lab")


DIFFER, ALIKE, LAYERS = "Where they differ", "Did they learn the same?", "Layer by layer"


def data_of(snapshot: Snapshot, folder: Path) -> bytes:
    write_snapshot(folder / "scratch", snapshot)
    return (folder / "scratch").read_bytes()


def chosen(at: AppTest) -> list[str]:
    return at.multiselect(key="compare").value


def said(at: AppTest) -> str:
    """All words of the page, without the signs that keep a stranger's text harmless."""
    parts = [str(part.value) for kind in (at.markdown, at.caption, at.info, at.error) for part in kind]
    return " ".join(parts).replace("\\", "")


def uploader(at: AppTest, label: str) -> Any:
    return next(one for one in at.file_uploader if label in one.label)


def upload(at: AppTest, *files: tuple[str, bytes]) -> AppTest:
    for name, data in files:
        uploader(at, "Snapshots").upload(name, data)
    return sound(at.run())


def looked_at(at: AppTest) -> list[str]:
    """The two snapshots that are compared."""
    return [str(at.selectbox(key=key).value) for key in ("minuend", "subtrahend")]


def good(folder: Path, *seeds: int) -> list[tuple[str, bytes]]:
    return [(f"{n}.beft.safetensors", data_of(example(n, pre=base(), null_terms=("k",)), folder)) for n in seeds]


def adapter(folder: Path, **config: Any) -> dict[str, bytes]:
    """An adapter of the bundled model: its b_v moves by one."""
    module = "base_model.model.bert.encoder.layer.{}.attention.self.value.beft_bias"
    write_safetensors(folder / "scratch", {module.format(n): np.ones((1, 384), np.float32) for n in range(6)}, {})
    return {
        "adapter_config.json": json.dumps({"peft_type": "BEFT", **config}).encode(),
        "adapter_model.safetensors": (folder / "scratch").read_bytes(),
    }


def zipped(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return buffer.getvalue()


# --- looking -------------------------------------------------------------------------------------------------------


def test_opens_on_two_samples_without_a_click() -> None:
    at = opened("compare")
    assert chosen(at) == ["A probe", "Another probe"] and charts(at) == OVERVIEW and not at.error
    assert "started from different base models" in said(at)
    answer = at.markdown[1].value.replace("\\", "")
    assert answer.startswith("#### What A and B learnt cannot be compared (") and "another base model" in answer
    at = opened("compare", section=DIFFER)
    assert charts(at) == 1 and "Where they differ: A − B" in said(at)
    spec = json.loads(next(c.proto.spec for c in at.get("plotly_chart") if "compare-difference" in c.proto.id))
    first, second = (score_snapshot(small_snapshot(seed)).mean_scores("projection_ratio") for seed in (0, 1))
    names = [text.split()[0] for text in spec["layout"]["yaxis"]["ticktext"]]
    drawn = dict(zip(names, (row[0] for row in spec["data"][1]["z"]), strict=True))
    assert drawn["value"] == pytest.approx(first["v"] - second["v"]) and abs(drawn["value"]) > 1e-4


def test_a_rank_that_becomes_smaller_is_a_rise() -> None:
    assert [parts._change(*ranks) for ranks in ((3, 1), (1, 3), (2, 2))] == ["▲\u00a02", "▼\u00a02", ""]


def test_no_zero_has_a_sign() -> None:
    assert [parts._number(value) for value in (-0.004, -0.006, 0.0, np.nan)] == ["0.00", "−0.01", "0.00", "–"]


def test_fine_tunes_of_one_base_show_their_angles(tmp_path: Path) -> None:
    at = upload(opened("compare", compare="A probe", section=ALIKE), *good(tmp_path, 1, 2, 3))
    assert len(chosen(at)) == 4
    at.selectbox(key="minuend").select("Upload: 1.beft.safetensors").run()
    at.selectbox(key="subtrahend").select("Upload: 2.beft.safetensors").run()
    assert charts(sound(at)) == 2 and "° apart" in said(at) and not at.error
    assert "#### B and C changed the same biases in unrelated ways: cosine " in said(at)
    at.selectbox(key="minuend").select("Upload: 2.beft.safetensors").run()
    assert "two different snapshots" in said(sound(at)) and charts(at) == 0


def test_files_of_one_name_stand_beside_each_other(tmp_path: Path) -> None:
    (_, one), (_, other), (_, third) = good(tmp_path, 1, 2, 3)
    name = "snapshot.beft.safetensors"  # as every run calls its own
    at = upload(opened("compare", compare="A probe"), (name, one), (name, other))
    assert chosen(at) == ["A probe", f"Upload: {name}", f"Upload: {name} (2)"] and not at.error
    assert chosen(upload(at, (name, other))) == chosen(at), "the same file again is no other one"
    assert chosen(upload(at, (name, third)))[2:] == [f"Upload: {name} (2)", f"Upload: {name} (3)"]
    held = [source.read() for source in at.session_state["uploads"].values()]
    for found, seed in zip(held, (1, 2, 3), strict=True):
        assert np.array_equal(found.post("encoder", "v"), example(seed, pre=base()).post("encoder", "v"))


def test_fine_tunes_on_own_tables_say_how_their_rows_were_read(tmp_path: Path) -> None:
    columns = {"text": "review", "text_pair": None, "label": "stars"}
    heads = {
        "films": {"kind": "classification", "labels": ["bad", "good"], "columns": columns},
        "prices": {"kind": "regression", "labels": None, "columns": columns | {"label": "price"}},
    }
    files = [
        (f"{task}.beft.safetensors", data_of(example(n, pre=base(), task=task, heads={task: head}), tmp_path))
        for n, (task, head) in enumerate(heads.items())
    ]
    at = upload(opened("compare", compare="A probe", section="How they were made"), *files)
    assert "films (own table, 2 classes)" in said(at) and "prices (own table, a number)" in said(at)
    made = next(one.value for one in at.dataframe if "setting" in one.value)
    told = {row[0]: list(row[2:]) for row in made.to_numpy().tolist()}
    assert told["columns"] == ["review → stars", "review → price"]
    assert told["labels"] == ["2 classes: bad, good", "a number"] and told["task"] == ["films", "prices"]


def test_a_null_term_is_never_named_as_a_choice(tmp_path: Path) -> None:
    pre = base()
    post = {key: array * (-9 if key[1] == "k" else 1.1 if key[1] == "q" else 1.01) for key, array in pre.items()}
    unsaid = Snapshot.build(example(null_elements=None).meta, pre, post)  # certified by its architecture alone
    alone = example(2, null_terms=("k",), trained_terms=("v",))
    files = [(name, data_of(one, tmp_path)) for name, one in (("unsaid", unsaid), ("alone", alone))]
    at = upload(opened("compare", compare="A probe"), *((f"{name}.beft.safetensors", data) for name, data in files))
    line = next(caption.value for caption in at.caption if "Selected among" in caption.value)
    assert "$b_q$ in B" in line and "$b_k$" not in line and "no contest in C" in line
    assert any("B: k is a null term and was trained" in info.value for info in at.info)


def test_a_link_restores_every_choice(tmp_path: Path) -> None:
    stored = [keep(example(n, pre=base()), f"{n}") for n in (1, 2, 3)]
    titles = [f"Kept {one.id[-6:]}: {one.name}" for one in stored]
    link = {
        "compare": titles,
        "by": "Fisher",
        "compare_magnitude": "mean",
        "minuend": titles[2],
        "subtrahend": titles[0],
        "direction": "b_v value",
    }
    at = opened("compare", section=ALIKE, **link)
    assert chosen(at) == titles and at.selectbox(key="minuend").value == titles[2]
    assert at.selectbox(key="direction").value == "b_v value"
    assert "C − A" in said(opened("compare", section=DIFFER, **link))
    assert "Magnitude (mean)" in said(opened("compare", **link))
    assert "Fisher, layer by layer" in said(opened("compare", section=LAYERS, **link))


def test_one_snapshot_asks_for_another_and_none_for_two() -> None:
    at = opened("compare", compare="A probe")
    assert "Add another above" in said(at) and charts(at) == OVERVIEW
    at.multiselect(key="compare").set_value([]).run()
    assert "Choose two or more snapshots" in sound(at).info[0].value and charts(at) == 0


def test_without_samples_uploads_still_compare(tmp_path: Path) -> None:
    (tmp_path / "samples" / "index.json").unlink()
    at = opened("compare")
    assert len(at.warning) == 1 and charts(at) == 0
    assert charts(upload(at, *good(tmp_path, 1, 2))) == OVERVIEW and "#### A and B changed" in said(at)


def test_snapshots_of_other_shapes_compare_as_far_as_they_go(tmp_path: Path) -> None:
    files = [
        ("deep", data_of(small_snapshot(1, layers=3, width=8), tmp_path)),
        ("decoder", data_of(example(1, pre=base(stack="decoder")), tmp_path)),
        ("few", data_of(example(2, trained_terms=("v",)), tmp_path)),
    ]
    at = upload(opened("compare", compare="A probe", section=DIFFER), *files)
    assert not at.error and "different numbers of layers" in said(at)
    at.selectbox(key="minuend").select("A probe").run()
    for other in ("Upload: deep", "Upload: decoder", "Upload: few"):
        at.selectbox(key="subtrahend").select(other).run()
        assert not sound(at).error, other
    at.multiselect(key="compare").set_value(["Upload: decoder", "Upload: few"]).run()
    assert not sound(at).error and "nothing to subtract" in said(at)


# --- uploads -------------------------------------------------------------------------------------------------------


def test_good_files_are_taken_and_bad_ones_told_each_by_its_name(tmp_path: Path) -> None:
    hostile = [(f"bad{n}.safetensors", data) for n, (_, data) in enumerate(list(hostile_snapshots())[::30])]
    at = upload(opened("compare"), *hostile[:2], *good(tmp_path, 1, 2), *hostile[2:])
    assert chosen(at)[2:] == ["Upload: 1.beft.safetensors", "Upload: 2.beft.safetensors"]
    assert [f"bad{n}" in error.value for n, error in enumerate(at.error)] == [True] * len(hostile)
    assert uploader(at, "Snapshots").value == []  # the bytes are not held twice
    assert looked_at(at) == ["Upload: 1.beft.safetensors", "Upload: 2.beft.safetensors"]  # what one came for
    upload(at, *good(tmp_path, 3))
    assert not at.error and len(chosen(at)) == 5
    assert looked_at(at) == ["Upload: 3.beft.safetensors", "A probe"]


@pytest.mark.parametrize("form", ["zip", "two files"])
def test_an_adapter_of_the_bundled_model(form: str, tmp_path: Path) -> None:
    files = adapter(tmp_path, base_model_name_or_path="sentence-transformers/all-MiniLM-L6-v2")
    at = opened("compare", compare="A probe")
    at = upload(at, *([("a.zip", zipped(files))] if form == "zip" else files.items()))
    assert len(chosen(at)) == 2 and not at.error and "bundled model · 6 layers · imported" in said(at)
    assert charts(at) == OVERVIEW


def test_an_adapter_of_another_base_says_what_is_needed(tmp_path: Path) -> None:
    at = opened("compare")
    at = upload(at, ("a.zip", zipped(adapter(tmp_path, base_model_name_or_path="org/model"))))
    assert "an adapter of the base model org/model" in said(at) and len(chosen(at)) == 2
    at.text_input(key="upload_base").input(str(tmp_path / "nowhere")).run()
    at = upload(at, ("a.zip", zipped(adapter(tmp_path))))
    assert "not a folder" in at.error[0].value
    at.text_input(key="upload_base").input("bundled").run()
    assert not upload(at, ("a.zip", zipped(adapter(tmp_path)))).error and len(chosen(at)) == 3


def tuned_bundled(folder: Path) -> bytes:
    """The bundled model's biases, those of b_v moved."""
    file = SafetensorsFile(bundled_path() / "model.safetensors")
    biases = {name: file.read(name) for name in file.tensors if name.endswith(".bias")}
    write_safetensors(folder / "x", {n: a + 0.1 * ("value" in n) for n, a in biases.items()}, {})
    return (folder / "x").read_bytes()


def test_a_pair_of_models(tmp_path: Path) -> None:
    at = opened("compare", compare="A probe")
    next(t for t in at.text_input if t.label.startswith("Before")).input("bundled")
    uploader(at, "After").upload("model.safetensors", tuned_bundled(tmp_path))
    next(t for t in at.text_input if t.label.startswith("Name")).input("from *elsewhere*")
    button(at, "Read the biases").click().run()
    assert not sound(at).error and chosen(at) == ["A probe", "Upload: from *elsewhere*"]
    button(at, "Read the biases").click().run()  # the form is empty again
    assert "no model before the fine-tune" in said(sound(at)) and len(at.error) == 1 and len(chosen(at)) == 2


def test_a_tab_holds_only_so_much(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = good(tmp_path, 1, 2, 3)
    monkeypatch.setattr(sources, "MAX_UPLOADS", 2)
    at = upload(opened("compare"), *files)
    assert len(chosen(at)) == 4 and "at most 2 uploads" in at.error[0].value
    monkeypatch.setattr(sources, "MAX_UPLOADS", 50)
    monkeypatch.setattr(sources, "MAX_UPLOAD_BYTES", 100)
    assert "more than this tab" in upload(opened("compare"), files[0]).error[0].value


def test_more_than_fit_into_the_list_are_on_the_shelf(tmp_path: Path) -> None:
    at = upload(opened("compare"), *good(tmp_path, *range(1, 9)))
    assert len(chosen(at)) == 8 and len(at.multiselect(key="compare").options) == 10


# --- keeping -------------------------------------------------------------------------------------------------------


def test_keeping_forgetting_and_finding_again(tmp_path: Path) -> None:
    at = upload(opened("compare"), *good(tmp_path, 1, 2))
    next(b for b in at.button if b.label == "Keep on this machine").click().run()
    (stored,) = kept()
    assert stored.name == "1.beft.safetensors"
    title = f"Kept {stored.id[-6:]}: 1.beft.safetensors"
    assert chosen(sound(at))[2:] == [title, "Upload: 2.beft.safetensors"]
    again = opened("compare", compare=["A probe", title])  # a new session
    assert chosen(again) == ["A probe", title]
    assert opened("importance", snapshot=title).selectbox(key="snapshot").value == title
    button(again, "Forget").click().run()
    assert chosen(sound(again)) == ["A probe", "Upload: 1.beft.safetensors"] and not kept()


@pytest.mark.parametrize("how", ["read only", "presenting"])
def test_nothing_is_stored_where_that_is_locked(how: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keep(example(), "mine")
    at = upload(opened("compare"), *good(tmp_path, 1))
    if how == "read only":
        monkeypatch.setenv("BEFT_READ_ONLY", "1")
    else:
        at.toggle(key="present").set_value(True)
    # The button was drawn before: the callback refuses.
    next(b for b in at.button if b.label == "Keep on this machine").click().run()
    assert [one.name for one in kept()] == ["mine"] and "Upload: 1.beft.safetensors" in chosen(sound(at))
    assert next(b for b in at.button if b.label == "Keep on this machine").disabled
    assert next(b for b in at.button if b.label == "Forget").disabled


def test_a_read_only_server_opens_no_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BEFT_READ_ONLY", "1")
    at = opened("compare")
    places = [t for t in at.text_input if t.label.startswith(("Before", "After the", "Base model"))]
    assert len(places) == 3 and all(place.disabled for place in places)
    at.session_state[str(places[1].key)] = "bundled"  # as a client that does not care for the greyed field would
    button(at, "Read the biases").click().run()
    assert "no model before" in sound(at).error[0].value


# --- the shelf -----------------------------------------------------------------------------------------------------


def test_a_renamed_run_is_found_by_an_old_link(tmp_path: Path) -> None:
    run = Run.create("select", {"task": "demo-sentiment"})
    write_snapshot(run.snapshot, small_snapshot(3))
    old = f"Run {run.id[-6:]}: probe on demo-sentiment"
    assert sources.run_title(run) == old
    rename(run, "the good one")
    new = f"Run {run.id[-6:]}: the good one"
    assert sources.run_title(run) == new
    assert opened("importance", snapshot=old).selectbox(key="snapshot").value == new
    assert chosen(opened("compare", compare=["A probe", old])) == ["A probe", new]
    gone = opened("compare", compare=["A probe", "Another probe", "Upload: lost"])
    assert chosen(gone) == ["A probe", "Another probe"] and "Not here any more: Upload" in said(gone)
