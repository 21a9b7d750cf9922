"""``python -m pneumoscope.member``: the member process."""

from pneumoscope.config import load_settings
from pneumoscope.member.process import run

run(load_settings())
