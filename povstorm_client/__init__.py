"""What users import: Cluster, Job, WorkUnit, RenderSettings and the errors.

Each is loaded when it is first asked for: commands, completion and containers start without.
"""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from povstorm_client.cluster import Cluster
    from povstorm_client.errors import (
        InputError,
        JobError,
        PovstormError,
        RenderError,
        StorageError,
        ToolError,
        VideoError,
    )
    from povstorm_client.job import Job
    from povstorm_client.render_settings import RenderSettings
    from povstorm_client.work_unit import WorkUnit

__all__ = [
    "Cluster",
    "InputError",
    "Job",
    "JobError",
    "PovstormError",
    "RenderError",
    "RenderSettings",
    "StorageError",
    "ToolError",
    "VideoError",
    "WorkUnit",
]

_MODULES = {
    "Cluster": "cluster",
    "Job": "job",
    "RenderSettings": "render_settings",
    "WorkUnit": "work_unit",
}


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = importlib.import_module(f"{__name__}.{_MODULES.get(name, 'errors')}")
    value = getattr(module, name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
