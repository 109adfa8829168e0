"""Speed of messages to arrays and back: a 1242x375 image, clouds of 120,000 points.

Images run beside rosbags-image, clouds beside a plain loop of `struct` (the fastest one there is,
`iter_unpack`, and it stops at a list of tuples). Runs are paired: each pair times both, one right
after the other in random order, and the figures are medians over the pairs.
"""

from __future__ import annotations

import argparse
import json
import platform
import struct
import sys
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from rosbags.image import image_to_cvimage
from sensor_msgs.msg import Image

from benchmarks import results
from benchmarks.seeded import Finished
from ros_xai.ros import images, pointclouds

HEIGHT, WIDTH, POINTS = 375, 1242, 120_000
BUDGET_MS = 2.0
Work = Callable[[], Any]


class Case(NamedTuple):
    """What is timed, and beside what."""

    name: str
    ours: Work
    other_name: str
    other: Work


def image_cases(rng: np.random.Generator) -> list[Case]:
    pixels = rng.integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    rgb, bgr = images.to_message(pixels, "rgb8"), images.to_message(pixels, "bgr8")
    name = f"image {WIDTH}x{HEIGHT}"

    def back_by_bytes() -> Image:
        message = Image(height=HEIGHT, width=WIDTH, encoding="rgb8", step=3 * WIDTH)
        message.data = image_to_cvimage(rgb).tobytes()
        return message

    return [
        Case(
            f"{name} rgb8: to array",
            lambda: images.to_array(rgb),
            "rosbags-image",
            lambda: image_to_cvimage(rgb),
        ),
        Case(
            f"{name} rgb8: to array and back",
            lambda: images.to_message(images.to_array(rgb), "rgb8"),
            "rosbags-image, and bytes into the data field",
            back_by_bytes,
        ),
        Case(
            f"{name} bgr8 to rgb",
            lambda: images.to_rgb(bgr),
            "rosbags-image",
            lambda: image_to_cvimage(bgr, "rgb8"),
        ),
    ]


def cloud_cases(rng: np.random.Generator) -> list[Case]:
    xyz = rng.normal(scale=20, size=(POINTS, 3)).astype(np.float32)
    intensity = rng.random(POINTS, dtype=np.float32)
    ring = rng.integers(0, 64, POINTS).astype(np.uint16)
    layouts = [
        ("<ffff", {"intensity": intensity}),
        ("<ffffHf", {"intensity": intensity, "ring": ring, "time": intensity}),
    ]
    return [case for code, fields in layouts for case in cloud_layout(code, xyz, fields)]


def cloud_layout(code: str, xyz: Any, fields: dict[str, Any]) -> list[Case]:
    message = pointclouds.to_message(xyz, **fields)
    structured = pointclouds.to_structured(message)
    tuples = structured.tolist()
    size = struct.calcsize(code)

    def to_arrays() -> Any:
        points = pointclouds.to_structured(message)
        return pointclouds.xyz(points), pointclouds.ring(points)

    def pack() -> bytearray:
        data = bytearray(size * len(tuples))
        for index, values in enumerate(tuples):
            struct.pack_into(code, data, index * size, *values)
        return data

    name = f"cloud of {POINTS} x {size} bytes"
    unpack: Work = lambda: list(struct.iter_unpack(code, message.data))  # noqa: E731
    return [
        Case(f"{name}: to coordinates and rings", to_arrays, "struct loop", unpack),
        Case(
            f"{name}: to message", lambda: pointclouds.to_message(structured), "struct loop", pack
        ),
        Case(
            f"{name}: to arrays and back",
            lambda: (to_arrays(), pointclouds.to_message(structured)),
            "struct loop",
            lambda: (unpack(), pack()),
        ),
    ]


def milliseconds(work: Work) -> float:
    start = time.perf_counter()
    work()
    return 1e3 * (time.perf_counter() - start)


def measure(case: Case, pairs: int, rng: np.random.Generator) -> dict[str, Any]:
    """Medians over paired runs; the first pair warms up and is not counted."""
    ours, other = [], []
    for _ in range(pairs + 1):
        both = [(ours, case.ours), (other, case.other)]
        for times, work in both if rng.random() < 0.5 else both[::-1]:
            times.append(milliseconds(work))
    ratios = np.array(other[1:]) / np.array(ours[1:])
    return {
        "ours_ms": round(float(np.median(ours[1:])), 4),
        "beside": case.other_name,
        "beside_ms": round(float(np.median(other[1:])), 4),
        "times_faster": round(float(np.median(ratios)), 1),
        "pairs": pairs,
    }


def main(argv: list[str]) -> None:
    """Prints one JSON line per case and writes docs/results/message_conversion.json."""
    parser = argparse.ArgumentParser(prog="message_conversion", description=__doc__)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--quick", action="store_true", help="5 pairs per case instead of 51")
    arguments = parser.parse_args(argv)
    pairs = 5 if arguments.quick else 51
    rng = np.random.default_rng(arguments.seed)
    finished = Finished("message_conversion", (pairs, arguments.seed, platform.node()))
    figures = [
        finished.get({"case": case.name}, lambda case=case: measure(case, pairs, rng))
        for case in image_cases(rng) + cloud_cases(rng)
    ]
    slowest = max(f["ours_ms"] for f in figures)
    print(json.dumps({"slowest_ms": slowest, "budget_ms": BUDGET_MS, "met": slowest < BUDGET_MS}))
    if not arguments.quick:
        results.write(
            "message_conversion", "ros_xai bench message-conversion", figures, budget_ms=BUDGET_MS
        )


if __name__ == "__main__":
    main(sys.argv[1:])
