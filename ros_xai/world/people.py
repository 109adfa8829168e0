"""Pedestrians and cyclists: rigid pieces on bones that the distance gone puts into pose.

A figure's own frame: x forward, y left, z up, origin on the ground.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache
from math import sqrt
from typing import TYPE_CHECKING

import numpy as np

from ros_xai.world.mesh import BICYCLIST, PEDESTRIAN, Material, Mesh, concat, quads
from ros_xai.world.shapes import ball, tube

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.random import Generator
    from numpy.typing import NDArray

    Floats = NDArray[np.float32]
    Vector = NDArray[np.float64]

STRIDE = 1.5  # metres per full gait cycle of a person of 1.75 m
_TURN = 4.5  # metres per turn of the pedals
_WHEEL = 0.34  # radius of a bicycle's wheel, metres
_SKINS = np.array([[0.55, 0.36, 0.27], [0.62, 0.44, 0.35], [0.28, 0.16, 0.10], [0.45, 0.28, 0.18]])
_HAIR = np.array([[0.02, 0.015, 0.01], [0.10, 0.06, 0.03], [0.25, 0.17, 0.08], [0.3, 0.3, 0.3]])
_CLOTHES = np.array(
    [
        [0.02, 0.02, 0.025],
        [0.05, 0.06, 0.12],
        [0.16, 0.16, 0.17],
        [0.12, 0.09, 0.06],
        [0.30, 0.03, 0.03],
        [0.55, 0.55, 0.52],
        [0.10, 0.20, 0.12],
        [0.07, 0.13, 0.33],
        [0.60, 0.42, 0.05],
    ]
)
_DARK = (0.02, 0.02, 0.02)
_REAR, _FRONT = np.array([-0.52, 0, _WHEEL]), np.array([0.53, 0, _WHEEL])
_CRANK, _SEAT = np.array([-0.06, 0, 0.29]), np.array([-0.22, 0, 0.92])
_BAR, _NECK = np.array([0.36, 0, 1.02]), np.array([0.34, 0, 0.82])


_SKIN, _HAIR_SLOT, _TOP, _TROUSERS, _BAG, _FRAME = range(1, 7)  # what a colour stands for


@dataclass(frozen=True)
class Figure:
    """Pieces in the frames of their bones: bone [F] of each face; scale 1 is 1.75 m tall."""

    mesh: Mesh
    bone: NDArray[np.intp]
    scale: float
    rides: bool

    def posed(self, distance: float, moving: bool) -> Mesh:
        """The figure in its pose after ``distance`` metres."""
        bones = _riding(distance) if self.rides else _walking(distance / self.scale, moving)
        T = np.stack(bones).astype(np.float32)[self.bone]  # [F, 4, 4]
        corners = _turned(T, self.mesh.corners) + T[:, None, :3, 3]
        normals = _turned(T, self.mesh.normals)
        return replace(self.mesh, corners=corners * np.float32(self.scale), normals=normals)


def _turned(T: Floats, vectors: Floats) -> Floats:
    """Vectors [F, 3, 3] by each face's T [F, 4, 4]; an einsum is slower at this size."""
    x, y, z = (vectors[:, :, k, None] * T[:, None, :3, k] for k in range(3))
    turned: Floats = x + y + z
    return turned


def figure(rng: Generator, height: float, rides: bool) -> Figure:
    """A random person of a height in metres, on foot or on a bicycle."""
    mesh, bone, slot = _body(rides, bool(rng.random() < 0.4))
    top = _CLOTHES[rng.integers(len(_CLOTHES))] * rng.uniform(0.7, 1.3)
    trousers = _CLOTHES[rng.integers(4)] * rng.uniform(0.7, 1.5)
    colours = {
        _SKIN: _SKINS[rng.integers(len(_SKINS))],
        _HAIR_SLOT: _HAIR[rng.integers(len(_HAIR))],
        _TOP: top,
        _TROUSERS: trousers,
        _BAG: trousers * 2 + 0.02,
        _FRAME: np.clip(top * 0.7 + 0.05, 0, 1),
    }
    colour = mesh.colour.copy()
    for number, value in colours.items():
        colour[slot == number] = value
    return Figure(replace(mesh, colour=colour), bone, 1.0 if rides else height / 1.75, rides)


