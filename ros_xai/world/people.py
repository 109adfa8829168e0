"""Pedestrians and cyclists, posed by the distance they have gone: limbs of tubes and balls."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ros_xai.world.mesh import BICYCLIST, PEDESTRIAN, Material, Mesh, concat, quads
from ros_xai.world.shapes import ball, tube

if TYPE_CHECKING:
    from numpy.random import Generator
    from numpy.typing import NDArray

    Colour = NDArray[np.float64]

STRIDE = 1.5  # metres per full gait cycle
_SKINS = np.array([[0.55, 0.36, 0.27], [0.62, 0.44, 0.35], [0.28, 0.16, 0.10], [0.45, 0.28, 0.18]])
_CLOTHES = np.array(
    [
        [0.02, 0.02, 0.025],
        [0.05, 0.06, 0.12],
        [0.16, 0.16, 0.17],
        [0.30, 0.03, 0.03],
        [0.55, 0.55, 0.52],
        [0.10, 0.20, 0.12],
        [0.12, 0.09, 0.06],
        [0.07, 0.13, 0.33],
        [0.60, 0.42, 0.05],
    ]
)


@dataclass(frozen=True)
class Looks:
    """Colours of one person; ``bag`` whether a rucksack is carried."""

    skin: Colour
    hair: Colour
    top: Colour
    trousers: Colour
    bag: bool


def looks(rng: Generator) -> Looks:
    hair = np.array([[0.02, 0.015, 0.01], [0.10, 0.06, 0.03], [0.25, 0.17, 0.08], [0.3, 0.3, 0.3]])
    return Looks(
        _SKINS[rng.integers(len(_SKINS))],
        hair[rng.integers(len(hair))],
        _CLOTHES[rng.integers(len(_CLOTHES))] * rng.uniform(0.7, 1.3),
        _CLOTHES[rng.integers(4)] * rng.uniform(0.7, 1.5),
        bool(rng.random() < 0.4),
    )


def pedestrian(who: Looks, height: float, distance: float, moving: bool) -> Mesh:
    """A person of a height in metres, in the phase of its gait after ``distance`` metres."""
    swing = 0.42 * np.sin(2 * np.pi * distance / STRIDE) if moving else 0.06
    s = height / 1.75
    hip, shoulder = 0.90 * s, 1.42 * s
    parts = []
    for side in (-1, 1):
        angle = side * swing
        top = np.array([0, side * 0.09 * s, hip])
        knee = top + 0.44 * s * np.array([np.sin(angle), 0, -np.cos(angle)])
        bend = angle - (0.5 * max(0.0, -angle) + 0.05)
        foot = knee + 0.42 * s * np.array([np.sin(bend), 0, -np.cos(bend)])
        foot[2] = max(foot[2], 0.05)
        parts.append(_limb(top, knee, 0.085 * s, 0.06 * s, who.trousers))
        parts.append(_limb(knee, foot, 0.06 * s, 0.045 * s, who.trousers))
        toe = foot + np.array([0.16 * s, 0, -0.01])
        parts.append(_limb(foot, toe, 0.05 * s, 0.04 * s, np.array([0.02, 0.02, 0.02])))
        arm = -side * swing * 0.8
        joint = np.array([0, side * 0.20 * s, shoulder - 0.04 * s])
        elbow = joint + 0.29 * s * np.array([np.sin(arm), side * 0.12, -np.cos(arm)])
        hand = elbow + 0.27 * s * np.array([np.sin(arm + 0.25), 0, -np.cos(arm + 0.25)])
        parts.append(_limb(joint, elbow, 0.055 * s, 0.045 * s, who.top))
        parts.append(_limb(elbow, hand, 0.045 * s, 0.03 * s, who.top))
        parts.append(ball(np.full(3, 0.04 * s), hand, Material.SKIN, who.skin, PEDESTRIAN, 3))
    parts += _trunk(
        who, np.array([0, 0, hip - 0.04 * s]), np.array([0, 0, shoulder]), s, PEDESTRIAN
    )
    return concat(parts)


def _limb(
    a: NDArray[np.float64],
    b: NDArray[np.float64],
    ra: float,
    rb: float,
    colour: Colour,
    label: int = PEDESTRIAN,
) -> Mesh:
    return tube(a, b, ra, Material.CLOTH, colour, label, end_radius=rb, sides=6)


def _trunk(
    who: Looks, low: NDArray[np.float64], high: NDArray[np.float64], s: float, label: int
) -> list[Mesh]:
    middle = (low + high) / 2
    up = (high - low) / np.linalg.norm(high - low)
    forward = np.array([up[2], 0, -up[0]])
    head = high + up * 0.20 * s + forward * 0.02
    half = float(np.linalg.norm(high - low)) / 2
    torso = ball((0.14 * s, 0.21 * s, half * 1.15), (0, 0, 0), Material.CLOTH, who.top, label, 6)
    frame = np.eye(4)
    frame[:3, 0], frame[:3, 2], frame[:3, 3] = forward, up, middle
    parts = [
        torso.moved(frame),
        tube(high - up * 0.03, head, 0.05 * s, Material.SKIN, who.skin, label),
        ball((0.095 * s, 0.08 * s, 0.12 * s), head, Material.SKIN, who.skin, label, 6),
        ball(
            (0.10 * s, 0.09 * s, 0.10 * s),
            head + up * 0.045 * s - forward * 0.025,
            Material.CLOTH,
            who.hair,
            label,
            6,
        ),
    ]
    if who.bag:
        bag = ball(
            (0.10 * s, 0.15 * s, 0.22 * s),
            (-0.19 * s, 0, 0.04),
            Material.CLOTH,
            who.trousers * 2 + 0.02,
            label,
            4,
        )
        parts.append(bag.moved(frame))
    return parts


def cyclist(who: Looks, distance: float) -> Mesh:
    """A person on a bicycle 1.75 m long, pedals and wheels turned by ``distance`` metres."""
    frame_colour = np.clip(who.top * 0.7 + 0.05, 0, 1)
    rear, front = np.array([-0.52, 0, 0.34]), np.array([0.53, 0, 0.34])
    crank, seat, bar = (
        np.array([-0.06, 0, 0.29]),
        np.array([-0.22, 0, 0.92]),
        np.array([0.36, 0, 1.02]),
    )
    neck = np.array([0.34, 0, 0.82])
    parts = [_wheel(rear, distance), _wheel(front, distance)]
    for a, b in (
        (rear, crank),
        (rear, seat - [0, 0, 0.08]),
        (crank, seat),
        (crank, neck),
        (neck, seat - [0, 0, 0.12]),
        (neck, front),
        (neck, bar),
    ):
        parts.append(tube(a, b, 0.018, Material.METAL, frame_colour, BICYCLIST, sides=5))
    parts.append(
        tube(
            bar + [0, -0.28, 0],
            bar + [0, 0.28, 0],
            0.016,
            Material.METAL,
            (0.05,) * 3,
            BICYCLIST,
            sides=5,
        )
    )
    parts.append(ball((0.13, 0.07, 0.04), seat, Material.CLOTH, (0.02,) * 3, BICYCLIST, 4))
    hip, shoulder = seat + [0, 0, 0.06], np.array([0.08, 0, 1.42])
    turn = 2 * np.pi * distance / 4.5
    for side in (-1, 1):
        phase = turn + (np.pi if side > 0 else 0.0)
        pedal = crank + [0.17 * np.cos(phase), side * 0.10, 0.17 * np.sin(-phase)]
        top = hip + [0, side * 0.09, 0]
        knee = _joint(top, pedal + [0, 0, 0.06], 0.43, 0.45)
        hand, joint = bar + [0, side * 0.25, 0.02], shoulder + [0, side * 0.18, -0.03]
        elbow = (joint + hand) / 2 + [-0.02, side * 0.06, -0.06]
        parts.append(_limb(top, knee, 0.085, 0.06, who.trousers, BICYCLIST))
        parts.append(_limb(knee, pedal, 0.06, 0.045, who.trousers, BICYCLIST))
        parts.append(_limb(joint, elbow, 0.05, 0.045, who.top, BICYCLIST))
        parts.append(_limb(elbow, hand, 0.045, 0.03, who.top, BICYCLIST))
    return concat([*parts, *_trunk(who, hip - [0, 0, 0.06], shoulder, 1.0, BICYCLIST)])


def _joint(
    a: NDArray[np.float64], b: NDArray[np.float64], upper: float, lower: float
) -> NDArray[np.float64]:
    """The knee between hip and foot, ahead of their line (law of cosines)."""
    line = b - a
    length = min(float(np.linalg.norm(line)), 0.999 * (upper + lower))
    line = line / np.linalg.norm(line)
    adjacent = (upper**2 - lower**2 + length**2) / (2 * length)
    height = np.sqrt(max(upper**2 - adjacent**2, 0.0))
    ahead = np.cross(line, [0, 1.0, 0])
    ahead *= np.sign(ahead[0]) or 1.0
    knee: NDArray[np.float64] = a + line * adjacent + ahead / np.linalg.norm(ahead) * height
    return knee


def _wheel(centre: NDArray[np.float64], distance: float, radius: float = 0.34) -> Mesh:
    """Tyre as a flat ring of 16 quads, and six spokes."""
    angle = np.linspace(0, 2 * np.pi, 17)
    circle = np.stack([np.cos(angle), 0 * angle, np.sin(angle)], axis=1)
    outer, inner = centre + radius * circle, centre + (radius - 0.045) * circle
    ring = np.stack([outer[:-1], outer[1:], inner[1:], inner[:-1]], axis=1)
    parts = [quads(ring, np.zeros((16, 4, 2)), Material.TYRE, (0.02,) * 3, BICYCLIST)]
    for k in range(6):
        a = k * np.pi / 3 - distance / radius
        rim = centre + (radius - 0.04) * np.array([np.cos(a), 0, np.sin(a)])
        parts.append(tube(centre, rim, 0.006, Material.METAL, (0.3,) * 3, BICYCLIST, sides=3))
    return concat(parts)
