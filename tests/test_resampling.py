"""Values and places survive resampling: straight lines, waves, borders, tilts and turns."""

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy import ndimage
from scipy.interpolate import make_interp_spline
from scipy.spatial.transform import Rotation

from lungfish.errors import InputError
from lungfish.resampling import axis_matrix, resampled_length, to_patient_grid
from lungfish.volume import AIR_HU, axis_aligned_affine, to_index, to_mm

KINDS = st.sampled_from(["cubic", "linear", "lanczos3"])
STEPS = st.tuples(*[st.floats(0.4, 3)] * 3)
SHAPES = st.tuples(*[st.integers(2, 22)] * 3)
NEW = st.one_of(st.none(), st.floats(0.5, 3))
GRADIENT = np.array([12, -16, 10])  # HU a step along z, y, x: whole numbers, so the source is exact
ROUNDING_HU = 0.51


def grid_of(shape):
    return np.stack(np.meshgrid(*[np.arange(size) for size in shape], indexing="ij"), axis=-1)


def ramp(shape, places=None, slice_axis=0):
    """HU linear in the place; `places` must be multiples of a half."""
    index = grid_of(shape).astype(float)
    if places is not None:
        index[..., slice_axis] = np.asarray(places)[grid_of(shape)[..., slice_axis]]
    return (index @ GRADIENT - 100).astype(np.int16)


def sheared(steps, moved, by, degrees):
    """An affine whose array axis `by` (of z, y, x) leans towards patient axis `moved`."""
    lean = np.eye(3)
    lean[by, by], lean[moved, by] = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
    return affine_of(lean @ np.diag(steps))


def turned(steps, axis, degrees):
    turn = Rotation.from_rotvec(np.deg2rad(degrees) * np.array(axis) / np.linalg.norm(axis))
    return affine_of(turn.as_matrix() @ np.diag(steps))


def affine_of(steps):
    affine = np.eye(4)
    affine[:3, :3] = steps[::-1, ::-1]
    affine[:3, 3] = -100.5, 20, 3.25
    return affine


def sources(made, affine):
    """Where each voxel of the result lies on the acquired grid, in its steps."""
    return to_index(affine, to_mm(made.affine, grid_of(made.hu.shape)))


def is_right(made, affine, shape, places=None, slice_axis=0):
    """Compare with the ramp within the field; more than half a voxel outside it must be air."""
    at = sources(made, affine)
    last = np.array(shape, float) - 1
    if places is not None:
        last[slice_axis] = places[-1]
    # A straight line goes on up to half a voxel outside, but never beyond the source's range.
    near = ((at > -0.5) & (at < last + 0.5)).all(axis=-1)
    truth = np.clip(at @ GRADIENT - 100, *ends(shape, last))
    assert np.abs(made.hu - truth)[near].max(initial=0) <= ROUNDING_HU
    assert (made.hu[((at < -0.51) | (at > last + 0.51)).any(axis=-1)] == AIR_HU).all()
    assert made.hu.dtype == np.int16
    assert made.hu.flags.c_contiguous
    # All of the field is there: the new box reaches the acquired one to half a new voxel.
    corners = to_index(made.affine, to_mm(affine, grid_of((2, 2, 2)) * last))
    assert corners.min() > -0.51
    assert (corners.reshape(-1, 3).max(axis=0) < np.array(made.hu.shape) - 0.49).all()


def ends(shape, last):
    edges = GRADIENT * last
    return np.minimum(edges, 0).sum() - 100, np.maximum(edges, 0).sum() - 100


@given(shape=SHAPES, steps=STEPS, spacing=NEW, kind=KINDS)
@settings(max_examples=40, deadline=None)
def test_a_linear_chest_stays_linear_up_to_the_border(shape, steps, spacing, kind):
    affine = axis_aligned_affine(steps, (-100, 3, 7))
    made = to_patient_grid(ramp(shape), affine, spacing_mm=spacing, interpolation=kind)
    truth = np.clip(sources(made, affine) @ GRADIENT - 100, *ends(shape, np.array(shape) - 1))
    assert np.abs(made.hu - truth).max() <= ROUNDING_HU
    new = steps if spacing is None else [spacing] * 3
    assert np.array_equal(made.affine, axis_aligned_affine(new, (-100, 3, 7)))
    assert made.hu.shape == tuple(map(resampled_length, shape, steps, new))


