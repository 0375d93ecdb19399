"""How a network is stored: equal networks give equal files."""

import io
import json
import zipfile
from pathlib import Path
from typing import Any

from lungfish.records import atomic

FIXED_DATE = (1980, 1, 1, 0, 0, 0)


def save_network(path: Path, network: Any) -> None:
    """Save a network as ``.keras``, whole or not at all, without the time of saving.

    Keras writes the date into the archive's metadata and into its entries, so that equal networks
    would give unequal files; both are set to a fixed value.
    """
    with atomic(path) as temporary:
        network.save(temporary)
        with zipfile.ZipFile(temporary) as archive:
            entries = {name: archive.read(name) for name in sorted(archive.namelist())}
        metadata = json.loads(entries["metadata.json"])
        metadata.pop("date_saved", None)
        entries["metadata.json"] = json.dumps(metadata, sort_keys=True).encode()
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w") as archive:
            for name, content in entries.items():
                archive.writestr(zipfile.ZipInfo(name, FIXED_DATE), content)
        temporary.write_bytes(packed.getvalue())
