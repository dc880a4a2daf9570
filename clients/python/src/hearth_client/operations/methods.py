"""The methods that the operations call."""

from __future__ import annotations

from hearth_client.channel import Method
from hearth_client.v1 import autosteer_service_pb2 as autosteer
from hearth_client.v1 import feature_service_pb2 as features
from hearth_client.v1 import inference_service_pb2 as inference
from hearth_client.v1 import variant_service_pb2 as variants

_INFERENCE, _FEATURES, _VARIANTS, _AUTOSTEER = (
    "InferenceService",
    "FeatureService",
    "VariantService",
    "AutoSteerService",
)

LIST_MODELS: Method[inference.ListModelsRequest, inference.ListModelsResponse] = Method(
    _INFERENCE, "ListModels"
)
TOKENIZE: Method[inference.TokenizeRequest, inference.TokenizeResponse] = Method(_INFERENCE, "Tokenize")
GENERATE: Method[inference.GenerateRequest, inference.GenerateResponse] = Method(_INFERENCE, "Generate")
COMPUTE_LOGITS: Method[inference.ComputeLogitsRequest, inference.ComputeLogitsResponse] = Method(
    _INFERENCE, "ComputeLogits"
)
INSPECT: Method[inference.InspectRequest, inference.InspectResponse] = Method(_INFERENCE, "Inspect")
ATTRIBUTE: Method[inference.AttributeRequest, inference.AttributeResponse] = Method(_INFERENCE, "Attribute")
CONTRAST: Method[inference.ContrastRequest, inference.ContrastResponse] = Method(_INFERENCE, "Contrast")

BATCH_GET_FEATURES: Method[features.BatchGetFeaturesRequest, features.BatchGetFeaturesResponse] = Method(
    _FEATURES, "BatchGetFeatures"
)
SEARCH_FEATURES: Method[features.SearchFeaturesRequest, features.SearchFeaturesResponse] = Method(
    _FEATURES, "SearchFeatures"
)
RERANK_FEATURES: Method[features.RerankFeaturesRequest, features.RerankFeaturesResponse] = Method(
    _FEATURES, "RerankFeatures"
)
FIND_NEIGHBORS: Method[features.FindNeighborsRequest, features.FindNeighborsResponse] = Method(
    _FEATURES, "FindNeighbors"
)

CREATE_VARIANT: Method[variants.CreateVariantRequest, variants.CreateVariantResponse] = Method(
    _VARIANTS, "CreateVariant"
)
GET_VARIANT: Method[variants.GetVariantRequest, variants.GetVariantResponse] = Method(_VARIANTS, "GetVariant")
LIST_VARIANTS: Method[variants.ListVariantsRequest, variants.ListVariantsResponse] = Method(
    _VARIANTS, "ListVariants"
)
UPDATE_VARIANT: Method[variants.UpdateVariantRequest, variants.UpdateVariantResponse] = Method(
    _VARIANTS, "UpdateVariant"
)
DELETE_VARIANT: Method[variants.DeleteVariantRequest, variants.DeleteVariantResponse] = Method(
    _VARIANTS, "DeleteVariant"
)

CREATE_JOB: Method[autosteer.CreateAutoSteerJobRequest, autosteer.CreateAutoSteerJobResponse] = Method(
    _AUTOSTEER, "CreateAutoSteerJob"
)
GET_JOB: Method[autosteer.GetAutoSteerJobRequest, autosteer.GetAutoSteerJobResponse] = Method(
    _AUTOSTEER, "GetAutoSteerJob"
)
WATCH_JOB: Method[autosteer.WatchAutoSteerJobRequest, autosteer.WatchAutoSteerJobResponse] = Method(
    _AUTOSTEER, "WatchAutoSteerJob"
)
CANCEL_JOB: Method[autosteer.CancelAutoSteerJobRequest, autosteer.CancelAutoSteerJobResponse] = Method(
    _AUTOSTEER, "CancelAutoSteerJob"
)
SUGGEST_CONDITION: Method[autosteer.SuggestConditionRequest, autosteer.SuggestConditionResponse] = Method(
    _AUTOSTEER, "SuggestCondition"
)
