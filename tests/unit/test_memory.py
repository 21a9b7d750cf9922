"""A process that lives for weeks gives back what large results took."""

import subprocess
import sys

import pytest

#: Blocks of 4 to 31 MB come and go in many threads, as results do on their way; tells how much the process has grown in MB.
SCRIPT = """
import threading, psutil
from pneumoscope.config import Settings
from pneumoscope.telemetry import set_up
if {prepared}:
    set_up(Settings(), kind="test")
def work():
    for n in (31, 8, 20, 4, 28, 12):
        large = [bytearray(n * 1_000_000) for _ in range(2)]
        kept.append(bytes(90_000))
        del large
kept, own = [], psutil.Process()
before = own.memory_info().rss
for _ in range(4):
    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads: thread.start()
    for thread in threads: thread.join()
print((own.memory_info().rss - before) / 2**20)
"""


def growth_mb(*, prepared: bool) -> float:
    done = subprocess.run([sys.executable, "-c", SCRIPT.format(prepared=prepared)], capture_output=True, text=True, check=True)
    return float(done.stdout)


@pytest.mark.skipif(sys.platform != "linux", reason="a setting of glibc")
def test_large_blocks_go_back_to_the_system() -> None:
    assert growth_mb(prepared=True) < 50
