"""The surprise map is a density's, knows nothing of its tiles, and lies where the patient lies."""

import dataclasses
import itertools
import json

import jsonschema
import keras
import numpy as np
import pytest
import SimpleITK as sitk
import yaml
from PIL import Image
from scipy import ndimage, stats
from sklearn.metrics import roc_auc_score

from benchmarks import surprise as benchmark
from lungfish import nifti, records
from lungfish.errors import InputError, Refusal
from lungfish.gmcae import artefacts, autoencoder, batches, maps, pictures, surprise, training
from lungfish.gmcae.density import SMALLEST_SIGMA
from lungfish.gmcae.heads import PatchHead, VoxelHead, head_of
from lungfish.gmcae.network import VOXELS, anchor, build_gmcae
from lungfish.gmcae.settings import Settings
from lungfish.intensity import HuMap
from lungfish.volume import Volume, axis_aligned_affine
from scripts import surprise as script
from tests.workflow_runner import snakemake

HU_MAP = HuMap()
SMALL = Settings(
    filters=(4, 4, 8), batch_size=2, steps_per_epoch=1, epochs=1, warmup_steps=1,
    validation_patches=2, examples=1,
)  # fmt: skip
NOISE_HU = 40


def even(mean_hu, sigma_hu, head):
    """Return a network that expects the same Gaussian at every voxel of every patch.

    The soft floor of the voxel head adds to sigma: e^F + e^a.
    """
    inputs = keras.Input((32, 32, 32, 1))
    mean, sigma = (mean_hu + 300) / 700, sigma_hu / 700
    if head == "voxel":
        image = keras.layers.Conv3D(3, 1, kernel_initializer="zeros")(inputs)
        network = keras.Model(inputs, keras.layers.Reshape((VOXELS, 3))(image))
        network.layers[1].set_weights(
            [np.zeros((1, 1, 1, 1, 3)), np.array([0.0, mean, np.log(sigma - SMALLEST_SIGMA)])]
        )
        return network, VoxelHead()
    image = keras.layers.Flatten()(
        keras.layers.Conv3D(1, 1, kernel_initializer="zeros", name="c")(inputs)
    )
    sides = keras.layers.Dense(2, kernel_initializer="zeros", name="d")(image)
    network = keras.Model(inputs, keras.layers.Concatenate()([sides, image]))
    network.get_layer("c").set_weights([np.zeros((1, 1, 1, 1, 1)), np.array([mean])])
    network.get_layer("d").set_weights([np.zeros((VOXELS, 2)), np.array([0.0, sigma**2])])
    return network, PatchHead(1, VOXELS)


def odd_lungs(rng, shape=(53, 61, 47)):
    """Return noise, and two boxes of lung that reach over the volume's border."""
    hu = rng.normal(-800, NOISE_HU, shape).astype(np.int16)
    lungs = np.zeros(shape, bool)
    lungs[3:50, 10:60, 0:20] = lungs[9:53, 0:40, 27:47] = True
    return hu, lungs


@pytest.fixture(scope="module")
def anchored():
    """A network at its linear answer, which has learned noise and nothing else."""
    rng = np.random.default_rng(3)
    network = build_gmcae(SMALL)
    patches = HU_MAP.to_network(rng.normal(-800, NOISE_HU, (60, 32, 32, 32)))
    anchor(network, patches, SMALL)
    return network, head_of(SMALL, voxels=VOXELS)


@pytest.mark.parametrize("head", ["voxel", "patch"])
def test_where_every_voxel_has_one_gaussian_the_map_is_scipys(rng, head):
    hu, lungs = odd_lungs(rng)
    network, reader = even(-790, 50, head)
    found = surprise.surprise(network, reader, hu, lungs, hu_map=HU_MAP)
    # Dequantised within half a HU, which moves -log p by no more than that times its slope.
    expected = -stats.norm.logpdf(hu, -790, 50)
    slope = (np.abs(hu + 790.0) + 0.5) / 50**2
    assert np.all(np.abs(found - expected)[lungs] <= 0.5 * slope[lungs] + 1e-3)
    assert found[lungs].mean() == pytest.approx(expected[lungs].mean(), abs=1e-3)
    assert np.isnan(found[~lungs]).all()


