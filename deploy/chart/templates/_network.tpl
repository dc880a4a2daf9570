{{/* Rules of NetworkPolicies for what pods reach. */}}

{{/* The port of a URL; takes "url" and "default". */}}
{{- define "hearth.portOf" -}}
{{- $port := regexFind ":[0-9]+$" (urlParse .url).host -}}
{{- if $port }}{{ trimPrefix ":" $port }}{{ else }}{{ .default }}{{ end -}}
{{- end -}}

{{- define "hearth.toPostgresql" -}}
{{- if .Values.postgresql.enabled }}
- to:
    {{- include "hearth.peer" (dict "root" . "component" "postgresql") | nindent 4 }}
  ports:
    - port: 5432
{{- else }}
- {{- with .Values.networkPolicy.storesTo }}
  to:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  ports:
    - port: {{ int .Values.postgresql.external.port }}
{{- end }}
{{- end -}}

{{- define "hearth.toValkey" -}}
{{- if .Values.valkey.enabled }}
- to:
    {{- include "hearth.peer" (dict "root" . "component" "valkey") | nindent 4 }}
  ports:
    - port: 6379
{{- else }}
- {{- with .Values.networkPolicy.storesTo }}
  to:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  ports:
    - port: {{ int .Values.valkey.external.port }}
{{- end }}
{{- end -}}

{{/* Qdrant over gRPC. */}}
{{- define "hearth.toQdrant" -}}
{{- if .Values.qdrant.enabled }}
- to:
    {{- include "hearth.peer" (dict "root" . "component" "qdrant") | nindent 4 }}
  ports:
    - port: 6334
{{- else }}
- {{- with .Values.networkPolicy.storesTo }}
  to:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  ports:
    - port: {{ include "hearth.portOf" (dict "url" .Values.qdrant.external.url "default" 6334) }}
{{- end }}
{{- end -}}

{{/* HTTPS, to anywhere but the addresses at which clouds give credentials to whoever asks. */}}
{{- define "hearth.downloads" -}}
- to:
    {{- if .Values.networkPolicy.downloadsTo }}
    {{- toYaml .Values.networkPolicy.downloadsTo | nindent 4 }}
    {{- else }}
    - ipBlock:
        cidr: 0.0.0.0/0
        except: [169.254.0.0/16]
    - ipBlock:
        cidr: ::/0
        except: ["fe80::/10", "fd00:ec2::/32"]
    {{- end }}
  ports:
    - port: 443
{{- end -}}
