"""Gaussian Mixture Convolutional AutoEncoder: density, network, training."""

import os

# Keras takes its backend at import and from here on; a user's own choice stands.
os.environ.setdefault("KERAS_BACKEND", "tensorflow")
