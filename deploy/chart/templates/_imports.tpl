{{/* Not empty where features of any model are imported. */}}
{{- define "hearth.imports" -}}
{{- range .Values.models -}}
{{- $model := include "hearth.model" (dict "root" $ "model" .) | fromYaml -}}
{{- if $model.importFeatures }}yes{{ end -}}
{{- end -}}
{{- end -}}

{{/* Who reaches Kubernetes' API: nobody. Who reaches a component, and whom it reaches: networkpolicies.yaml. */}}
{{- define "hearth.peer" -}}
- podSelector:
    matchLabels:
      {{- include "hearth.selector" . | nindent 6 }}
{{- end -}}
