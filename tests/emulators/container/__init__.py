"""Cloud Run's containers for tests: the built render image under podman or Docker."""
