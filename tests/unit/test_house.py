"""The architecture: floors, circles, halves, doors, private names, folders, and tests that mirror the modules.

What holds is declared here; the rules are functions of `tests/house.py`. Where the code does not hold to one yet, the
exception stands here with its reason, and a test fails as soon as it is no longer needed.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from pathlib import Path

import house
import pytest
from house import Tree, made_up

ROOT = Path(__file__).parents[2]

FLOORS: tuple[tuple[str, ...], ...] = (
    ("beft_core.errors", "beft_core.terms", "beft_core.process_id"),
    (
        "beft_core.counted",
        "beft_core.environment",
        "beft_core.devices",
        "beft_core.extras",
        "beft_core.imports",
        "beft_core.libraries",
    ),
    ("beft_core.files", "beft_core.docs"),
    ("beft_core.adapter_methods", "beft_core.learning_rates"),
    ("beft_core.methods",),
    ("beft_core.snapshots",),
    ("beft_core.architectures",),
    ("beft_core.models", "beft_core.tasks"),
    ("beft_core.presets",),
    ("beft_core.config", "beft_core.scores"),
    ("beft_core.exchange", "beft_core.training.observer"),
    ("beft_core.merging", "beft_core.runs"),
    ("beft_core.training",),
    ("beft_core.merging.evaluate", "beft_core.inference"),
    ("beft_core.sweeps", "beft_core.dials"),
    ("beft_core.reports",),
    ("beft_core.publishing",),
    ("beft_core.comparison",),
    ("beft_core.execution", "beft_core.settings"),
    ("beft_core.reproduction",),
    ("beft_core.cli",),
    ("beft_core.__main__", "beft_core.library"),
    ("dashboard.figures.parts",),
    ("dashboard.figures.curves",),
    ("dashboard.figures",),
    ("dashboard.shared.text",),
    ("dashboard.content",),
    ("dashboard.streamlit_private",),
    ("dashboard.shared.address",),
    ("dashboard.door",),
    ("dashboard.deck.stops",),
    ("dashboard.shared",),
    (
        "dashboard.run_watch",
        "dashboard.result_tables",
        "dashboard.own_tables",
        "dashboard.deck",
        "dashboard.theme_change",
        "dashboard.tour_mark",
    ),
    tuple(
        f"dashboard.app_pages.{page}"
        for page in (
            *("start", "fine_tune", "importance", "why", "geometry", "rewrite"),
            *("compare", "merge", "dial", "runs", "sweep", "evaluation", "try_it"),
        )
    ),
    ("dashboard.app", "dashboard.lesson"),
)
"""Rooms from the ground up. A module imports its own room and the floors below: nothing above, nothing beside."""

FIGURES = "beft_core.library.plots"
"""The module of the library that draws figures of the dashboard, each imported when it is asked for."""
_DRAWN = "figures need Plotly and no Streamlit, come in the same wheel, and know nothing of the library"
UPWARD: dict[tuple[str, str], str] = {
    (FIGURES, f"dashboard.figures.{name}"): _DRAWN
    for name in (
        "bumps",
        "compare",
        "curves.dial",
        "curves.progress",
        "heatmaps",
        "parts.labels",
        "ranking",
        "sweep",
        "trajectory",
    )
} | {
    ("beft_core.cli.lesson.command", "dashboard.lesson.write"): "a lesson has the words and figures of the pages, and "
    "needs no Streamlit; the command hands on what was asked"
}
"""(importer, imported) that do not hold to the floors yet -> why."""

CIRCLES: dict[tuple[str, ...], str] = {}
"""Modules that import each other still -> why."""

HEAVY = ("torch", "transformers", "datasets", "peft")
TORCH_HALF: tuple[str, ...] = (
    "beft_core.libraries",
    "beft_core.training",
    "beft_core.merging.evaluate",
    "beft_core.inference.adapters",
    "beft_core.inference.held",
    "beft_core.inference.logits",
    "beft_core.inference.resident",
    "beft_core.inference.text",
    "beft_core.inference.by_depth",
    "beft_core.dials.measure",
    "beft_core.inference.merged_folder",
    "beft_core.inference.merged_weights",
    "beft_core.inference.predict",
    "beft_core.sweeps.runner",
    "beft_core.library.loaded_models",
    "beft_core.models.attention_experiments",
    "beft_core.models.biases",
    "beft_core.models.folding",
    "beft_core.models.in_memory",
    "beft_core.models.key_value_cache",
    "beft_core.models.lm_head",
    "beft_core.models.load",
    "beft_core.models.model_fit",
    "beft_core.models.null_certificate",
    "beft_core.models.packing",
    "beft_core.models.placement",
    "beft_core.models.value_shift",
    "beft_core.models.weight_scale",
)
"""What may import torch. All else is the numpy half: reading, scoring, merging, listing, showing."""
NUMPY_IN_TRAINING: tuple[str, ...] = (
    "beft_core.training.estimate.count",
    "beft_core.training.observer",
    "beft_core.training.preconditions",
    "beft_core.training.progress.checkpoint",
)

ACCELERATION = "beft_core.training.acceleration"
SESSION = dict.fromkeys(
    (
        *("beft_core.training.workflow", "beft_core.training.evaluate", "beft_core.training.fisher.of_snapshots"),
        *("beft_core.inference.resident", "beft_core.inference.by_depth"),
    ),
    f"{ACCELERATION}.session",
)
"""Who may see into acceleration, and through which module: where a bank is made, for a fine-tune, for scoring one, for
measuring one and for reading many at once. The loop, the forward pass and the methods are given the session and know
only the null one."""
PAST_THE_DOOR: dict[str, str] = {}
"""Who imports from acceleration otherwise still -> why."""

INTERNALS = ("streamlit.runtime", "streamlit.proto", "streamlit.auth_util")
"""Modules that their library does not document, whatever their names."""
PRIVATE: dict[str, str] = {
    "beft_core.libraries.submitit_private": "submitit",
    "beft_core.libraries.torch_private": "PyTorch",
    "beft_core.libraries.transformers_private": "transformers",
    "dashboard.streamlit_private": "Streamlit",
}
"""The one module for what a library keeps to itself -> the library."""

MAX_MODULES = 15
"""Modules of one folder, without its ``__init__``."""


@pytest.fixture(scope="module")
def tree() -> Tree:
    """Engine and dashboard as they lie here."""
    return house.read(ROOT, "beft_core", "dashboard")


def no_more_than(found: Iterable[object], excepted: Collection[object]) -> None:
    """Fail where a violation is not excepted, and where an exception is no longer needed."""
    assert sorted(map(str, found)) == sorted(map(str, excepted))


# --- this house --------------------------------------------------------------------------------------------


def test_every_module_stands_on_a_floor(tree: Tree) -> None:
    assert house.homeless(tree, FLOORS) == []


def test_imports_run_down(tree: Tree) -> None:
    no_more_than({(one.source, one.target) for one in house.upward(tree, FLOORS)}, UPWARD)


def test_no_circles(tree: Tree) -> None:
    no_more_than(map(tuple, house.circles(tree)), CIRCLES)


def test_the_numpy_half_never_imports_torch(tree: Tree) -> None:
    numpy_half = [
        name
        for name in tree.modules
        if house.within(name, NUMPY_IN_TRAINING) or (not house.within(name, TORCH_HALF) and name not in tree.packages)
    ]
    assert len(numpy_half) > 200
    assert house.reaching(tree, numpy_half, HEAVY) == []
    idle = [room for room in TORCH_HALF if not house.reaching(tree, _modules(tree, room), HEAVY)]
    assert idle == [], "these never import torch: they belong to the numpy half"


@pytest.mark.parametrize(
    ("room", "least"), [("dashboard.figures", 10), ("dashboard.content", 4), ("dashboard.lesson", 10)]
)
def test_a_room_never_imports_streamlit(room: str, least: int, tree: Tree) -> None:
    modules = _modules(tree, room)
    assert len(modules) > least
    assert house.reaching(tree, modules, ["streamlit"]) == []
    assert [str(one) for one in tree.imports if one.source in modules and house.within(one.target, ["streamlit"])] == []


def test_nobody_imports_the_dashboard(tree: Tree) -> None:
    visits = [one for one in house.outsiders(tree, "dashboard", {}) if (one.source, one.target) not in UPWARD]
    assert visits == []
    assert all(one.later for one in house.outsiders(tree, "dashboard", {})), "the library imports figures when it draws"


def test_tests_of_the_engine_need_no_streamlit() -> None:
    """A machine that has a GPU often has no Streamlit, and its tests are to run there."""
    tests = house.read(ROOT, "tests")
    engine = [name for name in _modules(tests, "tests.integration") if "dashboard" not in name]
    assert len(engine) > 100
    shown = ["streamlit", "dashboard", "dashboard_tools"]
    assert [str(one) for one in tests.imports if one.source in engine and house.within(one.target, shown)] == []


def test_acceleration_has_one_door(tree: Tree) -> None:
    no_more_than({one.source for one in house.outsiders(tree, ACCELERATION, SESSION)}, PAST_THE_DOOR)


def test_private_names_of_libraries_have_their_modules(tree: Tree) -> None:
    no_more_than({module for module, _ in house.private_names(tree, INTERNALS)}, PRIVATE)
    assert len(set(PRIVATE.values())) == len(PRIVATE), "one module for each library"


def test_no_folder_is_crowded(tree: Tree) -> None:
    assert house.crowded(tree, MAX_MODULES) == {}


def test_every_engine_module_has_a_test_of_its_name(tree: Tree) -> None:
    tests = {
        path.relative_to(ROOT / "tests" / kind).as_posix()
        for kind in ("unit", "integration")
        for path in (ROOT / "tests" / kind).rglob("test_*.py")
    }
    assert house.untested(tree, "beft_core", tests) == []


def _modules(tree: Tree, room: str) -> list[str]:
    return [name for name in tree.modules if house.within(name, [room]) and name not in tree.packages]


# --- the rules, on small trees that break them -------------------------------------------------------------


def test_imports_of_every_form_are_seen() -> None:
    tree = made_up(
        {
            "a": "",
            "a.b": "import a.c\nfrom a import d, e\nfrom .c import name\nfrom . import f",
            "a.c": "if TYPE_CHECKING:\n    import a.d\nelse:\n    import a.e",
            "a.d": "def f():\n  try:\n    with x:\n      from a.c import name\n  except E:\n    import os.path",
            "a.e": "match x:\n    case 1:\n        from a import c\nclass K:\n    import a.f as g",
            "a.f": "from a import name",
        }
    )
    seen = {(one.source, one.target, one.for_types, one.later) for one in tree.imports}
    assert seen == {
        ("a.b", "a.c", False, False),
        ("a.b", "a.d", False, False),
        ("a.b", "a.e", False, False),
        ("a.b", "a.f", False, False),
        ("a.c", "a.d", True, False),
        ("a.c", "a.e", False, False),
        ("a.d", "a.c", False, True),
        ("a.d", "os.path", False, True),
        ("a.e", "a.c", False, False),
        ("a.e", "a.f", False, False),
        ("a.f", "a", False, False),
    }
    assert "os.path" not in {one.target for one in tree.inner}


def test_a_package_imports_relative_to_itself() -> None:
    tree = made_up({"a": "from .b import name", "a.b": "from .. import x", "a.c": "from .b import name", "a.c.d": ""})
    assert ("a", "a.b") in {(one.source, one.target) for one in tree.imports}
    assert {one.source for one in tree.inner} == {"a"}  # of a.c, a package, .b is a.c.b


def test_circles_of_any_length_are_found_once() -> None:
    tree = made_up(
        {
            "p": "",
            "p.a": "import p.b",
            "p.b": "import p.c",
            "p.c": "def f():\n    import p.a",
            "p.d": "import p.a\nimport p.e",
            "p.e": "if TYPE_CHECKING:\n    import p.d",
            "p.f": "import p.g",
            "p.g": "import p.f\nimport p.a",
        }
    )
    assert house.circles(tree) == [["p.a", "p.b", "p.c"], ["p.f", "p.g"]]


def test_imports_upward_and_sideways_are_found() -> None:
    floors = (("p.low",), ("p.left", "p.right"), ("p.left.top",))
    tree = made_up(
        {
            "p": "",
            "p.low": "def f():\n    import p.right",
            "p.left": "",
            "p.left.a": "import p.low\nimport p.right\nimport p.left.b",
            "p.left.b": "if TYPE_CHECKING:\n    from p.left.top import Name",
            "p.left.top": "import p.left.a\nimport p.low",
            "p.right": "import os",
            "p.cellar": "",
        }
    )
    assert [str(one) for one in house.upward(tree, floors)] == [
        "p.low:2 imports p.right",
        "p.left.a:2 imports p.right",
        "p.left.b:2 imports p.left.top",
    ]
    assert house.homeless(tree, floors) == ["p.cellar"]


def test_chains_to_a_library_are_found_also_through_packages() -> None:
    tree = made_up(
        {
            "p": "",
            "p.a": "from p.b import name",
            "p.b": "from p.heavy.light import name",
            "p.heavy": "import torch.nn",
            "p.heavy.light": "",
            "p.later": "def f():\n    import torch",
            "p.types": "if TYPE_CHECKING:\n    import torch",
            "p.other": "import torchless",
        }
    )
    assert house.reaching(tree, ["p.a", "p.later", "p.types", "p.other"], ["torch"]) == [
        ["p.a", "p.b", "p.heavy.light", "p.heavy", "torch.nn"]
    ]


def test_who_comes_past_the_door_is_found() -> None:
    tree = made_up(
        {
            "p": "",
            "p.fast": "",
            "p.fast.door": "import p.fast.trick",
            "p.fast.trick": "",
            "p.loop": "import p.fast.door",
            "p.sly": "import p.fast.door",
            "p.slyer": "def f():\n    from p.fast import trick",
        }
    )
    assert [str(one) for one in house.outsiders(tree, "p.fast", {"p.loop": "p.fast.door"})] == [
        "p.sly:1 imports p.fast.door",
        "p.slyer:2 imports p.fast.trick",
    ]
    assert [one.source for one in house.outsiders(tree, "p.fast", {"p.loop": "p.fast.trick"})] == [
        "p.loop",
        "p.sly",
        "p.slyer",
    ]


def test_private_names_are_told_from_our_own() -> None:
    tree = made_up(
        {
            "p": "",
            "p.own": "class K:\n    _field: int\n    def _method(self):\n        self._set = 1\n_variable = 2",
            "p.user": "x._field, x._method(), x._set, x._variable, x.__class__, row._replace(a=1), x._",
            "p.imports": "import torch._dynamo\nfrom torch import _C\nfrom lib.inside import n\nfrom p.own import _set",
            "p.reads": "x._theirs\nx._assigned = 1",
            "p.text": "getattr(x, '_theirs', None), getattr(x, '_set'), getattr(x, 'public'), getattr(x, name)",
        }
    )
    assert house.private_names(tree, ["lib.inside"]) == [
        ("p.imports", "lib.inside.n"),
        ("p.imports", "torch._C"),
        ("p.imports", "torch._dynamo"),
        ("p.reads", "_assigned"),
        ("p.reads", "_theirs"),
        ("p.text", "_theirs"),
    ]


def test_crowded_folders_are_counted_without_their_packages() -> None:
    tree = made_up({"p": "", "p.a": "", "p.b": "", "p.q": "", "p.q.c": "", "p.q.d": "", "p.q.e": ""})
    assert house.crowded(tree, 2) == {"p.q": 3}
    assert house.crowded(tree, 3) == {}


def test_modules_without_a_test_of_their_name_are_found() -> None:
    tree = made_up({"p": "", "p.a": "", "p.q": "", "p.q.b": "", "p.q.c": "", "other.x": ""})
    assert house.untested(tree, "p", {"test_a.py", "q/test_b.py", "test_c.py"}) == ["p.q.c"]


def test_an_exception_that_is_no_longer_needed_fails() -> None:
    no_more_than(["a"], {"a": "why"})
    with pytest.raises(AssertionError):
        no_more_than([], {"a": "why"})
    with pytest.raises(AssertionError):
        no_more_than(["a", "b"], {"a": "why"})
