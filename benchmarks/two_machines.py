"""Camera and LiDAR on one machine, perception on another, and a network that loses packets.

    ros_xai bench two-machines            # as root on Linux; about 8 minutes
    ros_xai bench two-machines --short    # a try; writes nothing

The machines are two network namespaces joined by a pair of virtual interfaces of MTU 1500. Each
drops packets it receives at random, by an eBPF program at the interface's ingress (netem, the usual
tool, is missing from some kernels; the figures do not depend on which of the two drops). Whether an
image was answered is told by the nodes' ~/latency topics, which go back over the same network.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import os
import struct
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray
from rclpy.serialization import deserialize_message, serialize_message
from sensor_msgs.msg import CompressedImage, Image

from benchmarks import car as cars
from benchmarks import onboard, results
from ros_xai.ros import images

CAMERA, COMPUTER = "xai_camera", "xai_computer"
NODES = ("depth", "segmentation")
NETWORK = onboard.FASTDDS.with_name("fastdds_network.xml")
RATE = 10.0
_BPF, _PROG_LOAD, _OBJ_PIN, _SCHED_CLS = 321, 5, 6, 3  # x86-64's system call; linux/bpf.h
_PINS = Path("/run/ros_xai_bpf")  # not below /sys, which `tc -n` mounts anew
ANSWERS = {node: (f"/{node}/latency", DiagnosticArray) for node in NODES}
# name -> (image transport, reliability of the subscriptions, one packet of so many lost or 0,
# whether config/fastdds_network.xml is used)
CASES = {
    "raw, best effort, no loss": ("raw", "best_effort", 0, False),
    "raw, best effort, 1 % loss": ("raw", "best_effort", 100, False),
    "raw, reliable, 1 % loss": ("raw", "reliable", 100, False),
    "raw, reliable, 1 % loss, network profile": ("raw", "reliable", 100, True),
    "jpeg, best effort, no loss": ("compressed", "best_effort", 0, False),
    "jpeg, best effort, 1 % loss": ("compressed", "best_effort", 100, False),
    "jpeg, reliable, 1 % loss": ("compressed", "reliable", 100, False),
    "jpeg, reliable, no loss, network profile": ("compressed", "reliable", 0, True),
    "jpeg, reliable, 1 % loss, network profile": ("compressed", "reliable", 100, True),
}


def run(*words: str) -> None:
    """A command that must succeed; RuntimeError with what it said otherwise."""
    done = subprocess.run(words, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{' '.join(words)}: {done.stderr.strip()}")


@contextmanager
def network() -> Iterator[None]:
    """Two namespaces with 10.77.0.1 and 10.77.0.2."""
    for name in (CAMERA, COMPUTER):
        run("ip", "netns", "add", name)
    try:
        run("ip", "link", "add", "xai0", "netns", CAMERA, "type", "veth", "peer", "xai0", "netns",
            COMPUTER)  # fmt: skip
        for number, name in enumerate((CAMERA, COMPUTER), 1):
            run("ip", "-n", name, "addr", "add", f"10.77.0.{number}/24", "dev", "xai0")
            for interface in ("lo", "xai0"):
                run("ip", "-n", name, "link", "set", interface, "up")
            run("ip", "-n", name, "route", "add", "224.0.0.0/4", "dev", "xai0")
            run("tc", "-n", name, "qdisc", "add", "dev", "xai0", "clsact")
        yield
    finally:
        for name in (CAMERA, COMPUTER):
            subprocess.run(["ip", "netns", "del", name])


@contextmanager
def loss(one_of: int) -> Iterator[None]:
    """Each machine drops one of so many packets that come, at random; none for 0."""
    if not one_of:
        yield
        return
    pin = _PINS / f"xai_loss_{os.getpid()}"
    _pin_dropper(one_of, pin)
    try:
        for name in (CAMERA, COMPUTER):
            run("tc", "-n", name, "filter", "add", "dev", "xai0", "ingress", "bpf", "da",
                "object-pinned", str(pin))  # fmt: skip
        yield
    finally:
        for name in (CAMERA, COMPUTER):
            subprocess.run(["tc", "-n", name, "filter", "del", "dev", "xai0", "ingress"])
        pin.unlink()


def _pin_dropper(one_of: int, pin: Path) -> None:
    """Loads `return bpf_get_prandom_u32() % one_of ? TC_ACT_OK : TC_ACT_SHOT`."""
    _PINS.mkdir(exist_ok=True)
    if not os.path.ismount(_PINS):
        run("mount", "-t", "bpf", "bpf", str(_PINS))
    program = b"".join(
        struct.pack("<BBhi", *instruction)
        for instruction in (
            (0x85, 0, 0, 7),  # call bpf_get_prandom_u32
            (0x97, 0, 0, one_of),  # r0 %= one_of
            (0x55, 0, 2, 0),  # if r0 != 0 skip two
            (0xB7, 0, 0, 2),  # r0 = TC_ACT_SHOT
            (0x95, 0, 0, 0),  # exit
            (0xB7, 0, 0, 0),  # r0 = TC_ACT_OK
            (0x95, 0, 0, 0),  # exit
        )
    )
    code = ctypes.create_string_buffer(program, len(program))
    licence = ctypes.create_string_buffer(b"GPL")
    addresses = ctypes.addressof(code), ctypes.addressof(licence)
    fd = _bpf(_PROG_LOAD, struct.pack("<IIQQ", _SCHED_CLS, len(program) // 8, *addresses))
    path = ctypes.create_string_buffer(str(pin).encode())
    _bpf(_OBJ_PIN, struct.pack("<QI", ctypes.addressof(path), fd))
    os.close(fd)


def _bpf(command: int, attributes: bytes) -> int:
    libc = ctypes.CDLL(None, use_errno=True)
    buffer = ctypes.create_string_buffer(attributes, 128)
    result: int = libc.syscall(_BPF, command, buffer, 128)
    if result < 0:
        raise OSError(ctypes.get_errno(), f"bpf command {command}")
    return result


def profiles(folder: Path) -> Path:
    """config/fastdds.xml without shared memory, which two machines do not have."""
    text = onboard.FASTDDS.read_text().replace(
        "<transport_id>shared_memory</transport_id>\n", "", 2
    )
    text = text.replace("<transport_id>shared_memory</transport_id>", "")
    begin, end = text.index("<transport_descriptor>"), text.index("</transport_descriptor>")
    text = text[:begin] + text[end + len("</transport_descriptor>") :]
    path = folder / "udp.xml"
    path.write_text(text)
    return path


def drive(transport: str, seconds: float) -> dict[str, Any]:
    """The camera's machine: feeds, and hears which images were answered."""
    frames, _ = cars.kitti_frames(onboard.data_folder())
    inputs = dict(cars.INPUTS)
    if transport == "compressed":
        inputs["/image/compressed"] = CompressedImage
        del inputs["/image"]
        frames = [_compressed(frame) for frame in frames]
    car = cars.Car(frames, agents=0, inputs=inputs, answers=ANSWERS)
    try:
        topic = "/image/compressed" if transport == "compressed" else "/image"
        if not car.wait(lambda: car.listeners(topic) == len(NODES), 120):
            raise RuntimeError(f"{car.listeners(topic)} of {len(NODES)} nodes were found")
        car.drive(5, RATE)
        before = _arrived(car)
        trace = car.drive(seconds, RATE)
        after = _arrived(car)
        figures: dict[str, Any] = {"image_mb": round(len(frames[0][topic]) / 1e6, 2)}
        for node in NODES:
            arrived = after[node] - before[node]
            figures[node] = {"sent": round(seconds * RATE), "arrived": arrived}
            figures[node] |= trace.summary(node)
        return figures
    finally:
        car.close()


