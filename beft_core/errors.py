"""The one error that a user of the lab is meant to read."""

from __future__ import annotations


class UserError(ValueError):
    """A wrong input, told in one line: what was got, what was expected, what to try.

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


def _one_line(text: str, limit: int = 400) -> str:
    """Collapse white space, drop control characters (names in files are hostile) and bound the length."""
    flat = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return flat if len(flat) <= limit else flat[: limit - 1] + "…"
