"""Google Cloud Storage for tests: the real fake-gcs-server, started as a process."""
