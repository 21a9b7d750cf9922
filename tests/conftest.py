"""Makes ``support`` importable: pytest puts the folder of this file on the path."""

from hypothesis import settings

# how fast an example is on a machine that others use too says nothing
settings.register_profile("patient", deadline=None)
settings.load_profile("patient")
