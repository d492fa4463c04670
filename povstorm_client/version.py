"""povstorm's own version, as installed; stored with every job."""

from importlib.metadata import PackageNotFoundError, version


def povstorm_version() -> str:
    """E.g. ``"0.2.0"``; ``"unknown"`` when run from a checkout that is not installed."""
    try:
        return version("povstorm")
    except PackageNotFoundError:
        return "unknown"
