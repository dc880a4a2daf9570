"""What `hearth doctor` does: examines, tells, and says whether all may be served."""

from __future__ import annotations

from services.cli.failures import fail
from services.cli.render.console import EMBER, console, error_console, print_json
from services.fetched.errors import SetupError
from services.inference.examination import examine_all
from services.inference.sae.doctor import Diagnosis
from services.inference.sae.errors import SaeError
from services.inference.settings import InferenceSettings
from services.saelab.diagnosis_table import diagnosis_table, verdict


def examine(settings: InferenceSettings, *, as_json: bool) -> bool:
    """Prints the diagnosis of every SAE; True where none is refused."""
    diagnoses: list[Diagnosis] = []
    try:
        with error_console().status("Loading the model and measuring; a few seconds"):
            diagnoses += examine_all(settings)
    except (SetupError, SaeError, ValueError, OSError) as error:
        fail(str(error))
    if as_json:
        print_json(
            {
                "saes": [
                    {"id": each.sae.id, "refused": each.refused, "checks": each.checks} for each in diagnoses
                ]
            }
        )
    elif not diagnoses:
        fail(f"There are no SAEs for {settings.model}.", "Name one with --sae PATH.")
    else:
        for each in diagnoses:
            console().print(diagnosis_table(each.sae.id, each.checks, f"bold {EMBER}"))
            console().print(verdict(each.checks, refused=each.refused))
    return not any(each.refused for each in diagnoses)
