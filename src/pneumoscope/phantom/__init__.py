"""Synthetic chest CT whose truth is known: for the demo, for tests, and as company for real slices in training."""

from pneumoscope.phantom.dicom import write_dicom, write_sample
from pneumoscope.phantom.lesions import Lesion, LesionKind
from pneumoscope.phantom.render import Kind, Phantom, PhantomSpec, render, training_slice, true_volumes_ml

__all__ = [
    "Kind",
    "Lesion",
    "LesionKind",
    "Phantom",
    "PhantomSpec",
    "render",
    "training_slice",
    "true_volumes_ml",
    "write_dicom",
    "write_sample",
]
