"""The eleven prompted tasks, each written from a real row and compared with the text that the authors' script gives."""

from __future__ import annotations

from typing import Any

import pytest

from beft_core.tasks.prompts.render import examples_of
from beft_core.tasks.prompts.tasks import PROMPTED
from beft_core.tasks.registry import TASKS

MORGAN = (
    "Morgan, 46, will host the third episode.\n@highlight\nMorgan, 46, will host\n@highlight\nFirst episode hosted by "
    "Miley Cyrus"
)
WRITTEN: dict[str, tuple[dict[str, Any], str, tuple[str, ...], tuple[int, ...]]] = {
    "sst2": (
        {"sentence": "unflinchingly bleak and desperate ", "label": "0"},
        "unflinchingly bleak and desperate It was",
        (" terrible", " great"),
        (0,),
    ),
    "rte": (
        {
            "sentence1": "No Weapons of Mass Destruction Found in Iraq Yet.",
            "sentence2": "Weapons of Mass Destruction Found in Iraq.",
            "label": "not_entailment",
        },
        "No Weapons of Mass Destruction Found in Iraq Yet.\nDoes this mean that "
        '"Weapons of Mass Destruction Found in Iraq." is true? Yes or No?\n',
        ("Yes", "No"),
        (1,),
    ),
    "cb": (
        {
            "premise": "``Who knows? The point is, do we go with it or not?'' Do we assume there is a shipment?",
            "hypothesis": "there is a shipment",
            "label": "neutral",
        },
        "Suppose ``Who knows? The point is, do we go with it or not?'' Do we assume there is a shipment? Can we infer "
        'that "there is a shipment"? Yes, No, or Maybe?\n',
        ("Yes", "No", "Maybe"),
        (2,),
    ),
    "boolq": (
        {
            "passage": "Phantom pain -- Phantom pain sensations are described as perceptions.",
            "question": "is pain experienced in a missing body part or paralyzed area",
            "label": True,
        },
        "Phantom pain -- Phantom pain sensations are described as perceptions. Is pain experienced in a missing body "
        "part or paralyzed area?\n",
        ("No", "Yes"),
        (1,),
    ),
    "wsc": (
        {
            "text": "I tried to paint a picture of an orchard, with lemons in the lemon trees , but they came out.",
            "span1_text": "lemon trees",
            "span2_text": "They",
            "label": False,
        },
        "I tried to paint a picture of an orchard, with lemons in the lemon trees , but they came out.\nIn the "
        'previous sentence, does the pronoun "they" refer to lemon trees? Yes or No?\n',
        ("No", "Yes"),
        (0,),
    ),
    "wic": (
        {
            "word": "stripe",
            "sentence1": "Businessmen of every stripe joined in opposition to the proposal.",
            "sentence2": "They earned their stripes in Kuwait.",
            "label": False,
        },
        'Does the word "stripe" have the same meaning in these two sentences? Yes, No?\nBusinessmen of every stripe '
        "joined in opposition to the proposal.\nThey earned their stripes in Kuwait.\n",
        ("No", "Yes"),
        (0,),
    ),
    "multirc": (
        {
            "paragraph": "What causes a change in motion? The application of a force. ",
            "question": "What do you apply to an object to make it move or stop?",
            "answer": "Apply force on the ball",
            "label": 1,
        },
        "What causes a change in motion? The application of a force. \nQuestion: What do you apply to an object to "
        'make it move or stop?\nI found this answer "Apply force on the ball". Is that correct? Yes or No?\n',
        ("No", "Yes"),
        (1,),
    ),
    "copa": (
        {
            "premise": "I wanted to conserve energy.",
            "choice1": "I swept the floor in the unoccupied room.",
            "choice2": "The light went off.",
            "question": "effect",
            "label": 1,
        },
        "I wanted to conserve energy so",
        (" I swept the floor in the unoccupied room.", " the light went off."),
        (1,),
    ),
    "record": (
        {
            "passage": MORGAN,
            "query": "Amy Schumer will make her debut, followed by @placeholder a week later.",
            "entities": ["Miley Cyrus", "Morgan", "Tracy Morgan"],
            "answers": ["Morgan", "Tracy Morgan"],
        },
        "Morgan, 46, will host the third episode.\n- Morgan, 46, will host\n- First episode hosted by Miley Cyrus\n-",
        (
            " Amy Schumer will make her debut, followed by Miley Cyrus a week later.",
            " Amy Schumer will make her debut, followed by Morgan a week later.",
            " Amy Schumer will make her debut, followed by Tracy Morgan a week later.",
        ),
        (1, 2),
    ),
    "squad": (
        {
            "title": "University_of_Notre_Dame",
            "context": "It is a replica of the grotto at Lourdes, France.",
            "question": "To whom did the Virgin Mary allegedly appear in 1858 in Lourdes France? ",
            "answers": ["Saint Bernadette Soubirous", "Bernadette"],
        },
        "Title: University_of_Notre_Dame\nContext: It is a replica of the grotto at Lourdes, France.\nQuestion: To "
        "whom did the Virgin Mary allegedly appear in 1858 in Lourdes France?\nAnswer:",
        (" Saint Bernadette Soubirous\n",),
        (0,),
    ),
    "drop": (
        {
            "passage": "The Port of Charleston is one of the largest ports.",
            "question": "What happened second: the sixth terminal planned on opening or the closure?",
            "answers": ["sixth terminal\nfifth terminal", "6"],
        },
        "Passage: The Port of Charleston is one of the largest ports.\nQuestion: What happened second: the sixth "
        "terminal planned on opening or the closure?\nAnswer:",
        (" sixth terminal\n",),
        (0,),
    ),
}


