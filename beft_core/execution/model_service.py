"""Service of a process that holds a loaded model and answers questions about it, so that whoever asks never imports
torch.

One line of JSON a question, one line an answer, over pipes. The process ends when whoever started it ends (its input
closes), when nobody asked for a while, and before it takes more memory than it was allowed.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

import psutil

from beft_core.environment import number
from beft_core.errors import UserError
from beft_core.extras import require_training
from beft_core.files.home import home
from beft_core.files.scratch import scratch_file
from beft_core.imports import imported

QUESTIONS: dict[str, str] = {
    "model": "beft_core.models.attention_experiments:HeldModel.describe",
    "prove": "beft_core.models.attention_experiments:HeldModel.prove",
    "preflight": "beft_core.execution.workflows:estimated",
    "answer": "beft_core.inference.held:HeldFineTunes.answer",
    "score": "beft_core.inference.held:HeldFineTunes.score",
    "ask": "beft_core.inference.held:HeldFineTunes.ask",
    "write": "beft_core.inference.held:HeldFineTunes.write",
}
"""Handlers by question: ``module:function`` or ``module:Class.method`` that answers it: fields as keywords -> a JSON
value. May raise UserError. The process makes one object of a class, which may hold what the next question needs.
"""

AT_WORK: dict[str, str] = {
    "model": "opening a model",
    "prove": "computing what a bias does to attention",
    "preflight": "timing the steps of a fine-tune",
    "answer": "answering sentences",
    "score": "reading validation examples",
    "ask": "answering prompts",
    "write": "writing texts",
}
"""What the process does for each question, in words: "it has been reading validation examples for 40 s"."""

IDLE_SECONDS = 600.0
"""Seconds without a question after which the process ends and gives its memory back."""
ANSWER_SECONDS = 120.0
"""Seconds after which a question without an answer is given up, and the process with it."""
WAIT_SECONDS = 90.0
"""Seconds after which a question gives up waiting for those before it."""
QUIET_SECONDS, TELL_SECONDS = 2.0, 1.0
"""Seconds that a question waits before it is told for what, and from one time to the next."""
MEMORY_SHARE = 0.6
"""Share of the machine's memory that the process may take; ``BEFT_DESK_GB`` names another bound."""
WATCH_SECONDS = 0.25
_OVER_MEMORY = 77
_IDLE = 78
_CLOSED = 79
"""Exit statuses of the process; the last is never one of the process itself."""
_END_SECONDS = 5.0
"""Seconds that a process has to end once it closed its output."""


def memory_bound() -> int:
    """Return the bytes that the process may take.

    Raises:
        UserError: ``BEFT_DESK_GB`` is no such number.
    """
    return int(number("BEFT_DESK_GB", psutil.virtual_memory().total * MEMORY_SHARE / 1e9) * 1e9)


def service_command() -> list[str]:
    """Command line that starts the process."""
    return [sys.executable, "-m", "beft_core.execution.model_service"]


