"""Which package is taken: the distribution's, or our equivalent."""

from __future__ import annotations

import importlib
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ros_xai.ros import compat


@pytest.fixture
def fresh_compat(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Imports compat again, as in a process where `installed` modules can be imported."""

    def load(**installed: types.ModuleType) -> Any:
        for name, module in installed.items():
            monkeypatch.setitem(sys.modules, name, module)
        monkeypatch.delitem(sys.modules, "ros_xai.ros.compat")
        return importlib.import_module("ros_xai.ros.compat")

    monkeypatch.setattr("ros_xai.ros.compat", compat)  # the package's attribute is restored
    yield load


def test_the_distribution_is_preferred(fresh_compat: Any) -> None:
    theirs = types.ModuleType("message_filters")
    assert fresh_compat(message_filters=theirs).message_filters is theirs


def test_what_is_not_installed_is_replaced_in_silence(
    fresh_compat: Any, recwarn: pytest.WarningsRecorder
) -> None:
    loaded = fresh_compat()
    for name in ("message_filters", "cv_bridge", "point_cloud2", "tf2_ros"):
        package = "sensor_msgs_py" if name == "point_cloud2" else name
        if importlib.util.find_spec(package) is None:
            assert getattr(loaded, name).__name__ == f"ros_xai.ros.equivalents.{name}"
    assert not recwarn.list


def test_a_broken_package_is_replaced_with_a_warning(
    fresh_compat: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "cv_bridge.py").write_text("raise ImportError('built for numpy 1')")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "cv_bridge", raising=False)
    with pytest.warns(UserWarning, match=r"cv_bridge cannot be imported \(built for numpy 1\)"):
        loaded = fresh_compat()
    assert loaded.cv_bridge.__name__ == "ros_xai.ros.equivalents.cv_bridge"