def _arrived(car: cars.Car) -> dict[str, int]:
    """Images that each node has had so far, by its own count, two reports from now."""
    car.status.clear()
    car.wait(lambda: all(node in car.status for node in NODES), 10)
    car.status.clear()
    car.wait(lambda: all(node in car.status for node in NODES), 10)
    return {node: int(car.values(node)["frames_in"]) for node in NODES}


def _compressed(frame: dict[str, bytes]) -> dict[str, bytes]:
    message = deserialize_message(frame["/image"], Image)
    jpeg = images.compress(images.to_rgb(message), quality=90, header=message.header)
    rest = {topic: data for topic, data in frame.items() if topic != "/image"}
    return {**rest, "/image/compressed": serialize_message(jpeg)}


def case(
    name: str, T_camera_lidar: list[float], seconds: float, scratch: Path, engine: str
) -> dict[str, Any]:
    """One setting: perception in one namespace, the drive in the other."""
    transport, reliability, one_of, network_profile = CASES[name]
    chosen = NETWORK if network_profile else profiles(scratch)
    os.environ["FASTDDS_DEFAULT_PROFILES_FILE"] = str(chosen)
    parameters = onboard.parameters(T_camera_lidar, engine, 2)
    parameters["depth:publish_sparse"] = False
    topics = {"raw": "/image", "compressed": "/image/compressed"}
    for node in NODES:
        parameters[f"{node}:image_transport"] = transport
        for topic in (topics[transport], *(("/points",) if node == "depth" else ())):
            parameters[f"{node}:qos_overrides.{topic}.subscription.reliability"] = reliability
    computer = ("ip", "netns", "exec", COMPUTER)
    perception = onboard.Perception(parameters, NODES, False, scratch, within=computer)
    try:
        with loss(one_of):
            words = ["ip", "netns", "exec", CAMERA, sys.executable, "-m", "benchmarks.two_machines"]
            words += ["--drive", transport, "--seconds", str(seconds)]
            done = subprocess.run(words, capture_output=True, text=True)
            if done.returncode:
                raise RuntimeError(done.stderr[-1500:] + perception.log.read_text()[-1500:])
    finally:
        perception.stop()
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    """Measures every case and writes docs/results/two_machines.json."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--short", action="store_true", help="a try; writes nothing")
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--engine", default="openvino")
    parser.add_argument("--shared", default="", help="what else ran on the machine, for the record")
    parser.add_argument("--only", default="", help="cases with this in their name; writes nothing")
    parser.add_argument("--drive", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.drive:
        print(json.dumps(drive(given.drive, given.seconds)))
        return
    onboard.isolate()
    os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "SUBNET"
    _, T = cars.kitti_frames(onboard.data_folder())
    figures: dict[str, Any] = {"before": onboard.machine_load()}
    seconds = 8.0 if given.short else given.seconds
    with tempfile.TemporaryDirectory() as scratch, network():
        for name in [name for name in CASES if given.only in name]:
            figures[name] = case(name, T, seconds, Path(scratch), given.engine)
            print(name, json.dumps(figures[name]), flush=True)
    figures["after"] = onboard.machine_load()
    if not given.short and not given.only:
        results.write(
            "two_machines",
            "ros_xai bench two-machines",
            figures,
            rate_hz=RATE,
            mtu=1500,
            engine=given.engine,
            machine_shared_with=given.shared or "nothing that the benchmark knows of",
        )


if __name__ == "__main__":
    main()
