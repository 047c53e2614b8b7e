"""A desk process that answers out of this file: ``python tests/fake_desk.py``."""

from __future__ import annotations

import os
import signal
import time
from typing import Any

import numpy as np

from beft_core.errors import UserError
from beft_core.execution import model_service

model_service.QUESTIONS.update(prove="fake_desk:Fake.answer")
model_service.IDLE_SECONDS = float(os.environ.get("FAKE_DESK_IDLE", model_service.IDLE_SECONDS))
model_service.WATCH_SECONDS = 0.05


class Fake:
    """Counts its questions."""

    def __init__(self) -> None:
        self.asked = 0

    def answer(self, act: str = "", text: str = "") -> Any:
        """Behave as ``act`` says."""
        self.asked += 1
        os.write(1, b"a library that talks on standard output\n")
        if act == "wrong":
            raise UserError("got 3 layers", "6", "another model")
        if act == "crash":
            raise ZeroDivisionError("a defect")
        if act == "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        if act == "slow":
            time.sleep(60)
        if act == "greedy":
            hoard = [np.ones(2**24) for _ in range(8)]  # 1 GB
            time.sleep(30)
            return len(hoard)
        return {"asked": self.asked, "pid": os.getpid(), "text": text}


if __name__ == "__main__":
    model_service.serve()
