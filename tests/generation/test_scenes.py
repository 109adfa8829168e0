"""Moments whose truth is set: lamps of a rendered drive, and what is kept of them."""

from types import SimpleNamespace

import numpy as np
import pytest

from ros_xai.generation.scenes import SceneConfig, causes_of, lit_lamps
from ros_xai.world.bodywork import LAMPS

SIGNALS = 2
FIRST = 3 * SIGNALS + 1  # after three lamps per signal and the one of all street lamps
CONFIG = SceneConfig(least=4, most_unseen=1)


def run(parked: list[bool]) -> SimpleNamespace:
    """What `causes_of` needs of a drive: two signals, and agents of which some are parked."""
    traffic = SimpleNamespace(
        road_map=SimpleNamespace(signals=[None] * SIGNALS), parked=np.array(parked)
    )
    return SimpleNamespace(scene=SimpleNamespace(traffic=traffic, street_lamp_index=3 * SIGNALS))


def lamps(**pixels: int) -> np.ndarray:
    """A map of lamps with so many pixels of each: red of signal 1, or the tail of an agent."""
    tail = LAMPS.index("tail")
    numbers = {"red": 3, "green": 5, "street": 6, "tail0": FIRST + tail}
    numbers |= {"tail1": FIRST + len(LAMPS) + tail, "head0": FIRST}
    flat = np.full(100, -1, np.int32)
    start = 0
    for name, count in pixels.items():
        flat[start : start + count] = numbers[name]
        start += count
    return flat.reshape(10, 10)


@pytest.mark.parametrize(
    ("pixels", "sign", "car"),
    [
        ({"red": 5}, True, False),
        ({"red": 1}, False, False),
        ({"red": 2}, None, False),
        ({"green": 9, "street": 9, "head0": 9}, False, False),
        ({"tail0": 4, "red": 4}, True, True),
        ({"tail1": 20}, False, False),  # parked cars do not brake
        ({"tail0": 3}, False, None),
    ],
)
def test_lamps_are_seen_not_seen_or_in_doubt(pixels, sign, car):
    assert causes_of(lamps(**pixels), run([False, True]), CONFIG) == {"sign": sign, "car": car}


@pytest.mark.parametrize("car", [True, False, None])
def test_what_is_lit_forbids_to_move_on_and_then_does_not(car):
    rng = np.random.default_rng(0)
    drawn = [lit_lamps({"sign": True, "car": car}, rng) for _ in range(200)]
    seen = [name for name, there in (("sign", True), ("car", car)) if there]
    assert all(any(stop[name] for name in seen) for stop, _ in drawn)
    assert not any(go[name] for _, go in drawn for name in seen)
    states = {(stop["sign"], stop["car"]) for stop, _ in drawn}
    if car:
        assert states == {(True, False), (False, True), (True, True)}
    else:  # out of sight the cars brake in half of the moments; in doubt, never
        assert states == ({(True, False), (True, True)} if car is False else {(True, False)})


def test_only_lamps_tell_the_states_of_a_moment_apart():
    pytest.importorskip("libsumo")
    pytest.importorskip("embreex")
    from ros_xai.generation.scenes import image_with, seen_lamps
    from ros_xai.world.camera import Camera
    from ros_xai.world.domains import domain
    from ros_xai.world.drive import drive

    moment = drive(30_030_900, 6.0, "town")
    camera = Camera(width=96, height=48, focal=1.2, horizon=0.5)
    look = domain("clear")
    exposure = moment.exposures(camera, look)[0]
    surfaces = moment.surfaces(0)
    T = moment.T_world_base[0] @ camera.T_base_camera
    dark, lit = (
        image_with(moment, 0, camera, look, exposure, state, state, surfaces)[0].astype(int)
        for state in (False, True)
    )
    seen = seen_lamps(surfaces, camera, T) >= 0
    # bloom and the lens spread a lamp's light over its neighbourhood, and no further
    near = np.zeros(seen.shape, bool)
    for row, column in zip(*np.nonzero(seen)):
        near[max(row - 8, 0) : row + 9, max(column - 8, 0) : column + 9] = True
    change = np.abs(lit - dark).max(axis=2)
    assert (change[~near] <= 2).all()
    again = image_with(moment, 0, camera, look, exposure, True, True, surfaces)[0]
    assert np.array_equal(again, lit)
