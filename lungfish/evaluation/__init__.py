"""Metrics with intervals, baselines on the same folds, and a conclusion that fits the numbers."""
