"""Word lists and templates of the demo tasks.

Every slot has two lists without a common word: for training, for validation. Underscores stand for
spaces.
"""

from __future__ import annotations

WORDS: dict[str, tuple[str, str]] = {
    "good": (
        "wonderful brilliant delightful charming superb excellent gripping moving clever inspired "
        "beautiful elegant fresh witty warm powerful memorable thrilling tender graceful imaginative "
        "hilarious touching perfect rich sincere marvelous exciting lovely sharp",
        "fantastic amazing captivating enchanting outstanding magnificent compelling heartfelt ingenious "
        "stunning gorgeous refined original funny uplifting impressive unforgettable absorbing sensitive "
        "joyful terrific splendid engaging satisfying dazzling",
    ),
    "bad": (
        "terrible awful boring dull clumsy dreadful tedious lifeless stupid stale ugly messy tired bland "
        "cold weak forgettable pointless crude painful predictable annoying shallow hopeless empty fake "
        "horrible tiresome nasty sloppy",
        "bad atrocious dreary monotonous awkward lousy sluggish hollow idiotic derivative hideous "
        "muddled lame insipid charmless feeble disappointing worthless vulgar unbearable formulaic "
        "irritating superficial dismal insufferable",
    ),
    "love": (
        "loved adored enjoyed admired treasured",
        "liked praised cherished applauded appreciated",
    ),
    "hate": (
        "hated loathed detested despised regretted",
        "disliked resented abhorred mocked condemned",
    ),
    "aspect": (
        "film story script ending cast hero villain song picture scene joke monologue",
        "movie plot screenplay finale soundtrack drama character actor score comedy dance sketch",
    ),
    "viewer": (
        "we i critics everyone my_sister the_audience",
        "they people viewers my_friends reviewers the_public",
    ),
    "person": (
        "baker sailor lawyer teacher widow farmer boxer nurse painter thief priest student",
        "cook pilot doctor singer soldier miner dancer judge poet spy monk waiter",
    ),
    "place": (
        "paris tokyo a_village a_harbor a_desert the_mountains a_hotel chicago",
        "london moscow a_town an_island a_forest the_suburbs a_hospital boston",
    ),
    "quest": (
        "returns_to finds_work_in travels_through leaves hides_in writes_about",
        "moves_to gets_lost_in wakes_up_in escapes_from settles_in wanders_across",
    ),
    "time": (
        "in_winter after_the_war during_one_summer in_the_seventies over_three_days",
        "in_autumn before_the_election on_a_single_night in_the_fifties across_two_decades",
    ),
}

OPINIONS: dict[str, tuple[float, list[str]]] = {
    "plain": (
        3,
        [
            "the {aspect} is {good} and {good} .",
            "{viewer} {love} the {good} {aspect} .",
            "what a {good} {aspect} .",
            "the {aspect} is {good} , and {viewer} {love} it .",
            "this is a {good} {aspect} with {good} {aspect} .",
        ],
    ),
    "negated": (
        1,
        [
            "the {aspect} is not {bad} .",
            "the {aspect} is never {bad} .",
            "there is nothing {bad} about the {aspect} .",
        ],
    ),
    "contrast": (
        1,
        [
            "although the {aspect1} is {bad} , the {aspect2} is {good} and {viewer} {love} it .",
            "the {aspect1} is a little {bad} , but the {aspect2} is {good} and {good} .",
        ],
    ),
}
"""Kind -> how often, templates. All say something good: a bad opinion swaps good and bad, love and hate."""

PLOTS = [
    "a {person} {quest} {place} {time} .",
    "it is about a {person} who {quest} {place} .",
    "set in {place} {time} , it follows a {person} and a {person} .",
    "{time} , a {person} meets a {person} in {place} .",
]
"""What happens, without an opinion."""
