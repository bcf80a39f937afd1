"""Draws the floors of the house into `architecture.svg`, its wings into `architecture.md`, from the imports.

    python docs/draw_architecture.py           # after rooms have moved
    python docs/draw_architecture.py --check   # fails if the page no longer shows the code

A wing is a folder of a package, or a single room at its top. Its floor is one above the highest wing that it
imports, imports for types included, so that arrows only ever point down; a circle of wings is an error.
"""

from __future__ import annotations

import ast
import sys
from collections import defaultdict
from collections.abc import Callable
from html import escape
from pathlib import Path

import grimp

HERE = Path(__file__).parent
ROOT = HERE.parent
PACKAGES = ("zoo", "zoo_tabular", "zoo_text", "zoo_collab")
APART = ("zoo.vision", "zoo_tabular", "zoo_text", "zoo_collab")  # packages with floors of their own
BEGIN, END = "<!-- drawn by draw_architecture.py -->", "<!-- end of what is drawn -->"
FRONT = ("zoo.cli", "zoo.serve", "zoo.demo", "zoo.integrations")  # they may know every domain
WIDTH, PAD, LINE, CHAR = 1180, 10, 15, 6.3


def wing_of(module: str) -> str | None:
    """The wing that a module belongs to; the packages' own `__init__` belong to none."""
    home = next(
        (package for package in APART if module == package or module.startswith(package + ".")), "zoo"
    )
    rest = module.removeprefix(home).strip(".")
    if not rest or rest.startswith("_"):
        return None
    return f"{home}.{rest.split('.')[0]}"


def file_of(module: str) -> Path:
    """Where a module or package stands."""
    path = ROOT / module.replace(".", "/")
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def told(module: str) -> str:
    """The first sentence of a module's docstring."""
    text = ast.get_docstring(ast.parse(file_of(module).read_text(encoding="utf8"))) or ""
    sentence = " ".join(text.split("\n\n")[0].split())
    return sentence.removesuffix(".").removesuffix(". No torch here")


def rooms(wing: str) -> list[str]:
    """The rooms of a wing, folders with a slash; none for a wing that is a single room."""
    folder = ROOT / wing.replace(".", "/")
    if not folder.is_dir():
        return []
    found = [path.stem for path in folder.glob("*.py") if path.stem != "__init__"]
    found += [f"{path.name}/" for path in folder.iterdir() if (path / "__init__.py").exists()]
    return sorted(found)


def opened(wing: str) -> Callable[[str], str]:
    """A room by its name, a folder of rooms with those inside."""

    def show(room: str) -> str:
        inside = rooms(f"{wing}.{room.removesuffix('/')}") if room.endswith("/") else []
        return f"{room} ({', '.join(inside)})" if inside else room

    return show


def below(modules: grimp.ImportGraph) -> dict[str, set[str]]:
    """The wings that each wing imports."""
    found: dict[str, set[str]] = defaultdict(set)
    for module in modules.modules:
        wing = wing_of(module)
        if wing is None:
            continue
        found[wing].update()
        for other in modules.find_modules_directly_imported_by(module):
            target = wing_of(other)
            if target is not None and target != wing:
                found[wing].add(target)
    return found


def floors(imports: dict[str, set[str]]) -> dict[str, int]:
    """The floor of each wing, from 0.

    Raises:
        SystemExit: for a circle, naming it.
    """
    level: dict[str, int] = {}

    def climb(wing: str, way: tuple[str, ...]) -> int:
        if wing in way:
            raise SystemExit(f"wings import each other: {' -> '.join((*way[way.index(wing) :], wing))}")
        if wing not in level:
            level[wing] = 1 + max((climb(other, (*way, wing)) for other in imports.get(wing, ())), default=-1)
        return level[wing]

    for wing in imports:
        climb(wing, ())
    return level


def by_floor(level: dict[str, int], home: str) -> list[list[str]]:
    """The wings of one package, the highest floor first."""
    inside: dict[int, list[str]] = defaultdict(list)
    for wing, floor in level.items():
        if wing.rpartition(".")[0] == home:
            inside[floor].append(wing)
    return [sorted(inside[floor]) for floor in sorted(inside, reverse=True)]


def wrapped(words: list[str], width: float) -> list[str]:
    """Words in lines that fit into a width."""
    lines = [""]
    for word in words:
        longer = f"{lines[-1]}  {word}".strip()
        if len(longer) * CHAR > width and lines[-1]:
            lines.append(word)
        else:
            lines[-1] = longer
    return lines


def box(x: float, y: float, width: float, wing: str) -> tuple[str, float]:
    """A wing as a box, and its height."""
    lines = wrapped(rooms(wing), width - 2 * PAD) if rooms(wing) else []
    height = 2 * PAD + LINE * (1 + len(lines))
    title = wing.rpartition(".")[2] + ("/" if rooms(wing) else "")
    size = f'x="{x:.0f}" y="{y:.0f}" width="{width:.0f}" height="{height}"'
    parts = [
        f'<rect {size} rx="4" fill="#fff" stroke="#557"/>',
        f'<text x="{x + PAD:.0f}" y="{y + PAD + 11:.0f}" font-weight="bold">{escape(title)}</text>',
    ]
    for number, line in enumerate(lines, 1):
        place = y + PAD + 11 + LINE * number
        parts.append(
            f'<text x="{x + PAD:.0f}" y="{place:.0f}" fill="#445" xml:space="preserve">{escape(line)}</text>'
        )
    return "\n".join(parts), height