HALVES = st.lists(st.sampled_from([0.5, 1, 1, 1.5]), min_size=1, max_size=20)


@given(gaps=st.lists(st.floats(0.5, 4), min_size=3, max_size=30), moved=st.floats(0, 0.4))
def test_a_cubic_axis_is_the_natural_spline_of_scipy(gaps, moved):
    places = np.cumsum(gaps)
    finest = np.median(np.diff(places))  # no longer step, no low-pass
    new = np.arange(places[0] + moved, places[-1], 0.9 * finest)
    assume(len(new) > 1)
    spline = make_interp_spline(places, np.eye(len(places)), k=3, bc_type="natural")
    # Weights below 1e-6 are dropped, and what that bends is straightened.
    assert axis_matrix(places, new) == pytest.approx(spline(new), abs=1e-4)


@given(gaps=HALVES, axis=st.integers(0, 2), steps=STEPS, spacing=NEW, kind=KINDS)
@settings(max_examples=40, deadline=None)
def test_irregular_slices_lie_at_their_true_places(gaps, axis, steps, spacing, kind):
    places = np.cumsum([0, *gaps])
    shape = np.insert([12, 9], axis, len(places))
    affine = axis_aligned_affine(steps, (-100, 3, 7))
    hu = ramp(shape, places, axis)
    made = to_patient_grid(
        hu, affine, spacing_mm=spacing, interpolation=kind, slice_axis=axis, places=places
    )
    truth = sources(made, affine) @ GRADIENT - 100
    assert np.abs(made.hu - np.clip(truth, hu.min(), hu.max())).max() <= ROUNDING_HU
    if spacing is None:
        assert made.hu.shape[axis] == max(1, round(places[-1])) + 1
        assert sources(made, affine)[-1, -1, -1, axis] == pytest.approx(places[-1])


TILTS = st.sampled_from([(0, 1), (1, 0), (0, 2), (1, 2), (2, 0), (2, 1)])
DEGREES = st.floats(5, 30).flatmap(lambda size: st.sampled_from([size, -size]))


@given(shape=SHAPES, steps=STEPS, spacing=NEW, kind=KINDS, tilt=TILTS, degrees=DEGREES)
@settings(max_examples=60, deadline=None)
def test_a_tilted_gantry_is_sheared_out(shape, steps, spacing, kind, tilt, degrees):
    assume(shape[tilt[1]] > 2)  # of two rows, a lean of a tenth of a step is taken as noise
    affine = sheared(steps, *tilt, degrees)
    made = to_patient_grid(ramp(shape), affine, spacing_mm=spacing, interpolation=kind)
    is_right(made, affine, shape)


@given(
    shape=st.tuples(*[st.integers(6, 18)] * 3), steps=STEPS, spacing=NEW, kind=KINDS,
    degrees=st.floats(5, 44), axis=st.tuples(*[st.floats(-1, 1)] * 3),
)  # fmt: skip
@settings(max_examples=60, deadline=None)
def test_oblique_slices_are_turned_back(shape, steps, spacing, kind, degrees, axis):
    assume(np.linalg.norm(axis) > 0.1)
    affine = turned(steps, axis, degrees)
    made = to_patient_grid(ramp(shape), affine, spacing_mm=spacing, interpolation=kind)
    is_right(made, affine, shape)