@pytest.mark.parametrize("name", WRITTEN)
def test_what_a_row_becomes(name: str) -> None:
    row, prompt, candidates, golds = WRITTEN[name]
    examples = examples_of(TASKS[f"prompt-{name}"], [("row 1", row)], "made up")
    assert examples.text == [prompt]
    assert examples.candidates == [candidates] and examples.golds == [golds]
    assert examples.labels.tolist() == [golds[0]] and examples.labels.dtype.kind == "i"
    assert examples.answers == ([tuple(row["answers"])] if name in ("squad", "drop") else None)


# Learning rates, ways to train and metrics as the authors' script has them, typed in a second time.
AUTHORS = {
    "sst2": (1e-3, "candidates", "accuracy"),
    "rte": (1e-3, "candidates", "accuracy"),
    "cb": (1e-2, "candidates", "accuracy"),
    "boolq": (1e-3, "candidates", "accuracy"),
    "wsc": (1e-2, "candidates", "accuracy"),
    "wic": (1e-3, "candidates", "accuracy"),
    "multirc": (1e-3, "candidates", "accuracy"),
    "copa": (1e-4, "language_model", "accuracy"),
    "record": (1e-4, "language_model", "accuracy"),
    "squad": (1e-3, "language_model", "answer_f1"),
    "drop": (1e-3, "language_model", "answer_f1"),
}


def test_the_authors_settings() -> None:
    assert set(WRITTEN) == set(AUTHORS) == {spec.name.removeprefix("prompt-") for spec in PROMPTED}
    for spec in PROMPTED:
        assert spec.prompt is not None
        lr, trained_by, metric = AUTHORS[spec.name.removeprefix("prompt-")]
        assert (spec.lr, spec.prompt.trained_by, spec.metrics[0], spec.epochs) == (lr, trained_by, metric, 5)
        assert (spec.prompt.batch_size, spec.prompt.max_length, spec.prompt.max_new_tokens) == (8, 2048, 50)
        assert spec.regimes["low"] == (None if spec.name in ("prompt-cb", "prompt-copa", "prompt-wsc") else 1000)
        assert spec.objective == ("candidates" if trained_by == "candidates" else "generation")
        if spec.prompt.candidates:
            assert spec.labels is not None and len(spec.labels) == len(spec.prompt.candidates)
