"""From objects as they came in to files of the store and rows of the database; when a study is complete."""

from pneumoscope.filing.objects import REASONS, Outcome, Status, file_waiting
from pneumoscope.filing.spool import Spool

__all__ = ["REASONS", "Outcome", "Spool", "Status", "file_waiting"]
