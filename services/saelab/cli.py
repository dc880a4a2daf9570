"""`hearth sae`: makes and measures sparse autoencoders. Each step is a command; a killed one goes on when run again.

A group of commands has its file, which registers them on `cli_options.sae_app` and is imported here.
"""

from __future__ import annotations

from services.saelab.cli_options import sae_app

# In the order in which the steps are run: `hearth sae --help` lists them so.
# isort: off
from services.saelab import cli_write as cli_write
from services.saelab import cli_corpus as cli_corpus
from services.saelab import cli_train as cli_train
from services.saelab import cli_evaluate as cli_evaluate
from services.saelab import cli_steer as cli_steer
from services.saelab import cli_features as cli_features
from services.saelab import cli_label as cli_label
from services.saelab import cli_card as cli_card
from services.saelab import cli_import as cli_import
# isort: on

__all__ = ["sae_app"]
