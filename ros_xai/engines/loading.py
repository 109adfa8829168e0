"""A bundle on the engine that is fastest here, found by a short trial and remembered."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Literal

from ros_xai.engines.backends import BACKENDS, Backend, availability, create
from ros_xai.engines.base import Engine, EngineError, measure, random_inputs, warm_up
from ros_xai.engines.bundle import BundleError, EngineBundle, read_bundle
from ros_xai.engines.cache import Memory, machine

ROUNDS = 10


def load(
    bundle: str | Path,
    backend: Backend | Literal["auto"] = "auto",
    threads: int = 0,
    memory: Memory | None = None,
) -> Engine:
    """The network of a bundle, verified, on the named engine.

    auto: the engine that was fastest on this machine for this bundle; the first time all that are
    available are tried on random inputs of the bundle's shapes.

    Raises BundleError for a bundle that is damaged or tampered with, EngineError where no engine,
    or not the named one, can run it.
    """
    return load_verified(read_bundle(bundle), backend, threads, memory)


def load_for(task: str, folder: str | Path, threads: int = 0) -> tuple[Engine, EngineBundle]:
    """`load`, and the bundle, which must be of a task. Raises BundleError if it is of another."""
    bundle = read_bundle(folder)
    if bundle.card["task"] != task:
        raise BundleError(f"{folder}: expected a bundle for {task}; got {bundle.card['task']}")
    return load_verified(bundle, "auto", threads), bundle


def load_verified(
    bundle: EngineBundle,
    backend: Backend | Literal["auto"] = "auto",
    threads: int = 0,
    memory: Memory | None = None,
) -> Engine:
    """As `load`, of a bundle that has been read."""
    if backend != "auto":
        return create(bundle, backend, threads)
    memory = memory or Memory()
    found = availability()
    installed = {each.name: each.detail for each in found if each.available}
    key = _key(bundle, threads, installed)
    remembered = memory.read(key)
    if remembered in BACKENDS and remembered in installed:
        try:
            return create(bundle, remembered, threads)
        except Exception:  # of whatever library the engine is made of
            pass  # what worked once does not any more: try all again
    engines: dict[str, Engine] = {}
    problems = [f"{each.name}: {each.detail}" for each in found if not each.available]
    for name in installed:
        try:
            engine = create(bundle, name, threads)
            inputs = random_inputs(engine.input_specs, bundle.shapes)
            warm_up(engine, inputs)
            engines[name] = engine
        except Exception as error:  # of whatever library the engine is made of
            problems.append(f"{name}: {error}")
    if not engines:
        raise EngineError(f"{bundle.folder}: no engine can run it: {'; '.join(problems)}")
    inputs = random_inputs(next(iter(engines.values())).input_specs, bundle.shapes)
    times = {name: timing.median_ms for name, timing in measure(engines, inputs, ROUNDS).items()}
    fastest = min(times, key=lambda name: times[name])
    memory.write(key, fastest, times)
    return engines[fastest]


def _key(bundle: EngineBundle, threads: int, installed: dict[Backend, str]) -> str:
    facts = {
        "bundle": bundle.digest, "shapes": sorted(bundle.shapes.items()), "threads": threads,
        "machine": machine(), "engines": sorted(installed.items()),
    }  # fmt: skip
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()
