"""What the receiver counts."""

from prometheus_client import Counter, Gauge, Histogram

RECEIVED = Counter("pneumoscope_received_objects_total", "Objects that came in, by what became of them.", ["status"])
BYTES = Counter("pneumoscope_received_bytes_total", "Bytes of objects that came in.")
REFUSED = Counter("pneumoscope_refused_objects_total", "Objects that were refused, by DIMSE status.", ["status"])
ASSOCIATIONS = Gauge("pneumoscope_associations", "Associations that are open.", multiprocess_mode="livesum")
REJECTED = Counter("pneumoscope_rejected_associations_total", "Associations that were rejected, by reason.", ["reason"])
FILING = Histogram("pneumoscope_filing_seconds", "Seconds for a batch to be filed.", buckets=(0.05, 0.1, 0.3, 1, 3, 10))
RETRIEVED = Counter(
    "pneumoscope_retrieved_objects_total", "Objects sent by C-GET and C-MOVE, by what became of them.", ["outcome"]
)