@cache
def _body(rides: bool, bag: bool) -> tuple[Mesh, NDArray[np.intp], NDArray[np.intp]]:
    """Pieces, the bone of each face, and the slot its colour is for (0 = fixed)."""
    label = BICYCLIST if rides else PEDESTRIAN
    pieces: list[list[Mesh]] = []
    for _ in range(2):
        pieces.append([_limb(0.085, 0.06, _TROUSERS, label)])  # thigh
        pieces.append([_limb(0.06, 0.045, _TROUSERS, label)])  # shin
        pieces.append([_limb(0.05, 0.04, 0, label)])  # foot
        pieces.append([_limb(0.055, 0.045, _TOP, label)])  # upper arm
        hand = ball((0.04, 0.04, 0.15), (0, 0, 1.0), Material.SKIN, _marked(_SKIN), label, 3)
        pieces.append([_limb(0.045, 0.03, _TOP, label), hand])  # forearm
    pieces += [_trunk(bag, label), _head(label)]
    if rides:
        pieces += _bicycle()
    bone = np.concatenate([np.full(sum(map(len, p)), k) for k, p in enumerate(pieces)])
    mesh = concat(m for p in pieces for m in p)
    slot = np.where(mesh.colour[:, 0] >= 1, np.round(mesh.colour[:, 0]), 0).astype(np.intp)
    return mesh, bone, slot


def _marked(slot: int) -> tuple[float, float, float]:
    """Colour that stands for a slot until a person is painted; 0 is black."""
    return (float(slot),) * 3 if slot else _DARK


def _limb(start: float, end: float, slot: int, label: int) -> Mesh:
    """Tube over one unit of z: its bone gives it its length."""
    colour = _marked(slot)
    return tube((0, 0, 0), (0, 0, 1), start, Material.CLOTH, colour, label, end, capped=False)


def _trunk(bag: bool, label: int) -> list[Mesh]:
    """From the hips (z = 0) to the shoulders (z = 1)."""
    belly, chest = (0.14, 0.175, 0.575), (0.115, 0.225, 0.27)
    top = _marked(_TOP)
    parts = [
        ball(belly, (0, 0, 0.5), Material.CLOTH, top, label, 5),
        ball(chest, (0, 0, 0.80), Material.CLOTH, top, label, 5),
    ]
    if bag:
        radii = (0.10, 0.15, 0.40)
        parts.append(ball(radii, (-0.19, 0, 0.57), Material.CLOTH, _marked(_BAG), label))
    return parts


def _head(label: int) -> list[Mesh]:
    """About the middle of the head, metres."""
    skin, hair = _marked(_SKIN), _marked(_HAIR_SLOT)
    return [
        tube((0, 0, -0.23), (0, 0, 0), 0.05, Material.SKIN, skin, label),
        ball((0.095, 0.08, 0.12), (0, 0, 0), Material.SKIN, skin, label, 5),
        ball((0.10, 0.09, 0.10), (-0.025, 0, 0.045), Material.CLOTH, hair, label, 5),
    ]


def _bicycle() -> list[list[Mesh]]:
    """Frame in the figure's frame, then the two wheels about their axles."""
    bars = (
        (_REAR, _CRANK),
        (_REAR, _SEAT - _xyz(0, 0, 0.08)),
        (_CRANK, _SEAT),
        (_CRANK, _NECK),
        (_NECK, _SEAT - _xyz(0, 0, 0.12)),
        (_NECK, _FRONT),
        (_NECK, _BAR),
    )
    colour, left = _marked(_FRAME), np.array([0, 0.28, 0])
    frame = [tube(a, b, 0.018, Material.METAL, colour, BICYCLIST, sides=5) for a, b in bars]
    frame.append(tube(_BAR - left, _BAR + left, 0.016, Material.METAL, _DARK, BICYCLIST, sides=5))
    frame.append(ball((0.13, 0.07, 0.04), _SEAT, Material.CLOTH, _DARK, BICYCLIST, 4))
    return [frame, _wheel(), _wheel()]


def _wheel() -> list[Mesh]:
    """Tyre as a flat ring of 16 quads, and six spokes, in the plane y = 0."""
    angle = np.linspace(0, 2 * np.pi, 17)
    circle = np.stack([np.cos(angle), 0 * angle, np.sin(angle)], axis=1)
    outer, inner = _WHEEL * circle, (_WHEEL - 0.045) * circle
    ring = np.stack([outer[:-1], outer[1:], inner[1:], inner[:-1]], axis=1)
    parts = [quads(ring, np.zeros((16, 4, 2)), Material.TYRE, _DARK, BICYCLIST)]
    for spoke in circle[:16:3]:
        tip = (_WHEEL - 0.04) * spoke
        parts.append(tube((0, 0, 0), tip, 0.006, Material.METAL, (0.3,) * 3, BICYCLIST, sides=3))
    return parts


def _xyz(x: float, y: float, z: float) -> Vector:
    return np.array([x, y, z], np.float64)


