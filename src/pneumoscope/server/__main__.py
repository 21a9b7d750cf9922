"""``python -m pneumoscope.server``: one web server, as ``pneumoscope serve`` starts it."""

from pneumoscope.config import load_settings
from pneumoscope.server import run

if __name__ == "__main__":  # the children import this module again
    run(load_settings())
