{{/* Which Service answers which service of the API, of a "model", as JSON. */}}
{{- define "hearth.grpcServices" -}}
{{- $features := include "hearth.name" (dict "root" .root "component" "features") -}}
{{- list
  (dict "service" "hearth.v1.InferenceService" "port" 50051 "name" (include "hearth.name" (dict "root" .root "component" "inference" "model" .model)))
  (dict "service" "hearth.v1.FeatureService" "port" 50052 "name" $features)
  (dict "service" "hearth.v1.VariantService" "port" 50052 "name" $features)
  (dict "service" "hearth.v1.AutoSteerService" "port" 50053 "name" (include "hearth.name" (dict "root" .root "component" "autosteer")))
  | toJson -}}
{{- end -}}