def _segment(a: Sequence[float] | Vector, b: Sequence[float] | Vector) -> Vector:
    """Pose [4, 4] at a whose z axis reaches to b (its length the scale), x axis forward.

    In plain floats: thousands of bones a frame are too small for arrays.
    """
    (ax, ay, az), (bx, by, bz) = map(float, a), map(float, b)
    dx, dy, dz = bx - ax, by - ay, bz - az
    length = sqrt(dx * dx + dy * dy + dz * dz)
    z0, z1, z2 = dx / length, dy / length, dz / length
    if abs(z0) < 0.95:  # what is ahead, less its part along z
        x0, x1, x2 = 1.0 - z0 * z0, -z0 * z1, -z0 * z2
    else:
        x0, x1, x2 = -z2 * z0, -z2 * z1, 1.0 - z2 * z2
    size = sqrt(x0 * x0 + x1 * x1 + x2 * x2)
    x0, x1, x2 = x0 / size, x1 / size, x2 / size
    return np.array(
        [
            [x0, z1 * x2 - z2 * x1, dx, ax],
            [x1, z2 * x0 - z0 * x2, dy, ay],
            [x2, z0 * x1 - z1 * x0, dz, az],
            [0, 0, 0, 1],
        ]
    )


def _spun(centre: Vector, angle: float) -> Vector:
    """Pose [4, 4] at a centre, turned forwards about y."""
    c, s = np.cos(angle), np.sin(angle)
    T = np.eye(4)
    T[:3, :3], T[:3, 3] = [[c, 0, s], [0, 1, 0], [-s, 0, c]], centre
    return T


def _upper(hip: Vector, shoulder: Vector) -> list[Vector]:
    """Bones of trunk and head."""
    up = (shoulder - hip) / np.linalg.norm(shoulder - hip)
    head = shoulder + up * 0.20 + _xyz(0.02, 0, 0)
    return [_segment(hip, shoulder), _segment(head, head + up)]


def _walking(distance: float, moving: bool) -> list[Vector]:
    swing = 0.42 * np.sin(2 * np.pi * distance / STRIDE) if moving else 0.06
    hip, shoulder = 0.90, 1.42
    bones = []
    for side in (-1, 1):
        angle = side * swing
        top = np.array([0, side * 0.09, hip])
        knee = top + 0.44 * _down(angle)
        foot = knee + 0.42 * _down(angle - 0.5 * max(0.0, -angle) - 0.05)
        foot[2] = max(foot[2], 0.05)
        arm = -0.8 * side * swing
        joint = np.array([0, side * 0.20, shoulder - 0.04])
        elbow = joint + 0.29 * (_down(arm) + _xyz(0, side * 0.12, 0))
        hand = elbow + 0.27 * _down(arm + 0.25)
        toe = foot + _xyz(0.16, 0, -0.01)
        bones += [_segment(top, knee), _segment(knee, foot), _segment(foot, toe)]
        bones += [_segment(joint, elbow), _segment(elbow, hand)]
    return bones + _upper(np.array([0, 0, hip - 0.04]), np.array([0, 0, shoulder]))


def _down(angle: float) -> Vector:
    return np.array([np.sin(angle), 0, -np.cos(angle)])


def _riding(distance: float) -> list[Vector]:
    hip, shoulder = _SEAT + _xyz(0, 0, 0.06), np.array([0.08, 0, 1.42])
    bones = []
    for side in (-1, 1):
        phase = 2 * np.pi * distance / _TURN + (np.pi if side > 0 else 0.0)
        pedal = _CRANK + _xyz(0.17 * np.cos(phase), side * 0.10, -0.17 * np.sin(phase))
        top = hip + _xyz(0, side * 0.09, 0)
        knee = _joint(top, pedal + _xyz(0, 0, 0.06), 0.43, 0.45)
        joint, hand = shoulder + _xyz(0, side * 0.18, -0.03), _BAR + _xyz(0, side * 0.25, 0.02)
        elbow = (joint + hand) / 2 + _xyz(-0.02, side * 0.06, -0.06)
        bones += [
            _segment(top, knee),
            _segment(knee, pedal),
            _segment(pedal, pedal + _xyz(0.13, 0, 0)),
        ]
        bones += [_segment(joint, elbow), _segment(elbow, hand)]
    angle = distance / _WHEEL
    return [
        *bones,
        *_upper(hip - _xyz(0, 0, 0.06), shoulder),
        np.eye(4),
        _spun(_REAR, angle),
        _spun(_FRONT, angle),
    ]


def _joint(a: Vector, b: Vector, upper: float, lower: float) -> Vector:
    """The knee between hip and foot, ahead of their line (law of cosines)."""
    line = b - a
    length = min(float(np.linalg.norm(line)), 0.999 * (upper + lower))
    line = line / np.linalg.norm(line)
    adjacent = (upper**2 - lower**2 + length**2) / (2 * length)
    height = np.sqrt(max(upper**2 - adjacent**2, 0.0))
    ahead = np.cross(line, [0, 1.0, 0])
    ahead *= np.sign(ahead[0]) or 1.0
    knee: Vector = a + line * adjacent + ahead / np.linalg.norm(ahead) * height
    return knee
