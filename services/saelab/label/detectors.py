"""All detectors of detector_registry.py: importing this registers them."""

from __future__ import annotations

from services.saelab.label import detect_places as detect_places
from services.saelab.label import detect_spelling as detect_spelling
from services.saelab.label import detect_words as detect_words
from services.saelab.label.detector_registry import DETECTORS, phrases_in

__all__ = ["DETECTORS", "phrases_in"]
