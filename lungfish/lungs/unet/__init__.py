"""The learned alternative: a small U-Net that proposes both lungs where thresholds must fail.

`network` and `training` alone import Keras, and `store` HDF5; `method`, `fitting` and `grid`, which
the stage needs for one patient, compute on arrays.
"""
