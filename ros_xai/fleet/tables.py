"""The tables of a run as Parquet: their columns, and one part file per task and table.

A part appears whole or not at all, under the task's key, so a repeated task replaces what it wrote
before. The part of `bags` is written last: with it the task is done.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from ros_xai.depth.metrics import NAMES
from ros_xai.replay.evaluate import BEAM_DISTANCES, RANGES, bin_names

CLASS_METRICS = ("abs_rel", "rmse", "a1")
BINS = [f"range.{name}" for name in bin_names(RANGES)]
BINS += [f"beam.{name}" for name in bin_names(BEAM_DISTANCES)]


def column(name: str) -> str:
    """A figure's name as a name in SQL: range.0-10.abs_rel is range_0_10_abs_rel."""
    return name.replace("-.", "_up_").replace(".", "_").replace("-", "_")


DEPTH_COLUMNS = [
    *NAMES,
    *(column(f"{part}.{name}") for part in ("unseen", *BINS) for name in NAMES),
    "coverage",
]
_IDENTITY = {
    "key": pa.string(),
    "bag": pa.string(),
    "config": pa.string(),
    "bag_sha256": pa.string(),
    "config_sha256": pa.string(),
    "version": pa.string(),
}
_DEPTH = {name: pa.float64() for name in DEPTH_COLUMNS}
SCHEMAS = {
    "frames": pa.schema(
        {
            **_IDENTITY,
            "stamp_ns": pa.int64(),
            "clock_ms": pa.float64(),
            "speed": pa.float64(),
            "brightness": pa.float64(),
            **_DEPTH,
        }
    ),
    "classes": pa.schema(
        {
            **_IDENTITY,
            "stamp_ns": pa.int64(),
            "class": pa.string(),
            "pixels": pa.int64(),
            **{name: pa.float64() for name in CLASS_METRICS},
        }
    ),
    "pictures": pa.schema(
        {
            **_IDENTITY,
            "stamp_ns": pa.int64(),
            "abs_rel": pa.float64(),
            "caption": pa.string(),
            "source": pa.string(),
        }
    ),
    "timings": pa.schema(
        {
            **_IDENTITY,
            "host": pa.string(),
            "finished": pa.timestamp("ms", "UTC"),
            "attempt": pa.int64(),
            "cpus": pa.int64(),
            **{n: pa.float64() for n in ("startup_s", "replay_s", "judge_s", "total_s", "cpu_s")},
            "max_rss_mb": pa.float64(),
            **{n: pa.int64() for n in ("frames", "bag_bytes", "scratch_bytes", "row_bytes")},
        }
    ),
    "bags": pa.schema(
        {
            **_IDENTITY,
            "status": pa.string(),
            "problems": pa.list_(pa.string()),
            "start_s": pa.float64(),
            "duration_s": pa.float64(),
            **{n: pa.int64() for n in ("frames_in", "frames_out", "drops")},
            **{n: pa.float64() for n in ("answered", "clock_ms_p50", "clock_ms_p99")},
            **_DEPTH,
        }
    ),
}
COMPARED = ("bags", "frames", "classes", "pictures")  # equal for equal tasks, wherever they ran
DONE = "bags"


def encode(table: str, rows: Sequence[Mapping[str, Any]]) -> bytes:
    """The rows as a Parquet file; what a row lacks is null, an unknown column is an error."""
    schema = SCHEMAS[table]
    if unknown := {name for row in rows for name in row} - set(schema.names):
        raise KeyError(f"{table} has no column {', '.join(sorted(unknown))}")
    columns = {name: [row.get(name) for row in rows] for name in schema.names}
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table(columns, schema), sink, compression="zstd")
    return sink.getvalue().to_pybytes()


class Store:
    """The folder of a run."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for table in SCHEMAS:
            (folder / table).mkdir(parents=True, exist_ok=True)

    def done(self) -> set[str]:
        """Keys of finished tasks."""
        return {path.stem for path in (self.folder / DONE).glob("*.parquet")}

    def add(self, key: str, parts: Mapping[str, bytes]) -> None:
        """Write a finished task's parts, that of DONE last."""
        for table in sorted(SCHEMAS, key=lambda name: name == DONE):
            write_whole(self.folder / table / f"{key}.parquet", parts[table])

    def read(
        self, table: str, keys: Collection[str], columns: Sequence[str] | None = None
    ) -> pa.Table:
        """The rows of the tasks, in order of their keys; all columns or the given ones."""
        names = list(columns or SCHEMAS[table].names)
        parts = [
            pq.read_table(path, columns=names, schema=SCHEMAS[table])
            for key in sorted(set(keys))
            if (path := self.folder / table / f"{key}.parquet").is_file()
        ]
        return pa.concat_tables(parts or [SCHEMAS[table].empty_table().select(names)])


def write_whole(path: Path, content: bytes) -> None:
    """Write the file whole or not at all, also when the power goes."""
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    with part.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)
