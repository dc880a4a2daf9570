{{/* Where PostgreSQL, Valkey and Qdrant are, and their passwords; each takes a dict with "root". */}}

{{- define "hearth.storesSecret" -}}
{{- default (printf "%s-stores" (include "hearth.fullname" .root)) .root.Values.storesSecret -}}
{{- end -}}

{{/* The URL of the database as variable "name", and its password, which libpq takes from PGPASSWORD; that is left out
where "bare" says that it is there already. */}}
{{- define "hearth.databaseEnv" -}}
{{- $values := .root.Values.postgresql -}}
{{- if $values.enabled }}
- name: {{ .name }}
  value: postgresql+psycopg://hearth@{{ include "hearth.name" (dict "root" .root "component" "postgresql") }}:5432/hearth
{{- if not .bare }}
- name: PGPASSWORD
  valueFrom:
    secretKeyRef:
      name: {{ include "hearth.storesSecret" . }}
      key: postgresql-password
{{- end }}
{{- else }}
{{- $external := $values.external }}
- name: {{ .name }}
  value: postgresql+psycopg://{{ $external.user }}@{{ required "postgresql.external.host is needed where postgresql.enabled is false" $external.host }}:{{ int $external.port }}/{{ $external.database }}?sslmode={{ $external.sslMode }}
{{- if not .bare }}
- name: PGPASSWORD
  valueFrom:
    secretKeyRef:
      name: {{ required "postgresql.external.existingSecret holds the password" $external.existingSecret }}
      key: {{ $external.key }}
{{- end }}
{{- end }}
{{- end -}}

{{- define "hearth.brokerEnv" -}}
{{- $values := .root.Values.valkey -}}
{{- if $values.enabled }}
- name: VALKEY_PASSWORD
  valueFrom:
    secretKeyRef:
      name: {{ include "hearth.storesSecret" . }}
      key: valkey-password
- name: HEARTH_AUTOSTEER_REDIS_URL
  value: redis://:$(VALKEY_PASSWORD)@{{ include "hearth.name" (dict "root" .root "component" "valkey") }}:6379/0
{{- else }}
{{- $external := $values.external }}
{{- $host := required "valkey.external.host is needed where valkey.enabled is false" $external.host }}
{{- $scheme := ternary "rediss" "redis" $external.tls }}
{{- if $external.existingSecret }}
- name: VALKEY_PASSWORD
  valueFrom:
    secretKeyRef:
      name: {{ $external.existingSecret }}
      key: {{ $external.key }}
{{- end }}
- name: HEARTH_AUTOSTEER_REDIS_URL
  value: {{ $scheme }}://{{ if $external.existingSecret }}:$(VALKEY_PASSWORD)@{{ end }}{{ $host }}:{{ int $external.port }}/{{ int $external.database }}
{{- end }}
{{- end -}}

{{- define "hearth.qdrantEnv" -}}
{{- $values := .root.Values.qdrant -}}
{{- if $values.enabled }}
- name: HEARTH_FEATURES_QDRANT_URL
  value: http://{{ include "hearth.name" (dict "root" .root "component" "qdrant") }}:6334
- name: HEARTH_FEATURES_QDRANT_API_KEY
  valueFrom:
    secretKeyRef:
      name: {{ include "hearth.storesSecret" . }}
      key: qdrant-api-key
{{- else }}
{{- $external := $values.external }}
- name: HEARTH_FEATURES_QDRANT_URL
  value: {{ required "qdrant.external.url is needed where qdrant.enabled is false" $external.url }}
{{- if $external.existingSecret }}
- name: HEARTH_FEATURES_QDRANT_API_KEY
  valueFrom:
    secretKeyRef:
      name: {{ $external.existingSecret }}
      key: {{ $external.key }}
{{- end }}
{{- end }}
{{- end -}}

{{/* Where the models are, as settings of "prefix" (HEARTH_GATEWAY, HEARTH_AUTOSTEER). */}}
{{- define "hearth.inferenceEnv" -}}
{{- $root := .root -}}
{{- $targets := dict -}}
{{- range .root.Values.models -}}
{{- $_ := set $targets .model (include "hearth.target" (dict "root" $root "component" "inference" "model" . "port" 50051)) -}}
{{- end -}}
- name: {{ .prefix }}_INFERENCE
  value: {{ include "hearth.target" (dict "root" .root "component" "inference" "model" (first .root.Values.models) "port" 50051) }}
{{- if gt (len .root.Values.models) 1 }}
- name: {{ .prefix }}_INFERENCE_BY_MODEL
  value: {{ $targets | toJson | quote }}
{{- end }}
{{- end -}}