@pytest.mark.parametrize("affine", [sheared((2, 1, 1), 0, 1, -17), turned((2, 1, 1), (1, 2, 3), 9)])
@pytest.mark.parametrize("slice_axis", [0, 1, 2])
@pytest.mark.parametrize("spacing", [None, 0.9, 2.2])
def test_irregular_and_oblique_together(affine, slice_axis, spacing):
    places = np.cumsum([0, 1, 1.5, 0.5, 1, 1, 1.5, 1, 1, 1.5])
    shape = np.insert([14, 17], slice_axis, len(places))
    hu = ramp(shape, places, slice_axis)
    made = to_patient_grid(hu, affine, spacing_mm=spacing, slice_axis=slice_axis, places=places)
    is_right(made, affine, shape, places, slice_axis)


def waves(position_mm, steps, seed=20171009, count=24):
    """Plane waves up to 0.7 of Nyquist along each axis, 106 HU rms."""
    rng = np.random.default_rng(seed)
    hu = np.zeros(position_mm.shape[:-1])
    for _ in range(count):
        per_mm = 0.7 * np.pi * rng.uniform(-1, 1, 3) / np.array(steps)[::-1]
        hu += np.cos(position_mm @ per_mm + rng.uniform(0, 2 * np.pi))
    return 106 * np.sqrt(2 / count) * hu


@pytest.mark.parametrize(("kind", "most_hu"), [("cubic", 7), ("lanczos3", 5), ("linear", 40)])
def test_fine_detail_survives(kind, most_hu):
    steps, shape = (1.25, 1.1, 1.05), (48, 56, 56)
    affine = axis_aligned_affine(steps, (0, 0, 0))
    hu = np.rint(waves(to_mm(affine, grid_of(shape)), steps)).astype(np.int16)
    made = to_patient_grid(hu, affine, spacing_mm=1.0, interpolation=kind)
    truth = waves(to_mm(made.affine, grid_of(made.hu.shape)), steps)
    inside = (slice(10, -10),) * 3
    assert truth.std() == pytest.approx(106, rel=0.1)
    assert np.sqrt(np.mean((made.hu - truth)[inside] ** 2)) <= most_hu


@pytest.mark.parametrize(
    "affine", [sheared((1.2, 1.1, 1.05), 0, 1, 20), turned((1.2, 1.1, 1.05), (3, 1, 2), 33)]
)
def test_fine_detail_survives_tilt_and_turn(affine):
    shape, steps = (40, 44, 48), (1.6, 1.6, 1.6)
    hu = np.rint(waves(to_mm(affine, grid_of(shape)), steps)).astype(np.int16)
    made = to_patient_grid(hu, affine, spacing_mm=1.0)
    at = sources(made, affine)
    inside = ((at > 8) & (at < np.array(shape) - 9)).all(axis=-1)
    truth = waves(to_mm(made.affine, grid_of(made.hu.shape)), steps)
    assert inside.sum() > 10_000
    assert np.sqrt(np.mean((made.hu - truth)[inside] ** 2)) <= 3


def test_cubic_equals_scipy_away_from_the_edge(rng):
    shape, steps = (29, 30, 31), (2.5, 1.7, 1.0)
    hu = rng.integers(-900, 100, shape).astype(np.int16)
    made = to_patient_grid(hu, axis_aligned_affine(steps, (0, 0, 0)), spacing_mm=1.0).hu
    places = [np.arange(size) / step for size, step in zip(made.shape, steps, strict=True)]
    truth = ndimage.map_coordinates(
        hu.astype(float), np.meshgrid(*places, indexing="ij"), order=3, mode="mirror"
    )
    inner = tuple(
        slice(int(10 * step) + 1, int((size - 11) * step))
        for size, step in zip(shape, steps, strict=True)
    )
    truth = np.clip(truth, hu.min(), hu.max())[inner]
    assert np.abs(made[inner] - truth).max() <= ROUNDING_HU


def test_linear_equals_numpy(rng):
    samples, places = rng.normal(size=40), np.cumsum(rng.uniform(0.5, 1.5, 40))
    new = np.linspace(places[0], places[-1], 77)
    made = axis_matrix(places, new, interpolation="linear") @ samples
    assert made == pytest.approx(np.interp(new, places, samples), abs=1e-9)


