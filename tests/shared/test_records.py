"""Records may be decoded by several threads at once, also for the first time."""

import subprocess
import sys

# In a process of its own, which is what would crash. Modules are loaded again and again, since a type has one first time.
CODE = """
import importlib, sys, threading
from concurrent.futures import ThreadPoolExecutor
import msgspec
sys.setswitchinterval(1e-6)
names = ("ddb_shared.format.manifest", "ddb_shared.format.checkpoint", "ddb_shared.format.control")
modules = [importlib.import_module(name) for name in names]
barrier = threading.Barrier(16)
data = b'{"segment": 1, "shards": [{"key": "k", "segment": 1, "items": 1, "bytes": 1, "stored_bytes": 1, "md5": "m"}]}'

def decode(kind):
    barrier.wait()
    return msgspec.json.decode(data, type=kind)

with ThreadPoolExecutor(16) as pool:
    for _ in range(500):
        manifest, checkpoint, control = map(importlib.reload, modules)
        list(pool.map(decode, [checkpoint.SegmentCheckpoint] * 16))
"""


def test_records_are_prepared_for_threads() -> None:
    """Msgspec 0.22.0 crashes where two threads decode a type for the first time at once: an export ended so, after its scan."""
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
