"""One new patient: DICOM and model to a probability, or an abstention with a reason."""

from pathlib import Path
from typing import Any

from lungfish import index, lungs, nifti, records, volumes
from lungfish.classifier.pooling import pool_lungs
from lungfish.errors import Refusal
from lungfish.model import SCHEMA as MODEL_SCHEMA
from lungfish.model import load_ensemble
from lungfish.records import Record
from lungfish.settings import parse
from lungfish.volume import Volume

SCHEMA = "predict/1"
NOTE = "not a medical device: for research, never for the care of a patient"
SEEN = {
    "labelled": " The model was trained on this very scan.",
    "unlabelled": " The autoencoder had this very scan among its patients, without a label.",
    "": "",
}
SCAN_FIELDS = ("verdict", "reasons")
LUNG_FIELDS = ("verdict", "reasons", "right_litre", "left_litre")


def predict_folder(dicom: Path, folder: Path, *, mask: Path | None = None) -> Record:
    """Predict one patient as the model's own patients were prepared and predicted.

    Parameters
    ----------
    dicom : Path
        Folder with the patient's DICOM files.
    folder : Path
        Model folder of the model stage.
    mask : Path or None
        NIfTI mask of the user's own, in place of ours.

    Returns
    -------
    dict
        The record of `predict`: ``status`` is ``ok`` or ``abstained``; an abstention has code and
        reason, and no probability.

    Raises
    ------
    InputError
        If the model folder, the DICOM folder or the mask is missing.
    """
    model = records.read_json(folder / "model.json", MODEL_SCHEMA)
    known: Record = {
        "probability": None,
        "low": None,
        "high": None,
        "seen_in_training": None,
        "seen_as": "",
        "scan": dict.fromkeys(SCAN_FIELDS),
        "lungs": dict.fromkeys(LUNG_FIELDS),
        "trained_on": {key: model["trained_on"][key] for key in ("n", "events")},
        "evaluation": model["evaluation"],
        "conclusion": say_conclusion(model["evaluation"]),
        "note": NOTE,
    }
    try:
        _fill(known, dicom, folder, model, mask)
    except Refusal as refusal:
        return known | {"status": "abstained", "code": refusal.code, "reason": refusal.reason}
    return known | records.accepted()


def find_lungs(volume: Volume, settings: lungs.Settings, known: Any) -> lungs.LungMask:
    """Find the lungs by the method by which those of the model's own patients were found.

    Raises
    ------
    Refusal
        ``lungs-weights`` if the lungs' network is not the one that the model knows.
    """
    if settings.method == "classical":
        return lungs.segment(volume, settings=settings)
    from lungfish.lungs.unet import method, network, weights

    if known != {"sha256": weights.digest_of(weights.FILE)}:
        raise Refusal(
            "lungs-weights",
            "the lungs' network of this version is not the one that the model's patients were "
            "prepared with: predict with the version that made the model, or make the model again",
        )
    proposal = network.propose(volume, network.load_network(weights.FILE))
    return method.segment_by(volume, proposal, settings=settings)


def _fill(known: Record, dicom: Path, folder: Path, model: Record, given: Any) -> None:
    """Add to `known` step by step, so that an abstention tells all that was found before it."""
    settings = model["preparation"]
    indexing = parse(index.Settings, settings["index"])
    found = index.index_folder(dicom, settings=indexing)
    volume, about = volumes.build_volume(
        dicom, found, settings=parse(volumes.Settings, settings["volumes"]), salt=indexing.salt
    )
    known["scan"] = {key: about[key] for key in SCAN_FIELDS}
    known["seen_as"] = seen_as(about["content_hash"], model["trained_on"])
    known["seen_in_training"] = bool(known["seen_as"])
    judging = parse(lungs.Settings, settings["lungs"])
    if given is None:
        mask = find_lungs(volume, judging, settings.get("lungs_weights"))
    else:
        mask = lungs.adopt(volume, *nifti.read_given_mask(given), settings=judging)
    known["lungs"] = {key: mask.record.get(key) for key in LUNG_FIELDS}
    records.require_ok(mask.record)
    records.require_ok(model)
    features = _encode(folder, volume, mask)
    ensemble = load_ensemble(folder, model)
    vector = pool_lungs(
        features.grid,
        features.inside,
        levels=ensemble.classifier.levels,
        threshold=ensemble.classifier.inside_threshold,
    )
    known["probability"], known["low"], known["high"] = ensemble.answer(vector)


def _encode(folder: Path, volume: Any, mask: Any) -> Any:
    """Encode the lungs with the model's encoder."""
    from lungfish.features import Settings, encode_lungs
    from lungfish.gmcae.encoder import load_encoder

    # Tiles of any size give the same features, so the size in training need not be known.
    box = mask.record["box_voxel"]
    return encode_lungs(load_encoder(folder), volume, mask.labels, box, settings=Settings())


def seen_as(content_hash: str, trained_on: Record) -> str:
    """Say as what the model saw this scan: ``labelled``, ``unlabelled`` or not at all (empty)."""
    if content_hash in trained_on["content_hashes"]:
        return "labelled"
    return "unlabelled" if content_hash in trained_on["unlabelled_hashes"] else ""


def say_conclusion(evaluation: Record) -> str:
    """Return the sentence on the model's evaluation that stands beside every prediction."""
    verb = "is" if evaluation["conclusion"] == "inconclusive" else "found it"
    return f"this model's evaluation {verb} {evaluation['conclusion']}: {evaluation['reason']}"


def three_lines(record: Record) -> str:
    """Return a prediction for a person, in three lines."""
    lungs_found = record["lungs"]
    litres = [lungs_found[side] for side in ("right_litre", "left_litre")]
    size = "" if None in litres else f" (right {litres[0]:.2f} l, left {litres[1]:.2f} l)"
    seen = SEEN[record["seen_as"]]
    seen += "".join(f" Look at the scan: {reason}." for reason in record["scan"]["reasons"] or ())
    if record["status"] == "ok":
        first = (
            f"Probability {record['probability']:.3f} (spread over refits {record['low']:.3f} to "
            f"{record['high']:.3f}); lungs {lungs_found['verdict']}{size}.{seen}"
        )
    else:
        first = f"No answer ({record['code']}): {record['reason']}.{seen}"
    trained = record["trained_on"]
    second = (
        f"Trained on {trained['n']} patients, {trained['events']} with label 1; "
        f"{record['conclusion']}."
    )
    return "\n".join((first, second, f"{NOTE[0].upper()}{NOTE[1:]}."))
