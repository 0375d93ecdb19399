"""Pooling of encoded lungs, heads, and the training of one fold.

`settings`, `pooling` and `calibration` are light; `layers`, `heads`, `training`, `fold` and
`ensemble` start Keras when they are imported, so nothing is imported here.
"""

import os

# Keras takes its backend at import and from here on; a user's own choice stands.
os.environ.setdefault("KERAS_BACKEND", "tensorflow")
