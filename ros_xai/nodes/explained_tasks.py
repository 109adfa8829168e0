"""Whose answers the explanation node explains: what to listen to, and the question it raises.

One class per task. `connect` subscribes; every answer that can be explained is handed to `submit`
as a function of the configuration that puts the question, which the worker calls if it wants to.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Generic, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray
from sensor_msgs.msg import CameraInfo, Image, PointCloud2

from ros_xai.data.forecasting import FORECAST
from ros_xai.depth.estimator import DepthEstimator
from ros_xai.forecasting.forecaster import Forecaster
from ros_xai.nodes import explained, explained_forecast
from ros_xai.nodes.camera import listen_to_images, rectified
from ros_xai.nodes.explained_view import View
from ros_xai.nodes.explanation_config import ExplanationConfig
from ros_xai.nodes.traffic import AnyNode, Moment, Traffic
from ros_xai.ros import camera_info, forecasts, images, pointclouds
from ros_xai.ros.camera_info import Camera
from ros_xai.ros.errors import MessageError
from ros_xai.ros.pipeline import Arrival
from ros_xai.ros.synchronizers import nanoseconds
from ros_xai.segmentation.bundle import load_bundle
from ros_xai.segmentation.segmenter import SHIPPED

Ask = Callable[[ExplanationConfig], View]
Submit = Callable[[Arrival, Ask], None]
T = TypeVar("T")

_KEPT = 30  # about 3 s at 10 Hz: an answer comes long before


class Task(Protocol):
    """An explained node's network, its inputs and its answers."""

    def connect(self, node: AnyNode, submit: Submit) -> None: ...


class Recent(Generic[T]):
    """The newest inputs by their stamp (ns), for the answer that comes later."""

    def __init__(self) -> None:
        self._lock = threading.Lock()  # the executor's threads share it
        self._values: OrderedDict[int, T] = OrderedDict()

    def put(self, stamp_ns: int, value: T) -> None:
        with self._lock:
            self._values[stamp_ns] = value
            while len(self._values) > _KEPT:
                self._values.popitem(last=False)

    def of(self, stamp_ns: int) -> T | None:
        """The input of that stamp."""
        with self._lock:
            return self._values.get(stamp_ns)


class SegmentationTask:
    """Images, which segmentation answers, too."""

    def __init__(self, config: ExplanationConfig) -> None:
        bundle = load_bundle(config.weights or SHIPPED)
        self._names = bundle.classes.names
        self._engine = explained.logits_engine(bundle.network, config.engine, config.threads)

    def connect(self, node: AnyNode, submit: Submit) -> None:
        def on_image(arrival: Arrival) -> None:
            with arrival.stages("decode"):
                rgb = arrival.converted(images.to_rgb)
            submit(arrival, partial(self._ask, rgb))

        listen_to_images(node, "answer", on_image)

    def _ask(self, rgb: NDArray[np.uint8], config: ExplanationConfig) -> View:
        if config.target not in self._names:
            known = ", ".join(self._names)
            raise MessageError("target", f"expected target one of {known}; got {config.target!r}")
        region = _region(rgb, config)
        box = explained.classes_by_image(self._engine, rgb, config.max_pixels, config.batch_size)
        try:
            question = explained.about_class(box, self._names.index(config.target), region)
        except ValueError as error:
            raise MessageError("target", f"{config.target}: {error}") from error
        return View(question, rgb)


