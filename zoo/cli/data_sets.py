"""The commands about public data sets; the work is done in `zoo.datasets`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from zoo.cli.console import Console

data_app = typer.Typer(
    help="Fetch, verify and remove the public data sets of the examples.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

Name = Annotated[str, typer.Argument(help="Of the data set, as `zoo data list` has it.")]
Folder = Annotated[
    Path | None, typer.Option(help="Folder of data sets; by default one in the user's cache folder.")
]
Json = Annotated[bool, typer.Option("--json", help="Say nothing but one JSON object at the end.")]


@data_app.command("list")
def list_sets(folder: Folder = None, as_json: Json = False) -> None:
    """List the data sets that are known by name, with sizes, terms, and where those are that are here."""
    from zoo.datasets import available

    console, rows = Console(as_json), []
    for one in available().values():
        size = one.size
        rows.append(
            {
                "name": one.name,
                "here": _here(one.name, folder),
                "bytes": size,
                "about": one.about,
                "terms": one.terms,
                "page": one.page,
                "by_hand": bool(one.by_hand),
            }
        )
    console.table(
        ["name", "size", "here", "about", "terms"],
        [
            [
                row["name"],
                _size(row["bytes"], row["by_hand"]),
                "yes" if row["here"] else "",
                row["about"],
                row["terms"],
            ]
            for row in rows
        ],
    )
    console.answer({"sets": rows})


@data_app.command("get")
def get_set(
    name: Name,
    folder: Folder = None,
    mirror: Annotated[
        str | None, typer.Option(help="Address or folder that has the same files; else the publisher's.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Fetch a data set, verify and unpack it; once. Half a download is gone on with."""
    from zoo.datasets import available, get

    console = Console(as_json)
    if name in available():
        console.say(f"zoo: terms of {name}: {available()[name].terms} ({available()[name].page})")
    path = get(name, folder, mirror=mirror, progress=not as_json)
    console.answer({"name": name, "path": str(path)}, [str(path)])


@data_app.command("where")
def where_is(name: Name, folder: Folder = None, as_json: Json = False) -> None:
    """Tell the folder of a data set that is here; nothing is downloaded."""
    from zoo.datasets import where

    path = where(name, folder)
    Console(as_json).answer({"name": name, "path": str(path)}, [str(path)])


@data_app.command("remove")
def remove_set(
    name: Name,
    folder: Folder = None,
    forget: Annotated[
        bool, typer.Option("--forget", help="Also forget the checksums of the first download.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Remove what `get` unpacked and downloaded; files of your own in that folder stay."""
    from zoo.datasets import remove
    from zoo.errors import some

    found = remove(name, folder, forget=forget)
    lines = [f"{found.files:,} files are removed from {found.path}"]
    if found.kept:
        lines.append(
            f"{len(found.kept):,} stay, which were not unpacked there as they are: {some(found.kept)}"
        )
    Console(as_json).answer({"name": name, **_plain(asdict(found))}, lines)


@data_app.command("verify")
def verify_set(name: Name, folder: Folder = None, as_json: Json = False) -> None:
    """Compare all files of a data set with what was unpacked. Exit code 1 where they differ."""
    from zoo.datasets import verify
    from zoo.errors import some

    found = verify(name, folder)
    lines = [f"{found.files:,} files in {found.path} are as they were"]
    for what, paths in (("missing", found.missing), ("changed", found.changed), ("added", found.added)):
        if paths:
            lines.append(f"{len(paths):,} {what}: {some(paths)}")
    Console(as_json).answer({"name": name, "ok": found.ok, **_plain(asdict(found))}, lines)
    if not found.ok:
        raise typer.Exit(1)


def _here(name: str, folder: Path | None) -> str | None:
    """The folder of a set, or None; one that is not whole is not here."""
    from zoo.datasets import where

    try:
        return str(where(name, folder))
    except (ValueError, FileNotFoundError):
        return None


def _size(size: int | None, by_hand: bool) -> str:
    if by_hand:
        return "by hand"
    return "unknown" if size is None else f"{size / 1e6:,.1f} MB"


def _plain(found: dict[str, Any]) -> dict[str, Any]:
    return {name: str(value) if isinstance(value, Path) else value for name, value in found.items()}
