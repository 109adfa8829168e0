"""What `ros_xai explain` is asked: its options, read into questions about the networks."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from zipfile import BadZipFile

import cv2
import numpy as np
import typer
from numpy.typing import NDArray

from ros_xai.data.argoverse2 import read_log, read_scenario
from ros_xai.data.forecasting import Recording, Scene, read_world
from ros_xai.depth.estimator import DepthEstimator
from ros_xai.forecasting.forecaster import Forecaster
from ros_xai.forecasting.raster import rasterize
from ros_xai.nodes import explained, explained_forecast
from ros_xai.nodes.explained import Question
from ros_xai.nodes.explained_view import View
from ros_xai.segmentation.bundle import load_bundle
from ros_xai.segmentation.segmenter import MAX_PIXELS, SHIPPED

Engine = Literal["torch", "openvino", "openvino-int8"]
BATCH = 16


@dataclass(frozen=True)
class Asked:
    """What the options of one call say about the network and the pixels asked about."""

    rgb: NDArray[np.uint8]
    region: NDArray[np.bool_] | None
    weights: Path | None
    engine: Engine


def about_depth(asked: Asked, by: str, intrinsics: str, sparse: Path | None) -> Question:
    """Why the depth is what it is, by image or LiDAR."""
    returns = np.zeros(asked.rgb.shape[:2], np.float32)
    if sparse is not None:
        returns = _returns(sparse, returns.shape)
    elif by == "lidar":
        raise typer.BadParameter("masking the LiDAR needs its returns: give --sparse")
    fx, fy, cx, cy = numbers(intrinsics, 4, "--intrinsics", "fx,fy,cx,cy in pixels")
    if min(fx, fy) <= 0:
        raise typer.BadParameter(
            f"expected focal lengths above 0; got {fx:g}, {fy:g}", param_hint="--intrinsics"
        )
    K = np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1.0]])
    estimator = DepthEstimator.load(asked.weights, asked.engine)
    make = explained.depth_by_image if by == "image" else explained.depth_by_lidar
    box = make(estimator, asked.rgb, returns, K, BATCH)
    everything = np.ones(returns.shape, dtype=bool)
    return explained.about_depth(box, everything if asked.region is None else asked.region)


def about_class(asked: Asked, name: str) -> Question:
    """Why pixels have the class of that name."""
    bundle = load_bundle(asked.weights or SHIPPED)
    names = bundle.classes.names
    if name not in names:
        raise typer.BadParameter(f"expected one of {', '.join(names)}", param_hint="--target")
    engine = explained.logits_engine(bundle.network, asked.engine)
    box = explained.classes_by_image(engine, asked.rgb, MAX_PIXELS, BATCH)
    try:
        return explained.about_class(box, names.index(name), asked.region)
    except ValueError as error:
        raise typer.BadParameter(f"{name}: {error}", param_hint="--target") from error


def about_forecast(
    recording: Path, track: str, at: float | None, by: str, weights: Path | None
) -> View:
    """Why a track's most likely end point is where it is, by map or neighbours.

    at: seconds since the recording begins, by default its middle.
    """
    try:
        network = Forecaster.load(weights).network
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--weights") from error
    found = _recording(recording)
    scene = _scene(found, at)
    raster = rasterize(found.map)
    known = scene.tracks.id[scene.forecastable()]
    if track not in known:
        raise typer.BadParameter(
            f"expected a vehicle or two-wheeler of {scene.time:.1f} s: {', '.join(sorted(known))}",
            param_hint="--target",
        )
    agent = explained_forecast.agent_features(network, scene.tracks, raster, track)
    try:
        return explained_forecast.view(network, agent, by, BATCH)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--target") from error


def _recording(path: Path) -> Recording:
    """A log or scenario of Argoverse 2, or a traffic_NNNN.npz of the world."""
    readers: list[tuple[bool, Callable[[Path], Recording]]] = [
        (path.suffix == ".npz", read_world),
        (any(path.glob("scenario_*.parquet")), read_scenario),
        ((path / "annotations.parquet").is_file(), read_log),
    ]
    for fits, read in readers:
        if fits:
            try:
                return read(path)
            except (BadZipFile, KeyError, ValueError) as error:
                raise typer.BadParameter(f"{path}: no recording; {error}") from error
    raise typer.BadParameter(f"{path} is no folder of Argoverse 2 and no traffic_NNNN.npz")


def _scene(recording: Recording, at: float | None) -> Scene:
    scenes = list(recording.scenes())
    if not scenes:
        raise typer.BadParameter(f"{recording.name} is too short for a forecast")
    if at is None:
        return scenes[len(scenes) // 2]
    if not math.isfinite(at):
        raise typer.BadParameter(f"expected seconds; got {at}", param_hint="--at")
    return min(scenes, key=lambda scene: abs(scene.time - at))


def read_rgb(path: Path) -> NDArray[np.uint8]:
    """An image file as rgb [H, W, 3]."""
    bgr = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if bgr is None:
        raise typer.BadParameter(f"{path} is no image that OpenCV reads")
    return np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB))


def _returns(path: Path, shape: tuple[int, ...]) -> NDArray[np.float32]:
    """Metres [H, W], 0 = no return; whatever is no depth in a .npy means none, too."""
    if path.suffix == ".npy":
        try:
            with path.open("rb") as file:
                depth = np.lib.format.read_array(file, allow_pickle=False).astype(np.float32)
        except (TypeError, ValueError) as error:
            raise typer.BadParameter(
                f"{path} is no array of metres: {error}", param_hint="--sparse"
            ) from error
        depth = np.where(np.isfinite(depth) & (depth > 0), depth, np.float32(0))
    else:
        raw = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
        if raw is None or raw.dtype != np.uint16:
            raise typer.BadParameter(f"{path} is no 16-bit PNG", param_hint="--sparse")
        depth = (raw / 256).astype(np.float32)
    if depth.shape != shape:
        raise typer.BadParameter(
            f"expected the image's {list(shape)}; got {list(depth.shape)}", param_hint="--sparse"
        )
    if not depth.any():
        raise typer.BadParameter(f"{path} holds no return", param_hint="--sparse")
    return depth


def region_of(text: str, height: int, width: int) -> NDArray[np.bool_] | None:
    """The pixels [H, W] of `left,top,right,bottom`; None for an empty text."""
    if not text:
        return None
    left, top, right, bottom = numbers(text, 4, "--region", "left,top,right,bottom in pixels")
    region = np.zeros((height, width), dtype=bool)
    # a slice to a negative end would count backwards
    rows = slice(max(0, int(top)), max(0, int(bottom)))
    columns = slice(max(0, int(left)), max(0, int(right)))
    region[rows, columns] = True
    if not region.any():
        raise typer.BadParameter(
            f"holds no pixel of the {width} x {height} image", param_hint="--region"
        )
    return region


def grid_of(text: str) -> tuple[int, int]:
    """Rows and columns of a text such as 6x10."""
    rows, columns = numbers(text.replace("x", ","), 2, "--grid", "rows x columns, as 6x10")
    if min(rows, columns) < 1:
        raise typer.BadParameter("expected at least one cell", param_hint="--grid")
    return int(rows), int(columns)


def numbers(text: str, count: int, option: str, meaning: str) -> list[float]:
    """Finite numbers between commas."""
    try:
        found = [float(part) for part in text.split(",")]
    except ValueError:
        found = []
    if len(found) != count or not all(map(math.isfinite, found)):
        raise typer.BadParameter(f"expected {meaning}; got {text!r}", param_hint=option)
    return found