def test_windows_are_mixed_as_densities_with_weights_that_sum_to_one(rng):
    """Each window judges by a constant of its own; the mixture is written down voxel by voxel."""
    hu, lungs = odd_lungs(rng, (40, 33, 17))
    constants = {}

    class Network:
        def predict_on_batch(self, cubes):
            return cubes

    class Reader:
        def surprise(self, targets, output):
            keys = [cube.tobytes() for cube in output]
            nats = [constants.setdefault(key, rng.uniform(-3, 6)) for key in keys]
            return np.repeat(np.array(nats, np.float32)[:, None], VOXELS, axis=1)

    found = surprise.surprise(Network(), Reader(), hu, np.ones_like(lungs), hu_map=HU_MAP)
    padded = HU_MAP.to_network(np.pad(hu, 48, constant_values=-1024))
    along = np.sin(np.pi * (np.arange(32) + 0.5) / 32) ** 2
    np.testing.assert_allclose(along[:16] + along[16:], 1, atol=1e-15)
    for voxel in [(0, 0, 0), (39, 32, 16), (17, 5, 9), (15, 16, 8)]:
        density = 0.0
        for back in itertools.product((0, 16), repeat=3):
            corner = [at // 16 * 16 - step for at, step in zip(voxel, back, strict=True)]
            box = tuple(slice(start + 48, start + 80) for start in corner)
            nats = constants[np.ascontiguousarray(padded[box][..., None]).tobytes()]
            weight = np.prod([along[at - start] for at, start in zip(voxel, corner, strict=True)])
            density += weight * np.exp(-nats)
        assert found[voxel] == pytest.approx(-np.log(density) + np.log(700), abs=1e-4)


def test_a_voxel_is_judged_alike_whatever_the_mask_and_however_windows_are_batched(
    rng, anchored, monkeypatch
):
    hu, lungs = odd_lungs(rng)
    whole = surprise.surprise(*anchored, hu, lungs, hu_map=HU_MAP)
    part = lungs.copy()
    part[:21] = part[:, 33:] = False
    monkeypatch.setattr(surprise, "BATCH", 7)
    found = surprise.surprise(*anchored, hu, part, hu_map=HU_MAP)
    np.testing.assert_allclose(found[part], whole[part], atol=1e-4)


def test_what_lies_further_than_a_window_changes_nothing(rng, anchored):
    hu, lungs = odd_lungs(rng)
    far = hu.copy()
    far[40:] = 300
    before, after = (surprise.surprise(*anchored, scan, lungs, hu_map=HU_MAP) for scan in (hu, far))
    near = lungs.copy()
    near[40 - 31 :] = False
    np.testing.assert_array_equal(after[near], before[near])


def test_a_map_moves_little_with_the_lattice_and_by_a_whole_step_not_at_all(rng, anchored):
    hu = rng.normal(-800, NOISE_HU, (72, 72, 72)).astype(np.int16)
    lungs = np.zeros(hu.shape, bool)
    lungs[24:48, 24:48, 24:48] = True
    there, same, half, odd = (
        surprise.surprise(*anchored, hu, lungs, hu_map=HU_MAP, first_voxel=first)[lungs]
        for first in ((0, 0, 0), (32, -16, 48), (8, 8, 8), (5, 3, 11))
    )
    np.testing.assert_array_equal(there, same)
    assert np.abs(half - there).mean() < 0.1 * there.std()  # a whole cell of the code
    assert np.abs(odd - there).mean() < 0.5 * there.std()


def test_where_the_network_sees_no_lattice_windows_leave_no_trace(rng):
    hu, lungs = odd_lungs(rng)
    network, reader = even(-800, 50, "voxel")
    one, other = (
        surprise.surprise(network, reader, hu, lungs, hu_map=HU_MAP, first_voxel=first)
        for first in ((0, 0, 0), (5, 8, 11))
    )
    np.testing.assert_allclose(one[lungs], other[lungs], atol=1e-4)


def test_mask_and_volume_must_agree(anchored):
    with pytest.raises(InputError, match="differ in shape"):
        surprise.surprise(
            *anchored, np.zeros((3, 3, 3), np.int16), np.ones((3, 3, 4), bool), hu_map=HU_MAP
        )


def test_the_place_that_is_named_first_is_the_one_never_seen(rng, anchored):
    hu = rng.normal(-800, NOISE_HU, (64, 64, 64)).astype(np.int16)
    z, y, x = np.indices(hu.shape)
    ball = (z - 30) ** 2 + (y - 24) ** 2 + (x - 40) ** 2 <= 6**2
    hu[ball] = -500
    lungs = np.ones(hu.shape, bool)
    volume = Volume(hu, axis_aligned_affine((1.5, 1.5, 1.5), (-40.0, 10.0, -200.0)))
    found = surprise.surprise(*anchored, hu, lungs, hu_map=HU_MAP)
    first = surprise.places(found, volume)[0]
    np.testing.assert_allclose(first["position_mm"], (-40 + 60, 10 + 36, -200 + 45), atol=10)
    assert first["hu"] > -790
    apart = np.array([place["position_mm"] for place in surprise.places(found, volume)])
    for one, other in itertools.combinations(apart, 2):
        assert np.linalg.norm(one - other) >= surprise.APART_MM - 0.1
    assert benchmark.auc(found, ball, ~ball) > 0.9


def test_smoothing_knows_nothing_of_what_lies_outside(rng):
    lungs = ndimage.binary_erosion(rng.random((20, 20, 20)) > 0.1)
    lungs[5:15, 5:15, 5:15] = True
    values = np.where(lungs, 3.5, np.nan).astype(np.float32)
    found = surprise.smooth_within(values, lungs, 2.0)
    np.testing.assert_allclose(found[lungs], 3.5, rtol=1e-5)
    assert np.isnan(found[~lungs]).all()


@pytest.mark.parametrize(
    ("fold", "scopes", "expected"),
    [("1", {"cohort", "fold-0", "fold-1"}, "fold-1"), ("1", {"cohort"}, "cohort"),
     ("", {"cohort", "fold-0"}, "cohort"), ("12", {"cohort", "fold-1"}, "cohort")],
)  # fmt: skip
def test_a_patient_is_judged_by_who_has_not_seen_him_where_there_is_one(fold, scopes, expected):
    assert autoencoder.scope_for(fold, scopes) == expected


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Folders of two autoencoders of a step each: `b` is held out of fold 0."""
    root = tmp_path_factory.mktemp("gmcae")
    rng = np.random.default_rng(5)
    found = {name: rng.normal(-800, 60, (3, 32, 32, 32)).astype(np.int16) for name in "abc"}
    for scope, names in (("cohort", "abc"), ("fold-0", "ac")):
        split = batches.split_patches({name: found[name] for name in names}, SMALL)
        options = {"settings": SMALL, "hu_map": HU_MAP}
        made = training.train(split, seed=0, folder=root / scope, **options)
        artefacts.write(root / scope, made, split, spacing_mm=1.5, **options)
    return root


@pytest.fixture
def scan(tmp_path, rng):
    """A patient's files; the grid is turned and shifted."""
    affine = axis_aligned_affine((1.5, 1.5, 1.5), (-31.0, -22.0, -87.0))
    volume = Volume(rng.normal(-800, 60, (40, 36, 44)).astype(np.int16), affine)
    labels = np.zeros(volume.hu.shape, np.uint8)
    labels[4:36, 4:30, 3:20], labels[4:36, 4:30, 24:41] = 1, 2
    nifti.write_volume(tmp_path / "v.nii.gz", volume)
    nifti.write_mask(tmp_path / "l.nii.gz", labels, affine)
    records.write_json(tmp_path / "l.json", "lungs/1", records.accepted())
    rows = [{"patient": "b", "fold": 0}, {"patient": "c", "fold": None}]
    records.write_table(tmp_path / "cohort.tsv", ("patient", "fold"), rows)
    return volume, labels


def width_px(path):
    with Image.open(path) as image:
        return image.size[0]


def arguments(folder, trained, patient):
    given = {"volume": "v.nii.gz", "lungs": "l.nii.gz", "record": "l.json", "cohort": "cohort.tsv",
             "output": f"{patient}.nii.gz", "measures": f"{patient}.json",
             "picture": f"{patient}.png"}  # fmt: skip
    line = ["patient", "--patient", patient]
    for name, file in given.items():
        line += [f"--{name}", str(folder / file)]
    return [*line, "--gmcae", str(trained / "cohort"), str(trained / "fold-0")]


def test_the_script_leaves_a_map_in_the_patients_space(tmp_path, scan, trained, clone):
    _, labels = scan
    assert script.main(arguments(tmp_path, trained, "b")) == 0
    image = sitk.ReadImage(str(tmp_path / "b.nii.gz"))
    assert image.GetPixelID() == sitk.sitkFloat32
    source = sitk.ReadImage(str(tmp_path / "v.nii.gz"))
    assert image.GetOrigin() == source.GetOrigin()
    assert image.GetDirection() == source.GetDirection()
    assert image.GetSpacing() == source.GetSpacing()
    values = sitk.GetArrayFromImage(image)
    assert (values[labels == 0] == 0).all()
    assert (values[labels > 0] > 1).all()
    record = records.read_json(tmp_path / "b.json", "surprise/1")
    schema = yaml.safe_load((clone / "workflow/schemas/surprise.schema.yaml").read_text())
    jsonschema.Draft202012Validator(schema).validate(record)
    assert (record["scope"], record["seen_in_training"]) == ("fold-0", False)
    assert record["mean_nats"] == pytest.approx(values[labels > 0].mean(), abs=1e-3)
    assert width_px(tmp_path / "b.png") == 1500
    assert script.main(arguments(tmp_path, trained, "c")) == 0
    record = records.read_json(tmp_path / "c.json", "surprise/1")
    assert (record["scope"], record["seen_in_training"]) == ("cohort", True)


def test_all_patients_stand_in_one_table_the_most_surprising_first(tmp_path):
    for patient, mean in (("a", 4.5), ("b", 6.0)):
        record = records.accepted() | {"mean_nats": mean, "scope": "cohort"}
        records.write_json(tmp_path / f"{patient}.json", "surprise/1", record)
    refusal = records.refused(Refusal("no-decoder", "why"))
    records.write_json(tmp_path / "c.json", "surprise/1", refusal)
    files = [str(tmp_path / f"{patient}.json") for patient in "abc"]
    line = ["cohort", "--records", *files, "--output", str(tmp_path / "t.tsv")]
    assert script.main(line) == 0
    rows = records.read_table(tmp_path / "t.tsv")
    assert [(row["patient"], row["code"]) for row in rows] == [
        ("b", ""), ("a", ""), ("c", "no-decoder")
    ]  # fmt: skip


def test_a_refusal_travels_and_leaves_files_that_say_so(tmp_path, scan, trained):
    refusal = Refusal("lungs-rejected", "the lungs have 0.3 litres")
    records.write_json(tmp_path / "l.json", "lungs/1", records.refused(refusal))
    with pytest.raises(Refusal, match=r"0\.3 litres"):
        script.main(arguments(tmp_path, trained, "b"))
    assert nifti.read_map(tmp_path / "b.nii.gz")[0].shape == (1, 1, 1)
    assert json.loads((tmp_path / "b.json").read_text())["code"] == "lungs-rejected"
    assert width_px(tmp_path / "b.png") > 100
    with pytest.raises(InputError, match=r"z is not in cohort\.tsv"):
        script.main(arguments(tmp_path, trained, "z"))


def test_an_autoencoder_that_cannot_judge_is_refused(tmp_path, scan, trained):
    volume, labels = scan
    wide = Volume(volume.hu, axis_aligned_affine((2, 2, 2), (0, 0, 0)))
    with pytest.raises(Refusal, match=r"2\.000 x 2\.000 x 2\.000 mm, but .* at 1\.500 mm"):
        maps.map_patient("b", "0", [trained / "fold-0"], wide, labels > 0)
    with pytest.raises(InputError, match="expected the autoencoder of scope cohort, found fold-0"):
        maps.map_patient("b", "", [trained / "fold-0"], volume, labels > 0)
    foreign = tmp_path / "cohort"
    record = records.accepted() | {"pretrained": "ab", "hu_map": dataclasses.asdict(HU_MAP)}
    records.write_json(foreign / "gmcae.json", "gmcae/1", record)
    with pytest.raises(Refusal, match="came without its decoder"):
        autoencoder.load_autoencoder(foreign)


def test_a_map_is_written_without_nan(tmp_path, rng):
    values = rng.random((3, 4, 5)).astype(np.float32)
    values[0, 0, 0] = np.nan
    affine = axis_aligned_affine((1, 2, 3), (4, 5, 6))
    nifti.write_map(tmp_path / "m.nii.gz", values, affine)
    found, placed = nifti.read_map(tmp_path / "m.nii.gz")
    np.testing.assert_array_equal(found, np.nan_to_num(values))
    np.testing.assert_allclose(placed, affine, atol=1e-6)


def test_the_picture_follows_radiology_whatever_the_order_of_the_axes(rng):
    hu = np.full((40, 60, 80), -800, np.int16)
    values = np.full(hu.shape, np.nan, np.float32)
    values[5:35, 10:50, 5:35], values[5:35, 10:50, 45:75] = 7, 4  # x runs to the patient's left
    affine = axis_aligned_affine((2, 2, 2), (-80, -60, -40))
    picture = pictures.draw_surprise(Volume(hu, affine), values, width_px=1500)
    panel = picture[pictures.HEAD_PX + pictures.LABEL_PX :][:1000, :248]
    bright = (panel.max(axis=2) > 200) & (panel.max(axis=2) - panel.min(axis=2) > 90)
    columns = np.flatnonzero(bright.any(axis=0))
    assert len(columns)
    assert columns.mean() < 124  # what surprises is in the patient's right lung
    mirrored = affine.copy()
    mirrored[0, 0], mirrored[0, 3] = -2, -80 + 2 * 79
    other = Volume(np.ascontiguousarray(hu[:, :, ::-1]), mirrored)
    same = pictures.draw_surprise(other, np.ascontiguousarray(values[:, :, ::-1]), width_px=1500)
    np.testing.assert_array_equal(picture, same)
    assert pictures.encode(picture) == pictures.encode(picture)


def case_of(hu, lungs, nodules):
    volume = Volume(hu.astype(np.int16), np.diag([1.5, 1.5, 1.5, 1.0]))
    return benchmark.Case("p", volume, lungs, nodules.astype(np.uint8), [])


def test_the_scores_of_the_benchmark_are_what_they_say(rng):
    values = rng.normal(size=(40, 40, 40)).round(1).astype(np.float32)
    wanted = rng.random(values.shape) < 0.02
    labels = wanted.ravel()
    expected = roc_auc_score(labels, values.ravel())
    assert benchmark.auc(values, wanted, ~wanted) == pytest.approx(expected, abs=1e-9)
    nodules = np.zeros(values.shape)
    nodules[18:23, 18:23, 18:23] = 1
    case = case_of(values, np.ones(values.shape, bool), nodules)
    bright = values + 3 * (nodules > 0).astype(np.float32)
    assert benchmark.ball_rank(bright, case, 1, rng) == 1
    assert benchmark.ball_rank(np.zeros_like(values), case, 1, rng) == 0.5
    ranks = [
        benchmark.ball_rank(rng.normal(size=values.shape).astype(np.float32), case, 1, rng)
        for _ in range(20)
    ]
    assert 0.3 < np.mean(ranks) < 0.7


@pytest.mark.slow
def test_maps_are_made_on_request_shown_on_the_pages_and_kept(tiny):
    clone, run = tiny
    before = snakemake(clone, run, "--dry-run").stdout
    assert "Nothing to be done" in before
    found = snakemake(clone, run, "surprise")
    assert found.returncode == 0, found.stdout
    rows = records.read_table(run / "results/surprise/surprise.tsv")
    assert [row["status"] for row in rows] == ["ok"] * 4
    assert snakemake(clone, run).returncode == 0
    page = (run / "results/report/patients/tiny-1.html").read_text()
    assert "What the autoencoder did not expect" in page
    assert "Nothing to be done" in snakemake(clone, run, "--dry-run").stdout
