"""Settings of a cluster's jobs: checked one by one, from flags over a profile."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from beft_core.errors import UserError
from beft_core.execution.clusters.settings import Cluster, minutes, profiles, settings


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        *(("90m", 90), ("90", 90), ("2h", 120), ("1d12h", 2160), ("2h30m", 150)),
        *(("1-12:00:00", 2160), ("1-12:30", 2190), ("2:00:00", 120), ("2:00:01", 121), ("30:00", 30), ("00:05", 1)),
    ],
)
def test_times_are_read_as_people_and_slurm_write_them(text: str, expected: int) -> None:
    assert minutes(text) == expected


@pytest.mark.parametrize("text", ["", "0", "soon", "-1h", "1h; rm -rf /", "31d", "1:2:3:4", "99999999999999d"])
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(UserError, match="got --time"):
        minutes(text)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"partition": "gpu; rm -rf /"}, "got --partition"),
        ({"partition": "gpu\n#SBATCH --uid=0"}, "got --partition"),
        ({"account": ""}, "got --account"),
        ({"gpus": -1}, "got --gpus -1; expected a whole number from 0 to 64"),
        ({"gpus": True}, "got --gpus"),
        ({"max_jobs": 0}, "got --max-jobs 0"),
        ({"max_jobs": 10**9}, "got --max-jobs"),
        ({"setup": [3]}, "got --setup"),
        ({"setup": ["a\nb"]}, "got --setup"),
        ({"sbatch": ["--nice=1"]}, "got --sbatch"),
        ({"sbatch": ["nice=$(id)"]}, "got --sbatch"),
        ({"partitoin": "gpu"}, r"got the cluster's setting 'partitoin'.*try partition"),
        ({"time": "forever"}, "got --time"),
        ({"time": 7200}, "got time 7200, a number; expected a time with its unit or in quotes"),
    ],
)
def test_what_the_cluster_cannot_have_is_one_clear_error(values: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError, match=words):
        Cluster.from_dict(values)


def test_they_become_parameters_of_sbatch() -> None:
    cluster = Cluster.from_dict(
        {
            "partition": "gpu",
            "gpus": 0,
            "time": "2h",
            "memory": "32G",
            "setup": "module load cuda",
            "sbatch": ["nice=9"],
        }
    )
    found = cluster.parameters("beft-x")
    assert found["time"] == 120 and found["partition"] == "gpu" and found["mem"] == "32G"
    assert "gpus_per_node" not in found and Cluster().parameters("x")["gpus_per_node"] == 1
    assert found["setup"] == ["module load cuda"] and found["wckey"] is None
    assert found["additional_parameters"] == {"signal": "USR1@120", "requeue": True, "nice": "9"}
    assert Cluster.from_dict(cluster.to_dict()) == cluster


def test_what_is_given_wins_over_a_profile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BEFT_HOME", str(tmp_path))
    assert settings({}) == Cluster() and profiles() == []
    (tmp_path / "clusters").mkdir()
    (tmp_path / "clusters" / "lab.yaml").write_text("partition: gpu\nmax_jobs: 40\n")
    (tmp_path / "clusters" / "default.yaml").write_text("partition: short\n")
    assert settings({"max_jobs": 3, "qos": None}, "lab") == Cluster(partition="gpu", max_jobs=3)
    assert settings({}).partition == "short" and profiles() == ["default", "lab"]
    own = tmp_path / "own.yaml"
    own.write_text("partition: own\n")
    assert settings({}, str(own)).partition == "own"
    with pytest.raises(UserError, match=r"got --profile lob; expected one of default, lab, or the path"):
        settings({}, "lob")
    own.write_text("partition: [1]\n")
    with pytest.raises(UserError, match="got --partition"):
        settings({}, str(own))
