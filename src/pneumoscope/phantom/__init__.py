"""Synthetic chest CT whose truth is known: for the demo, for tests, and as company for real slices in training."""

from pneumoscope.phantom.dicom import SAMPLE, Order, dicom_parcels, write_dicom
from pneumoscope.phantom.lesions import Lesion, LesionKind, parse_lesion
from pneumoscope.phantom.render import Kind, Phantom, PhantomSpec, render, training_slice, true_volumes_ml

__all__ = [
    "SAMPLE",
    "Kind",
    "Lesion",
    "LesionKind",
    "Order",
    "Phantom",
    "PhantomSpec",
    "dicom_parcels",
    "parse_lesion",
    "render",
    "training_slice",
    "true_volumes_ml",
    "write_dicom",
]
