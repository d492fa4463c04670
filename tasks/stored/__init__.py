"""What storage holds already: earlier results, and the cache; and the last writes of a job."""
