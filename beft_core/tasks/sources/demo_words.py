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
"""Templates by kind: (how often, templates). All say something good: a bad opinion swaps good and bad, love and
hate.
"""

PLOTS = [
    "a {person} {quest} {place} {time} .",
    "it is about a {person} who {quest} {place} .",
    "set in {place} {time} , it follows a {person} and a {person} .",
    "{time} , a {person} meets a {person} in {place} .",
]
"""Templates of what happens, without an opinion."""

SCENES: dict[str, tuple[str, str]] = {
    "person": (
        "doctor/physician nurse/medic dentist; cook/chef baker/confectioner waiter; boy/lad girl/lass "
        "toddler/infant; lawyer/attorney judge/magistrate; singer/vocalist drummer/percussionist",
        "policeman/cop firefighter/fireman guard/sentry; teacher/instructor student/pupil professor; "
        "farmer/grower shepherd/herder; actor/performer dancer/ballerina; pilot/aviator sailor/mariner",
    ),
    "action": (
        "repairing_a_bicycle/fixing_a_bike washing_a_car/cleaning_an_automobile; "
        "eating_soup/swallowing_broth slicing_bread/cutting_a_loaf; reading_a_novel/studying_a_book "
        "writing_a_letter/composing_a_note; playing_the_piano humming_a_tune/whistling_a_melody; "
        "chasing_a_dog/running_after_a_puppy feeding_a_cat/nourishing_a_kitten",
        "painting_a_fence/coloring_a_railing building_a_shed/constructing_a_hut; "
        "drinking_coffee/sipping_espresso frying_eggs/making_an_omelet; watching_television/viewing_a_show "
        "taking_photographs/snapping_pictures; riding_a_horse/galloping_on_a_pony "
        "carrying_a_goat/lifting_a_lamb; throwing_a_ball/tossing_a_frisbee climbing_a_wall/scaling_a_cliff",
    ),
    "place": (
        "in_the_garden/in_the_yard on_the_lawn/on_the_grass; at_the_station/at_the_terminal in_the_tunnel; "
        "near_the_lake/by_the_pond beside_the_river/along_the_stream; in_the_kitchen "
        "at_the_diner/in_the_restaurant",
        "in_the_woods/in_the_forest on_the_hill/on_the_slope; at_the_market/at_the_bazaar "
        "in_the_shop/in_the_store; on_the_beach/at_the_seaside near_the_harbor/by_the_port; "
        "in_the_office in_the_library",
    ),
}
"""Words by slot: kinds of concepts (;), concepts of a kind (space), words for a concept (/)."""

SCENE_TEMPLATES = [
    "a {person} is {action} {place} .",
    "{place} , a {person} is {action} .",
    "there is a {person} {action} {place} .",
]

SCENE_WEIGHTS = {"person": 2.0, "action": 2.0, "place": 1.0}
"""Points of a slot that says the same in both sentences; half of them if it says something of the same kind."""

KINDS: tuple[dict[str, str], dict[str, str]] = (
    {
        "dog": "poodle terrier spaniel beagle bulldog",
        "bird": "sparrow crow parrot pigeon canary",
        "flower": "rose tulip daisy lily orchid",
        "boat": "canoe yacht kayak ferry raft",
        "drink": "lemonade tea cider wine milkshake",
    },
    {
        "fish": "trout salmon herring cod tuna",
        "vehicle": "truck tractor van motorcycle jeep",
        "fruit": "pear banana peach mango cherry",
        "instrument": "violin flute trumpet cello guitar",
        "garment": "jacket sweater skirt coat shirt",
    },
)
"""Things of each kind, for each half."""

OPPOSITES: tuple[str, str] = (
    "bought/sold found/lost wanted/rejected",
    "cleaned/soiled kept/discarded praised/criticized",
)
"""Verbs for what one does to a thing, with their opposites; the past tense is the participle too."""

GRAMMAR: dict[str, tuple[str, str]] = {
    "noun": (
        "nurse lawyer painter student driver singer neighbor uncle king robot",
        "doctor pilot teacher farmer sailor cousin queen guest actor tailor",
    ),
    "verb": (
        "help visit follow admire remember ignore",
        "trust avoid greet respect annoy defend",
    ),
    "place": (
        "garden school castle village river office",
        "station market bridge museum tower harbor",
    ),
}
"""Nouns and verbs whose other forms are regular."""
