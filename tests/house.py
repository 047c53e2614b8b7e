"""Rules of the architecture as functions over parsed source: no module is imported to be judged.

A `Tree` is what ``ast`` says of a folder's modules. Each rule takes one and returns its violations; none is a house in
order.
"""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path


@dataclass(frozen=True)
class Import:
    """One imported module, as dotted names."""

    source: str
    target: str
    line: int
    for_types: bool = False
    """Below ``if TYPE_CHECKING``: never runs."""
    later: bool = False
    """Within a function: runs only when that is called."""

    def __str__(self) -> str:
        return f"{self.source}:{self.line} imports {self.target}"


@dataclass(frozen=True)
class Tree:
    """Modules by dotted name -> syntax tree."""

    modules: Mapping[str, ast.Module]
    packages: frozenset[str] = frozenset()
    """Those of ``modules`` that are an ``__init__``."""

    @cached_property
    def imports(self) -> tuple[Import, ...]:
        """Every import, also those within functions and for types."""
        return tuple(found for name, tree in self.modules.items() for found in self._imports_of(name, tree))

    def _imports_of(self, source: str, tree: ast.Module) -> Iterator[Import]:
        for node, for_types, later in _statements(tree.body):
            if isinstance(node, ast.Import):
                targets = [alias.name for alias in node.names]
            else:
                base = self._base(source, node)
                # A name of a package may be a module of it.
                targets = [
                    full if (full := f"{base}.{alias.name}") in self.modules or not self._is_ours(base) else base
                    for alias in node.names
                ]
            for target in dict.fromkeys(targets):
                if target != source:
                    yield Import(source, target, node.lineno, for_types, later)

    def _base(self, source: str, node: ast.ImportFrom) -> str:
        if not node.level:
            return node.module or ""
        parts = source.split(".")
        above = parts[: len(parts) - node.level + (source in self.packages)]
        return ".".join([*above, *([node.module] if node.module else [])])

    def _is_ours(self, name: str) -> bool:
        return name.split(".")[0] in {module.split(".")[0] for module in self.modules}

    @cached_property
    def inner(self) -> tuple[Import, ...]:
        """The imports between modules of the tree."""
        return tuple(found for found in self.imports if found.target in self.modules)


def _statements(
    body: Sequence[ast.stmt], for_types: bool = False, later: bool = False
) -> Iterator[tuple[ast.Import | ast.ImportFrom, bool, bool]]:
    """Import statements at any depth, with whether they stand below ``if TYPE_CHECKING`` and within a function."""
    for node in body:
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield node, for_types, later
            continue
        inside = later or isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        types = isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        for field, value in ast.iter_fields(node):
            if isinstance(value, list):
                statements = [child for child in value if isinstance(child, ast.stmt)]
                yield from _statements(statements, for_types or (types and field == "body"), inside)
                for child in value:
                    if isinstance(child, ast.excepthandler | ast.match_case):
                        yield from _statements(child.body, for_types, inside)


def read(root: Path, *packages: str) -> Tree:
    """Parse all modules of packages that lie in a folder."""
    modules, inits = {}, set()
    for package in packages:
        for path in sorted((root / package).rglob("*.py")):
            parts = path.relative_to(root).with_suffix("").parts
            name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
            modules[name] = ast.parse(path.read_text(), str(path))
            if parts[-1] == "__init__":
                inits.add(name)
    return Tree(modules, frozenset(inits))


def made_up(sources: Mapping[str, str]) -> Tree:
    """A tree from sources by dotted name; names that others lie below are packages."""
    packages = {name for name in sources if any(other.startswith(f"{name}.") for other in sources)}
    return Tree({name: ast.parse(source) for name, source in sources.items()}, frozenset(packages))


def circles(tree: Tree) -> list[list[str]]:
    """The groups of modules that import each other in a circle, each sorted (Tarjan 1972).

    Imports for types do not count, since they never run; those within functions do.
    """
    graph: dict[str, list[str]] = defaultdict(list)
    for found in tree.inner:
        if not found.for_types:
            graph[found.source].append(found.target)
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    groups: list[list[str]] = []

    def visit(name: str) -> None:
        index[name] = low[name] = len(index)
        stack.append(name)
        for target in graph[name]:
            if target not in index:
                visit(target)
                low[name] = min(low[name], low[target])
            elif target in stack:
                low[name] = min(low[name], index[target])
        if low[name] == index[name]:
            at = stack.index(name)
            group, stack[at:] = stack[at:], []
            if len(group) > 1:
                groups.append(sorted(group))

    for name in tree.modules:
        if name not in index:
            visit(name)
    return sorted(groups)


def within(module: str, rooms: Collection[str]) -> str | None:
    """The most specific of some dotted names that a module is, or lies below; None if there is none."""
    found = [room for room in rooms if module == room or module.startswith(f"{room}.")]
    return max(found, key=len, default=None)


