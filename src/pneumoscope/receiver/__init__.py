"""Takes objects from the network into the spool, files them, and answers storage commitments."""
