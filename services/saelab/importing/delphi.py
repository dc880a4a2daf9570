"""EleutherAI's delphi: a run's explanations/<hook point>_latent<index>.txt and scores/{detection,fuzz}/ beside them.

An explanation is a JSON string (or, in .json files, an object with `explanation`). A score file is a JSON list with an
object for each context that was judged: `activating` (whether the latent fires in it) and `prediction` (what the judge
said, null where it gave no answer). The score taken over is balanced accuracy, the mean of the share found among the
contexts that fire and the share left alone among the others; contexts without an answer do not count.
run_config.json names the explainer. Source: github.com/EleutherAI/delphi, __main__.py and scorers/classifier/.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from services.inference.sae.hook_names import layer_of
from services.saelab.errors import LabelFileError
from services.saelab.importing.labels import LabelSet, Target, label_of
from services.saelab.importing.rows import Row, json_file
from services.saelab.label_table import Label

EXPLANATIONS, SCORES, RUN_CONFIG = "explanations", "scores", "run_config.json"
SCORERS = {"score": "detection", "fuzzing": "fuzz"}
FAILED = ("explanation could not be parsed.", "no explanation found")
"""What delphi writes where the explainer's answer was of no use."""
_NAME = re.compile(r"(?P<module>.+)_latent(?P<index>\d+)")


@dataclass(frozen=True, slots=True)
class _Found:
    module: str
    index: int
    file: Path


@dataclass(frozen=True, slots=True)
class _Score:
    balanced_accuracy: float
    contexts: int


def detects(path: Path) -> bool:
    """Whether it is a run's folder, or its folder of explanations."""
    return path.is_dir() and next(_explanations(_folder(path)), None) is not None


def read(path: Path, target: Target) -> LabelSet:
    """The explanations of the SAE's hook point, with their scores. Raises LabelFileError, ImportRefused."""
    folder = _folder(path)
    found = list(_explanations(folder))
    module, notes = _module(path, {each.module for each in found}, target)
    source = _source(folder.parent)
    labels, failed = {}, 0
    for each in sorted((f for f in found if f.module == module), key=lambda f: (f.index, f.file.name)):
        row = Row(each.file, None, {"file name": each.index, "explanation": _text(each.file)})
        index = row.feature("file name", target.features)
        if index in labels:
            raise row.wrong("file name", f"one explanation for each latent ({index} has another file)")
        if row.text("explanation").lower() in FAILED:
            failed += 1
            continue
        scores = {name: _score(folder.parent, scorer, each) for name, scorer in SCORERS.items()}
        labels[index] = _label(index, row.text("explanation"), source, scores)
    if failed:
        notes.append(f"{failed:,} explanations left out: delphi could not parse its explainer's answer.")
    others = len(found) - sum(each.module == module for each in found)
    if others:
        notes.append(f"{others:,} explanations left out: they are of other hook points than {module}.")
    return LabelSet("delphi", path, tuple(labels.values()), tuple(notes))


def _folder(path: Path) -> Path:
    return path / EXPLANATIONS if (path / EXPLANATIONS).is_dir() else path


def _explanations(folder: Path) -> Iterator[_Found]:
    for file in folder.iterdir():
        match = _NAME.fullmatch(file.stem)
        if match and file.suffix in (".txt", ".json"):
            yield _Found(match["module"].replace("--", "/"), int(match["index"]), file)


def _module(path: Path, modules: set[str], target: Target) -> tuple[str, list[str]]:
    """The run's hook point that is the SAE's."""
    fitting = sorted(module for module in modules if layer_of(module) == target.layer)
    if len(fitting) == 1:
        return fitting[0], []
    listed = ", ".join(sorted(modules))
    if not fitting and len(modules) == 1:
        problem = f"{path} explains {listed}, but the SAE reads {target.hook_point}"
        return next(iter(modules)), [target.mismatch(problem)]
    wanted = f"explanations of one hook point that is {target.hook_point}"
    raise LabelFileError(path, None, "file names", wanted, listed)


def _text(file: Path) -> object:
    if file.suffix == ".json":
        value = json_file(file)
        return value.get("explanation") if isinstance(value, dict) else value
    try:
        text = file.read_text(encoding="utf-8")
        return json.loads(text) if text.lstrip().startswith('"') else text
    except (OSError, ValueError) as error:
        raise LabelFileError(
            file, None, "", "an explanation as a JSON string", f"something else ({error})"
        ) from error


def _score(run: Path, scorer: str, found: _Found) -> _Score | None:
    """Balanced accuracy, or None where there is no such file or one class has no answered context."""
    file = run / SCORES / scorer / f"{found.file.stem}.txt"
    if not file.is_file():
        file = file.with_name(f"{found.module.replace('/', '--')}_latent{found.index}.txt")
    if not file.is_file():
        return None
    right: dict[bool, list[bool]] = {True: [], False: []}
    for row in _contexts(file):
        activating, prediction = row.values.get("activating"), row.values.get("prediction")
        if not isinstance(activating, bool):
            raise row.wrong("activating", "true or false")
        if prediction is None:
            continue
        if prediction not in (True, False):
            raise row.wrong("prediction", "true, false or null")
        right[activating].append(bool(prediction) is activating)
    if not right[True] or not right[False]:
        return None
    rates = [sum(each) / len(each) for each in right.values()]
    return _Score(sum(rates) / 2, sum(len(each) for each in right.values()))


def _contexts(file: Path) -> Iterator[Row]:
    values = json_file(file)
    if not isinstance(values, list) or not all(isinstance(each, dict) for each in values):
        raise LabelFileError(file, None, "", "a list of judged contexts", type(values).__name__)
    yield from (Row(file, number, each, "entry") for number, each in enumerate(values, 1))


def _label(index: int, text: str, source: str, scores: dict[str, _Score | None]) -> Label:
    told = [
        f"{SCORERS[name]}: balanced accuracy {score.balanced_accuracy:.2f} over {score.contexts} contexts"
        for name, score in scores.items()
        if score
    ]
    score, fuzzing = (scores[name] for name in SCORERS)
    return label_of(
        index,
        text,
        source=source,
        score=score.balanced_accuracy if score else None,
        fuzzing=fuzzing.balanced_accuracy if fuzzing else None,
        evidence="; ".join(told),
    )


def _source(run: Path) -> str:
    config = run / RUN_CONFIG
    values = json_file(config) if config.is_file() else {}
    model = values.get("explainer_model") if isinstance(values, dict) else None
    return f"delphi:{model}" if isinstance(model, str) and model else "delphi"