def homeless(tree: Tree, floors: Sequence[Sequence[str]]) -> list[str]:
    """Modules that stand on no floor."""
    rooms = [room for floor in floors for room in floor]
    return [name for name in tree.modules if name not in tree.packages and within(name, rooms) is None]


def upward(tree: Tree, floors: Sequence[Sequence[str]]) -> list[Import]:
    """Imports from a floor above, or from another room of the same floor.

    ``floors``: from the ground up, each the dotted names of its rooms. Every import counts, also those for types: who
    names a type knows of it. Packages without code of their own stand nowhere.
    """
    floor_of = {room: floor for floor, rooms in enumerate(floors) for room in rooms}
    found = []
    for one in tree.inner:
        here, there = within(one.source, floor_of), within(one.target, floor_of)
        if here and there and here != there and floor_of[there] >= floor_of[here]:
            found.append(one)
    return found


def outsiders(tree: Tree, room: str, guests: Mapping[str, str]) -> list[Import]:
    """Imports of a room's modules from outside of it. ``guests``: who may all the same -> the one module it may see."""
    return [
        one
        for one in tree.inner
        if within(one.target, [room]) and not within(one.source, [room]) and guests.get(one.source) != one.target
    ]


def reaching(tree: Tree, starts: Collection[str], libraries: Collection[str]) -> list[list[str]]:
    """The shortest chain of imports from each start to one of some libraries, where there is one.

    Only what runs when a module is imported counts: neither imports within functions nor those for types. A module
    brings its packages with it, and one that is a package all of its own ``__init__``.
    """
    runs: dict[str, set[str]] = defaultdict(set)
    for one in tree.imports:
        if not (one.for_types or one.later):
            runs[one.source].add(one.target)
    for name in tree.modules:
        runs[name].update(package for package in tree.packages if name.startswith(f"{package}."))
    chains = []
    for start in sorted(starts):
        paths, seen = [[start]], {start}
        for path in paths:
            if within(path[-1], libraries):
                chains.append(path)
                break
            for target in sorted(runs[path[-1]] - seen):
                seen.add(target)
                paths.append([*path, target])
    return chains


PUBLIC = {"_asdict", "_fields", "_replace", "_exit"}
"""Documented names: those of named tuples, which begin so lest they clash with fields, and ``os._exit``."""


def private_names(tree: Tree, internals: Collection[str] = ()) -> list[tuple[str, str]]:
    """Uses of what a library keeps to itself: (module, name).

    Such are imports of a module or name with a leading underscore, or from one of ``internals``; and attributes with a
    leading underscore that nothing in the tree defines, also those that ``getattr`` and its kin take as text.
    """
    own = {name for module in tree.modules.values() for name in _defined(module)}
    found = set()
    for source, module in tree.modules.items():
        for node in ast.walk(module):
            if isinstance(node, ast.Import | ast.ImportFrom):
                base = (node.module or "") if isinstance(node, ast.ImportFrom) else ""
                names = [f"{base}.{alias.name}".strip(".") for alias in node.names]
                if isinstance(node, ast.ImportFrom) and (node.level or tree._is_ours(base)):
                    continue
                found |= {
                    (source, name)
                    for name in names
                    if within(name, internals) or any(_is_private(part) for part in name.split("."))
                }
            elif isinstance(node, ast.Attribute) and _is_private(node.attr) and node.attr not in own:
                found.add((source, node.attr))
            elif (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Name)
                and node.func.id in ("getattr", "setattr", "hasattr", "delattr")
                and isinstance(node.args[1], ast.Constant)
                and _is_private(name := str(node.args[1].value))
                and name not in own
            ):
                found.add((source, name))
    return sorted(found)


def _is_private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__") and len(name) > 1 and name not in PUBLIC


def _defined(module: ast.Module) -> Iterator[str]:
    """Names that a module gives to something: functions, classes, variables, and attributes of ``self`` and ``cls``."""
    for node in ast.walk(module):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id
        elif (
            isinstance(node, ast.Attribute)
            and isinstance(node.ctx, ast.Store)
            and isinstance(node.value, ast.Name)
            and node.value.id in ("self", "cls")
        ):
            yield node.attr


def crowded(tree: Tree, most: int) -> dict[str, int]:
    """Packages with more than ``most`` modules of their own -> how many (``__init__`` does not count)."""
    counts: dict[str, int] = defaultdict(int)
    for name in tree.modules:
        if name not in tree.packages:
            counts[name.rpartition(".")[0]] += 1
    return {package: count for package, count in counts.items() if count > most}


def untested(tree: Tree, package: str, tests: Collection[str]) -> list[str]:
    """Modules of a package without a test module of their name in the mirrored folder.

    ``tests``: paths relative to a root of tests, as ``files/test_paths.py`` for ``package.files.paths``.
    """
    found = []
    for name in tree.modules:
        if name not in tree.packages and within(name, [package]):
            *folders, last = name.split(".")[1:]
            if "/".join([*folders, f"test_{last}.py"]) not in tests:
                found.append(name)
    return sorted(found)
