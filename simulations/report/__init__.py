"""One page in one file for one or more runs: charts, tables and where it all came from; no network."""

from simulations.report.page import write_report
from simulations.report.report import Report, data_hash

__all__ = ["Report", "data_hash", "write_report"]
