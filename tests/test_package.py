"""What pip and colcon read must agree."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from pathlib import Path

import ros_xai

ROOT = Path(__file__).resolve().parents[1]


def test_one_version_everywhere():
    setup = re.search(r'version="([^"]+)"', (ROOT / "setup.py").read_text())
    manifest = ET.parse(ROOT / "package.xml").findtext("version")
    assert setup and setup.group(1) == manifest == ros_xai.__version__


def test_manifest_names_every_ros_package_that_is_imported():
    declared = {e.text for e in ET.parse(ROOT / "package.xml").iter("exec_depend")}
    names = r"rclpy|message_filters|cv_bridge|sensor_msgs_py|tf2_ros|launch\w*|\w+_msgs"
    pattern = re.compile(rf"^\s*(?:from|import) ({names})\b", re.MULTILINE)
    sources = [*ROOT.glob("ros_xai/**/*.py"), *ROOT.glob("launch/*.py")]
    imported = {name for path in sources for name in pattern.findall(path.read_text())}
    # Comes with rclpy itself.
    assert imported - {"rcl_interfaces"} <= declared
