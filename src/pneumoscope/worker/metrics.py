"""What the worker counts."""

from prometheus_client import Counter, Histogram

READINGS = Counter("pneumoscope_readings_total", "Readings that ended, by what became of them.", ["outcome", "code"])
SECONDS = Histogram("pneumoscope_stage_seconds", "Seconds spent.", ["stage"], buckets=(0.1, 0.5, 1, 2, 5, 10, 20, 60, 300))
DELIVERIES = Counter(
    "pneumoscope_deliveries_total", "Attempts to deliver, by destination and what became of them.", ["destination", "outcome"]
)
LAST_IMAGE_TO_RESULT = Histogram(
    "pneumoscope_last_image_to_result_seconds",
    "Seconds from the last image of a study to its results at the destination.",
    ["destination"],
    buckets=(1, 2, 5, 8, 10, 15, 20, 30, 60, 120, 600, 3600, 86400),
)
