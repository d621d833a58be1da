"""Where clips are prepared: in processes of this machine, or on a Dask cluster."""

from hicmae_core.config import ComputeParams, PreparationParams
from hicmae_core.data.pool import RunClips, in_processes


def runner_for(compute: ComputeParams, preparation: PreparationParams) -> RunClips:
    """What runs the per-clip function of a preparation stage; the results do not depend on it."""
    if compute.engine == "local":
        return in_processes(compute.num_processes, preparation.clip_timeout_seconds)
    from stages.dask_client import on_dask  # Prefect and Dask take seconds to load

    return on_dask(compute.cluster, compute.num_processes, preparation.clip_timeout_seconds)
