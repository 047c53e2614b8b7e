"""Pages by name: title, sentence and place in the navigation. The lesson has the same titles."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Place:
    """Page in the navigation."""

    file: str
    title: str
    icon: str
    section: str
    help: str


PLACES: dict[str, Place] = {
    place.file: place
    for place in (
        Place("start", "Start", "flag", "Understand", "Guess which bias wins, see the answer, take the tour."),
        Place(
            "importance",
            "Which bias matters",
            "leaderboard",
            "Understand",
            "Every bias term of a model scored three ways, layer by layer, and the term that each way selects.",
        ),
        Place(
            "try_it",
            "Try it",
            "chat_bubble",
            "Understand",
            "Ask fine-tunes about a sentence: what each says, how far its biases moved it, and which layer did it.",
        ),
        Place(
            "geometry",
            "Geometry",
            "square_foot",
            "Understand",
            "What the scores measure: angle and length of a bias before and after, to move by hand and in real runs.",
        ),
        Place(
            "rewrite",
            "What the score depends on",
            "swap_vert",
            "Understand",
            "The same model written down differently: no output changes, but a score does, and what it selects.",
        ),
        Place(
            "why",
            "Why b_v and not b_k",
            "psychology",
            "Understand",
            "The same push on three biases of a live model: what stays, what moves.",
        ),
        Place(
            "evaluation",
            "The paper's evaluation",
            "fact_check",
            "Understand",
            "Figures and tables of the paper from a sweep, the paper's numbers beside them; does the score predict?",
        ),
        Place("fine_tune", "Fine-tune", "tune", "Experiment", "Set up a fine-tune, check it, start it, watch it."),
        Place("sweep", "Sweep", "apps", "Experiment", "A grid of fine-tunes, many in one pass, into one table."),
        Place("runs", "Runs", "history", "Experiment", "All runs of this machine: compare, tag, download."),
        Place("merge", "Merge", "merge", "Combine", "Merge fine-tunes of several tasks and score the result."),
        Place("dial", "The dial", "speed", "Combine", "Turn a fine-tune up, down and off, layer by layer, and see it."),
        Place("compare", "Compare", "compare", "Combine", "Your snapshots beside the samples and the runs."),
    )
}
