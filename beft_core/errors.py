"""Error that a user of the lab is meant to read, and what tells a lack of memory from a defect."""

from __future__ import annotations


class UserError(ValueError):
    """Error of a wrong input, told in one line: what was got, what was expected, what to try.

    The command line prints it and exits with status 2; the dashboard shows it in a box. Everything else that is
    raised is a defect of the lab and keeps its traceback.
    """

    def __init__(self, got: str, expected: str = "", try_: str = "") -> None:
        self.got, self.expected, self.try_ = (_one_line(part) for part in (got, expected, try_))
        parts = [
            self.got,
            f"expected {self.expected}" if self.expected else "",
            f"try {self.try_}" if self.try_ else "",
        ]
        super().__init__("; ".join(part for part in parts if part))

    def __reduce__(self) -> tuple[type[UserError], tuple[str, str, str]]:
        return (type(self), (self.got, self.expected, self.try_))


class ModelNotHere(UserError):
    """Error of a model that is not on this machine in a form that can be opened, and will be once a run asks for it: it
    is downloaded or converted then.
    """


class NotConverted(ModelNotHere):
    """Error of a model that is here as a file or in packages, and is converted when it is first opened."""


def _one_line(text: str, limit: int = 400) -> str:
    """Collapse white space, drop control characters (names in files are hostile) and bound the length."""
    flat = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return flat if len(flat) <= limit else flat[: limit - 1] + "…"


def out_of_memory(error: BaseException) -> bool:
    """Whether an error is a lack of memory: MemoryError, or torch's own kinds, known by name so that nothing imports
    torch.
    """
    if isinstance(error, MemoryError) or any(c.__name__ == "OutOfMemoryError" for c in type(error).__mro__):
        return True
    text = str(error).lower()
    return isinstance(error, RuntimeError) and ("out of memory" in text or "can't allocate memory" in text)
