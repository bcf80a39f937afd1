"""The row groups of one Parquet file or a folder of them, checked, and read one at a time. No torch here."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zoo.errors import did_you_mean, some

HELD_OUT = "__held_out__"
BUFFER = 1 << 16  # bytes that are read of a column at a time


@dataclass(frozen=True)
class RowGroup:
    """One row group of one file.

    Attributes:
        name: the file, below the folder, and the number of the row group in it.
        rows: how many rows it has.
        fragment: what reads it.
    """

    name: str
    rows: int
    fragment: Any

    @property
    def stored_bytes(self) -> int:
        """What its columns take, uncompressed but coded as they are in the file."""
        return self.fragment.row_groups[0].total_byte_size


class FileChanged(ValueError):
    """A file is not what it was when its rows were counted."""

    def __init__(self, group: RowGroup) -> None:
        super().__init__(f"{group.name} has changed since its rows were counted: make the data anew")


class RowGroups:
    """A table in Parquet files, of which no more than a few row groups are in memory at a time.

    Args:
        path: a file, or a folder of files (`key=value` folders become columns).
        categories: text columns that are read as codes of a dictionary, the way they are stored.
        where: named in errors.

    Attributes:
        schema: the columns of all files; numbers that are stored in different widths get one that holds all.
        groups: in the order of the files.
        files: names of the files, by where they are on disk.

    Raises:
        FileNotFoundError: if there is nothing at `path`.
        ValueError: for an empty folder, and for files that cannot be read or do not go together (named).
    """

    def __init__(self, path: str | Path, categories: Sequence[str] = (), where: str = "from_parquet") -> None:
        self.path, self.where = Path(path), where
        self._known: dict[str, list[str]] = {}  # columns that filters ask for
        self._stamps: dict[str, tuple[int, int]] = {}
        if not self.path.exists():
            raise FileNotFoundError(f"{where}: no file or folder {path}")
        self._source = self._open(categories)
        fragments = list(self._source.get_fragments())
        self.groups: list[RowGroup] = []
        self.files: dict[Path, str] = {}
        self._schemas: list[tuple[str, Any]] = []
        for fragment in fragments:
            name = self._name(fragment.path)
            self.files[Path(fragment.path).resolve()] = name
            self._stamps[fragment.path] = _stamp(fragment.path)
            try:
                parts = fragment.split_by_row_group()
                self._schemas.append((name, fragment.physical_schema))
            except (OSError, ValueError) as error:
                raise ValueError(f"{where}: {name} cannot be read as Parquet: {error}") from error
            for part in parts:
                [group] = part.row_groups
                if group.num_rows:
                    self.groups.append(RowGroup(f"{name}, row group {group.id}", group.num_rows, part))
        if not self.groups:
            what = "Parquet file with rows" if fragments else "Parquet file"
            raise ValueError(f"{where}: there is no {what} in {self.path}")
        self.schema = self._source.schema

    def __len__(self) -> int:
        return sum(group.rows for group in self.groups)

    @property
    def partitions(self) -> list[str]:
        """Columns that are told by the names of folders."""
        return self._source.partitioning.schema.names

    def select(self, names: Sequence[str]) -> None:
        """Makes sure that these columns are in every file, with types that go together.

        Raises:
            ValueError: naming the column, and the files that differ.
        """
        import pyarrow as pa

        for name in names:
            if name in self.partitions:
                continue
            lacking = [file for file, schema in self._schemas if name not in schema.names]
            if len(lacking) == len(self._schemas):
                near = did_you_mean(name, self.schema.names)
                raise ValueError(
                    f"{self.where}: {self.path} has no column {name!r}{near}. "
                    f"Its columns: {some(self.schema.names, 12)}"
                )
            if lacking:
                raise ValueError(
                    f"{self.where}: column {name!r} is in some files but not in {some(lacking, 3)}"
                )
            kinds: dict[Any, str] = {}
            for file, schema in self._schemas:
                kinds.setdefault(schema.field(name).type, file)
            if len(kinds) == 1:
                [kind] = kinds
            else:
                kind = self._common(name, kinds)
            place = self.schema.get_field_index(name)
            field = pa.field(name, kind)
            self.schema = self.schema.append(field) if place < 0 else self.schema.set(place, field)

    def read(
        self, group: RowGroup, columns: Sequence[str], rows: int, *, keep: Any = None, mark: Any = None
    ) -> Iterator[Any]:
        """Record batches of a row group; pages of it are decoded one after another, as they are asked for.

        Args:
            group: one of `groups`.
            columns: what to read.
            rows: the most rows of a record batch.
            keep: a filter expression: only these rows.
            mark: a filter expression: tells for each row, in an additional column `HELD_OUT`.
        """
        import pyarrow.dataset as ds

        wanted: Any = list(columns)
        if mark is not None:
            wanted = {name: ds.field(name) for name in columns} | {HELD_OUT: mark}
        self._check_unchanged(group)
        try:
            for batch in self._decode(group, self._needed(columns, keep, mark), rows):
                if keep is None and mark is None:
                    yield batch.select(wanted)
                else:
                    scanner = ds.dataset(batch.schema.empty_table().from_batches([batch])).scanner(
                        columns=wanted, filter=keep, use_threads=False
                    )
                    yield from (part for part in scanner.to_batches() if part.num_rows)
        except (OSError, ValueError) as error:
            raise ValueError(f"{self.where}: {group.name} cannot be read: {error}") from error
        self._check_unchanged(group)

    def check_filter(self, expression: Any) -> None:
        """Makes sure that a filter expression fits the columns.

        Raises:
            ValueError: with the reason, such as an absent column.
        """
        import pyarrow as pa
        import pyarrow.dataset as ds

        try:
            kind = (
                ds.dataset(self.schema.empty_table())
                .scanner(columns={HELD_OUT: expression})
                .projected_schema.field(HELD_OUT)
                .type
            )
        except (ValueError, TypeError, NotImplementedError) as error:
            raise ValueError(
                f"{self.where}: the filter {expression} does not fit the columns "
                f"({some(self.schema.names, 12)}): {error}"
            ) from error
        if kind != pa.bool_():
            raise ValueError(f"{self.where}: the filter {expression} gives {kind}, not true or false")

    def _check_unchanged(self, group: RowGroup) -> None:
        """Compares size and time of the file; one that is gone tells of itself where it is read."""
        path = group.fragment.path
        if os.path.exists(path) and _stamp(path) != self._stamps[path]:
            raise FileChanged(group)

    def _decode(self, group: RowGroup, names: Sequence[str], rows: int) -> Iterator[Any]:
        """Record batches with columns of the types of `schema`, or of the values of its dictionaries."""
        import pyarrow as pa
        import pyarrow.dataset as ds
        from pyarrow import parquet

        fragment = group.fragment
        told = ds.get_partition_keys(fragment.partition_expression)
        stored = set(fragment.physical_schema.names) - set(told)
        kinds = [self.schema.field(name).type for name in names]
        [place] = fragment.row_groups
        coded = _with_dictionary(fragment.metadata.row_group(place.id), self._plain)
        options: dict[str, Any] = {"buffer_size": BUFFER, "pre_buffer": False, "metadata": fragment.metadata}
        with parquet.ParquetFile(fragment.path, read_dictionary=coded, **options) as file:
            for batch in file.iter_batches(
                rows, [place.id], [name for name in names if name in stored], use_threads=False
            ):
                arrays = [
                    _as_type(batch.column(name), kind)
                    if name in stored
                    else pa.repeat(pa.scalar(told.get(name), kind), len(batch))
                    for name, kind in zip(names, kinds, strict=True)
                ]
                yield pa.record_batch(arrays, names=list(names))

    def _needed(self, columns: Sequence[str], *expressions: Any) -> list[str]:
        """These columns and those that filter expressions ask for, in the order of the files."""
        wanted = set(columns)
        for expression in expressions:
            if expression is not None:
                wanted.update(self._asked_for(expression))
        return [name for name in self.schema.names if name in wanted]

    def _asked_for(self, expression: Any) -> list[str]:
        """Columns without which a filter expression cannot be evaluated."""
        told = str(expression)
        if told not in self._known:
            names = self.schema.names
            # columns told by their places need all others to stay where they are
            self._known[told] = [
                name for name in names if "FieldPath(" in told or not _fits(expression, self.schema, name)
            ]
        return self._known[told]

    def _open(self, categories: Sequence[str]) -> Any:
        import pyarrow.dataset as ds

        try:
            source = ds.dataset(self.path, format="parquet", partitioning="hive")
            # ordered ones would lose their order
            self._plain = {name for name in categories if not _is_ordered(source.schema, name)}
            options = ds.ParquetReadOptions(dictionary_columns=self._plain)
            return ds.dataset(
                self.path, format=ds.ParquetFileFormat(read_options=options), partitioning="hive"
            )
        except (OSError, ValueError, TypeError) as error:
            raise ValueError(f"{self.where}: {self._blame()} cannot be read as Parquet: {error}") from error

    def _blame(self) -> str:
        """The first file that is no Parquet file, or the whole path."""
        from pyarrow import parquet

        for file in sorted(self.path.rglob("*")) if self.path.is_dir() else []:
            if file.is_file() and not file.name.startswith((".", "_")):
                try:
                    parquet.read_metadata(file)
                except (OSError, ValueError):
                    return self._name(str(file))
        return str(self.path)

    def _name(self, file: str) -> str:
        path = Path(file)
        return path.relative_to(self.path).as_posix() if path != self.path else path.name

    def _common(self, name: str, kinds: dict[Any, str]) -> Any:
        """The type that holds the values of a column that is stored in several types."""
        import pyarrow as pa

        families: dict[str, tuple[Any, str]] = {}
        for kind, file in kinds.items():
            families.setdefault(_family(kind), (kind, file))
        families.pop("nothing", None)
        try:
            if len(families) < 2:
                schemas = [pa.schema([(name, kind)]) for kind in kinds]
                return pa.unify_schemas(schemas, promote_options="permissive").field(name).type
        except pa.ArrowTypeError:
            families = {str(kind): (kind, file) for kind, file in kinds.items()}
        told = " and ".join(f"{kind} in {file}" for kind, file in list(families.values())[:2])
        raise ValueError(f"{self.where}: column {name!r} is {told}: give it one type in all files")


def _stamp(file: str) -> tuple[int, int]:
    """Size and time of the last change of a file."""
    found = os.stat(file)
    return found.st_size, found.st_mtime_ns


def _fits(expression: Any, schema: Any, without: str) -> bool:
    """Whether a filter expression can be evaluated without a column."""
    import pyarrow.dataset as ds

    place = schema.get_field_index(without)
    rest = schema.remove(place).empty_table()
    try:
        ds.dataset(rest).scanner(columns={HELD_OUT: expression})
    except (ValueError, TypeError, NotImplementedError):
        return False
    return True


def _with_dictionary(group: Any, names: Iterable[str]) -> list[str]:
    """Columns of a row group that seem to be stored as codes of a dictionary all through.

    Writers give a dictionary up where it passes 1 MB. Read as one it would grow from page to page.
    """
    columns = map(group.column, range(group.num_columns))
    return [
        column.path_in_schema
        for column in columns
        if column.path_in_schema in names
        and column.total_uncompressed_size < 2**20 + 2.5 * column.num_values  # codes up to 20 bits
    ]


def _as_type(array: Any, kind: Any) -> Any:
    """An array with values of this type, as they are read when files store a column in several types."""
    import pyarrow as pa

    if array.type == kind:
        return array
    if not pa.types.is_dictionary(kind):
        return array.cast(kind)
    if pa.types.is_dictionary(array.type):
        values = array.dictionary.cast(kind.value_type)
        return pa.DictionaryArray.from_arrays(
            array.indices.cast(kind.index_type), values, ordered=kind.ordered
        )
    return array.cast(kind.value_type)


def _is_ordered(schema: Any, name: str) -> bool:
    import pyarrow as pa

    place = schema.get_field_index(name)
    return (
        place >= 0 and pa.types.is_dictionary(schema.field(place).type) and schema.field(place).type.ordered
    )


def _family(kind: Any) -> str:
    import pyarrow as pa

    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    if pa.types.is_null(kind):
        return "nothing"
    if pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        return "number"
    return (
        "date" if pa.types.is_timestamp(kind) or pa.types.is_date(kind) else str(kind).removeprefix("large_")
    )


def same_families(one: Any, other: Any, names: Iterable[str]) -> list[str]:
    """Columns that hold different kinds of values in two schemas."""
    pairs = [(name, _family(one.field(name).type), _family(other.field(name).type)) for name in names]
    return [name for name, a, b in pairs if a != b and "nothing" not in (a, b)]
