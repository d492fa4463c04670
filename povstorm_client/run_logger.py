"""RunLogger: a run's log, plain or, in a flow or task of Prefect's, an adapter that names it."""

from __future__ import annotations

import logging
from typing import Any

RunLogger = logging.Logger | logging.LoggerAdapter[Any]