def fitting(row: list[str], width: float) -> list[list[str]]:
    """The wings of one floor in lines that are wide enough for their names."""
    lines: list[list[str]] = []
    widest = 0.0
    for wing in sorted(row, key=lambda wing: not rooms(wing)):
        longest = max([*rooms(wing), wing.rpartition(".")[2] + "/"], key=len)
        needs = max(widest, len(longest) * CHAR + 3 * PAD)
        if lines and (width - PAD * len(lines[-1])) / (len(lines[-1]) + 1) >= needs:
            lines[-1].append(wing)
            widest = needs
        else:
            lines.append([wing])
            widest = len(longest) * CHAR + 3 * PAD
    return lines


def stack(x: float, y: float, width: float, rows: list[list[str]]) -> tuple[list[str], float]:
    """Floors one below the other; returns the drawing and the place below it."""
    parts: list[str] = []
    for row in [line for whole in rows for line in fitting(whole, width)]:
        tall = 0.0
        shares = [3.0 if rooms(wing) and width > 400 else 1.5 for wing in row]
        unit = (width - PAD * (len(row) - 1)) / sum(shares)
        place = x
        for wing, share in zip(row, shares, strict=True):
            drawn, height = box(place, y, unit * share, wing)
            parts.append(drawn)
            place += unit * share + PAD
            tall = max(tall, height)
        y += tall + PAD
    return parts, y


def drawing(level: dict[str, int]) -> str:
    """The picture."""
    parts: list[str] = []
    rows = by_floor(level, "zoo")
    front = [[wing for wing in row if wing in FRONT] for row in rows]
    core = [[wing for wing in row if wing not in FRONT] for row in rows]
    drawn, y = stack(PAD, 30, WIDTH - 2 * PAD, front)
    parts += [f'<text x="{PAD}" y="20" font-weight="bold">front ends</text>', *drawn]
    y += 24
    each = (WIDTH - 2 * PAD - PAD * (len(APART) - 1)) / len(APART)
    lowest = y
    columns = []
    for number, package in enumerate(APART):
        x = PAD + number * (each + PAD)
        inner, end = stack(x + 8, y + 24, each - 16, by_floor(level, package))
        columns.append((x, package, inner))
        lowest = max(lowest, end)
    for x, package, inner in columns:
        size = f'x="{x:.0f}" y="{y:.0f}" width="{each:.0f}" height="{lowest - y:.0f}"'
        parts.append(
            f'<rect {size} rx="6" fill="#eef3fa" stroke="#99a"/>'
            f'<text x="{x + 8:.0f}" y="{y + 17:.0f}" font-weight="bold">{package}</text>'
        )
        parts += inner
    y = lowest + 30
    parts.append(f'<text x="{PAD}" y="{y - 10:.0f}" font-weight="bold">zoo: the core</text>')
    drawn, y = stack(PAD, y, WIDTH - 2 * PAD, core)
    parts += drawn
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{y:.0f}" '
        f'viewBox="0 0 {WIDTH} {y:.0f}" font-family="monospace" font-size="10.5">'
    )
    return "\n".join([head, f'<rect width="{WIDTH}" height="{y:.0f}" fill="#f8f8f4"/>', *parts, "</svg>\n"])


def listing(level: dict[str, int]) -> str:
    """The wings with what they say of themselves, as a table."""
    lines = ["| wing | what it is | rooms |", "| --- | --- | --- |"]
    for home in ("zoo", *APART):
        for row in by_floor(level, home):
            for wing in row:
                path = wing.replace(".", "/") + ("/" if rooms(wing) else ".py")
                lines.append(f"| `{path}` | {told(wing)} | {', '.join(map(opened(wing), rooms(wing)))} |")
    return "\n".join(lines)


def main() -> None:
    level = floors(below(grimp.build_graph(*PACKAGES, cache_dir=None)))
    page, picture = HERE / "architecture.md", HERE / "architecture.svg"
    text = page.read_text(encoding="utf8")
    start, end = text.index(BEGIN) + len(BEGIN), text.index(END)
    wanted = {page: f"{text[:start]}\n\n{listing(level)}\n\n{text[end:]}", picture: drawing(level)}
    changed = [
        path for path, new in wanted.items() if not path.exists() or path.read_text(encoding="utf8") != new
    ]
    if "--check" in sys.argv:
        if changed:
            names = ", ".join(str(path.relative_to(ROOT)) for path in changed)
            raise SystemExit(f"{names} no longer shows the code: run python docs/draw_architecture.py")
        return
    for path in changed:
        path.write_text(wanted[path], encoding="utf8")


if __name__ == "__main__":
    main()
