"""Between OpenAI's bodies, hearth.v1 messages and the plain values of this package; nowhere else."""
