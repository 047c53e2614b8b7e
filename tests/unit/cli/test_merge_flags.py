"""Flags of merge methods: one for each parameter of the registry, also of a method that is only registered here."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from cli_runner import beft
from example_snapshots import example

from beft_core.merging.methods import METHODS, Method, Parameter, flags
from beft_core.snapshots.snapshot import read_snapshot, write_snapshot


def tilted(deltas: np.ndarray, *, shares: list[float], tilt: float, round_to: int) -> np.ndarray:
    return np.round(tilt * (np.asarray(shares) @ deltas), round_to)


TOY = Method(
    "toy",
    "Toy",
    "tilt · Σ sₜ δₜ",
    "https://example.org/toy",
    tilted,
    (
        Parameter("shares", None, "how much of each"),
        Parameter("tilt", 1.0, "by how much all is multiplied", high=9.0, brief="tilt of everything"),
        Parameter("round_to", 8, "decimal places", high=12),
        Parameter("scope", "global", "what is one vector", choices=("layer", "global")),
    ),
)


@pytest.fixture
def toy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(METHODS, TOY.name, TOY)


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    paths = [tmp_path / f"{seed}.beft.safetensors" for seed in (1, 2)]
    for seed, path in enumerate(paths, 1):
        write_snapshot(path, example(seed, trained_terms=("v",)))
    return paths


def test_help_says_what_a_flag_does_and_which_methods_take_it() -> None:
    said = " ".join(beft("merge", "--help").out.split())
    for line in (
        "--weights W... One per snapshot (weighted).",
        "--scale X Factor (task_arithmetic, ties).",
        "--density X Share that is kept (ties, dare).",
        "--seed N Of the random choice (dare).",
        "--t X 0 is the first, 1 the second (slerp).",
        "--scope [layer|global] One vector (ties, slerp).",
    ):
        assert line in said


@pytest.mark.usefixtures("toy")
def test_a_registered_method_has_its_flags() -> None:
    said = " ".join(beft("merge", "--help").out.split())
    assert "--shares S... How much of each (toy)." in said and "--tilt X Tilt of everything (toy)." in said
    assert "--round-to N Decimal places (toy)." in said and "One vector (ties, slerp, toy)." in said
    assert "fisher, toy." in said
    assert list(flags())[-1] == "scope" and flags()["scope"][1] == ("ties", "slerp", "toy")


@pytest.mark.usefixtures("toy")
def test_a_registered_method_merges_by_its_flags(files: list[Path], tmp_path: Path) -> None:
    out = tmp_path / "m.beft.safetensors"
    given = ["--shares", "0.25", "2", "--tilt", "3", "--round-to", "4"]
    result = beft("merge", "--method", "toy", *given, "--out", out, "--json", *files)
    assert result.status == 0, result.err
    settings = result.json["settings"]
    assert settings["shares"] == [0.25, 2] and settings["tilt"] == 3 and settings["round_to"] == 4
    a, b = (read_snapshot(path) for path in files)
    moved = [s.post("encoder", "v").astype(float) - s.pre("encoder", "v") for s in (a, b)]
    expected = np.round(3 * (0.25 * moved[0] + 2 * moved[1]), 4)
    merged = read_snapshot(out)
    np.testing.assert_allclose(
        merged.post("encoder", "v").astype(float) - merged.pre("encoder", "v"), expected, atol=1e-6
    )


def test_a_flag_of_another_method_is_refused_by_name(files: list[Path]) -> None:
    result = beft("merge", *files, "--method", "dare", "--scope", "layer")
    assert result.status == 2 and "dare has no parameter scope" in result.err
    assert "No such option" in beft("merge", *files, "--tilt", "1").err  # nobody registered it here
