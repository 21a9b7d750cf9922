"""Readings to objects that others can read: DICOM, FHIR, reports. Each builder is pure."""
