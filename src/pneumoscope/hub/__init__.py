"""The hub of a fleet: hospitals join it, report to it in aggregates, and get their models from it."""