@given(
    gaps=st.lists(st.floats(0.6, 1.5), min_size=1, max_size=60),
    step=st.floats(0.2, 6),
    kind=KINDS,
    beyond=st.floats(0, 1),
)
@settings(deadline=None)
def test_a_straight_line_stays_one(gaps, step, kind, beyond):
    places = np.cumsum([0, *gaps])
    new = np.arange(-beyond, places[-1] + beyond, step)
    matrix = axis_matrix(places, new, interpolation=kind)
    assert matrix.shape == (len(new), len(places))
    assert matrix.sum(axis=1) == pytest.approx(1, abs=1e-9)
    assert matrix @ (3 * places - 2) == pytest.approx(3 * new - 2, abs=1e-7)


@given(count=st.integers(1, 60), kind=KINDS)
def test_the_same_places_give_the_same_values(count, kind):
    places = np.arange(count) * 0.7
    assert axis_matrix(places, places, interpolation=kind) == pytest.approx(np.eye(count), abs=1e-9)


@pytest.mark.parametrize("kind", ["cubic", "linear", "lanczos3"])
@pytest.mark.parametrize("turn", [0, 20])
def test_shrinking_does_not_alias(kind, turn):
    stripes = np.where(np.arange(64) % 2, 500, -500).astype(np.int16)  # at Nyquist: cannot be kept
    hu = np.ascontiguousarray(np.broadcast_to(stripes, (12, 12, 64)))
    affine = turned((3, 3, 1), (1, 0, 1), turn)
    made = to_patient_grid(hu, affine, spacing_mm=3.0, interpolation=kind)
    at = sources(made, affine)
    inside = ((at > [0, 0, 5]) & (at < [11, 11, 58])).all(axis=-1)
    assert inside.sum() > 50
    assert np.abs(made.hu[inside]).max() < 60


def test_shrinking_averages_noise(rng):
    hu = rng.normal(0, 100, (40, 40, 40)).astype(np.int16)
    made = to_patient_grid(hu, axis_aligned_affine((1, 1, 1), (0, 0, 0)), spacing_mm=3.0)
    # The mean of 27 voxels would leave 19 HU; picking every third, 100.
    assert 10 < made.hu[2:-2, 2:-2, 2:-2].std() < 35


@pytest.mark.parametrize("affine", [turned((2, 2, 2), (0, 0, 1), 0), sheared((2, 2, 2), 0, 1, 20),
                                    turned((2, 2, 2), (1, 1, 1), 25)])  # fmt: skip
@pytest.mark.parametrize("kind", ["cubic", "lanczos3"])
def test_no_value_beyond_the_source_is_invented(affine, kind):
    hu = np.full((8, 8, 8), -1000, np.int16)
    hu[4:] = 1200
    made = to_patient_grid(hu, affine, spacing_mm=0.7, interpolation=kind)
    found = made.hu[made.hu != AIR_HU]
    assert (found.min(), found.max()) == (-1000, 1200)


@pytest.mark.parametrize(
    ("count", "step", "new_step", "expected"),
    [(133, 2.5, 1, 331), (512, 0.7, 1, 359), (1, 5, 1, 1)],
)
def test_lengths_keep_first_and_last_centre(count, step, new_step, expected):
    assert resampled_length(count, step, new_step) == expected


@pytest.mark.parametrize("thin", [0, 1, 2])
@pytest.mark.parametrize("spacing", [None, 1.0])
def test_a_single_slice_stays_one(thin, spacing):
    shape = np.insert([9, 8], thin, 1)
    made = to_patient_grid(
        ramp(shape), axis_aligned_affine((2, 2, 2), (0, 0, 0)), spacing_mm=spacing
    )
    assert made.hu.shape[thin] == 1
    truth = sources(made, axis_aligned_affine((2, 2, 2), (0, 0, 0))) @ GRADIENT - 100
    assert np.abs(made.hu - truth).max() <= ROUNDING_HU