class DepthTask:
    """`depth/sparse`, which depth publishes with its depth, beside the image of its stamp, which
    is rectified as depth does it: by the newest `camera_info`."""

    def __init__(self, config: ExplanationConfig) -> None:
        weights = config.weights or None
        self._estimator = DepthEstimator.load(
            weights, config.engine, config.threads, config.max_pixels
        )
        self._images: Recent[NDArray[np.uint8]] = Recent()
        self._camera: Camera | None = None

    def connect(self, node: AnyNode, submit: Submit) -> None:
        def on_image(arrival: Arrival) -> None:
            stamp = nanoseconds(arrival.message.header.stamp)
            self._images.put(stamp, arrival.converted(images.to_rgb))

        def on_camera_info(arrival: Arrival) -> None:
            self._camera = camera_info.from_message(arrival.message)

        def on_sparse(arrival: Arrival) -> None:
            submit(arrival, self._paired(arrival.message))

        listen_to_images(node, "image", on_image)
        node.listen(CameraInfo, "camera_info", "camera_info", on_camera_info)
        node.listen(Image, "depth/sparse", "answer", on_sparse)

    def _paired(self, message: Image) -> Ask:
        rgb, camera = self._images.of(nanoseconds(message.header.stamp)), self._camera
        if rgb is None or camera is None:
            missing = "the image of its stamp" if rgb is None else "camera_info"
            raise MessageError("unpaired", f"depth/sparse without {missing}")
        sparse = images.to_array(message)
        if sparse.shape != rgb.shape[:2]:
            raise MessageError(
                "bad_size", f"image {rgb.shape[:2]} and depth/sparse {sparse.shape} differ"
            )
        return partial(self._ask, rgb, sparse, camera)

    def _ask(
        self,
        rgb: NDArray[np.uint8],
        sparse: NDArray[np.float32],
        camera: Camera,
        config: ExplanationConfig,
    ) -> View:
        rgb, camera = rectified(rgb, camera)
        make = explained.depth_by_lidar if config.by == "lidar" else explained.depth_by_image
        returns = np.nan_to_num(sparse.astype(np.float32))
        box = make(self._estimator, rgb, returns, camera.intrinsics, config.batch_size)
        return View(explained.about_depth(box, _region(rgb, config)), rgb)


class ForecastingTask:
    """`forecast/points`, which forecasting publishes, beside the tracks of its stamp and the map.

    Raises ValueError for an engine that runs no forecaster.
    """

    def __init__(self, config: ExplanationConfig) -> None:
        if config.engine != "torch":
            raise ValueError(f"expected engine torch for forecasting; got {config.engine}")
        self._network = Forecaster.load(Path(config.weights) if config.weights else None).network
        self._traffic = Traffic(config)
        self._moments: Recent[Moment] = Recent()

    def connect(self, node: AnyNode, submit: Submit) -> None:
        def on_moment(arrival: Arrival, moment: Moment) -> None:
            if len(moment.tracks.id):
                self._moments.put(moment.stamp_ns, moment)

        def on_points(arrival: Arrival) -> None:
            if not arrival.message.width:  # nobody there to explain
                node.pipeline.pass_over("answer")
                return
            moment = self._moments.of(nanoseconds(arrival.message.header.stamp))
            if moment is None:
                raise MessageError("unpaired", "forecast/points without the tracks of its stamp")
            submit(arrival, partial(self._ask, arrival.message, moment))

        self._traffic.connect(node, on_moment)
        node.listen(PointCloud2, "forecast/points", "answer", on_points)

    def _ask(self, points: PointCloud2, moment: Moment, config: ExplanationConfig) -> View:
        track, tracks = config.target, moment.tracks
        known = tracks.id[np.isin(tracks.category, FORECAST)]
        if track not in known:
            among = ", ".join(sorted(known)) or "none"
            raise MessageError("target", f"expected a forecast track of {among}; got {track!r}")
        agent = explained_forecast.agent_features(self._network, tracks, self._traffic.map, track)
        by = config.by or explained_forecast.BY[0]
        try:
            view = explained_forecast.view(self._network, agent, by, config.batch_size)
        except ValueError as error:
            raise MessageError("target", str(error)) from error
        ours = explained_forecast.end_in_map(view.question, tracks, track)
        apart = np.hypot(*(ours - _published_end(points, track)))
        return replace(view, figures={"metres_from_published": f"{apart:.3f}"})


def _published_end(points: PointCloud2, track: str) -> NDArray[np.float64]:
    """The most likely end point (x, y) m of a track in `forecast/points`; NaN if it has none."""
    rows = pointclouds.to_structured(points)
    number = forecasts.track_numbers(np.array([track]))[0]
    likeliest = rows[(rows["track_id"] == number) & (rows["mode"] == 0)]
    if not len(likeliest):
        return np.full(2, np.nan)
    end = likeliest[likeliest["t"].argmax()]
    return np.array([end["x"], end["y"]])


TASKS: dict[str, Callable[[ExplanationConfig], Task]] = {
    "depth": DepthTask,
    "segmentation": SegmentationTask,
    "forecasting": ForecastingTask,
}


def _region(rgb: NDArray[np.uint8], config: ExplanationConfig) -> NDArray[np.bool_]:
    """The pixels [H,W] asked about."""
    height, width = rgb.shape[:2]
    left, top, right, bottom = config.region or (0, 0, width, height)
    region = np.zeros((height, width), dtype=bool)
    region[top:bottom, left:right] = True
    if not region.any():
        raise MessageError(
            "region", f"region {config.region} holds no pixel of the {width} x {height} image"
        )
    return region
