"""Reads chest CT for COVID-19 pneumonia, from DICOM files to a report."""

__version__ = "0.1.0"
