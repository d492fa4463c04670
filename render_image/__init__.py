"""What runs beside POV-Ray: workspace, process, statistics, image check. No Prefect in here."""
