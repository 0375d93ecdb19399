"""Curves for TensorBoard, in a file that depends on the curves alone."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import tensorflow as tf

from lungfish.records import Record, atomic

FILE_NAME = "events.out.tfevents.gmcae"
"""TensorBoard reads every file whose name holds ``tfevents``."""


def write_events(folder: Path, rows: Sequence[Record], columns: Sequence[str]) -> None:
    """Write all epochs so far as scalars, whole or not at all.

    The whole file is written again after each epoch, so that a run taken up, or made anew in the
    same folder, shows each epoch once. `tf.summary` would put the host's name and the time into
    the file's name and the time into each event, and needs the tensorboard package to write at
    all; here an event's time is its epoch.

    Parameters
    ----------
    folder : Path
        What ``tensorboard --logdir`` is pointed at.
    rows : sequence of dict
        One an epoch, with the key ``epoch``.
    columns : sequence of str
        The keys to show.
    """
    with atomic(folder / FILE_NAME) as temporary, tf.io.TFRecordWriter(str(temporary)) as writer:
        for event in _events(rows, columns):
            writer.write(event.SerializeToString())


def _events(rows: Sequence[Record], columns: Sequence[str]) -> Iterator[tf.compat.v1.Event]:
    """Yield the version that the format begins with, then one event an epoch."""
    yield tf.compat.v1.Event(wall_time=0, file_version="brain.Event:2")
    for row in rows:
        values = [tf.compat.v1.Summary.Value(tag=name, simple_value=row[name]) for name in columns]
        summary = tf.compat.v1.Summary(value=values)
        yield tf.compat.v1.Event(wall_time=row["epoch"], step=row["epoch"], summary=summary)