def test_a_single_tilted_slice_stands_within_half_a_slice_only():
    affine = sheared((4, 1, 1), 0, 1, 30)
    made = to_patient_grid(np.full((1, 20, 6), 40, np.int16), affine, spacing_mm=1.0)
    height = sources(made, affine)[..., 0]
    assert (made.hu[np.abs(height) < 0.5] == 40).all()
    assert (made.hu[np.abs(height) > 0.51] == AIR_HU).all()


def test_what_needs_no_interpolation_is_left_alone(rng):
    hu = rng.integers(-1024, 3071, (5, 6, 7)).astype(np.int16)
    affine = axis_aligned_affine((2.5, 0.7, 0.8), (-10, 20, -30))
    made = to_patient_grid(hu, affine, spacing_mm=None, places=np.arange(5))
    assert np.shares_memory(made.hu, hu)
    assert np.array_equal(made.affine, affine)
    cube = to_patient_grid(hu, axis_aligned_affine((2, 2, 2), (0, 0, 0)), spacing_mm=2)
    assert np.shares_memory(cube.hu, hu)


def test_cosines_written_with_few_digits_are_straight(rng):
    hu = rng.integers(-1024, 3071, (20, 30, 30)).astype(np.int16)
    made = to_patient_grid(hu, turned((2.5, 0.7, 0.7), (1, 1, 0), 1e-3), spacing_mm=None)
    assert np.array_equal(made.hu, hu)
    assert made.spacing_mm == pytest.approx((2.5, 0.7, 0.7))


@pytest.mark.parametrize("spacing", [None, 1.3])
@pytest.mark.parametrize("tilt", [0, 15])
def test_views_give_what_copies_give(rng, spacing, tilt):
    view = rng.integers(-1024, 500, (19, 17, 40)).astype(np.int16).transpose(2, 0, 1)[::-1, :, ::-1]
    affine = sheared((1.1, 0.9, 1.2), 1, 2, tilt)
    made = to_patient_grid(view, affine, spacing_mm=spacing)
    again = to_patient_grid(view.copy(), affine, spacing_mm=spacing)
    assert np.array_equal(made.hu, again.hu)
    assert made.hu.flags.c_contiguous


def test_a_large_volume_equals_its_axes_one_by_one(rng):
    """Cut into blocks and caches or not, it is the same product of three matrices."""
    hu = rng.integers(-1000, 1000, (110, 90, 100)).astype(np.int16)
    steps = (1.25, 0.7, 0.8)
    made = to_patient_grid(hu, axis_aligned_affine(steps, (0, 0, 0)), spacing_mm=1.0)
    truth = hu.astype(float)
    for axis, step in enumerate(steps):
        matrix = axis_matrix(np.arange(hu.shape[axis]) * step, np.arange(made.hu.shape[axis]))
        truth = np.moveaxis(np.tensordot(matrix, truth, (1, axis)), 0, axis)
    assert np.abs(made.hu - np.clip(truth, -1000, 999)).max() <= ROUNDING_HU


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"places": [0, 1, 1, 2]}, "rise from 0"),
        ({"places": [1, 2, 3, 4]}, "rise from 0"),
        ({"places": [0, 1, 2]}, "expected 4, one a plane"),
        ({"spacing_mm": 0.0}, "above 0, found 0.0"),
        ({"spacing_mm": float("nan")}, "above 0, found nan"),
        ({"affine": np.diag([1.0, 1, -1, 1])}, "turn and flip the array first"),
        ({"affine": np.full((4, 4), np.nan)}, "turn and flip the array first"),
        ({"hu": np.zeros((4, 4, 4))}, "expected int16 in 3 axes, found float64"),
    ],
)
def test_what_is_no_grid_is_refused(change, message):
    given = {"hu": np.zeros((4, 4, 4), np.int16), "affine": np.eye(4), "spacing_mm": 1.0} | change
    with pytest.raises(InputError, match=message):
        to_patient_grid(**given)
