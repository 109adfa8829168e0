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

pytest.importorskip("torch_pruning")


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    """Merged far enough to be another network, near enough to give its depths."""
    folder = tmp_path_factory.mktemp("pruned") / "bundle"
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("ROS_XAI_DATA", raising=False)
        answer = CliRunner().invoke(
            app,
            [
                "prune",
                "depth",
                "--method",
                "red",
                "--alpha",
                "0.004",
                "--linkage",
                "complete",
                "--out",
                str(folder),
            ],
        )
    assert answer.exit_code == 0, answer.output
    return folder


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """The trial of engines is this test's own."""
    monkeypatch.setenv("ROS_XAI_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def answers(drive, **parameters):
    d = drive(**parameters)
    d.frame(100)
    assert d.answers() == [100]
    return d, images.to_array(d.depth[0])


def test_a_pruned_bundle_answers_and_diagnostics_say_which(drive, bundle, cache):
    d, pruned = answers(drive, engine=str(bundle), reports=True)
    _, whole = answers(drive)
    assert np.isfinite(pruned).all() and (pruned > 0).all()
    assert not np.array_equal(pruned, whole)
    assert np.median(np.abs(pruned / whole - 1)) < 0.1
    d.until(lambda: d.reports)
    values = {pair.key: pair.value for pair in d.reports[-1].status[0].values}
    digest = read_bundle(bundle).digest
    assert values["model"] == f"bundle {digest[:12]}"
    assert values["engine"] == d.node._estimator.engine.name
    assert (cache / "fastest.json").is_file()


def tampered(bundle, folder, name):
    shutil.copytree(bundle, folder)
    data = bytearray((folder / name).read_bytes())
    at = data.index(b"alpha") if name == CARD else len(data) // 2
    data[at] ^= 1
    (folder / name).write_bytes(bytes(data))
    return folder


@pytest.mark.parametrize("name", [WEIGHTS, MODEL, CARD])
def test_a_tampered_bundle_is_refused_and_the_old_engine_answers_again(
    drive, bundle, tmp_path, name
):
    d, before = answers(drive, engine=str(bundle), reports=True)
    bad = tampered(bundle, tmp_path / "bad", name)

    # While it runs the engine stays as it is.
    refused = d.node.set_parameters([Parameter("engine", value=str(bad))])[0]
    assert not refused.successful
    d.frame(200)
    assert d.answers() == [100, 200]

    d.node.trigger_deactivate()
    d.node.trigger_cleanup()
    assert d.node.set_parameters([Parameter("engine", value=str(bad))])[0].successful
    d.node.trigger_configure()
    assert d.node.state == "unconfigured"
    says = "changed after it was written" if name == CARD else "not the file that the card was"
    assert d.node.failure.startswith(f"cannot configure: BundleError: {bad}/{name}: ")
    assert says in d.node.failure
    d.until(lambda: any(says in report.status[0].message for report in d.reports))

    d.node.set_parameters([Parameter("engine", value=str(bundle))])
    d.node.trigger_configure()
    d.node.trigger_activate()
    assert d.node.state == "active"
    d.until(lambda: all(s.get_subscription_count() for s in d.senders.values()))
    d.until(lambda: d.node._depth.get_subscription_count() == 1)
    d.send("camera_info", d.camera_info(300))
    d.send("points", d.points(100))
    d.send("image", d.image(100))
    d.until(lambda: len(d.depth) == 3)
    assert np.allclose(images.to_array(d.depth[-1]), before, rtol=1e-3)