class ModelService:
    """Client of at most one process, which the first question starts, and again after it ended. Safe to share between
    threads.
    """

    def __init__(self, keeps_log: bool = True) -> None:
        """Make a client without a process yet. ``keeps_log``: what the process says goes into the home folder; else
        into a file that nobody sees.
        """
        self._keeps_log = keeps_log
        self._turn = threading.RLock()
        self._at_work: tuple[str, float] | None = None
        """Question that is being answered, and since when."""
        self._process: subprocess.Popen[bytes] | None = None
        self._lines: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        atexit.register(self.close)

    @property
    def running(self) -> bool:
        """Whether the process is running."""
        process = self._process
        return process is not None and process.poll() is None

    def ask(self, question: str, timeout: float = ANSWER_SECONDS, **fields: Any) -> Any:
        """Answer a question out of :data:`QUESTIONS`. Questions wait for each other, as in :meth:`turn`.

        Raises:
            UserError: what the answering function raised; or the process ended, ran out of its memory or of time, those
                before took too long, or PyTorch is missing.
        """
        assert question in QUESTIONS, question
        require_training()
        asked = json.dumps({"question": question, "fields": fields}).encode() + b"\n"
        with self.turn():
            self._at_work = question, time.monotonic()
            try:
                line = self._put(asked, timeout)
                if not line and self._status() == _IDLE:  # it left just when it was asked
                    line = self._put(asked, timeout)
                if not line:
                    raise self._ended(self._status())
            finally:
                self._at_work = None
        answer = json.loads(line)
        if "error" in answer:
            raise UserError(*answer["error"])
        return answer["answer"]

    @contextlib.contextmanager
    def turn(self, told: Callable[[str], None] | None = None) -> Iterator[None]:
        """Wait until no other thread asks, and let none ask while the context is open.

        ``told``: hears what is waited for and how long that has taken, again and again once it is no short moment.

        Raises:
            UserError: it was still not free after :data:`WAIT_SECONDS`.
        """
        gives_up = time.monotonic() + WAIT_SECONDS
        patience = QUIET_SECONDS
        while not self._turn.acquire(timeout=patience):
            doing = self._doing()
            if time.monotonic() > gives_up:
                raise UserError(f"{doing}, and others wait", "", "again when that is done")
            if told is not None:
                told(doing)
            patience = TELL_SECONDS
        try:
            yield
        finally:
            self._turn.release()

    def _doing(self) -> str:
        question, since = self._at_work or ("", 0.0)
        if not question:
            return "the model is between two questions"
        return f"the model has been {AT_WORK.get(question, question)} for {time.monotonic() - since:.0f} s"

    def close(self) -> None:
        """End the process, if it is there."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()
            assert process.stdin is not None
            with contextlib.suppress(BrokenPipeError):  # a question that it did not take any more
                process.stdin.close()

    def _put(self, asked: bytes, timeout: float) -> bytes:
        """Send a question and return the line that answers; empty when the process ended instead. Raises UserError when
        the time ran out.
        """
        process = self._started()
        assert process.stdin is not None
        try:
            process.stdin.write(asked)
            process.stdin.flush()
        except BrokenPipeError:
            return b""
        try:
            return self._lines.get(timeout=timeout)
        except queue.Empty:
            self.close()
            raise UserError(
                f"no answer after {timeout:.0f} seconds",
                "a model that this machine can run at once",
                "a smaller model, or again when no fine-tune is at work",
            ) from None

    def _started(self) -> subprocess.Popen[bytes]:
        if self._process is not None and self.running:
            return self._process
        self.close()
        memory_bound()  # a wrong one is told here, not by a process that ends at once
        with self._fresh_log() as log:
            process = subprocess.Popen(service_command(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log)
        assert process.stdout is not None
        # Lines of a process that was given up must not be taken for answers of the next one: each has its own queue.
        self._process, self._lines = process, queue.SimpleQueue()
        threading.Thread(target=_pass_on, args=(process.stdout, self._lines), daemon=True).start()
        return process

    def _fresh_log(self) -> IO[bytes]:
        if not self._keeps_log:
            self._unseen = scratch_file()  # of the process, until the next one
            return os.fdopen(os.dup(self._unseen.fileno()), "wb")
        path = _log()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            return path.open("wb")
        except OSError as error:
            raise UserError(f"cannot write {path}: {error.strerror}", "a folder to write to", "BEFT_HOME") from None

    def _last_words(self) -> list[str]:
        try:
            if self._keeps_log:
                text = _log().read_bytes()
            else:
                self._unseen.seek(0)
                text = self._unseen.read()
        except OSError:
            return []
        return text.decode("utf-8", "replace").strip().splitlines()

    def _status(self) -> int:
        """Exit status of the process, once it closed its output."""
        process = self._process
        if process is None:  # closed by another thread, in the middle of the answer
            return _CLOSED
        try:
            return process.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            return process.wait()

    def _ended(self, status: int) -> UserError:
        if status == _OVER_MEMORY:
            return UserError(
                f"the model needs more than the {memory_bound() / 1e9:.1f} GB of memory that it may take",
                "a smaller model",
                "BEFT_DESK_GB, where the machine has more",
            )
        if status == _CLOSED:
            return UserError("the process that holds the model was closed", "", "the question again")
        if status < 0:
            return UserError(
                f"the process that holds the model was killed ({signal.Signals(-status).name}): often, memory ran out",
                "",
                "again; a smaller model, or after closing other programs",
            )
        words = self._last_words()
        return UserError(
            f"the process that holds the model ended (status {status}): {words[-1] if words else 'no word'}",
            "",
            f"the whole log in {_log()}" if self._keeps_log else "",
        )


def _pass_on(output: IO[bytes], lines: queue.SimpleQueue[bytes]) -> None:
    """Read a process's output to its end, which is told as an empty line: a pipe knows no time-out everywhere."""
    with output:
        for line in output:
            lines.put(line)
    lines.put(b"")


def _log() -> Path:
    return home() / "desk.txt"


# --- inside the process --------------------------------------------------------------------------------------------


class _Watch:
    """Watch that ends the process when it is idle, takes too much memory, or is left alone while it answers."""

    def __init__(self) -> None:
        self.asked = time.monotonic()
        self.busy = False
        # Asked here and not in the thread: that may come to it only when the parent is gone already.
        threading.Thread(target=self._run, args=(os.getppid(),), daemon=True).start()

    def _run(self, parent: int) -> None:
        me, bound = psutil.Process(), memory_bound()
        while os.getppid() == parent:
            if me.memory_info().rss > bound:
                os._exit(_OVER_MEMORY)
            if not self.busy and time.monotonic() - self.asked > IDLE_SECONDS:
                os._exit(_IDLE)
            time.sleep(WATCH_SECONDS)
        os._exit(0)


def serve() -> None:
    """Answer the questions on standard input until it ends."""
    out = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever a library prints must not be taken for an answer
    watch, answers = _Watch(), Answers()
    for line in sys.stdin.buffer:
        watch.busy = True
        out.write(json.dumps(answers.to(json.loads(line))).encode() + b"\n")
        out.flush()
        watch.busy, watch.asked = False, time.monotonic()


class Answers:
    """Dispatcher of questions to the functions that answer them; it keeps the objects whose methods do."""

    def __init__(self) -> None:
        self._objects: dict[str, Any] = {}

    def to(self, asked: dict[str, Any]) -> dict[str, Any]:
        """Answer one line: ``answer``, or ``error`` with the parts of a UserError."""
        try:
            return {"answer": self._function(asked["question"])(**asked["fields"])}
        except UserError as error:
            return {"error": [error.got, error.expected, error.try_]}

    def _function(self, question: str) -> Callable[..., Any]:
        module, _, name = QUESTIONS[question].partition(":")
        owner, _, method = name.rpartition(".")
        if not owner:
            function: Callable[..., Any] = imported(f"{module}:{name}")
            return function
        place = f"{module}:{owner}"
        if place not in self._objects:
            self._objects[place] = imported(place)()
        answering: Callable[..., Any] = getattr(self._objects[place], method)
        return answering


if __name__ == "__main__":
    serve()
