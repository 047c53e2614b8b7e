"""A kind of runs that only a test knows: its configuration and its workflow, as a new kind's file would have them."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from beft_core.errors import UserError
from beft_core.execution.workflows import Outcome
from beft_core.runs.kinds import Kind
from beft_core.training.observer import Observer


@dataclass(frozen=True)
class ToyConfig:
    """How often a number is doubled."""

    task: str = "demo-sentiment"
    times: int = 3
    device: str = "cpu"
    seed: int = 0

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, fields: dict[str, Any]) -> ToyConfig:
        if strange := fields.keys() - asdict(cls()).keys():
            raise UserError(f"got the unknown field {min(strange)!r}", "a field of a toy")
        return cls(**fields)


def work(fields: dict[str, Any], observer: Observer, checkpoint: Path) -> Outcome:
    """Double a number so often."""
    config = ToyConfig.from_dict(fields)
    observer.stage("double", config.times)
    number = 1 + config.seed
    for step in range(1, config.times + 1):
        number *= 2
        observer.step(step, config.times, [1.0 / number])
        observer.advance()
    observer.epoch({"epoch": 1, "step": config.times, "train_loss": 1.0 / number, "reached": float(number)})
    (checkpoint.parent / "numbers.txt").write_text(str(number))
    return None, {"number": number}


def command(config: ToyConfig, out: str | None) -> str:
    return f"beft toy --times {config.times}" + (f" --out {out}" if out else "")


TOY = Kind(
    "toy",
    "a toy",
    "double a number",
    config="toy_kind:ToyConfig",
    workflow="toy_kind:work",
    command="toy_kind:command",
    trains=lambda fields: f"doubling {fields.get('times')} times",
    artifacts=("result.json", "numbers.txt"),
    summary=lambda result: f"reached {result['number']}" if "number" in result else "",
)
