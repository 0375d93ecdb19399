"""The store of a shard's proposals."""

from collections.abc import Mapping
from pathlib import Path

import h5py

from lungfish.errors import InputError, Refusal
from lungfish.lungs.unet.proposal import Proposal
from lungfish.records import accepted, refused
from lungfish.stores import new_store


def write_proposals(path: Path, found: Mapping[str, Proposal | Refusal]) -> None:
    """Store the proposals of a shard, a group a patient; a refused patient's group is empty.

    Parameters
    ----------
    path : Path
        HDF5. A group has the attributes ``status``, ``code``, ``reason`` and ``weights``, and the
        datasets ``probability`` and ``affine`` of `Proposal`.
    found : Mapping of str to Proposal or Refusal
    """
    with new_store(path) as store:
        for patient in sorted(found):
            group = store.create_group(patient)
            proposal = found[patient]
            if isinstance(proposal, Refusal):
                group.attrs.update(refused(proposal))
            else:
                group.attrs.update(accepted() | {"weights": proposal.weights})
                group.create_dataset("probability", data=proposal.probability, compression="gzip")
                group.create_dataset("affine", data=proposal.affine)


def read_proposal(path: Path, patient: str) -> Proposal:
    """Read the proposal of one patient.

    Raises
    ------
    InputError
        If the file is missing, is no such store, or does not have the patient.
    Refusal
        If the patient was refused before.
    """
    if not path.is_file():
        raise InputError(f"{path} is missing: run the rule lungs_unet first")
    try:
        with h5py.File(path) as store:
            if patient not in store:
                raise InputError(f"{path} has no patient {patient}: run lungs_unet for its shard")
            group = store[patient]
            if group.attrs["status"] != "ok":
                raise Refusal(str(group.attrs["code"]), str(group.attrs["reason"]))
            return Proposal(
                group["probability"][()], group["affine"][()], str(group.attrs["weights"])
            )
    except OSError:
        raise InputError(f"{path} is no HDF5 file: run the rule lungs_unet again") from None
