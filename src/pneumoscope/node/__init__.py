"""The node as a whole: starting its processes, checking it, filling it with old studies."""
