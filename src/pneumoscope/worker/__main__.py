"""``python -m pneumoscope.worker``: one worker, as ``pneumoscope work`` starts it."""

from pneumoscope.config import load_settings
from pneumoscope.worker.process import run

run(load_settings())
