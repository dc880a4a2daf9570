"""How both engines index vectors and search them.

Measured with 131,072 sentence vectors of MiniLM (384 dimensions) on one core, the best 100: comparing with all of them
takes 20 ms, the graph 1 to 2 ms with recall@10 of 1.00. A filter makes holes in the graph: see DENSE_FILTER ff.
"""

from __future__ import annotations

INDEXED_FROM_KB = 16_000
"""A collection whose vectors of one name take more (10,667 of 384 dimensions) is not compared exactly any more: when it
is optimized, it gets a graph (HNSW) of vectors in int8, and what that finds is compared again in full precision."""
LINKS = 16
"""Of each point in the graph."""
BUILD_WIDTH = 100
"""Candidates that are kept in view while the graph is built."""
QUANTILE = 0.99
"""Of each dimension's values, the share that int8 spans; the others are cut off."""
SEARCH_WIDTH = 128
"""Candidates that are kept in view while the graph is searched."""
OVERSAMPLING = 1.5
"""So many times the limit are compared again in full precision; without that, recall@10 is 0.98."""

SIFTED_FILTER = 0.5
"""The embedded engine searches without a filter that leaves at least this share, and what it finds is sifted,"""
SIFTED_SPARE = 1.3
"""of so many times the points that would be found if the filter left its share of every neighbourhood."""
DENSE_FILTER = 0.8
"""A filter that leaves at least this share is searched as if there were none."""
FILTERED_WIDTH = 256
"""Candidates that are kept in view with any other filter."""
SPARSE_FILTER = 0.4
"""A filter that leaves a smaller share may cut the graph to pieces (recall@10 fell to 0.94, and now and then nothing
was found): the search then looks beyond the holes (ACORN), and takes as long as comparing with a third of all."""
SCANNED_TO_KB = 64_000
"""A filter that leaves less (43,690 points of 384 dimensions) needs no graph: all that it leaves is compared."""
