"""The depth node on a bundle by `ros_xai prune`, through real rclpy: answers, identity, refusal."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
from rclpy.parameter import Parameter
from typer.testing import CliRunner

from ros_xai.cli import app
from ros_xai.engines.bundle import CARD, MODEL, WEIGHTS, read_bundle
from ros_xai.ros import images
from tests.waiting import until

pytest.importorskip("torch_pruning")


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    """Merged far enough to be another network, near enough to give its depths."""
    folder = tmp_path_factory.mktemp("pruned") / "bundle"
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("ROS_XAI_DATA", raising=False)
        words = "prune depth --method red --alpha 0.004 --linkage complete --out"
        told = CliRunner().invoke(app, [*words.split(), str(folder)])
    assert told.exit_code == 0, told.output
    return folder


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory):
    """The trial of engines is these tests' own, and made once."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ROS_XAI_CACHE", str(folder))
        yield folder


def answer(d, number):
    """The depth of one more frame, the same picture each time."""
    stamp = 100 * number
    picture = d.image(100)
    picture.header = d.image(stamp).header
    d.send("camera_info", d.camera_info(stamp))
    d.send("points", d.points(stamp))
    d.send("image", picture)
    until(lambda: len(d.depth) == number)
    return images.to_array(d.depth[-1])


def configure(d, engine):
    """The node on another engine: its state, and where it can run, it does."""
    if d.node.state == "active":
        d.node.trigger_deactivate()
        d.node.trigger_cleanup()
    assert d.node.set_parameters([Parameter("engine", value=str(engine))])[0].successful
    d.node.trigger_configure()
    if d.node.state == "inactive":
        d.node.trigger_activate()
        until(lambda: all(s.get_subscription_count() for s in d.senders.values()))
        until(lambda: d.node._depth.get_subscription_count() == 1)
    return d.node.state


def test_a_pruned_bundle_answers_and_diagnostics_say_which(drive, bundle, cache):
    d = drive(engine=str(bundle), reports=True)
    pruned = answer(d, 1)
    until(lambda: d.reports)
    values = {pair.key: pair.value for pair in d.reports[-1].status[0].values}
    assert values["model"] == f"bundle {read_bundle(bundle).digest[:12]}"
    assert values["engine"] == d.node._estimator.engine.name
    assert (cache / "fastest.json").is_file()
    assert configure(d, "torch") == "active"
    whole = answer(d, 2)
    assert np.isfinite(pruned).all() and (pruned > 0).all()
    assert not np.array_equal(pruned, whole)
    assert np.median(np.abs(pruned / whole - 1)) < 0.1


def tampered(bundle, folder, name):
    shutil.copytree(bundle, folder)
    data = bytearray((folder / name).read_bytes())
    at = data.index(b"alpha") if name == CARD else len(data) // 2
    data[at] ^= 1
    (folder / name).write_bytes(bytes(data))
    return folder


def test_a_tampered_bundle_is_refused_and_the_old_engine_answers_again(drive, bundle, tmp_path):
    d = drive(engine=str(bundle), reports=True)
    before, answered = answer(d, 1), 1
    for name in (WEIGHTS, MODEL, CARD):
        bad = tampered(bundle, tmp_path / name, name)

        # While it runs the engine stays as it is.
        assert not d.node.set_parameters([Parameter("engine", value=str(bad))])[0].successful
        assert np.allclose(answer(d, answered + 1), before, rtol=1e-3)

        assert configure(d, bad) == "unconfigured"
        says = "changed after it was written" if name == CARD else "not the file that the card was"
        assert d.node.failure.startswith(f"cannot configure: BundleError: {bad}/{name}: ")
        assert says in d.node.failure
        where = f"{bad}/{name}: "
        until(lambda where=where: any(where in r.status[0].message for r in d.reports))

        assert configure(d, bundle) == "active"
        assert np.allclose(answer(d, answered + 2), before, rtol=1e-3)
        answered += 2
