"""How busy the machine is while a stage runs, measured by MLflow's collectors.

MLflow's own monitor stops for good when its server does not answer once; this one only measures.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from threading import Event, Thread

from mlflow.system_metrics.metrics.base_metrics_monitor import BaseMetricsMonitor
from mlflow.system_metrics.metrics.cpu_monitor import CPUMonitor
from mlflow.system_metrics.metrics.disk_monitor import DiskMonitor
from mlflow.system_metrics.metrics.gpu_monitor import GPUMonitor
from mlflow.system_metrics.metrics.network_monitor import NetworkMonitor
from mlflow.system_metrics.metrics.rocm_monitor import ROCMMonitor

_EVERY_SECONDS = 5.0


class SystemMetrics:
    """Measures processors, memory, disk, network and GPUs every few seconds, in a thread of its own.

    `MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL` sets the seconds. GPUs need the package ``nvidia-ml-py`` or ``pyrsmi``.

    Args:
        log: Takes values by name, and the step: seconds since `start_ms`, so that a resumed run goes on.
        start_ms: When the run began, in milliseconds since 1970.
    """

    def __init__(self, log: Callable[[Mapping[str, float], int], None], start_ms: int) -> None:
        self._log = log
        self._start_ms = start_ms
        self._collectors = _collectors()
        self._pause = float(os.environ.get("MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL", _EVERY_SECONDS))
        self._is_over = Event()
        self._thread = Thread(target=self._run, name="system metrics", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Measure no more."""
        self._is_over.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._is_over.wait(self._pause):
            values: dict[str, float] = {}
            for collector in self._collectors:
                collector.collect_metrics()
                values |= {f"system/{name}": value for name, value in collector.aggregate_metrics().items()}
                collector.clear_metrics()
            self._log(values, int(time.time() - self._start_ms / 1000))


def _collectors() -> list[BaseMetricsMonitor]:
    collectors = [CPUMonitor(), DiskMonitor(), NetworkMonitor()]
    for gpus in (GPUMonitor, ROCMMonitor):
        try:
            collectors.append(gpus())
        except (ImportError, RuntimeError):  # no such GPU, or not the package that reads it
            continue
    return collectors
