"""How much of b_k's Magnitude is noise in a tiny random GPT-NeoX whose null elements are trained all the same.

    PYTHONPATH=.:tests/integration python tests/benchmarks/bench_null_noise.py

Positions turn a quarter of each head (``rotary_pct`` 0.25); in the other elements b_k has no gradient.
"""

from __future__ import annotations

from tiny_models import CONFIGS
from training_tools import config, fit

from beft_core.snapshots.null_elements import noise_share


def main() -> None:
    """Print a table: precision, epochs, share trained all the same, share frozen."""
    kind, sizes = CONFIGS["gpt_neox"]
    CONFIGS["quarter"] = (kind, {**sizes, "rotary_pct": 0.25})
    print("precision  epochs  trained  frozen")
    for precision in ("float32", "bfloat16"):
        for epochs in (8, 30):
            shares = []
            for train_null in (True, False):
                settings = {"train_null": train_null, "precision": precision, "epochs": epochs, "n_train": 40}
                (probe,) = fit("quarter", config(mode="all", **settings))
                pre, post = probe.pre("decoder", "k"), probe.post("decoder", "k")
                assert probe.meta.null_elements is not None
                shares.append(noise_share(pre, post, probe.meta.null_elements["k"]))
            print(f"{precision:9}  {epochs:6}  {shares[0]:7.3f}  {shares[1]:6.3f}", flush=True)


if __name__ == "__main__":
    main()
