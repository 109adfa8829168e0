"""Light against closed forms: Lambert, shadow, fog, sky, lamps, reflection, appearance."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from ros_xai.world.domains import DOMAINS, Domain, domain, varied
from ros_xai.world.lamps import head_light, street_light
from ros_xai.world.light import Contact, Lighting, Rays, contact, radiance
from ros_xai.world.materials import Points, appearance
from ros_xai.world.mesh import CAR, PAVEMENT, ROAD, Material, Mesh, concat
from ros_xai.world.rays import Surface, cast
from ros_xai.world.shapes import box, panel
from ros_xai.world.sky import sky, sun_direction
from ros_xai.world.streets import DASHED, SOLID

GREY = (0.4, 0.4, 0.4)
NO_CONTACT = Contact(np.zeros((4, 4), np.float32), np.zeros(2), 1.0)
PLAIN = replace(Domain(), fog=0.0, clouds=0.0)


def light(look: Domain, lamps: int = 1) -> Lighting:
    power = np.ones(lamps, np.float32)
    return Lighting(look, power, np.zeros((0, 3), np.float32), NO_CONTACT, np.eye(4, dtype="f4"))


def look_at(mesh: Mesh, origin: tuple[float, ...], rays: list, look: Domain) -> np.ndarray:
    surfaces = [Surface(mesh)]
    directions = np.array(rays, np.float32)
    start = np.tile(np.float32(origin), (len(directions), 1))
    cone = Rays(start, directions, np.full((2, 3), 1e-3, np.float32))
    return radiance(surfaces, cone, cast(surfaces, start, directions), light(look))


def plate(z: float = 0.0) -> Mesh:
    return panel((-50, -50, z), (100, 0, 0), (0, 100, 0), Material.PLAIN, GREY, PAVEMENT)


def test_a_plate_is_lit_by_lamberts_law() -> None:
    seen = []
    for elevation in (90.0, 30.0):
        look = replace(PLAIN, sun_elevation=elevation)
        black = replace(look, sun=(0.0, 0.0, 0.0))
        down = [(0.1, 0.1, -1.0)]
        direct = look_at(plate(), (0, 0, 5), down, look) - look_at(plate(), (0, 0, 5), down, black)
        seen.append(direct[0])
        expected = np.array(GREY) * np.array(look.sun) * np.sin(np.deg2rad(elevation))
        assert np.allclose(direct[0], expected, rtol=1e-4)
    assert np.allclose(seen[1] / seen[0], 0.5, rtol=1e-4)


def test_a_roof_takes_the_sun_away() -> None:
    roof = box((4, 4, 0.2), (0, 0, 3), Material.PLAIN, GREY, CAR)
    look = replace(PLAIN, sun_elevation=90.0)
    rays = [(0.0, 0.3, -1.0), (0.0, 6.0, -1.0)]  # below the roof, and beside it
    image = look_at(concat([plate(), roof]), (0, 0, 1), rays, look)
    open_air = look_at(plate(), (0, 0, 1), rays, look)
    lost = np.array(GREY) * np.array(look.sun)
    assert np.allclose(open_air[0] - image[0], lost, rtol=1e-4)
    assert np.allclose(open_air[1], image[1], rtol=1e-4)


def test_fog_fades_exponentially_into_the_horizon() -> None:
    wall = panel((20, -9, -9), (0, 18, 0), (0, 0, 18), Material.PLAIN, GREY, PAVEMENT)
    clear = look_at(wall, (0, 0, 0), [(1.0, 0, 0)], PLAIN)
    foggy = look_at(wall, (0, 0, 0), [(1.0, 0, 0)], replace(PLAIN, fog=0.03))
    kept = np.exp(-0.03 * 20)
    haze = 0.95 * np.array(PLAIN.horizon)
    assert np.allclose(foggy, clear * kept + haze * (1 - kept), rtol=1e-4)


def test_the_sky_runs_from_horizon_to_zenith_and_is_brightest_at_the_sun() -> None:
    look = replace(PLAIN, sun=(0.0, 0.0, 0.0))
    up = np.float32([[1, 0, 0], [0, 0, 1]])
    assert np.allclose(sky(look, up)[0], look.horizon, rtol=1e-5)
    assert np.allclose(sky(look, up)[1], look.zenith, rtol=0.08)
    around = np.float32([[np.cos(a), np.sin(a), 0.5] for a in np.linspace(0, 6.2, 30)])
    around /= np.linalg.norm(around, axis=1, keepdims=True)
    towards = around @ sun_direction(PLAIN)
    assert sky(PLAIN, around).sum(axis=1).argmax() == towards.argmax()


def test_lamps_glow_in_their_colour_only_when_on() -> None:
    lens = box((1, 1, 1), (5, 0, 0), Material.LAMP, (0.3, 0.01, 0.01), CAR, lamp=0)
    surfaces = [Surface(lens)]
    rays = np.float32([[1, 0, 0]])
    cone = Rays(np.zeros_like(rays), rays, np.full((2, 3), 1e-3, np.float32))
    hits = cast(surfaces, cone.origins, cone.directions)
    dark = replace(light(PLAIN), lamps=np.zeros(1, np.float32))
    gained = radiance(surfaces, cone, hits, light(PLAIN)) - radiance(surfaces, cone, hits, dark)
    assert gained[0, 0] > 3 and gained[0, 0] > 10 * gained[0, 1]


def test_street_lamps_follow_the_inverse_square_below_them() -> None:
    lamp = np.float32([[0, 0, 10]])
    below = np.float32([[0, 0, 0], [0, 0, 6]])
    up = np.tile(np.float32([0, 0, 1]), (2, 1))
    far, near = street_light(lamp, below, up)
    assert np.allclose(far / near, (16 + 1) / (100 + 1), rtol=1e-4)
    assert np.all(street_light(lamp, np.float32([[0, 0, 12]]), up[:1]) == 0)  # no light upwards


def test_headlights_shine_ahead_and_not_above() -> None:
    T = np.eye(4, dtype=np.float32)
    T[:3, :3] = [[0, 0, 1], [-1, 0, 0], [0, -1, 0]]  # looking along x
    T[2, 3] = 1.6
    ahead, above, behind = np.float32([[15, 0, 0.3], [15, 0, 6], [-15, 0, 0.3]])
    towards = np.float32([[-1, 0, 0]])
    lit = [head_light(T, p[None], towards)[0].max() for p in (ahead, above)]
    assert lit[0] > 20 * lit[1]
    assert head_light(T, behind[None], -towards)[0].max() == 0


def test_wet_ground_mirrors_what_stands_behind_it() -> None:
    ground = panel((0, -20, 0), (60, 0, 0), (0, 40, 0), Material.PLAIN, (0.1,) * 3, ROAD)
    wall = panel((30, -20, 0), (0, 40, 0), (0, 0, 20), Material.PLAIN, (0.8, 0.05, 0.05), CAR)
    rays = [(1.0, 0.0, -0.06)]
    wet, dry = (
        look_at(concat([ground, wall]), (0, 0, 1), rays, replace(PLAIN, wet=w)) for w in (1.0, 0.0)
    )
    assert wet[0, 0] / wet[0, 2] > 1.3 * dry[0, 0] / dry[0, 2]


def test_contact_shadow_is_dark_below_and_gone_at_a_distance() -> None:
    outline = np.array([[[-2.0, -1], [2, -1], [2, 1], [-2, 1]]])
    shade = contact(outline, np.zeros(2), reach=10.0)
    below, beside, away = shade.at(np.float32([[0, 0], [0, 1.0], [0, 4]]))
    assert below > 0.95 and beside == pytest.approx(0.5, abs=0.07) and away < 0.01


def surface(material: Material, uv: np.ndarray, params: list[float]) -> Points:
    count = len(uv)
    rows = np.zeros((count, 6), np.float32)
    rows[:, : len(params)] = params
    return Points(
        np.full(count, material, np.uint8),
        uv.astype(np.float32),
        np.full((count, 2), 0.01, np.float32),
        np.full((count, 3), 0.1, np.float32),
        rows,
    )


def test_lane_markings_cover_what_they_should() -> None:
    t = np.linspace(0.0, 3.3, 331)
    s = np.linspace(0, 60, 601)
    uv = np.stack(np.meshgrid(s, t, indexing="ij"), axis=-1)
    lane = surface(Material.LANE, uv.reshape(-1, 2), [3.3, DASHED, SOLID, 100.0, 0.0])
    bright = (appearance(lane).albedo.mean(axis=1) > 0.3).reshape(601, 331)
    # solid line 0.13 m wide, 0.18 m from the right border; the left one is dashed half of the time
    assert bright[:, t < 1.5].mean() * 1.5 == pytest.approx(0.13, abs=0.02)
    left = bright[:, t > 3.25].any(axis=1)
    assert left.mean() == pytest.approx(0.5, abs=0.03)
    assert not bright[:, (t > 1) & (t < 2.5)].any()


def test_a_stop_line_crosses_the_end_of_a_ruled_lane() -> None:
    uv = np.stack([np.linspace(95, 100, 501), np.full(501, 1.6)], axis=1)
    for stop, expected in ((1.0, 0.4), (0.0, 0.0)):
        lane = surface(Material.LANE, uv, [3.3, 0, 0, 100.0, stop])
        length = (appearance(lane).albedo.mean(axis=1) > 0.3).mean() * 5
        assert length == pytest.approx(expected, abs=0.03)


def test_facades_have_a_window_per_bay_and_storey() -> None:
    u, z = np.meshgrid(np.linspace(0, 9, 450), np.linspace(0, 9, 450))
    wall = surface(Material.FACADE, np.stack([u, z], -1).reshape(-1, 2), [3.0, 3.0, 0.4, 0.5, 0, 3])
    wall.colour[:] = 0.7
    looks = appearance(wall)
    glass = (looks.gloss > 0.4).reshape(450, 450)
    assert glass.mean() == pytest.approx(0.4 * 0.5, abs=0.02)
    rising = np.diff(glass[:, 225].astype(int)) == 1
    assert rising.sum() == 3
    lit = (looks.emission.max(axis=1) > 0).reshape(450, 450)
    assert not lit[~glass].any()


@pytest.mark.parametrize("name", sorted(DOMAINS))
def test_domains_are_found_by_name_and_vary_reproducibly(name: str) -> None:
    base = domain(name)
    assert base.name == name
    first, again, other = (varied(base, np.random.default_rng(s)) for s in (1, 1, 2))
    assert first == again != other
    assert (first.fog, first.rain, first.dark, first.wet) == (
        base.fog,
        base.rain,
        base.dark,
        base.wet,
    )


def test_an_unknown_domain_is_named() -> None:
    with pytest.raises(ValueError, match=r"expected a domain of .*'snow'"):
        domain("snow")
