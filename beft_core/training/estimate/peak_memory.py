"""Most memory that a piece of work takes."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field

import psutil
import torch


@dataclass
class PeakMemory:
    """Watch of the most memory that was in use inside the block, in bytes: of the GPU, or of this process."""

    device: torch.device
    peak: int = 0
    """Most bytes in use; on a GPU those that PyTorch had reserved."""
    available: int = 0
    """Bytes that were free, or in use by this process, when the block began."""
    _ended: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> PeakMemory:
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats(self.device)
            self.available = torch.cuda.mem_get_info(self.device)[0]
        else:
            process = psutil.Process()
            self.available = psutil.virtual_memory().available + process.memory_info().rss
            self._watcher = threading.Thread(target=self._watch, args=(process,), daemon=True)
            self._watcher.start()
        return self

    def __exit__(self, *error: object) -> None:
        if self.device.type == "cuda":
            self.peak = torch.cuda.max_memory_reserved(self.device)
            return
        self._ended.set()
        self._watcher.join()

    def _watch(self, process: psutil.Process) -> None:
        while True:
            self.peak = max(self.peak, process.memory_info().rss)
            if self._ended.wait(0.01):
                return
