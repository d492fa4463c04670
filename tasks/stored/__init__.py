"""What storage holds already: results of earlier runs, and Prefect's cache beside them."""
