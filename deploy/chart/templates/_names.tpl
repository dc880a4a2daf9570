{{/* Names, labels and images. Each takes a dict with "root" and, where it is about one, "component" and "model". */}}

{{- define "hearth.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 30 | trimSuffix "-" -}}
{{- else -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- if contains $name .Release.Name -}}
{{- .Release.Name | trunc 30 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 30 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* RELEASE-features, or RELEASE-inference-MODEL. */}}
{{- define "hearth.name" -}}
{{- $base := printf "%s-%s" (include "hearth.fullname" .root) .component -}}
{{- if .model }}{{ printf "%s-%s" $base .model.name }}{{ else }}{{ $base }}{{ end -}}
{{- end -}}

{{- define "hearth.selector" -}}
app.kubernetes.io/name: {{ default .root.Chart.Name .root.Values.nameOverride | trunc 63 | trimSuffix "-" }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- if .model }}
hearth/model: {{ .model.name }}
{{- end }}
{{- end -}}

{{- define "hearth.labels" -}}
{{ include "hearth.selector" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/part-of: hearth
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" }}
{{- with .root.Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* REGISTRY/hearth-TARGET:TAG; by digest where there is one. "variant" is cpu, cuda or vllm. */}}
{{- define "hearth.image" -}}
{{- $image := .root.Values.image -}}
{{- $registry := required "image.registry says where the images lie, such as registry.example.com/research" $image.registry -}}
{{- $name := printf "%s/%s%s" $registry $image.prefix .target -}}
{{- $suffix := ternary "" (printf "-%s" .variant) (eq (default "cpu" .variant) "cpu") -}}
{{- $digest := get $image.digests (printf "%s%s" .target $suffix) -}}
{{- if $digest -}}
{{- printf "%s@%s" $name $digest -}}
{{- else -}}
{{- printf "%s:%s%s" $name (default .root.Chart.AppVersion $image.tag) $suffix -}}
{{- end -}}
{{- end -}}

{{/* A model with all that modelDefaults say of it; as YAML. Takes "root" and "model". */}}
{{- define "hearth.model" -}}
{{- mergeOverwrite (deepCopy .root.Values.modelDefaults) (deepCopy .model) | toYaml -}}
{{- end -}}

{{/* Where a service is reached, all its pods in turn: dns:///NAME:PORT. */}}
{{- define "hearth.target" -}}
{{- printf "dns:///%s:%d" (include "hearth.name" .) (int .port) -}}
{{- end -}}
