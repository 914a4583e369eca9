"""Encoding chunks on a Ray cluster with Ray Data: a pool of actors, one model each, the same bytes as encoding here.

Covers starting a private cluster on this machine (it listens on the loopback address only) or joining one, and GPUs
where the cluster has them. Workers need this package and the model, no shared folder: texts travel through Ray's object
store, which spills to disk, and vectors come back to the driver, which alone writes.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..encoders.encoder import Encoder
from ..errors import EncoderError, ExtraMissingError
from .plan import Chunk
from .run import Encode

_PRIVATE_CLUSTER = {
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # what makes Ray bind to loopback, on any system
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_worker_niceness": "0",  # workers are this run, no background work of it
    "RAY_BACKEND_LOG_LEVEL": "fatal",  # else a harmless warning of its own on every run; errors are raised anyway
}


def encode_on_ray(
    open_worker: Callable[[], Encoder], stamp: str, *, workers: int | None = None, address: str | None = None
) -> Encode:
    """Encoding on a Ray cluster.

    Args:
        open_worker: opens the encoder in a worker; it is pickled
        stamp: digest of the stamp that the encoder must have there too
        workers: actors; None = one a GPU of the cluster, or one a CPU where it has none
        address: of a cluster to join, None = start one here and stop it at the end

    Raises:
        ExtraMissingError: Ray is not installed.
    """
    _ray()

    def encode(chunks: Iterable[Chunk]) -> Iterator[tuple[int, NDArray[np.float32]]]:
        with _cluster(address, workers) as ray:
            texts = {chunk.number: ray.put(chunk.texts) for chunk in chunks}
            if texts:
                yield from _map(ray, texts, open_worker, stamp, workers)

    return encode


class _Worker:
    """One model in one actor."""

    def __init__(self, texts: dict[int, Any], open_worker: Callable[[], Encoder], stamp: str) -> None:
        self._texts, self._encoder = texts, open_worker()
        if self._encoder.stamp.digest != stamp:
            raise EncoderError(
                f"a Ray worker has another encoder than the driver, {self._encoder.stamp} instead of {stamp}; "
                "install the same package and model on every machine of the cluster"
            )

    def __call__(self, batch: Any) -> Any:
        """Vectors of the chunks whose numbers are in an Arrow table."""
        import pyarrow as pa
        import ray

        numbers = batch.column("chunk").to_pylist()
        vectors = [self._encoder.encode(ray.get(self._texts[number]), "item") for number in numbers]
        raw = [np.ascontiguousarray(made, dtype="<f4").tobytes() for made in vectors]
        return pa.table(
            {"chunk": numbers, "dim": [self._encoder.dim] * len(raw), "raw": pa.array(raw, pa.large_binary())}
        )


def _map(
    ray: Any, texts: dict[int, Any], open_worker: Callable[[], Encoder], stamp: str, workers: int | None
) -> Iterator[tuple[int, NDArray[np.float32]]]:
    """The vectors of all chunks as they come."""
    import pyarrow as pa

    gpus = int(ray.cluster_resources().get("GPU", 0))
    size = min(workers or gpus or int(ray.cluster_resources().get("CPU", 1)), len(texts))
    data = ray.data.from_blocks([pa.table({"chunk": [number]}) for number in texts]).map_batches(
        _Worker,
        batch_size=1,
        batch_format="pyarrow",
        compute=ray.data.ActorPoolStrategy(size=size),
        num_cpus=1,
        num_gpus=1 if gpus else None,
        fn_constructor_kwargs={"texts": texts, "open_worker": open_worker, "stamp": stamp},
    )
    try:
        for batch in data.iter_batches(batch_size=1, batch_format="pyarrow", prefetch_batches=1):
            (row,) = batch.to_pylist()
            yield row["chunk"], np.frombuffer(row["raw"], dtype="<f4").reshape(-1, row["dim"])
    except ray.exceptions.RayError as error:
        said = str(error).strip().splitlines()
        raise EncoderError(f"Ray could not encode: {said[-1] if said else type(error).__name__}") from error


@contextmanager
def _cluster(address: str | None, workers: int | None) -> Iterator[Any]:
    """Ray, connected; what was started here is stopped."""
    ray = _ray()
    if ray.is_initialized():
        yield ray
        return
    if address is None:
        ray.init(
            address="local",
            num_cpus=workers,
            include_dashboard=False,
            _node_ip_address="127.0.0.1",
            log_to_driver=False,
            logging_level=logging.ERROR,
        )
    else:
        try:
            ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
        except (ConnectionError, ValueError, RuntimeError) as error:
            raise EncoderError(f"no Ray cluster at {address} ({error}); start one, or leave the address out") from error
    try:
        yield ray
    finally:
        ray.shutdown()


def _ray() -> Any:
    """The module, quiet."""
    for name, value in _PRIVATE_CLUSTER.items():
        os.environ.setdefault(name, value)
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise ExtraMissingError("embedding on Ray needs ray; pip install 'tasteprint[scale]'") from error
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.max_errored_blocks = 0
    return ray
