"""Retrieval of candidates: label search, contrast of texts that show the behaviour with others, neighbours of both."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace

from services.autosteer.candidates import candidate_of, is_fit, leading, merged, ranked
from services.autosteer.drafting import Pair
from services.autosteer.judges.registry import Encode
from services.autosteer.spec import Candidate
from services.autosteer.together import together
from services.autosteer.upstream import Contrasted, Entry, FeatureCatalogue, Inference
from services.autosteer.wording import topic_of

SEARCH_MOST = 100
"""Hits that one search gives at most."""
CENTRES = 6
"""Best candidates whose neighbours are looked up."""
LEAST_PAIRS = 8
"""Pairs from which on a contrast says anything."""


async def propose(
    behavior: str,
    pairs: Sequence[Pair],
    sae: str,
    count: int,
    inference: Inference,
    catalogue: FeatureCatalogue,
    encode: Encode,
) -> list[Candidate]:
    """Up to `count` candidates, best first."""
    searched = await _by_search(behavior, sae, count, catalogue)
    contrasted = await _by_contrast(pairs, sae, count // 3, inference, catalogue)
    first = await _in_order(behavior, merged([*searched, *contrasted]), catalogue, encode)
    centres = [each.feature.index for each in first[:CENTRES]]
    near = [
        candidate_of(entry, sae, "neighbor")
        for entry in (await catalogue.neighbors(sae, centres, max(4, count // 8)) if centres else [])
        if is_fit(entry)
    ]
    return leading(await _in_order(behavior, merged([*first, *near]), catalogue, encode), count)


async def _by_search(behavior: str, sae: str, count: int, catalogue: FeatureCatalogue) -> list[Candidate]:
    queries = dict.fromkeys((behavior, topic_of(behavior)))
    most = min(SEARCH_MOST, max(10, count // len(queries)))
    answers: list[list[Entry]] = await together(catalogue.search(sae, query, most) for query in queries)
    found = [candidate_of(entry, sae, "search") for hits in answers for entry in hits if is_fit(entry)]
    return [replace(each, top_hit=n == 0) for n, each in enumerate(found)]


async def _by_contrast(
    pairs: Sequence[Pair], sae: str, count: int, inference: Inference, catalogue: FeatureCatalogue
) -> list[Candidate]:
    """Features that are more active on positive texts, by the difference over the pooled deviation."""
    if len(pairs) < LEAST_PAIRS:
        return []
    found = await inference.contrast([p.positive for p in pairs], [p.negative for p in pairs], 4 * count)
    telling: dict[int, Contrasted] = {each.index: each for each in found if each.effect_size > 0}
    entries = await catalogue.entries(sae, sorted(telling))
    fit = [entry for entry in entries if is_fit(entry, by_contrast_alone=True)]
    fit.sort(key=lambda entry: (-telling[entry.index].effect_size, entry.index))
    return [candidate_of(entry, sae, "contrast", telling[entry.index]) for entry in fit[:count]]


async def _in_order(
    behavior: str, candidates: Sequence[Candidate], catalogue: FeatureCatalogue, encode: Encode
) -> list[Candidate]:
    if not candidates:
        return []
    likeness = await catalogue.rerank(
        candidates[0].feature.sae, behavior, [each.feature.index for each in candidates]
    )
    listed = [", ".join(token.strip() for token in each.promoted) for each in candidates]
    told = [n for n, tokens in enumerate(listed) if tokens]
    vectors = await asyncio.to_thread(encode, [behavior, topic_of(behavior), *(listed[n] for n in told)])
    both = vectors[2:] @ vectors[:2].T
    tokens = {candidates[n].feature: float(row.max()) for n, row in zip(told, both, strict=True)}
    labels = {each.feature: likeness.get(each.feature.index, 0.0) for each in candidates}
    return ranked(candidates, labels, tokens)
