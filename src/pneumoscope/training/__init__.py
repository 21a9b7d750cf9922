"""Trains the networks that the product runs; the only room that imports torch."""
