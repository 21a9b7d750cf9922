"""``python -m pneumoscope.receiver``: one receiver, as ``pneumoscope serve`` starts it."""

from pneumoscope.config import load_settings
from pneumoscope.receiver.process import run

run(load_settings())
