"""Prefect flows: what a deployment, the client or a schedule runs."""
