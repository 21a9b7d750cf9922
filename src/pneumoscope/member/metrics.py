"""What the member counts."""

from prometheus_client import Counter, Gauge

REPORTS = Counter("pneumoscope_fleet_reports_total", "Reports to the hub, by what became of them.", ["outcome"])
LAST_REPORT = Gauge(
    "pneumoscope_fleet_last_report_timestamp_seconds",
    "When the hub last took a report, in seconds since 1970.",
    multiprocess_mode="max",
)
WINDOWS = Gauge("pneumoscope_fleet_windows_waiting", "Windows that the hub has not taken yet.", multiprocess_mode="max")
