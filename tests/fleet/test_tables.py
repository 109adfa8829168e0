"""Parts of tables: whole, once, and readable by SQL."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from ros_xai.fleet.tables import DEPTH_COLUMNS, SCHEMAS, Store, column, encode
from tests.fleet.conftest import START_NS, MadeUp, row

DOCS = Path(__file__).parents[2] / "docs" / "fleet.md"


def test_names_of_figures_are_names_in_sql() -> None:
    assert column("range.0-10.abs_rel") == "range_0_10_abs_rel"
    assert column("beam.40-.rmse") == "beam_40_up_rmse"
    assert len(set(DEPTH_COLUMNS)) == len(DEPTH_COLUMNS) == 7 * (2 + 4 + 6) + 1
    assert all(re.fullmatch(r"\w+", name) for name in DEPTH_COLUMNS)


def test_a_figure_without_a_column_is_an_error() -> None:
    with pytest.raises(KeyError, match="abs_ral"):
        encode("bags", [row("a", "x", abs_ral=0.1)])


def test_a_task_whose_last_part_is_missing_is_not_done(tmp_path: Path) -> None:
    store = Store(tmp_path)
    parts = {table: encode(table, []) for table in SCHEMAS}
    parts["frames"] = encode("frames", [{"key": "k", "abs_rel": 0.25}])
    store.add("k", parts)
    assert store.done() == {"k"}
    (tmp_path / "bags" / "k.parquet").unlink()  # as after a kill just before the last write
    assert store.done() == set()
    store.add("k", parts)
    assert store.read("frames", ["k", "k", "other"], ["abs_rel"]).to_pylist() == [{"abs_rel": 0.25}]
    assert not list(tmp_path.rglob("*.part"))


def test_the_queries_of_the_docs_run(made_up: MadeUp) -> None:
    duckdb = pytest.importorskip("duckdb")
    rows = {
        (bag, config): {"abs_rel": 0.1 + 0.1 * (config == "new"), "range_0_10_abs_rel": 0.05}
        for bag in ("a", "b")
        for config in ("old", "new")
    }
    frames = {
        pair: [{"stamp_ns": START_NS, "speed": 3.0, "abs_rel": v["abs_rel"]}]
        for pair, v in rows.items()
    }
    timings = {pair: [{"host": "h", "cpu_s": 3.0, "frames": 1, "attempt": 1}] for pair in rows}
    _, store, summary = made_up(rows, frames=frames, timings=timings)
    index = [
        {"key": key, "bag": bag, "config": config, "tags": [("domain", "night")]}
        for (bag, config), key in summary.keys.items()
    ]
    import pyarrow as pa
    import pyarrow.parquet as pq

    kinds = {name: pa.string() for name in ("key", "bag", "config")}
    schema = pa.schema({**kinds, "tags": pa.map_(pa.string(), pa.string())})
    pq.write_table(pa.Table.from_pylist(index, schema), store.folder / "index.parquet")
    queries = re.findall(r"```sql\n(.*?)```", DOCS.read_text(), re.DOTALL)
    assert len(queries) >= 4
    for query in queries:
        found = duckdb.sql(query.replace("out/fleet", str(store.folder)).rstrip().rstrip(";"))
        assert found is None or len(found.fetchall()) > 0, query
