"""Between hearth.v1 messages and the dataclasses of the inference service; nowhere else."""
