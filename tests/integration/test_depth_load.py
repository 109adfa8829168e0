"""Images come faster than the network can answer."""

from __future__ import annotations

import os
from collections import Counter
from itertools import islice
from pathlib import Path

import pytest
from rcl_interfaces.srv import GetParameters

from tests.waiting import until

MEBIBYTE = 2**20


def flood(d, stamps, at_each=lambda: None):
    """Publishes images as fast as the node's callback takes them, each with its cloud."""
    before = Counter(d.node.received)
    until(d.node.idle)
    for number, stamp in enumerate(stamps, 1):
        d.senders["points"].publish(d.points(stamp))
        d.senders["image"].publish(d.image(stamp))
        # Not the node's pace, only the middleware's: at most 3 of a queue of 5 are on their way.
        for topic in ("/image", "/points"):
            until(lambda t=topic, n=number: d.node.received[t] >= before[t] + n - 3)
        at_each()
    for topic in ("/image", "/points"):
        until(lambda t=topic: d.node.received[t] == before[t] + len(stamps))
    until(d.node.idle)


def test_the_newest_image_wins_and_every_other_is_counted(drive):
    d = drive()
    d.send("camera_info", d.camera_info(0))
    stamps = range(0, 400 * 100, 100)
    flood(d, stamps)
    node = d.node
    assert node.frames_in == len(stamps)
    assert node.drops["image.superseded"] > 0
    assert set(node.drops) == {"image.superseded"}
    assert node.answered == len(stamps) - node.drops["image.superseded"]
    answered = d.answers()
    assert answered == sorted(answered)
    assert answered[-1] == stamps[-1]
    assert d.status()[1]["drops.image.superseded"] == str(node.drops["image.superseded"])


def test_services_are_answered_and_reports_come_while_the_node_is_flooded(drive):
    d = drive(reports=True)
    d.send("camera_info", d.camera_info(0))
    client = d.peer.create_client(GetParameters, "depth/get_parameters")
    until(client.service_is_ready)
    futures = []

    def ask():
        if len(futures) < 10 and all(future.done() for future in futures):
            futures.append(client.call_async(GetParameters.Request(names=["sync_slop"])))

    stamps = iter(range(0, 10**9, 100))
    while len(d.reports) < 2:
        flood(d, list(islice(stamps, 100)), ask)
    until(lambda: all(future.done() for future in futures))
    assert len(futures) > 1
    assert {future.result().values[0].double_value for future in futures} == {0.05}


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs Linux's /proc")
def test_memory_stays_flat_over_2000_frames(drive):
    d = drive(publish_points=True, publish_sparse=True)
    d.send("camera_info", d.camera_info(0))
    sizes = []
    for lap in range(5):
        flood(d, range(lap * 40_000, (lap + 1) * 40_000, 100))
        until(lambda: len(d.depth) == len(d.cloud) == len(d.sparse) > 0)
        until(lambda: len(d.camera) == len(d.depth))
        for seen in (d.depth, d.sparse, d.camera, d.cloud):
            seen.clear()
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        sizes.append(pages * os.sysconf("SC_PAGE_SIZE") / MEBIBYTE)
    assert d.node.frames_in == 2000
    assert d.accounted()
    # The first laps warm caches up. 1,200 leaked images alone would be 22 MB, with depths 50 MB.
    assert sizes[-1] - sizes[1] < 8, f"resident size in MiB per 400 frames: {sizes}"
