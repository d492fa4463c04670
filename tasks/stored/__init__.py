"""What storage holds already: earlier results and Prefect's cache; and the last that it is to hold."""
