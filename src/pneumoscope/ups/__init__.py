"""Unified Procedure Steps, the work items of UPS-RS (PS3.4 CC, PS3.18 11): the rules, without network or database."""
