"""Contender: ONNX Runtime alone on windows in memory, one process a core: the machine's ceiling.

The windows lie ready as the network reads them; batches of 256, as ours.

    python -m bench.contenders.onnx_alone NETWORK.onnx SECONDS CORE...     prints windows a second
"""

import multiprocessing
import os
import sys
import time
from typing import Any, Final

import numpy as np

from bench.contenders.window import onnx_model
from bench.series import LOOKBACK
from model.features import FEATURE_NAMES, sequence_steps

BATCH: Final = 256
WINDOWS: Final = 40 * BATCH


def main() -> None:
    """Start a process for each core together, and print what they do in all."""
    network, seconds, *cores = sys.argv[1:]
    started = multiprocessing.Barrier(len(cores))
    rates: Any = multiprocessing.Queue()
    processes = [
        multiprocessing.Process(target=infer, args=(network, float(seconds), core, started, rates))
        for core in map(int, cores)
    ]
    for process in processes:
        process.start()
    print(sum(rates.get() for _ in processes))
    for process in processes:
        process.join()


def infer(network: str, seconds: float, core: int, started: Any, rates: Any) -> None:
    """Run the network over the windows again and again on one core."""
    os.sched_setaffinity(0, {core})
    model = onnx_model(network)
    shape = (WINDOWS, sequence_steps(LOOKBACK), len(FEATURE_NAMES))
    windows = np.random.default_rng(core).normal(size=shape).astype(np.float32)
    model(windows[:BATCH])
    started.wait()
    begun, done = time.perf_counter(), 0
    while time.perf_counter() < begun + seconds:
        start = done % WINDOWS
        done += len(model(windows[start : start + BATCH]))
    rates.put(done / (time.perf_counter() - begun))


if __name__ == "__main__":
    main()
