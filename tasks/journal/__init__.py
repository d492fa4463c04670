"""The journal of a run on this machine: what it did, for whoever tells Prefect. No Prefect."""
